"""A user's terminal for tests: the sandbox's two systems on local ports, and the command on top of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer.main
import typer.testing
from typer.testing import CliRunner

from adaptors.serve import LocalServer
from flows.cli import app
from flows.sandbox import DOMAIN, USERNAME, Sandbox, make_sandbox, prepare
from flows.settings import FAMILIES
from flows.settings import SECRETS as SECRET_SETTINGS

SECRETS = frozenset(SECRET_SETTINGS) - {"STATE_URL"}
Answer = Callable[[httpx.Request], httpx.Response]


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Return all that was printed, with line breaks as spaces, so that sentences can be looked for."""
        return re.sub(r"\s+", " ", f"{self.out} {self.err}")

    @property
    def json(self) -> Any:
        """Return the one object on standard output."""
        return json.loads(self.out)


class Ports:
    """Two servers for all tests; who answers is changed from test to test."""

    def __init__(self, moodle: LocalServer, commcare: LocalServer, answer: dict[str, Answer]) -> None:
        self.moodle = moodle
        self.commcare = commcare
        self.answer = answer


@contextmanager
def open_ports() -> Iterator[Ports]:
    """Serve whatever is put into `answer` under "moodle" and "commcare"."""
    answer: dict[str, Answer] = {}
    with (
        LocalServer(lambda request: answer["moodle"](request)) as moodle,
        LocalServer(lambda request: answer["commcare"](request)) as commcare,
    ):
        yield Ports(moodle, commcare, answer)


built = cache(typer.main.get_command)
"""Makes all commands out of the functions, once a process as in real life: that takes longer than most of them."""


class Terminal:
    """A folder with the sandbox's settings; `run` types a command and keeps watch over what it prints."""

    def __init__(self, folder: Path, ports: Ports) -> None:
        self.folder = folder
        self.ports = ports
        self.box: Sandbox = make_sandbox()
        self.box.site.url = ports.moodle.url
        ports.answer |= {"moodle": self.box.moodle, "commcare": self.box.commcare}
        self.mappings = prepare(folder)
        self.env = {
            "MOODLE_URL": ports.moodle.url,
            "MOODLE_TOKEN": self.box.moodle.token,
            "COMMCARE_URL": ports.commcare.url,
            "COMMCARE_DOMAIN": DOMAIN,
            "COMMCARE_USERNAME": USERNAME,
            "COMMCARE_API_KEY": self.box.api_key,
            "MOODLE_TOKEN_EXPIRES": "never",
            "COMMCARE_API_KEY_EXPIRES": "never",
            "STATE_URL": f"sqlite:///{folder / 'state.db'}",
            "STATE_KEY_FILE": str(folder / "state.key"),
            "MAPPINGS_DIR": str(self.mappings),
        }
        self.secrets = {self.box.moodle.token, self.box.api_key}

    def run(self, *words: str, typed: str = "") -> Ended:
        """Run a command in this process; it must print no traceback and no secret."""
        ours = {name: None for name in os.environ if name.startswith((*FAMILIES, "MAPPINGS_", "LEASE_"))}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(typer.testing, "_get_command", built)
            result = CliRunner().invoke(app, [*words], input=typed, env={**ours, "COLUMNS": "80", **self.env})
        ended = Ended(result.exit_code, result.stdout, result.stderr)
        assert isinstance(result.exception, SystemExit | None), result.exception
        self.watch(ended)
        return ended

    def watch(self, ended: Ended) -> None:
        """Fail when something was printed that nobody should see."""
        assert "Traceback" not in ended.text
        secrets = {*self.secrets, *(self.env[name] for name in SECRETS & self.env.keys())}
        assert not [secret for secret in secrets if len(secret) > 4 and secret in ended.text]

    def edit(self, name: str, old: str, new: str) -> None:
        """Edit a mapping file."""
        file = self.mappings / name
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {name}"
        file.write_text(text.replace(old, new), encoding="utf-8")

    @property
    def cases(self) -> int:
        """Return how many cases CommCare has."""
        return len(self.box.project.cases)
