"""A round: one run that several workers share. It opens and closes like any run; the courses go to shards.

People first, by whoever opens the round. Then each shard has its own courses and its own lease, so that no key
ever has two writers. Then the round is closed here: guards count over all shards, and only now somebody has left.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from heapq import heapify, heapreplace
from typing import Any

from adaptors.moodle.answers import Course
from flows.errors import Overlap, Unfinished, UsageError
from flows.result import Result, RunState
from flows.run import Run
from flows.shard import LOOK, do_shard
from flows.steps.blanks import SHARED_BLANKS
from flows.steps.courses import sync_courses
from flows.steps.handover import Handover, is_understood, take_over
from flows.sync import Options, sync
from flows.world import Progress, World, silent
from state.rounds import ENDED, ShardRow

Begin = Callable[[str, Sequence[int]], Awaitable[None]]
"""Has other workers begin shards of a round; those that nobody begins are done here."""


OTHER_VERSION = (
    "A worker with another version of this program did a part of the courses: nobody was looked for as having "
    "left. Install the same version on all machines; the next run goes on."
)


async def nobody(round_id: str, numbers: Sequence[int]) -> None:
    """Have no others begin: they come by themselves, or all is done here."""


async def sync_round(
    world: World,
    options: Options,
    shards: int,
    begin: Begin = nobody,
    progress: Progress = silent,
    *,
    patience: float = 0.0,
) -> Result:
    """Run once, the courses in so many shards, and return what all workers did.

    For `patience` seconds shards are left to the workers that `begin` asked for: they take a while to start.

    Raises UsageError for options that only one worker can follow, and for more shards than the limits allow.
    """
    if options.courses or options.preview:
        raise UsageError("A run for some courses, or a preview, is not shared: leave out the shards.")
    most = world.most_parts
    if most is not None and shards > most:
        raise UsageError(
            f"{shards} shards are too many: together they keep to the limits of both systems, which can be shared "
            f"by {most} (MOODLE_MAX_CONCURRENCY, COMMCARE_MAX_REQUESTS_PER_MINUTE)."
        )
    return await sync(world, options, progress, Round(world, shards, begin, patience).courses)


@dataclass
class Round:
    """What is done about the courses of a run, between its people and its end."""

    world: World
    most: int
    begin: Begin
    patience: float = 0.0
    ours: set[int] = field(default_factory=set)
    """The shards that this process did."""

    async def courses(self, run: Run, courses: list[Course]) -> None:
        """Share the courses out, work along, and take over what all shards have to tell."""
        todo = {
            course.id: len(run.rosters[course.id])
            for course in courses
            if course.id in run.rosters and course.id not in run.between_terms
        }
        parts = share_out(todo, self.most)
        if len(parts) < 2:
            await sync_courses(run, courses)
            return
        await self._open(run, parts)
        try:
            await self.begin(run.result.run_id, [number for number in parts if number > 1])
            await self._work(run, self.world.clock.monotonic() + self.patience)
            shards = await self._ended(run)
        finally:
            self.world.share(1)
        await self._take_over(run, parts, shards)
        _raise_unfinished(run, shards)

    async def _open(self, run: Run, parts: Mapping[int, Sequence[int]]) -> None:
        """Write down who has which courses, and what the shards have to know."""
        books, store = self.world.books, self.world.books.store
        await books.do(store.put, SHARED_BLANKS, json.dumps(await run.planner.blanks.agreed()))
        handover = asdict(Handover.of(run))
        await books.do(store.open_round, run.result.run_id, run.lease.epoch, parts, handover)

    async def _work(self, run: Run, until: float) -> None:
        """Do the first shard, and whatever nobody else does, until all have ended or one cannot be done."""
        while True:
            shards = await self._shards(run)
            left = [one for one in shards if one.state != ENDED]
            is_late = self.world.clock.monotonic() >= until
            free = [one for one in left if not one.at_work and (is_late or one.attempts or one.number == 1)]
            is_well = all(one.outcome["well"] for one in shards if one.outcome)
            if free and is_well:
                await self._do(run, min(free, key=lambda one: (one.attempts, one.number)))
            elif any(one.at_work for one in left) or (left and is_well):
                await self._wait(run)
            else:
                return

    async def _do(self, run: Run, shard: ShardRow) -> None:
        """Do one shard here; of one that another worker began all is read anew, it may have sent newer things."""
        known = run.rosters if not shard.attempts else None
        place = (run.result.run_id, shard.number)
        self.ours.add(shard.number)
        try:
            await do_shard(self.world, place, run.progress, under=run.lease, rosters=known)
        except Overlap:  # another worker was faster
            self.ours.discard(shard.number)

    async def _wait(self, run: Run) -> None:
        await self.world.clock.sleep(LOOK)
        await run.lease.hold()

    async def _shards(self, run: Run) -> list[ShardRow]:
        now, ttl = self.world.clock.now(), self.world.lease_ttl
        return await self.world.books.do(self.world.books.store.shards, run.result.run_id, now, ttl)

    async def _ended(self, run: Run) -> list[ShardRow]:
        """Return the shards once none is at work; from here on none can be begun, or go on."""
        books, store, lease = self.world.books, self.world.books.store, (run.result.run_id, run.lease.epoch)
        while True:
            now, ttl = self.world.clock.now(), self.world.lease_ttl
            shards = await books.do(store.close_round, *lease, now, ttl)
            if shards is not None:
                return shards
            await self._wait(run)

    async def _take_over(self, run: Run, parts: Mapping[int, Sequence[int]], shards: Sequence[ShardRow]) -> None:
        """Add up what the shards have to tell; courses of one that told nothing count as failed."""
        for one in shards:
            about: dict[str, Any] = {
                "number": one.number,
                "courses": len(parts[one.number]),
                "begun": one.attempts,
            }
            if one.outcome and is_understood(run, one.outcome):
                result = await take_over(run, one.outcome, is_ours=one.number in self.ours)
                about |= {"state": str(result.state), "seconds": result.seconds}
            else:
                about |= {"state": "not done", "seconds": 0.0}
                for number in parts[one.number]:
                    run.course_failed(number, "Not read in this run; the next one catches up.")
            run.result.shards.append(about)


def share_out(courses: Mapping[int, int], shards: int) -> dict[int, list[int]]:
    """Share courses with their number of people out, so that each shard (from 1) has about as many people."""
    parts: dict[int, list[int]] = {number: [] for number in range(1, min(shards, len(courses)) + 1)}
    loads = [(0, number) for number in parts]
    heapify(loads)
    for course in sorted(courses, key=lambda course: (-courses[course], course)):
        load, number = loads[0]
        parts[number].append(course)
        heapreplace(loads, (load + courses[course] + 1, number))
    return {number: sorted(of_shard) for number, of_shard in parts.items()}


def _raise_unfinished(run: Run, shards: Sequence[ShardRow]) -> None:
    """Raise Unfinished when a shard did not end well: then nobody is marked as left, and all is read again."""
    ended = [one.outcome for one in shards if one.outcome]
    for outcome in ended:
        if not is_understood(run, outcome):
            raise Unfinished(OTHER_VERSION, RunState.DEGRADED)
        if not outcome["well"]:
            state = RunState(outcome["result"]["state"])
            raise Unfinished("The courses were not all done: nobody was looked for as having left.", state)
