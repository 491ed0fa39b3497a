"""What Prefect costs: the flow `sync`, as a worker runs it, against the command `sync`, which needs no Prefect.

Run as `python -m bench.orchestration`. Both read all courses of one site and find nothing to send, turn by turn, each in
a process of its own; the Prefect server and the fakes have a process each on this computer. The wait of a worker for its
next look at the schedule (up to 10 s) is no cost of a run and is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
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
class Costs:
    """Medians of one size in seconds: the whole process of either, and the run inside it as each counts it."""

    courses: int
    command: float
    flow: float
    command_inside: float
    flow_inside: float

    @property
    def ratio(self) -> float:
        """Return how many times as long as the command the flow takes."""
        return self.flow / self.command


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


def by_command(env: Mapping[str, str], *options: str) -> tuple[float, float]:
    """Run `moodle-commcare sync` and return seconds of the process and of the run inside it."""
    command = [sys.executable, "-m", "flows", "sync", "--full", "--json", *options]
    started = time.perf_counter()
    ran = subprocess.run(command, env=env, cwd=HOUSE, capture_output=True, text=True, check=False, timeout=RUN_S)  # noqa: S603
    seconds = time.perf_counter() - started
    found = json.loads(ran.stdout)
    assert found["state"] == "completed", found["messages"]
    return seconds, found["seconds"]


def by_flow(env: Mapping[str, str]) -> tuple[float, float]:
    """Run the flow as a worker does and return seconds of the process and of the run as Prefect counts it."""
    number = _ask(env, "new")
    started = time.perf_counter()
    ours = {**env, "PREFECT__FLOW_RUN_ID": number}
    command = [sys.executable, "-m", "prefect.engine"]
    subprocess.run(command, env=ours, cwd=HOUSE, capture_output=True, check=True, timeout=RUN_S)  # noqa: S603
    seconds = time.perf_counter() - started
    state, inside = json.loads(_ask(env, number))
    assert state == "Completed", state
    return seconds, inside


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
        flow = await client.create_flow(sync)
        place = {"flow_id": flow, "name": "bench", "entrypoint": "flows/deployed.py:sync", "path": str(HOUSE)}
        deployment = await client.create_deployment(**place)
        made = await client.create_flow_run_from_deployment(deployment, parameters={"full": True})
        return str(made.id)


def measure(courses: int, options: argparse.Namespace, prefect: Mapping[str, str]) -> Costs:
    """Measure one size: a first load by the command, then both by turns."""
    with serving(Load(courses, options.people, options.grades), slow=options.slow) as fakes:
        env = {**os.environ, **prefect, **fakes.settings}
        by_command(env, "--yes")
        commands, flows = [], []
        for _ in range(options.repeat):
            commands.append(by_command(env))
            flows.append(by_flow(env))
    by_place = [median(times) for times in (*zip(*commands, strict=True), *zip(*flows, strict=True))]
    return Costs(courses, by_place[0], by_place[2], by_place[1], by_place[3])


def table(found: list[Costs], options: argparse.Namespace) -> Table:
    """Draw the figures."""
    moodle = "a Moodle that takes its time" if options.slow else "a Moodle that answers at once"
    drawn = Table(
        title=f"Courses of {options.people} people, nothing to send, {moodle}, medians of {options.repeat}, s",
        title_justify="left",
    )
    for name in ("courses", "command", "of it the run", "flow", "of it the run", "flow - command", "ratio"):
        drawn.add_column(name, justify="right")
    for one in found:
        more = one.flow - one.command
        figures = (one.command, one.command_inside, one.flow, one.flow_inside, more)
        drawn.add_row(str(one.courses), *(f"{seconds:.1f}" for seconds in figures), f"{one.ratio:.2f}")
    return drawn


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.orchestration", description=__doc__)
    add = parser.add_argument
    add("--courses", type=int, nargs="+", default=[10, 100], help="sizes to measure (10 100)")
    add("--people", type=int, default=20, help="people in each course (20)")
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
