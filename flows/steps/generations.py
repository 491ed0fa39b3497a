"""The cases that a key has one after the other: which of them is the newest that CommCare has.

A case that we closed is followed by one of the next generation, of which books that were put back know nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping

from adaptors.commcare.cases import CaseReply
from flows.steps.planned import external_id
from flows.world import World


async def generations(
    world: World, key: str, begin: int, *, past_living: bool
) -> AsyncIterator[tuple[CaseReply, int]]:
    """Yield the cases under a key from a generation on, until one is free or, unless `past_living`, one lives.

    Raises Refused when two cases have an external id.
    """
    generation, is_over = begin, False
    while not is_over and (found := await world.commcare.case_by_external_id(external_id(key, generation))):
        yield found, generation
        generation, is_over = generation + 1, not (found.closed or past_living)


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
    async for found, generation in generations(world, key, begin, past_living=False):
        newest, begin = found, generation
    return newest, begin


async def last_of_ours(world: World, key: str, taken: Collection[str]) -> tuple[CaseReply | None, int]:
    """Return the last case of our own under a key; else as `newest_of_ours`.

    Also where one before it lives, of an old term, or was deleted in CommCare and made again.
    """
    found, generation = await newest_of_ours(world, key, 1, taken)
    begin = generation
    while True:
        later, begin = await newest_of_ours(world, key, begin + 1, taken)
        if later is None:
            return found, generation
        found, generation = later, begin


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
    found = await newest_of_each(world, begin, taken)
    waiting = {key: (found[key][1] if key in found else first) + 1 for key, first in begin.items()}
    while waiting:
        later = await newest_of_each(world, waiting, taken)
        found |= later
        waiting = {key: generation + 1 for key, (_, generation) in later.items()}
    return found
