"""A whole `serve` in a process of its own, and Prefect's API as its UI asks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.serve import free_port

HOUSE = Path(__file__).parent.parent.parent
LONG = 180.0
BUSY, PATIENT = 503, 10
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Served:
    """A `serve` that somebody typed in a folder; `words` are what was typed after it."""

    def __init__(self, folder: Path, *words: str, env: Mapping[str, str] | None = None) -> None:
        self.port, self.receiver_port = free_port("127.0.0.1"), free_port("127.0.0.1")
        self.output, self.password = folder / "output", ""
        ports = ["--port", str(self.port), "--receiver-port", str(self.receiver_port)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MOODLE"))}
        with self.output.open("w") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "flows", "serve", *words, *ports],
                cwd=folder,
                env={**kept, **(env or {}), "PYTHONPATH": str(HOUSE)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def url(self) -> str:
        """Return the address of the UI."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_up(self) -> bool:
        """Whether it has said where everything is."""
        return "Ctrl-C stops it all." in self.output.read_text()

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask Prefect's API and return its answer; with a body it is a POST. A locked database is asked again."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{path}", data, {"Content-Type": "application/json"}
        )
        if self.password:
            request.add_header("Authorization", f"Basic {b64encode(self.password.encode()).decode()}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for left in reversed(range(PATIENT)):
            try:
                with opener.open(request, timeout=60) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                if error.code != BUSY or not left:
                    raise
            time.sleep(2)
        return None

    def start(self, name: str, **parameters: Any) -> str:
        """Start a run of a deployment and return its id."""
        number = self.ask(f"deployments/name/{name}")["id"]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.ask(f"deployments/{number}/create_flow_run", body)["id"])

    def cancel(self, run: str) -> None:
        """Cancel a run, as the button of its page does."""
        self.ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})

    def end_of(self, run: str) -> tuple[str, str]:
        """Wait for the end of a run and return name and message of its state."""
        state = until(lambda: (found := self.ask(f"flow_runs/{run}")["state"]) and found["type"] in ENDS and found)
        return state["name"], state["message"] or ""


@contextmanager
def whole(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Give a `serve` that is up; it is killed with all its processes if it does not end by itself."""
    made = Served(folder, *words, env=env)
    try:
        until(lambda: made.is_up or made.process.poll() is not None)
        assert made.process.poll() is None, made.output.read_text()
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()  # its processes notice, and end too
            made.process.wait()


def until(found: Callable[[], Any], seconds: float = LONG) -> Any:
    """Return what is found once there is something, with a limit of time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if it := found():
            return it
        time.sleep(0.2)
    raise AssertionError("waited in vain")


def group_of(parent: int) -> list[int]:
    """Return the processes that a process started, and those that they did."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True)  # noqa: S607
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()[1:]]
    found = [pid for pid, its_parent in pairs if its_parent == parent]
    return found + [child for pid in found for child in group_of(pid)]


def is_running(pid: int) -> bool:
    """Say whether a process is there and no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def process_of(run: str) -> int:
    """Return the process of a run, 0 as long as there is none."""
    mark = f"PREFECT__FLOW_RUN_ID={run}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (place / "environ").read_bytes().split(b"\0"):
                return int(place.name)
        except OSError:
            continue
    return 0
