"""What Prefect costs: the flow `sync`, as a worker runs it, against the command `sync`, which needs no Prefect.

Run as `python -m bench.orchestration`. Both read all courses of one site and find nothing to send, by turns, each
in a process of its own; the Prefect server and the fakes have a process each on this computer. How long a worker
waits until it looks at the schedule again (up to 10 s) is no cost of a run and is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from statistics import median
from urllib.error import URLError
from urllib.request import urlopen
from uuid import UUID

from rich.console import Console
from rich.table import Table

from bench.fakes import serving
from bench.site import Load

HOUSE = Path(__file__).parent.parent
START_S = 120
RUN_S = 3600


@dataclass(frozen=True)
class Cost:
    """Seconds of one run: its process from start to end, processor time of that, and the run inside it."""

    wall: float
    cpu: float
    inside: float


@dataclass(frozen=True)
class Line:
    """What one size costs, as medians of the repeats."""

    courses: int
    command: Cost
    flow: Cost

    @property
    def ratio(self) -> float:
        """Return how many times as long as the command's process the flow's takes."""
        return self.flow.wall / self.command.wall

    @property
    def ratio_inside(self) -> float:
        """Return the same of the runs inside: as Prefect counts its run, and as the command counts its own."""
        return self.flow.inside / self.command.inside


@contextmanager
def prefect_server() -> Iterator[dict[str, str]]:
    """Run a Prefect server on 127.0.0.1 and give the environment of its clients; all it keeps vanishes with it."""
    with tempfile.TemporaryDirectory() as home, socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = str(place.getsockname()[1])
        place.close()
        env = {
            "PREFECT_HOME": home,
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_API_PORT": port,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "DO_NOT_TRACK": "1",
        }
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
        with (Path(home) / "log").open("w") as log:
            server = subprocess.Popen(command, env=os.environ | env, stdout=log, stderr=log)  # noqa: S603 - our own
            try:
                _wait_for(f"{env['PREFECT_API_URL']}/health", server)
                yield env
            finally:
                server.terminate()
                try:
                    server.wait(20)
                except subprocess.TimeoutExpired:
                    server.kill()
                    server.wait()


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers."""
    for _ in range(START_S * 2):
        try:
            with urlopen(address) as answer:  # noqa: S310 - our own server
                if answer.status == 200:
                    return
        except URLError:
            time.sleep(0.5)
        if server.poll() is not None:
            break
    raise RuntimeError("The Prefect server does not start.")


def by_command(env: Mapping[str, str], *options: str) -> Cost:
    """Run `moodle-commcare sync` in a process of its own."""
    said, wall, cpu = _timed([sys.executable, "-m", "flows", "sync", "--full", "--json", *options], env)
    found = json.loads(said)
    assert found["state"] == "completed", found["messages"]
    return Cost(wall, cpu, found["seconds"])


def by_flow(env: Mapping[str, str]) -> Cost:
    """Run the flow as a worker does, in a process of its own."""
    number = _ask(env, "new")
    _, wall, cpu = _timed([sys.executable, "-m", "prefect.engine"], {**env, "PREFECT__FLOW_RUN_ID": number})
    state, inside = json.loads(_ask(env, number))
    assert state == "Completed", state
    return Cost(wall, cpu, inside)


def _timed(command: list[str], env: Mapping[str, str]) -> tuple[str, float, float]:
    """Run a command; return what it said, the seconds it took, and its processor time."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ran = subprocess.run(command, env=env, cwd=HOUSE, capture_output=True, text=True, check=True, timeout=RUN_S)  # noqa: S603
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return ran.stdout, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _ask(env: Mapping[str, str], what: str) -> str:
    """Ask Prefect's server something in a process whose settings are those of the server."""
    command = [sys.executable, "-m", "bench.orchestration", "--ask", what]
    ran = subprocess.run(command, env=env, cwd=HOUSE, capture_output=True, text=True, check=True)  # noqa: S603
    return ran.stdout.strip().splitlines()[-1]


async def answer(what: str) -> str:
    """Make a run of the flow and return its number, or return state and seconds of one."""
    from prefect import get_client

    from flows.deployed import sync

    async with get_client() as client:
        if what != "new":
            run = await client.read_flow_run(UUID(what))
            return json.dumps([run.state_name, run.total_run_time.total_seconds()])
        deployment = await client.create_deployment(
            await client.create_flow(sync), "bench", entrypoint="flows/deployed.py:sync", path=str(HOUSE)
        )
        made = await client.create_flow_run_from_deployment(deployment, parameters={"full": True})
        return str(made.id)


def measure(courses: int, options: argparse.Namespace, prefect: Mapping[str, str]) -> Line:
    """Measure one size: a first load by the command, then both by turns."""
    with serving(Load(courses, options.people, options.grades), slow=options.slow) as fakes:
        env = {**os.environ, **prefect, **fakes.settings}
        by_command(env, "--yes")
        turns = [(by_command(env), by_flow(env)) for _ in range(options.repeat)]
    commands, flows = zip(*turns, strict=True)
    return Line(courses, middle(commands), middle(flows))


def middle(costs: Sequence[Cost]) -> Cost:
    """Return the medians of several runs."""
    return Cost(*(median(getattr(one, name) for one in costs) for name in ("wall", "cpu", "inside")))


def table(lines: list[Line], options: argparse.Namespace) -> Table:
    """Draw the figures."""
    moodle = "a Moodle that takes its time" if options.slow else "a Moodle that answers at once"
    drawn = Table(
        title=f"Courses of {options.people} people, nothing to send, {moodle}; medians of {options.repeat}, s",
        title_justify="left",
    )
    for name in ("courses", "command", "CPU", "the run inside", "flow", "CPU", "the run inside"):
        drawn.add_column(name, justify="right")
    for name in ("ratio", "ratio inside"):
        drawn.add_column(name, justify="right")
    for line in lines:
        seconds = (*astuple(line.command), *astuple(line.flow))
        ratios = (line.ratio, line.ratio_inside)
        drawn.add_row(str(line.courses), *(f"{one:.1f}" for one in seconds), *(f"{one:.2f}" for one in ratios))
    return drawn


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.orchestration", description=__doc__)
    add = parser.add_argument
    add("--courses", type=int, nargs="+", default=[10, 100], help="sizes to measure (10 100)")
    add("--people", type=int, default=100, help="people in each course (100)")
    add("--grades", type=int, default=10, help="grades of each person in each course (10)")
    add("--repeat", type=int, default=3, help="runs of each, of which the median counts (3)")
    add("--slow", action="store_true", help="let Moodle take its time, as a small PHP site does")
    add("--json", action="store_true", help="print one JSON object instead of the table")
    add("--ask", default="", help=argparse.SUPPRESS)
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    """Measure and print."""
    options = arguments(given)
    if options.ask:
        print(asyncio.run(answer(options.ask)))
        return
    found = []
    print("Starting a Prefect server ...", file=sys.stderr)
    with prefect_server() as prefect:
        for courses in options.courses:
            print(f"{courses} courses ...", file=sys.stderr)
            found.append(measure(courses, options, prefect))
    if options.json:
        print(
            json.dumps({"people": options.people, "runs": [asdict(one) | {"ratio": one.ratio} for one in found]})
        )
        return
    Console(width=120).print(table(found, options))


if __name__ == "__main__":
    main()
