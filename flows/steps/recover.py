"""First of all in every run: writes whose outcome nobody knows, and that have rested long enough.

The books may be older than CommCare is, or new where others were.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence

from flows.steps.clocks import STEP, heed_clock, sure_now
from flows.steps.ends import forget_ends
from flows.steps.lost import note_lost
from flows.steps.select import SELECTED
from flows.world import World
from state import CaseRow, IntentRow, RowId
from state.care import RESTORED_AT
from state.facts import LOOKED_FOR
from state.lease import Held
from state.statuses import MAYBE_CLOSED

TAKEN_IN = "restore_taken_in"  # fact: the last restore after which unknown cases were expected
STRANGERS = "strangers:{name}"
"""Fact: while CommCare may hold cases of a mapping that the books do not know, {"courses": those that have to be
read before that is over, maybe none, "newest": of the books that were put back, until one whole run ended well};
"" when it is over."""


async def recover(world: World, ours: Held | None = None) -> int:
    """Void the digests of rows that rested, so that the ordinary comparison writes them again; returns how many.

    CommCare may still be at work on a request long after we gave up on it. Only after the rest is a second write
    of the same row sure to find the first one. Digests made with a key that is lost are voided with them. Raises
    StateError when the lease that is `ours` was lost: who took it may have announced the same rows since.
    """
    books, store = world.books, world.books.store
    await books.do(store.take_key)
    await _take_in_restore(world)
    resting = await books.do(store.resting)
    now = await sure_now(world, ours)  # after that: what was announced later is none of what was read
    if resting.newest > now + STEP:  # the clock was ahead, or is behind
        await books.do(store.rest_anew, resting, now, ours)
        return 0
    rested = [one for one in resting.intents if now - one.last_sent_at >= world.in_doubt_rest]
    await _void(world, rested, now, ours)
    return len(rested)


async def recover_courses(world: World, courses: Collection[int], ours: Held | None = None) -> None:
    """Do the same for the rows of some courses, for a shard that another worker may have begun.

    It may have begun it on another machine, and this clock may have been set since the round began.
    """
    books, store = world.books, world.books.store
    resting = await books.do(store.resting)
    await heed_clock(world, ours)
    now = await sure_now(world, ours)
    if resting.newest > now + STEP:
        await books.do(store.rest_anew, resting, now, ours)
        return
    rested = [
        one
        for one in resting.intents
        if one.row.scope in courses and now - one.last_sent_at >= world.in_doubt_rest
    ]
    await _void(world, rested, now, ours)


async def _void(world: World, rested: Sequence[IntentRow], now: float, ours: Held | None) -> None:
    """Make rows dirty, and have their mappings read by the next run if this one does not come to it."""
    if rested:
        books, store = world.books, world.books.store
        await books.do(store.read_anew, {one.row.mapping for one in rested})  # first: a stop here costs a read
        await books.do(store.void_rested, rested, now, ours)


# --- cases that the books do not know -----------------------------------------------------------------------


async def _take_in_restore(world: World) -> None:
    """Expect unknown cases of every mapping once the books were put back from a backup.

    Also of those that are switched off: on again, their cases are as unknown. It takes a read of every course that
    was read before the backup: of one that is hidden meanwhile, people may be found only when it is shown again.
    So it is with a newer one that is hidden by now.
    """
    books, store = world.books, world.books.store
    facts = await books.do(store.get_all, (RESTORED_AT, TAKEN_IN))
    restored = facts.get(RESTORED_AT)
    if restored and restored != facts.get(TAKEN_IN):
        names = {mapping.name for mapping in world.project.mappings}
        names |= await books.do(store.mappings_with_cases)
        await forget_ends(world)
        read = await books.do(store.get, SELECTED)
        await expect_strangers(world, names, json.loads(read or "[]"))
        await books.do(store.put, TAKEN_IN, restored)


async def expect_strangers(world: World, mappings: Iterable[str], courses: Collection[int] = ()) -> None:
    """Remember that CommCare may hold cases of these mappings that the books do not know, until all are read.

    Courses that are awaited already are so still, and what was looked for is looked for once more.
    """
    store = world.books.store
    for name in sorted(mappings):
        before, newest = await _awaited(world, name)
        fact = {"courses": sorted({*before, *courses}), "newest": max(courses, default=newest)}
        facts = {LOOKED_FOR.format(name=name): "", STRANGERS.format(name=name): json.dumps(fact)}
        await world.books.do(store.put_all, facts)


async def _awaited(world: World, name: str) -> tuple[set[int], int]:
    """Return the courses that are awaited for a mapping, and the newest one of books put back lately, else 0."""
    text = await world.books.do(world.books.store.get, STRANGERS.format(name=name))
    found = json.loads(text or "{}")
    if isinstance(found, dict):
        return set(found.get("courses", ())), found.get("newest", 0)
    return set(found if isinstance(found, list) else ()), 0  # older books: the courses alone, or 1 for none


async def is_expecting(world: World, name: str) -> bool:
    """Say whether CommCare may hold cases of a mapping that the books do not know."""
    return bool(await world.books.do(world.books.store.get, STRANGERS.format(name=name)))


async def strangers(world: World) -> frozenset[str]:
    """Return the mappings of which CommCare may hold cases that the books do not know."""
    names = {STRANGERS.format(name=mapping.name): mapping.name for mapping in world.project.mappings}
    found = await world.books.do(world.books.store.get_all, [*names])
    return frozenset(names[fact] for fact, text in found.items() if text)


async def looked_for(world: World, name: str) -> dict[str, int]:
    """Return keys of who is kept out or held back and was looked for: the generation from which on nothing is."""
    text = await world.books.do(world.books.store.get, LOOKED_FOR.format(name=name))
    found: dict[str, int] = json.loads(text or "{}")
    return found


async def remember_looked_for(world: World, name: str, keys: Mapping[str, int]) -> None:
    """Write down from which generation on CommCare has no case of a mapping under these keys."""
    if keys:
        await world.books.do(world.books.store.change_entries, LOOKED_FOR.format(name=name), keys)


async def know_them_all(
    world: World, mappings: Collection[str], found: Collection[int], chosen: Collection[int]
) -> None:
    """Take in that a run found everything there is of these mappings in some courses, read or ended.

    Of the others only those are awaited that Moodle has and project.yaml has `chosen`.
    """
    store = world.books.store
    for name in sorted(mappings):
        awaited, newest = await _awaited(world, name)
        newer = {number for number in chosen if 0 < newest < number}
        left = sorted(((awaited & {*chosen}) | newer) - {*found})
        facts = {STRANGERS.format(name=name): json.dumps({"courses": left}) if left else ""}
        if not left:
            await note_lost(world, name)
            facts[LOOKED_FOR.format(name=name)] = ""
        await world.books.do(store.put_all, facts)


async def is_closing_unheard(world: World, row: RowId, case: CaseRow) -> bool:
    """Say whether a case may be closed by a write of ours without an answer, whatever its mapping says by now.

    Who is to be emptied keeps a status that says that; of such a case the log knows what was sent.
    """
    if case.status == "closing":
        return True
    if case.digests is not None or case.status not in MAYBE_CLOSED:
        return False
    return await world.books.do(world.books.store.may_have_closed, row, case.generation)
