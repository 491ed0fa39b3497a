"""Worlds that clean up behind themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from adaptors.moodle.fake_site import FakeSite
from flows.redact import RedactingFilter
from tests.flows.terminal import Ports, Terminal, open_ports
from tests.flows.worlds import Lab, recorded_lab
from tests.postgres import Server


@pytest.fixture
def recorded(tmp_path: Path, state_url: str) -> Iterator[Lab]:
    """Give the recorded site, as it was before the changes."""
    lab = recorded_lab(tmp_path, state_url=state_url)
    yield lab
    lab.close()


@pytest.fixture
def state_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Say where the books of a lab are: in a file of the test's own (""), with `--postgresql` on a server.

    A module may ask for others as well.
    """
    if not request.config.getoption("--postgresql"):
        yield ""
        return
    server: Server = request.getfixturevalue("postgres")
    with server.books() as url:
        yield url


@pytest.fixture
def new_books(request: pytest.FixtureRequest, state_url: str) -> Iterator[Callable[[], str]]:
    """Give a maker of addresses of empty books, for tests of many worlds: "" is a file of each one's own."""
    with ExitStack() as stack:

        def make() -> str:
            server: Server | None = request.getfixturevalue("postgres") if state_url else None
            return stack.enter_context(server.books()) if server else ""

        yield make


@pytest.fixture
def make_lab(tmp_path: Path, state_url: str) -> Iterator[Callable[..., Lab]]:
    """Give a maker of worlds on a site."""
    labs: list[Lab] = []

    def make(site: FakeSite, **values: Any) -> Lab:
        labs.append(Lab(tmp_path, site, **{"state_url": state_url, **values}))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


@pytest.fixture(scope="session")
def ports() -> Iterator[Ports]:
    """Give two local ports."""
    with open_ports() as found:
        yield found


@pytest.fixture
def terminal(tmp_path: Path, ports: Ports, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Give a terminal in an empty folder; the net that a command lays under the logs is taken away again."""
    monkeypatch.chdir(tmp_path)
    yield Terminal(tmp_path / "var", ports)
    for handler in logging.root.handlers:
        handler.filters[:] = [one for one in handler.filters if not isinstance(one, RedactingFilter)]
