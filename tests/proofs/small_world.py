"""A world that can be put back: both systems, the books and the clock at one moment, and one run from there."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

import flows.sync
from adaptors.commcare.client import CommCareClient
from adaptors.commcare.connection import Account, Connection
from adaptors.commcare.fake import FakeCommCare
from adaptors.commcare.fake_project import Case, FakeProject, Form
from adaptors.moodle.client import Login, MoodleClient
from adaptors.moodle.sizes import Sizes
from flows.catalogue import field_catalogue
from flows.result import Result
from flows.steps import push
from flows.sync import Options, sync
from flows.world import World
from mappings.engine import load_project
from tests.canaries import found_in
from tests.clocks import VirtualClock
from tests.flows.worlds import API_KEY, DOMAIN, OWNER, TOKEN, USERNAME, mappings_folder
from tests.proofs.books import Memory
from tests.proofs.faults import Faults, Killed, Plan
from tests.proofs.overheard import overheard
from tests.proofs.stories import BATCH, ENROLMENT, PROJECT, STUDENT, School, Story
from tests.proofs.watch import Watch
from tests.proofs.wires import Breach, CommCareWire, MoodleWire, Wire

START = 1_795_219_200.0
APART = 650.0
"""Seconds from one run to the next: shorter than the rest of a row in doubt, longer than some late writes."""
REST = 1200.0
AFTERWARDS = 3600.0
INDIFFERENT = {
    "run": "*",
    "lease": "*",  # runs are further apart than a lease holds
    "course": "complete_at run_id",
    "case_row": "pushed_at missing_run",
    "intent": "batch",
    "lacking": "run",
    "problem": "first_at last_at",
    "change": "*",
    "occasion": "*",
}
"""What of the books decides nothing in a later run: names of earlier runs, and when something went well."""
MARKS = (b"qanary", TOKEN.encode(), API_KEY.encode())
"""What may stand nowhere, all in small letters."""
NO_NETWORK = httpx.MockTransport(lambda _: httpx.Response(500))
MOODLE, COMMCARE = "https://moodle.example.org", "https://commcare.example.org"


class Clock(VirtualClock):
    """A clock that can be set."""

    def set(self, now: float) -> None:
        """Let it be another moment."""
        self._now, self._monotonic = now, now - START + 1000.0


class Numbers:
    """Numbers for ids, which can be put back."""

    value = 0

    def __next__(self) -> int:
        self.value += 1
        return self.value


@dataclass(frozen=True)
class Moment:
    """Everything that outlives a process; `key` is the same for moments that differ in nothing that matters."""

    key: bytes
    books: bytes
    cases: tuple[Case, ...]
    number: int
    late: tuple[Any, ...]
    lacked: tuple[tuple[str, int], ...]
    written: tuple[tuple[str, float], ...]
    now: float


@dataclass(frozen=True)
class Ran:
    """One run: where it led, what came by, and how it ended (None when its process did not live to say)."""

    moment: Moment
    faults: Faults
    result: Result | None


class SmallWorld:
    """Runs one story's passes from any moment, with any faults, and looks at the invariants all the while."""

    def __init__(self, story: Story, *, rest: float = REST) -> None:
        self.story = story
        self.rest = rest
        self.clock = Clock()
        self.books = Memory()
        self.runs = 0
        with tempfile.TemporaryDirectory() as folder:
            files = {"student": STUDENT, "enrolment": ENROLMENT}
            self.project = load_project(mappings_folder(Path(folder), PROJECT, **files), field_catalogue())
        self._loop = asyncio.Runner()
        self._listening = ExitStack()
        self.log = self._listening.enter_context(overheard())
        begun = START - 50.0 if story.loaded else START + APART - 50.0
        self._empty = Moment(b"", self.books.take(), (), 0, (), (), (), begun)

    def close(self) -> None:
        """Close the books, and listen no more."""
        self._loop.close()
        self._listening.close()
        self.books.close()

    def beginning(self) -> Moment:
        """Return the moment before the first pass."""
        if not self.story.loaded:
            return self._empty
        ran = self.run(self._empty, 0)
        if self.story.doubtful:
            first = next(place for place, point in enumerate(ran.faults.seen) if point.kind == "write")
            ran = self.run(self._empty, 0, {first: "none, timeout"})
        return ran.moment

    def run(self, moment: Moment, number: int, plan: Plan | None = None, seed: int = 0) -> Ran:
        """Do pass `number` (0: the load before it all) from a moment; raises Breach."""
        self._put(moment)
        self._number, self._processes = number, 0
        self.clock.set(moment.now + 50.0)
        return self._from(self.story.school(number), Faults(plan or {}, chance=random.Random(seed)))

    def run_later(self, moment: Moment, number: int) -> Ran:
        """Do a pass after whatever is under way must have come to its end."""
        self._put(moment)
        self._number, self._processes = number, 0
        self.clock.set(max(moment.now + 50.0, START + AFTERWARDS * (number + 1)))
        return self._from(self.story.schools[-1], Faults())

    def _from(self, school: School, faults: Faults) -> Ran:
        run_id = f"{datetime.fromtimestamp(self.clock.now(), UTC):%Y%m%dT%H%M%S}-{self._number}1"
        self.watch.begin(faults, school, run_id)
        self.commcare._finish()
        self.watch.look()
        faults.edit = lambda: self.watch.move_on(
            self.story.schools[min(self._number + 1, len(self.story.schools) - 1)]
        )
        faults.another = self._another
        self.books.begin(faults)
        with _repeatable(self):
            result = self._loop.run(self._process(faults))
        self.runs += 1
        self.watch.ended(result)
        self._look_for_people(result)
        return Ran(self._moment(), faults, result)

    def _look_for_people(self, result: Result | None) -> None:
        """Look for people, the token and the key in the books, in the log and in the result; raises Breach."""
        books, heard = self.books.take().lower(), self.log.hits.copy()
        self.log.hits.clear()
        if any(mark in books for mark in MARKS):
            raise Breach("I10: the books hold a person's value, or a secret")
        if heard:
            raise Breach(f"I10: the log holds a person's value, or a secret: {heard[0]}")
        if result is not None and found_in(json.dumps(result.as_json())):
            raise Breach("I10: the result holds a person's value, or a secret")

    async def _process(self, faults: Faults) -> Result | None:
        """Run in a process of its own, which may be killed or stopped."""
        task = asyncio.ensure_future(self._sync(faults))
        faults.cancel = task.cancel
        try:
            return await task
        except (Killed, asyncio.CancelledError):
            return None
        finally:
            await self._nothing_left(faults)

    async def _nothing_left(self, faults: Faults) -> None:
        """See that nothing goes on after a run; what a dead process left is taken away."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        stops = sum(fault == "cancel" for _, fault in faults.fired)
        if left and not faults.dead and stops < 2:  # who stops a run twice does not wait for it
            raise Breach(f"{len(left)} tasks are still at work after the run")
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _sync(self, faults: Faults) -> Result:
        world = self._world(faults)
        return await sync(world, Options(yes=True))

    async def _another(self, seconds: float) -> None:
        """Let a second worker run from here to its end, the clock having gone on."""
        self.clock.advance(seconds)
        faults = self.watch.faults
        faults.quiet = True
        try:
            with self.watch.second_worker():
                other = await self._sync(faults)
            self.watch.second_ended(other)
        finally:
            faults.quiet = False

    def _world(self, faults: Faults) -> World:
        """Make what a process makes: clients that know nothing yet."""
        moodle = MoodleClient(MOODLE, Login(TOKEN), clock=self.clock, transport=NO_NETWORK)
        moodle._http._client = Wire(MoodleWire(faults, lambda: self.watch.school.moodle), {})  # type: ignore[assignment]
        account = Account(COMMCARE, DOMAIN, USERNAME, API_KEY)
        connection = Connection(account, clock=self.clock, transport=NO_NETWORK)
        headers = {"Authorization": f"ApiKey {USERNAME}:{API_KEY}", "User-Agent": "moodle-commcare/0.1"}
        connection._http._client = Wire(CommCareWire(faults, self.commcare, self.watch), headers)  # type: ignore[assignment]
        return World(
            moodle=moodle,
            commcare=CommCareClient(connection),
            books=self.books,
            project=self.project,
            clock=self.clock,
            target=(MOODLE, COMMCARE, DOMAIN),
            site_url=MOODLE,
            in_doubt_rest=self.rest,
            sizes=Sizes.fixed,
        )

    # --- moments ------------------------------------------------------------------------------------------

    def _put(self, moment: Moment) -> None:
        """Let the world be as it was at a moment."""
        self.clock.set(moment.now)
        self.books.put(moment.books)
        self.watch = Watch(self.books, self.story.keys, dict(moment.lacked), dict(moment.written))
        self.space = project = WatchedProject(self.watch)
        project._numbers = Numbers()  # type: ignore[assignment]
        self.commcare = FakeCommCare(
            project, domain=DOMAIN, username=USERNAME, api_key=API_KEY, clock=self.clock.now
        )
        self.watch.project = project
        project.add_group(OWNER)
        for case in moment.cases:
            kept = case.copy()
            project.cases[kept.case_id] = kept
            project._by_external_id.setdefault(kept.external_id or "", {})[kept.case_id] = kept
            project.search.store(kept)
        project._numbers.value = moment.number or project._numbers.value
        self.commcare._unfinished = list(moment.late)

    def _moment(self) -> Moment:
        """Return what there is now."""
        cases = tuple(replace(case.copy(), last_modified=START) for case in self.space.cases.values())
        late = tuple(self.commcare._unfinished)
        lacked = tuple(sorted(self.watch.lacked.items()))
        written = tuple(sorted(self.watch.written.items())) if late else ()
        number = self.space._numbers.value
        rested = self.rest if self.story.doubtful else 0.0
        now = max(self.clock.now(), START + rested + (self._number + 1) * APART - 50.0)
        rows = self.books.deciding(INDIFFERENT)
        content = rows, cases, late, lacked, written, number, now
        key = blake2b(repr(content).encode()).digest()
        return Moment(key, self.books.take(), cases, number, late, lacked, written, now)

    def next_id(self) -> str:
        """Return what stands for chance in the id of a run."""
        self._processes += 1
        return f"{self._number}{self._processes}"


class WatchedProject(FakeProject):
    """A project space that shows each write that took effect."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def new_id(self, kind: str) -> str:
        """Return an id; forms, of which some are lost, use up no numbers."""
        return "form" if kind == "form" else super().new_id(kind)

    def file(self, form: Form) -> None:
        """Look at a form instead of keeping it."""
        self._watch.applied(form)


@contextmanager
def _repeatable(world: SmallWorld) -> Iterator[None]:
    """Let batches be small and ids of runs the same each time."""
    real, batch = flows.sync.secrets, push.BATCH
    flows.sync.secrets = SimpleNamespace(token_hex=lambda _: world.next_id())  # type: ignore[assignment]
    push.BATCH = BATCH
    try:
        yield
    finally:
        flows.sync.secrets, push.BATCH = real, batch
