"""The inbox is worked off: hints become a few runs of the ordinary engine, for the courses that they are about.

A hint is done when the run that read its course ended well; whatever else happens it stays, also when the process
dies, and the next drain finds it. While another run is at work nothing is begun.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from adaptors.commcare.forwarding import SOURCE as COMMCARE
from adaptors.moodle.events import SOURCE as MOODLE
from flows.drain_scope import Known, Scope, find_scope
from flows.drained import Drained
from flows.feedback import Consumed, consume
from flows.result import Result, RunState
from flows.steps.approvals import unwritten
from flows.steps.engagement import ENGAGEMENT
from flows.sync import Options, sync
from flows.world import Progress, World, silent
from mappings.engine import CompiledMapping
from state import HintRow
from state.inbox import OURS, UNUSED

SETTLE_S = 5.0
"""Moodle tells of an event while it is still writing it down: a hint this young waits until it is older."""
TRIES = 5
"""Drains that may begin work on a hint and fail at its course, or die over it, before it is given up."""
FIRST_REST_S, LONGEST_REST_S = 60.0, 1800.0
"""After a run that could not be, and none was in its way: how long no other is tried, doubled each time."""
TROUBLE = "drain:trouble"  # fact in the books: {failures, until}
NOT_SELECTED = "drain:not_selected"  # fact: {revision of the mappings, courses: {id: when it was found out}}
FORGET_S, MOST_COURSES = 3600.0, 2_000

SETTLED = {"completed": "read", "waiting": "asked"}
"""State of a course after a run -> outcome of the hints about it, the better one first."""

Consumer = Callable[[World, Sequence[HintRow]], Awaitable[Consumed]]
"""Works off the hints of a source and returns what became of them; others stay in the inbox."""

consumers: dict[str, Consumer] = {COMMCARE: consume}
"""Who works off the hints of which source; those of a source that nobody works off are dropped."""


async def drain(world: World, progress: Progress = silent) -> Drained:
    """Work off what waits in the inbox, once; what happened is returned, not raised."""
    started, drained = world.clock.monotonic(), Drained()
    claim = f"drain-{secrets.token_hex(4)}"
    rows = [] if await _has_to_wait(world, drained) else await _claim(world, claim)
    work = _Work(world, drained, progress, {row.number: row for row in rows})
    try:
        if rows:
            await work.do()
    except Exception:  # a mistake of ours: not for ever over the same hints
        work.tried |= work.open.keys()
        raise
    finally:
        await asyncio.shield(work.let_go())
    state = await world.books.do(world.books.store.inbox_state, world.clock.now())
    drained.left = sum(state.waiting.values())
    drained.seconds = world.clock.monotonic() - started
    return drained


async def _has_to_wait(world: World, drained: Drained) -> bool:
    """Say whether nothing may be begun now: another run is at work, or the last ones came to nothing."""
    store, now = world.books.store, world.clock.now()
    if await world.books.do(store.lease_holder, now, world.lease_ttl):
        drained.worse(RunState.POSTPONED, "Another run is at work on the same books; the hints wait for its end.")
    elif 0 < (left := (await _trouble(world))["until"] - now) <= LONGEST_REST_S:
        drained.worse(
            RunState.POSTPONED, f"The last run for hints came to nothing; the next is tried in {left:.0f} seconds."
        )
    return drained.state != RunState.COMPLETED


async def _claim(world: World, claim: str) -> list[HintRow]:
    """Begin work on all hints that are old enough; wait for the first one to be, if there is no other."""
    store = world.books.store
    for wait in (0.0, SETTLE_S):
        await world.clock.sleep(wait)
        now = world.clock.now()
        if rows := await world.books.do(store.inbox_claim, claim, now, now - SETTLE_S):
            return rows
        if not (await world.books.do(store.inbox_state, now)).waiting:
            break
    return []


@dataclass
class _Work:
    """One drain at work: the hints that it has begun and not settled yet."""

    world: World
    drained: Drained
    progress: Progress
    open: dict[int, HintRow]
    tried: set[int] = field(default_factory=set)

    async def do(self) -> None:
        """Work off the hints: those given up, those of CommCare, the whole site or the courses."""
        await self.finish({"given_up": [number for number, row in self.open.items() if row.attempts > TRIES]})
        for source in sorted({row.hint.source for row in self.open.values()} - {MOODLE, OURS}):
            await self._consume(source)
        if not self._of_moodle:
            return
        mappings = await _approved(self.world)
        if not mappings:
            self.drained.worse(
                RunState.WAITING,
                "No mapping has been approved yet, so nothing is sent. Run `moodle-commcare sync` first.",
            )
        elif any(row.hint.source == OURS for row in self._of_moodle):
            await self._read_the_whole_site(mappings)
        else:
            await self._read_courses(mappings)

    @property
    def _of_moodle(self) -> list[HintRow]:
        """Return the hints not settled yet for which Moodle is read."""
        return [row for row in self.open.values() if row.hint.source in (MOODLE, OURS)]

    async def finish(self, outcomes: Mapping[str, Sequence[int]]) -> None:
        """Settle hints, by outcome."""
        outcomes = {outcome: numbers for outcome, numbers in outcomes.items() if numbers}
        if not outcomes:
            return
        store, now = self.world.books.store, self.world.clock.now()
        await self.world.books.do(store.inbox_finish, outcomes, now)
        for outcome, numbers in outcomes.items():
            self.drained.outcomes[outcome] += len(numbers)
            for number in numbers:
                self.open.pop(number, None)

    async def let_go(self) -> None:
        """Leave what is not settled to the next drain."""
        books = self.world.books
        await books.do(books.store.inbox_release, sorted(self.open.keys() & self.tried), tried=True)
        await books.do(books.store.inbox_release, sorted(self.open.keys() - self.tried))

    async def _consume(self, source: str) -> None:
        rows = [row for row in self.open.values() if row.hint.source == source]
        store = self.world.books.store
        echoes = await self.world.books.do(store.own_forms, {row.hint.form_id for row in rows})
        await self.finish({UNUSED: [row.number for row in rows if row.hint.form_id in echoes]})
        rows = [row for row in rows if row.hint.form_id not in echoes]
        consumer = consumers.get(source)
        if consumer is None:
            await self.finish({UNUSED: [row.number for row in rows]})
        elif rows:
            consumed = await consumer(self.world, rows)
            self.drained.consumed(consumed)
            if (consumed.trouble or consumed.done.told) and not consumed.done.overlapped:
                await _remember_trouble(self.world, well=not consumed.trouble)
            await self.finish(consumed.outcomes)

    async def _read_the_whole_site(self, mappings: Sequence[CompiledMapping]) -> None:
        """Run for everything: hints found no room, so nobody knows what they were about."""
        names, known = tuple(mapping.name for mapping in mappings), await _known(self.world, self._of_moodle)
        result = await self._run(Options(mappings=names, hinted=True))
        if not _ended_well(result):
            return
        self.drained.whole_site = True
        failed = {number for number, course in result.courses.items() if course.state == "failed"}
        again = [row.number for row in self._of_moodle if failed & _courses_of(row, known, failed)]
        self.tried.update(again)
        given_up = [number for number in again if self.open[number].attempts >= TRIES]
        read = [row.number for row in self._of_moodle if row.number not in again]
        await self.finish({"read": read, "given_up": given_up})

    async def _read_courses(self, mappings: Sequence[CompiledMapping]) -> None:
        scope = find_scope(self._of_moodle, mappings, await _known(self.world, self._of_moodle))
        await self.finish(scope.settled)
        results = []
        for courses, names in scope.groups():
            results.append((courses, await self._run(Options(courses, names, hinted=True))))
            if not _ended_well(results[-1][1]):
                break
        await self._settle(scope, results)

    async def _run(self, options: Options) -> Result:
        """Run the engine once, and remember how it went."""
        result = await sync(self.world, options, self.progress)
        self.drained.ran(result)
        if not result.overlapped:
            await _remember_trouble(self.world, well=_ended_well(result))
        await _remember_not_selected(self.world, result.passed_over)
        return result

    async def _settle(self, scope: Scope, results: Sequence[tuple[Sequence[int], Result]]) -> None:
        """Settle each hint by what became of its courses; one that was not begun stays."""
        states = dict[int, str]()
        for courses, result in results:
            for course in courses:
                found = result.courses.get(course)
                if found is not None:
                    states[course] = found.state
                elif _ended_well(result):
                    states[course] = "passed over"
        outcomes: dict[str, list[int]] = {"read": [], "asked": [], "not_selected": [], "given_up": []}
        for number, courses_of in scope.courses_by_hint.items():
            found_states = {states.get(course, "not begun") for course in courses_of}
            if "failed" in found_states:
                self.tried.add(number)
                if self.open[number].attempts >= TRIES:
                    outcomes["given_up"].append(number)
            elif "not begun" not in found_states:
                best = (code for state, code in SETTLED.items() if state in found_states)
                outcomes[next(best, "not_selected")].append(number)
        await self.finish(outcomes)


def _ended_well(result: Result) -> bool:
    """Say whether a run did what it could: what it says of each course then counts.

    One that waits for a person may have stopped before it read anything.
    """
    if result.state == RunState.WAITING:
        return bool(result.courses or result.passed_over)
    return result.state in (RunState.COMPLETED, RunState.DEGRADED)


def _courses_of(row: HintRow, known: Known, failed: Collection[int]) -> set[int]:
    """Return the courses that a hint is about; one that stands for others may be about any that failed."""
    if row.hint.source == OURS:
        return {*failed}
    return {row.hint.course_id} if row.hint.course_id else {*known.courses_of.get(row.hint.user_id, ())}


async def _approved(world: World) -> list[CompiledMapping]:
    """Return the mappings that a person has approved; engagement is not for hints."""
    new = await unwritten(world, world.project.mappings)
    return [one for one in world.project.mappings if one.name not in new and one.source != ENGAGEMENT]


async def _known(world: World, rows: Collection[HintRow]) -> Known:
    """Ask the books what the hints need to be understood."""
    store = world.books.store
    people = {row.hint.user_id for row in rows if row.hint.user_id and not row.hint.course_id}
    return Known(
        courses=await world.books.do(store.courses),
        courses_of=await world.books.do(store.courses_of, people),
        not_selected=await _not_selected(world),
        now=world.clock.now(),
    )


async def _trouble(world: World) -> dict[str, float]:
    text = await world.books.do(world.books.store.get, TROUBLE)
    return {"failures": 0, "until": 0.0, **json.loads(text or "{}")}


async def _remember_trouble(world: World, *, well: bool) -> None:
    """Let a system that is down be asked less and less often; the first run that ends well forgets it."""
    before = await _trouble(world)
    if well and not before["failures"]:
        return
    failures = 0 if well else before["failures"] + 1
    rest = min(FIRST_REST_S * 2 ** min(failures - 1, 10), LONGEST_REST_S) if failures else 0.0
    found = {"failures": failures, "until": world.clock.now() + rest if rest else 0.0}
    await world.books.do(world.books.store.put, TROUBLE, json.dumps(found))


async def _not_selected(world: World) -> set[int]:
    """Return courses of which a run has found out within the last hour that they are not selected."""
    now = world.clock.now()
    return {course for course, at in (await _passed_over(world)).items() if 0 <= now - at < FORGET_S}


async def _passed_over(world: World) -> dict[int, float]:
    text = await world.books.do(world.books.store.get, NOT_SELECTED)
    found = json.loads(text or "{}")
    same = found.get("revision") == world.project.revision
    return {int(course): at for course, at in found.get("courses", {}).items()} if same else {}


async def _remember_not_selected(world: World, courses: Collection[int]) -> None:
    """Remember for an hour which courses need not be asked about; an edit of the mappings forgets it."""
    if not courses:
        return
    now = world.clock.now()
    known = {course: at for course, at in (await _passed_over(world)).items() if 0 <= now - at < FORGET_S}
    known |= dict.fromkeys(courses, now)
    newest = dict(sorted(known.items(), key=lambda item: item[1])[-MOST_COURSES:])
    found = {"revision": world.project.revision, "courses": newest}
    await world.books.do(world.books.store.put, NOT_SELECTED, json.dumps(found))
