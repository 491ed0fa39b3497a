"""What an audit costs: `python -m bench.audit --cases 400000`. CommCare's list is made up page by page.

With `--fake` it comes from the strict fake, in a process of its own: slower, and checked like every other request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import httpx

from adaptors.commcare.client import CommCareClient
from adaptors.commcare.connection import Account, Connection
from adaptors.commcare.fake import FakeCommCare
from adaptors.commcare.fake_project import Case, FakeProject
from adaptors.moodle.client import Login, MoodleClient
from adaptors.serve import LocalServer
from flows.audit import audit
from flows.catalogue import field_catalogue
from flows.clock import SystemClock
from flows.world import Books, World
from mappings.engine import load_project
from state import Ack, RowId, Store

PAGE = 5_000
DRIFTED = 1_000  # one case in so many
ADDRESS = "https://commcare.example.org"
PROJECT = """
language: 1
site: bench
time_zone: Africa/Nairobi
country: KE
courses: {shortname_like: "*"}
owner: {group: "Field coaches"}
"""
STUDENT = """
language: 1
source: users
case_type: student
external_id: "{site}-user-{id}"
case_name: "Somebody"
owner: {otherwise: project}
properties:
  city: {source: city}
  notes: {source: address}
"""
HELD = {"@name": "Somebody", "@owner": "owner", "city": "Kisumu", "notes": "Main road"}


def fill(store: Store, cases: int) -> None:
    """Know so many cases."""
    for start in range(0, cases, PAGE):
        keys = {number: f"bench-user-{number}" for number in range(start, min(cases, start + PAGE))}
        acks = [
            Ack(RowId("student", 0, key), f"case-{number}", "owner", _digests(store, key), "active", number)
            for number, key in keys.items()
        ]
        store.acknowledge(acks, 1.0)


def _digests(store: Store, key: str) -> dict[str, bytes]:
    return {name: store.digest(key, name, value) for name, value in HELD.items()}


def pages(cases: int, drifted: int) -> httpx.MockTransport:
    """Answer CommCare's list; one case in `drifted` holds another city."""

    def answer(request: httpx.Request) -> httpx.Response:
        start = int(request.url.params.get("cursor", "0"))
        found = [_case(number, drifted) for number in range(start, min(cases, start + PAGE))]
        onward = f"{ADDRESS}{request.url.path}?cursor={start + PAGE}" if len(found) == PAGE else None
        return httpx.Response(200, json={"matching_records": cases, "cases": found, "next": onward})

    return httpx.MockTransport(answer)


def _case(number: int, drifted: int) -> dict[str, Any]:
    city = "Bondo" if number % drifted == 0 else HELD["city"]
    held = {"case_type": "student", "case_name": HELD["@name"], "owner_id": HELD["@owner"], "closed": False}
    names = {"case_id": f"case-{number}", "external_id": f"bench-user-{number}"}
    return {**held, **names, "properties": {"city": city, "notes": HELD["notes"]}}


@contextmanager
def serving(cases: int) -> Iterator[str]:
    """Serve a project space with so many cases, and yield its address."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(cases, there), daemon=True)
    process.start()
    try:
        yield here.recv()
        here.send("stop")
        process.join(timeout=10)
    finally:
        process.kill()


def _serve(cases: int, pipe: Pipe) -> None:
    """Be the other process until told to stop."""
    project = FakeProject(keep_forms=False)
    for number in range(cases):
        held = _case(number, DRIFTED)
        names = (held["case_id"], held["case_type"], held["case_name"], held["owner_id"], held["external_id"])
        project.save(Case(*names, held["properties"]))
    fake = FakeCommCare(project, domain="bench", username="x@example.org", api_key="x")
    with LocalServer(fake) as server:
        pipe.send(server.url)
        pipe.recv()


async def measure(folder: Path, cases: int, fake: str = "") -> dict[str, Any]:
    """Audit once; seconds, megabytes (resident, before it and at its highest) and requests.

    The list is that of a `fake` at an address, else made up here.
    """
    for name, text in (("project", PROJECT), ("student", STUDENT)):
        (folder / f"{name}.yaml").write_text(text)
    clock = SystemClock()
    books = Books(lambda: Store.open(f"sqlite:///{folder / 'state.db'}", key=bytes(32)))
    await books.do(fill, books.store, cases)
    account = Account(fake or ADDRESS, "bench", "x@example.org", "x")
    transport = None if fake else pages(cases, DRIFTED)
    world = World(
        moodle=MoodleClient("https://moodle.example.org", Login("x"), clock=clock),
        commcare=CommCareClient(Connection(account, clock=clock, transport=transport)),
        books=books,
        project=load_project(folder, field_catalogue()),
        clock=clock,
        target=("https://moodle.example.org", fake or ADDRESS, "bench"),
    )
    before, cpu, wall = _peak(), time.process_time(), time.perf_counter()
    found = await audit(world)
    figures: dict[str, Any] = {
        "cases": found.cases["student"],
        "requests": found.requests,
        "drift": found.counts["drift"],
    }
    figures |= {"cpu_s": round(time.process_time() - cpu, 1), "wall_s": round(time.perf_counter() - wall, 1)}
    figures |= {"before_mb": before, "peak_mb": _peak()}
    await world.close()
    return figures


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main(words: list[str] | None = None) -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=400_000)
    parser.add_argument("--fake", action="store_true", help="Ask the strict fake, over HTTP.")
    chosen = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as place, serving(chosen.cases) if chosen.fake else nullcontext("") as fake:
        print(json.dumps(asyncio.run(measure(Path(place), chosen.cases, fake))))


if __name__ == "__main__":
    main()
