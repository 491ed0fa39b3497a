"""The cases that a key has one after the other: which of them is the newest that CommCare has.

A case that we closed is followed by one of the next generation, of which books that were put back know nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from itertools import count, islice

from adaptors.commcare.cases import CaseReply
from flows.steps.planned import external_id
from flows.world import World

GAP = 2
"""So many numbers in a row may be free before a later case: theirs were deleted, or were cases of others."""


async def each_of_ours(world: World, key: str, begin: int) -> AsyncIterator[tuple[CaseReply, int]]:
    """Yield all cases under a key from a generation on, open ones and those past numbers that are free.

    Raises Refused when two cases have an external id.
    """
    free = 0
    for generation in count(begin):
        found = await world.commcare.case_by_external_id(external_id(key, generation))
        if found is not None:
            yield found, generation
        free = free + 1 if found is None else 0
        if free > GAP:
            return


async def newest_of_ours(
    world: World, key: str, begin: int, taken: Collection[str]
) -> tuple[CaseReply | None, int]:
    """Return the case of our own that lives under a key, else the last closed one, from a generation on.

    External ids that are `taken` are passed over before the first case. Without a case: None, and the first
    generation that is free. Raises Refused when two cases have an external id.
    """
    while external_id(key, begin) in taken:
        begin += 1
    newest: CaseReply | None = None
    while found := await world.commcare.case_by_external_id(external_id(key, begin)):
        if not found.closed:
            return found, begin
        newest, begin = found, begin + 1
    return newest, begin if newest is None else begin - 1


async def last_of_ours(
    world: World, key: str, taken: Collection[str], begin: int = 1
) -> tuple[CaseReply | None, int]:
    """Return the last case of our own under a key, from a generation on; else as `newest_of_ours`.

    Also where one before it lives, of an old term, or numbers between are free: GAP of them in a row.
    """
    found, generation = await newest_of_ours(world, key, begin, taken)
    begin = generation
    while begin := await _next(world, key, begin, taken):
        later, number = await newest_of_ours(world, key, begin, taken)
        if later is not None:
            found, generation, begin = later, number, number
    return found, generation


async def _next(world: World, key: str, after: int, taken: Collection[str]) -> int:
    """Return which generation of a key is there after one, past a few that are free; 0 when none is."""
    others = (number for number in count(after + 1) if external_id(key, number) not in taken)
    names = {external_id(key, number): number for number in islice(others, GAP)}
    found = await world.commcare.cases_by_external_id(names)
    return min((names[name] for name in found), default=0)


async def newest_of_each(
    world: World, begin: Mapping[str, int], taken: Collection[str]
) -> dict[str, tuple[CaseReply, int]]:
    """Return the newest case and its generation of many keys, as `newest_of_ours` does, but in few requests.

    Keys without a case are left out. External ids that are `taken` are passed over wherever they stand. Of two
    cases with an external id it is any one.
    """
    found, waiting = dict[str, tuple[CaseReply, int]](), dict(begin)
    while waiting:
        names = {external_id(key, generation): key for key, generation in waiting.items()}
        replies = await world.commcare.cases_by_external_id(names.keys() - taken)
        there = {key: reply for name, key in names.items() if (reply := replies.get(name)) is not None}
        found |= {key: (reply, waiting[key]) for key, reply in there.items()}
        passed = {key for name, key in names.items() if name in taken}
        waiting = {key: waiting[key] + 1 for key in passed | {k for k, reply in there.items() if reply.closed}}
    return found


async def last_of_each(
    world: World, begin: Mapping[str, int], taken: Collection[str]
) -> dict[str, tuple[CaseReply, int]]:
    """Return the last case and its generation of many keys, as `last_of_ours` does, but in few requests."""
    found, waiting = dict[str, tuple[CaseReply, int]](), dict(begin)
    while waiting:
        names = {
            external_id(key, generation): (key, generation)
            for key, first in waiting.items()
            for generation in range(first, first + GAP + 1)
        }
        replies = await world.commcare.cases_by_external_id(names.keys() - taken)
        last = dict[str, int]()
        for name, (key, generation) in names.items():  # of each key in their order
            if name in replies:
                found[key] = replies[name], generation
            if name in replies or name in taken:
                last[key] = generation
        waiting = {key: last[key] + 1 for key, first in waiting.items() if last.get(key, first) > first}
    return found
