"""Several workers on one lab: each with clients and books of its own, in one loop whose time passes at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import httpx

from adaptors.commcare.client import CommCareClient
from adaptors.commcare.connection import Account, Connection
from adaptors.commcare.fake import FakeCommCare
from adaptors.moodle.client import Login, MoodleClient
from adaptors.moodle.fake_site import FakeSite
from flows.result import Result
from flows.round import sync_round
from flows.shard import sync_shard
from flows.sync import Options, sync
from flows.world import World
from mappings.engine import Project
from state import Store
from tests.flows.explorer_lab import Killed, MortalBooks
from tests.flows.worlds import API_KEY, DOMAIN, TOKEN, USERNAME, Lab
from tests.virtual_loop import START, LoopClock

COMMCARE = "https://commcare.example.org"


class Hours(LoopClock):
    """The clock of the loop, and so many seconds more: hours pass between two runs."""

    def __init__(self) -> None:
        self.more = 0.0
        self._seen = 0.0

    def monotonic(self) -> float:
        """Return seconds on a clock that goes on from one loop to the next."""
        passed = super().monotonic()
        if passed < self._seen:
            self.more += self._seen
        self._seen = passed
        return 1000.0 + passed + self.more

    def now(self) -> float:
        """Return wall-clock seconds."""
        return START + self.monotonic()


class SharedBooks(MortalBooks):
    """The books of one worker: a connection of its own to a server, or the memory that all of them share."""

    def __init__(self, shop: Shop) -> None:
        self.dead, self.full_after = False, None
        self._own = not shop.in_memory
        self.store = Store.open(shop.lab.state_url, key=bytes(32)) if self._own else shop.store

    def close(self) -> None:
        """Close a connection of its own."""
        if self._own:
            self.store.close()


class Worker:
    """One machine: it may die at any request, and nothing that it still does reaches anybody then."""

    def __init__(self, shop: Shop, name: str) -> None:
        self.name = name
        self.shop = shop
        self.books = SharedBooks(shop)
        self.dies_at = 0
        self.freezes = (0, 0.0)
        """At which request the machine stands still, and for how long."""
        self.served = 0
        self.busy = 0
        self.world = self._world()

    def _world(self) -> World:
        shop = self.shop
        moodle = httpx.MockTransport(lambda request: self._to(shop.lab._to_moodle, request))
        commcare = httpx.MockTransport(lambda request: self._to(shop.lab._to_commcare, request))
        return World(
            moodle=MoodleClient(shop.lab.site.url, Login(TOKEN), clock=shop.clock, transport=moodle),
            commcare=CommCareClient(
                Connection(Account(COMMCARE, DOMAIN, USERNAME, API_KEY), clock=shop.clock, transport=commcare)
            ),
            books=self.books,
            project=shop.lab.loaded(),
            clock=shop.clock,
            target=(shop.lab.site.url, COMMCARE, DOMAIN),
            site_url=shop.lab.site.url,
            in_doubt_rest=shop.rest,
            lease_ttl=shop.ttl,
            sizes=shop.lab.sizes,
        )

    async def _to(self, answer: Callable[[httpx.Request], Any], request: httpx.Request) -> httpx.Response:
        self.served, self.busy = self.served + 1, self.busy + 1
        try:
            return await self._answer(answer, request, self.served)
        finally:
            self.busy -= 1

    async def _answer(
        self, answer: Callable[[httpx.Request], Any], request: httpx.Request, number: int
    ) -> httpx.Response:
        await asyncio.sleep(self.shop.chance.uniform(0.1, 2.0))
        if self.name == self.shop.cut_off:
            raise httpx.ConnectError("There is no way there.", request=request)
        if number == self.freezes[0]:
            await asyncio.sleep(self.freezes[1])
            self.shop.thawed = self.shop.clock.now()
        if number == self.dies_at:
            self.books.dead = True
            self.shop.deaths += 1
        if self.books.dead and self.shop.chance.random() < 0.5:
            raise Killed  # before it arrived
        response: httpx.Response = answer(request)
        if request.method == "POST" and "/case/" in request.url.path:
            self.shop.wrote.append((self.name, self.shop.clock.now()))
        self.shop.look()
        await asyncio.sleep(self.shop.chance.uniform(0.1, 1.0))
        if self.books.dead:
            raise Killed
        return response

    async def work(self, work: Coroutine[Any, Any, Result]) -> Result | None:
        """Work until the end; None when the machine died."""
        try:
            return await work
        except Killed:
            return None
        finally:
            await self.world.moodle.close()
            await self.world.commcare.close()
            self.books.dead = False
            self.books.close()


LOADED: dict[str, Project] = {}


class QuickLab(Lab):
    """A lab that reads the same mapping files once only, whatever folder they are in."""

    def loaded(self) -> Project:
        """Read the mapping files."""
        text = "".join(file.read_text() for file in sorted(self.mappings.iterdir()) if file.is_file())
        if text not in LOADED:
            LOADED[text] = super().loaded()
        return LOADED[text]


class Shop:
    """A lab with several workers; `rounds` runs like one, and so does `once` for comparison."""

    def __init__(self, folder: Path, site: FakeSite, seed: int = 0, *, state_url: str = "", **values: Any) -> None:
        self.clock = Hours()
        self.chance = random.Random(seed)
        self.in_memory = not state_url
        self.lab = QuickLab(folder, site, state_url=state_url or "sqlite://", **values)
        if self.in_memory:
            self.lab.books.close()
            self.lab.books = MortalBooks()
        self.lab.commcare = FakeCommCare(
            self.lab.project, domain=DOMAIN, username=USERNAME, api_key=API_KEY, clock=self.clock.now
        )
        self.rest, self.ttl = 1200.0, 600.0
        self.deaths = 0
        self.deadly: dict[int, int] = {}
        """Worker (0: who opens the round) -> the request at which it dies."""
        self.ended: list[tuple[int, Result | None]] = []
        """Shard and result of the workers that were begun, in the order of their end."""
        self.frozen: dict[int, tuple[int, float]] = {}
        """Worker -> the request at which it stands still, and the seconds."""
        self.cut_off = ""
        """The worker that reaches nobody."""
        self.wrote: list[tuple[str, float]] = []
        """Which worker's writes reached CommCare, and when."""
        self.thawed = 0.0
        self.looks: list[Callable[[], None]] = []
        """What looks on at every request."""
        self.workers: list[Worker] = []
        self.late = 0.0
        """Seconds until a worker that was begun starts."""

    @property
    def store(self) -> Store:
        """Return the books, to look at and to confirm things in."""
        return self.lab.store

    def look(self) -> None:
        """See that no key has two cases."""
        keys = [case.external_id for case in self.lab.project.cases.values()]
        assert len(keys) == len(set(keys)), "two cases have one external id"
        for look in self.looks:
            look()

    def worker(self, number: int) -> Worker:
        """Make a worker."""
        made = Worker(self, f"worker {number}")
        made.dies_at = self.deadly.pop(number, 0)
        made.freezes = self.frozen.pop(number, (0, 0.0))
        self.workers.append(made)
        return made

    async def work(self, number: int, round_id: str) -> Result | None:
        """Do a shard, or see that there is nothing to do."""
        worker = self.worker(number)
        return await worker.work(sync_shard(worker.world, round_id, number))

    async def round(
        self,
        shards: int = 2,
        *,
        helpers: bool = True,
        apart: float = 3600.0,
        patience: float = 0.0,
        **options: Any,
    ) -> Result | None:
        """Run a round an hour later, each other shard begun on a worker of its own."""
        self.clock.more += apart
        tasks: list[asyncio.Task[None]] = []

        async def begin(round_id: str, numbers: Sequence[int]) -> None:
            for number in numbers if helpers else ():
                tasks.append(asyncio.create_task(self.help(round_id, number)))

        opener = self.worker(0)
        work = sync_round(opener.world, Options(**{"yes": True, **options}), shards, begin, patience=patience)
        result = await opener.work(work)
        await asyncio.gather(*tasks)
        return result

    async def help(self, round_id: str, number: int) -> None:
        """Do a shard on a worker of its own."""
        await asyncio.sleep(self.late)
        self.ended.append((number, await self.work(number, round_id)))

    async def once(self, *, apart: float = 3600.0, **options: Any) -> Result | None:
        """Run as one process does."""
        self.clock.more += apart
        worker = self.worker(0)
        return await worker.work(sync(worker.world, Options(**{"yes": True, **options})))

    def close(self) -> None:
        """Close the books."""
        self.lab.close()


def cases(shop: Shop) -> dict[str, Any]:
    """Return what CommCare holds, by external id, without what differs from one run to the next."""
    there = shop.lab.project.cases
    keys = {case.case_id: case.external_id for case in there.values()}
    return {
        str(case.external_id): (
            case.case_type,
            case.case_name,
            shop.lab.project.groups[case.owner_id].name,
            case.closed,
            dict(case.properties),
            {name: keys[index["case_id"]] for name, index in case.indices.items()},
        )
        for case in there.values()
    }


def books(shop: Shop) -> dict[str, Any]:
    """Return what the books hold, without times, names of runs, and ids that CommCare gave."""
    store, found = shop.store, dict[str, Any]()
    for mapping in shop.lab.loaded().mappings:
        for scope in (0, *store.courses()):
            for key, row in store.cases(mapping.name, scope).items():
                digests = {
                    n: d for n, d in (row.digests or {}).items() if n != "@owner" and not n.startswith("@index")
                }
                same = (row.status, row.missing_count, row.user_id, row.generation)
                found[f"{mapping.name} {scope} {key}"] = (
                    bool(row.case_id),
                    digests,
                    sorted(row.digests or ()),
                    *same,
                )
    found["courses"] = {n: (c.people, c.failures, store.member_ids(n)) for n, c in store.courses().items()}
    found["problems"] = [(p.row, p.property, p.reason, p.runs) for p in store.problems()]
    found["intents"] = sorted(store.intents())
    for fact in ("refused_leavers", "refused_withdrawn", "refused_blanks", "course_starts"):
        found[fact] = store.get(fact)
    return found


def counted(result: Result | None) -> dict[str, Any]:
    """Return what a run counted."""
    assert result is not None
    return {
        "state": str(result.state),
        "cases": {name: vars(counts) for name, counts in sorted(result.cases.items())},
        "courses": {number: (course.state, course.people) for number, course in sorted(result.courses.items())},
        "by course": {number: dict(found) for number, found in sorted(result.by_course.items())},
        "reasons": dict(result.reasons),
        "messages": sorted(result.messages),
    }
