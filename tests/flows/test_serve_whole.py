"""`serve --sandbox` as somebody types it: a real server, its schedule, a form, and a clean end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.serve import free_port

HOUSE = Path(__file__).parent.parent.parent
LONG = 180.0


class Served:
    """A `serve` in a process of its own, and Prefect's API as its UI asks it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port("127.0.0.1")
        self.output = folder / "output"
        ports = ["--port", str(self.port), "--receiver-port", str(free_port("127.0.0.1"))]
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MOODLE"))}
        with self.output.open("w") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "flows", "serve", "--sandbox", *ports],
                cwd=folder,
                env={**env, "PYTHONPATH": str(HOUSE)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask Prefect's API and return its answer; with a body it is a POST."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return json.loads(answer.read())

    def start(self, name: str, **parameters: Any) -> str:
        """Start a run of a deployment and return its id."""
        number = self.ask(f"deployments/name/{name}")["id"]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.ask(f"deployments/{number}/create_flow_run", body)["id"])

    def end_of(self, run: str) -> tuple[str, str]:
        """Wait for the end of a run and return name and message of its state."""
        ends = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        state = until(lambda: (found := self.ask(f"flow_runs/{run}")["state"]) and found["type"] in ends and found)
        return state["name"], state["message"]


def until(found: Callable[[], Any]) -> Any:
    """Return what is found once there is something, with a limit of time."""
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        if it := found():
            return it
        time.sleep(0.2)
    raise AssertionError("waited in vain")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Give a `serve` that is up; it is killed with all its processes if it does not end by itself."""
    made = Served(tmp_path)
    try:
        until(lambda: "Ctrl-C stops it all." in made.output.read_text() or made.process.poll() is not None)
        assert made.process.poll() is None, made.output.read_text()
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()  # its processes notice, and end too
            made.process.wait()


@pytest.mark.e2e
@pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")  # of tests before this one
def test_from_the_first_plan_to_a_clean_end(served: Served, tmp_path: Path) -> None:
    """The first run waits, the form approves it, cases are made, the schedule has runs; SIGTERM leaves nothing."""
    first = re.search(r"First run: .*/flow-run/([0-9a-f-]{36})", served.output.read_text())
    assert first is not None
    name, message = served.end_of(first[1])
    assert ("Waiting", True) == (name, message.endswith("or in Prefect `approve`: kind first-run, count 36."))
    with pytest.raises(urllib.error.HTTPError) as refused:
        served.start("approve/approve", kind="nonsense")
    assert "'nonsense' is not one of ['first-run'," in refused.value.read().decode()
    name, message = served.end_of(served.start("approve/approve", kind="first-run", count=36))
    assert ("Completed", True) == (name, "Started: sync run" in message)
    named = {"flow_runs": {"name": {"any_": [message.split()[-1].rstrip(".")]}}}
    (run,) = served.ask("flow_runs/filter", named)
    assert ("Completed", "student: 12 created. enrolment: 24 created.") == served.end_of(run["id"])

    # The scheduler of a real server: a package once stopped it, and no run ever came.
    upcoming = {
        "deployments": {"name": {"any_": ["sync"]}},
        "flow_runs": {"state": {"name": {"any_": ["Scheduled"]}}},
    }
    runs = until(lambda: (found := served.ask("flow_runs/filter", upcoming)) and len(found) > 2 and found)
    automatic = [run for run in runs if run["auto_scheduled"]]
    assert {":07:00"} == {run["expected_start_time"][13:19] for run in automatic}

    logs = tmp_path / "var" / "sandbox" / "prefect" / "logs"
    processes = group_of(served.process.pid)
    assert len(processes) >= 2
    served.process.send_signal(signal.SIGTERM)
    assert 0 == served.process.wait(LONG)
    assert served.output.read_text().rstrip().endswith("Ended.")
    assert [] == [pid for pid in processes if is_running(pid)]
    assert {"server.log", "runs.log"} <= {path.name for path in logs.iterdir()}
    assert "Amina" not in "".join(path.read_text() for path in logs.iterdir())


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
