"""The first load of a mapping: a case of another type that has our external id is seen before it is written to.

CommCare knows a case by its external id alone: the write would find such a case, and make it one of ours. What
would be created is looked up, many keys at once, until the mapping was loaded as a whole; never afterwards.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from adaptors.commcare.client import FETCHED
from flows.result import Result
from flows.steps.approvals import WRITTEN
from flows.steps.holders import types_under
from flows.steps.planned import OTHER_TYPE, Planned
from flows.world import World
from mappings.engine import CompiledMapping
from state import RowId

if TYPE_CHECKING:
    from flows.run import Run
    from flows.steps.push import Settled

FIRST_LOAD = "first_load:{name}"
"""Fact in the books: "open" from when a mapping may write until it was loaded as a whole, "" from then on."""

Entry = tuple[Planned, "Settled"]


class FirstLoads:
    """The rows that first loads would create, by level, until they were looked up."""

    def __init__(self, world: World, result: Result) -> None:
        self._world = world
        self._result = result
        self._waiting: dict[int, list[Entry]] = defaultdict(list)
        self._types: dict[str, str] = {}
        self.mappings: frozenset[str] = frozenset()
        """Those whose creates are looked up."""
        self.unfinished: frozenset[str] = frozenset()
        """All that were never loaded as a whole."""
        self.free: set[str] = set()
        """In a look or preview: external ids that no case of another type has; nobody asks for them again."""

    @property
    def levels(self) -> set[int]:
        """Return the levels that have rows to be looked up."""
        return {level for level, entries in self._waiting.items() if entries}

    def take(self, level: int, row: Planned, settled: Settled) -> bool:
        """Take a row that has to be looked up first; say whether it was one."""
        is_one = row.op == "create" and row.row.mapping in self.mappings and row.write.key not in self.free
        if is_one:
            self._waiting[level].append((row, settled))
        return is_one

    def begin(self, unfinished: frozenset[str], looked_up: frozenset[str] = frozenset()) -> None:
        """Look up what mappings create that were never loaded as a whole, but where that is done anyway."""
        self.unfinished, self.mappings = unfinished, unfinished - looked_up

    def clear(self) -> None:
        """Drop what waits: the next run finds it again."""
        self._waiting.clear()

    async def looked_up(self, level: int, *, all_of_them: bool = False) -> list[Entry] | None:
        """Look up a request's worth of a level, or what is left; return what may be sent, None for no request.

        Those whose external id a case of another type has are settled here: held back, for a person to decide.
        """
        waiting = self._waiting[level]
        if len(waiting) < (1 if all_of_them else FETCHED):
            return None
        entries, self._waiting[level] = waiting[:FETCHED], waiting[FETCHED:]
        there = await self._of_other_types([row for row, _ in entries])
        self._types |= {row.row.key: there[row.row] for row, _ in entries if row.row in there}
        for row, settled in entries:
            if row.row in there:
                self._result.other_types.setdefault(row.row.mapping, Counter())[there[row.row]] += 1
                await settled(row, OTHER_TYPE)
        ready = [(row, settled) for row, settled in entries if row.row not in there]
        if self._result.preview:
            self.free.update(row.write.key for row, _ in ready)
        return ready

    def type_of(self, key: str) -> str:
        """Return which type the case has that was found under a key."""
        return self._types.get(key, "")

    async def _of_other_types(self, rows: Sequence[Planned]) -> dict[RowId, str]:
        """Return the rows of which CommCare has a case of another type, with that type (seconds behind writes)."""
        mappings = {one.name: one for one in self._world.project.mappings}
        ours = {name: await types_under(self._world, mappings[name]) for name in {row.row.mapping for row in rows}}
        found = await self._world.commcare.cases_by_external_id([row.write.key for row in rows])
        return {
            row.row: case.case_type
            for row in rows
            if (case := found.get(row.write.key)) is not None
            if case.case_type not in ours[row.row.mapping]
        }


def begun(mappings: Sequence[CompiledMapping]) -> dict[str, str]:
    """Return the facts that first loads begin."""
    return {FIRST_LOAD.format(name=mapping.name): "open" for mapping in mappings}


async def never_loaded(world: World, mappings: Sequence[CompiledMapping]) -> frozenset[str]:
    """Return the mappings that were never loaded as a whole; of older books nobody asks any more."""
    names = [mapping.name for mapping in mappings]
    facts = {name: (FIRST_LOAD.format(name=name), WRITTEN.format(name=name)) for name in names}
    found = await world.books.do(world.books.store.get_all, [*chain(*facts.values())])
    return frozenset(name for name, (load, written) in facts.items() if found.get(load) or written not in found)


async def end_first_loads(run: Run) -> None:
    """Take in which mappings were loaded as a whole: all was read, and no case of another type is left."""
    failed = any(course.state == "failed" for number, course in run.result.courses.items() if number in run.read)
    if run.preview or not run.pusher.firsts.unfinished or not run.reach.everybody or failed:
        return
    held_back = run.partly if run.result.reasons[OTHER_TYPE] else set[str]()
    if names := run.pusher.firsts.unfinished - held_back - run.unread:
        facts = {FIRST_LOAD.format(name=name): "" for name in sorted(names)}
        await run.world.books.do(run.world.books.store.put_all, facts)
