"""The number of requests in flight settles where a server gets most done, and a slow one is not made slower."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from statistics import mean
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from adaptors.limits import Limits
from adaptors.moodle.client import Login, MoodleClient
from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.streams import ENROLLED, GRADES, PROFILES
from adaptors.pace import Pace
from adaptors.slots import Slots
from tests.virtual_loop import LoopClock, run_virtually

REQUESTS = 800
KINDS = {"profiles": 0.8, "people": 1.6, "grades": 1.2}  # seconds that an answer takes when nobody else asks

SERVERS = {
    "one core, and little memory": (1.0, 1.0, 0.8, 0.6, 0.5, 0.4),
    "one core that two make slower": (1.0, 0.85, 0.7, 0.55, 0.45, 0.4),
    "two cores": (1.0, 1.9, 2.0, 1.9, 1.6, 1.3),
    "three cores": (1.0, 2.0, 2.9, 2.7, 2.3, 1.9),
    "four cores, a slow database": (1.0, 1.8, 2.4, 2.8, 2.9, 2.8),
    "as strong as anybody needs": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
}
"""What a server gets done with one, two ... six requests in flight; one alone is 1."""


@dataclass
class Server:
    """A server that gets done what its curve says, with answers whose times scatter as real ones do."""

    curve: tuple[float, ...]
    spread: float = 0.25
    others: int = 0
    """Requests of its own users that are always under way."""
    flight: int = 0
    at: Counter[int] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(4))

    async def answer(self, work: float) -> float:
        """Take the time that a request takes now, and return it."""
        self.flight += 1
        self.at[self.flight] += 1
        busy = min(self.flight + self.others, len(self.curve))
        seconds = work * (self.flight + self.others) / self.curve[busy - 1]
        seconds *= self.chance.lognormvariate(-(self.spread**2) / 2, self.spread)
        await asyncio.sleep(seconds)
        self.flight -= 1
        self.waits.append(seconds)
        return seconds


async def ask(server: Server, pace: Pace, requests: int = REQUESTS, *, waiting: int = 8) -> float:
    """Ask so many questions, as many at once as the pace lets through; return the seconds it took."""
    todo = [list(KINDS)[number // 20 % len(KINDS)] for number in range(requests)]

    async def worker() -> None:
        while todo:
            kind = todo.pop()
            async with pace.slot():
                seconds = await server.answer(KINDS[kind])
                pace.answered(kind, seconds, 50_000)

    clock = LoopClock()
    started = clock.monotonic()
    await asyncio.gather(*(worker() for _ in range(waiting)))
    return clock.monotonic() - started


async def ask_moodle(server: Server, requests: int = REQUESTS, *, waiting: int = 8) -> float:
    """Ask so many questions with Moodle's own client, which alone says when; return the seconds it took."""
    site = FakeSite()
    site.enrol(site.add_course("C1", "Course"), person := site.add_user("Amina", "Otieno"))
    fake, clock = FakeMoodle(site), LoopClock()
    questions: dict[str, tuple[str, dict[str, Any]]] = {
        "profiles": (PROFILES, {"field": "id", "values": [person]}),
        "people": (ENROLLED, {"courseid": 2}),
        "grades": (GRADES, {"courseid": 2, "userid": 0}),
    }
    works = {function: KINDS[kind] for kind, (function, _) in questions.items()}
    todo = [list(KINDS)[number // 20 % len(KINDS)] for number in range(requests)]

    async def answer(request: httpx.Request) -> httpx.Response:
        await server.answer(works[parse_qs(request.content.decode())["wsfunction"][0]])
        return fake(request)

    client = MoodleClient(site.url, Login(fake.token), clock=clock, transport=httpx.MockTransport(answer))

    async def worker() -> None:
        while todo:
            function, asked = questions[todo.pop()]
            assert await client.call(function, **asked)

    started = clock.monotonic()
    await asyncio.gather(*(worker() for _ in range(waiting)))
    await client.close()
    return clock.monotonic() - started


def adaptive() -> Pace:
    """Return the pace as Moodle's client has it."""
    return Pace("Moodle", LoopClock(), Limits(), Slots(start=2, ceiling=6))


def fixed(slots: int) -> Pace:
    """Return a pace that always lets the same number through."""
    return Pace("Moodle", LoopClock(), Limits(), Slots(start=slots, ceiling=slots, floor=slots))


def most(curve: tuple[float, ...]) -> int:
    """Return the number of requests in flight at which a server gets less done than with one less."""
    return next((slots for slots in range(2, 7) if curve[slots - 1] < curve[slots - 2]), 6)


@pytest.mark.parametrize(("spread", "requests"), [(0.0, 800), (0.3, 1200)])
@pytest.mark.parametrize("name", SERVERS)
def test_it_settles_near_the_best_number(name: str, spread: float, requests: int) -> None:
    """Never slower than 1.3 times the best fixed number, and never more in flight than where throughput falls."""
    curve = SERVERS[name]
    best = min(run_virtually(ask(Server(curve, spread), fixed(slots), requests)) for slots in range(1, 7))
    server = Server(curve, spread)
    seconds = run_virtually(ask(server, adaptive(), requests))
    assert seconds <= 1.3 * best
    assert max(server.at) <= most(curve)


@pytest.mark.parametrize("name", ["one core, and little memory", "one core that two make slower"])
def test_a_slow_moodle_is_not_made_slower(name: str) -> None:
    """Where two at once bring nothing, nine requests in ten go alone, and answers hardly take longer for it."""
    alone, server = Server(SERVERS[name]), Server(SERVERS[name])
    run_virtually(ask(alone, fixed(1)))
    run_virtually(ask(server, adaptive()))
    assert server.at[1] >= 0.9 * REQUESTS
    assert mean(server.waits) <= 1.15 * mean(alone.waits)


@pytest.mark.parametrize("name", ["one core, and little memory", "as strong as anybody needs"])
def test_the_client_of_moodle_listens(name: str) -> None:
    """It is its own client that goes alone where two bring nothing, and gets done what a strong server can."""
    best = min(run_virtually(ask(Server(SERVERS[name]), fixed(slots))) for slots in range(1, 7))
    server = Server(SERVERS[name])
    assert run_virtually(ask_moodle(server)) <= 1.3 * best
    assert max(server.at) == (2 if name.startswith("one") else 6)
    assert (server.at[1] >= 0.9 * REQUESTS) == name.startswith("one")


def test_it_makes_room_for_the_people_of_the_site() -> None:
    """When learners come and four requests of theirs are always under way, ours go down to one, and up after."""
    server, pace, found = Server(SERVERS["three cores"]), adaptive(), []

    async def day() -> None:
        for others in (0, 4, 0):
            server.others = others
            await ask(server, pace, 300)
            found.append(pace.slots)

    run_virtually(day())
    assert found[0] >= 3
    assert 1 == found[1]
    assert found[2] >= 2


def test_the_check_would_find_a_greedy_pace() -> None:
    """A fixed six is too much for a small server, and a fixed one too little for a strong one."""
    greedy, best = (run_virtually(ask(Server(SERVERS["two cores"]), fixed(slots))) for slots in (6, 2))
    timid, quick = (run_virtually(ask(Server(SERVERS["three cores"]), fixed(slots))) for slots in (1, 3))
    assert greedy > 1.3 * best
    assert timid > 1.3 * quick
