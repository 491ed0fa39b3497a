"""Whether the wall clock can be believed: what rests is measured by it, and somebody may set it at any moment.

It is compared with a clock that never jumps and goes on from one process to the next; across a start of the
machine there is none, and the wall clock is believed. Machines that take turns are each compared with themselves.
"""

from __future__ import annotations

import json

from flows.world import World
from state.care import BEGUN_AT, RESTORED_AT
from state.lease import Held

CLOCKS = "clocks"  # fact: by start of a machine [wall clock less the clock that never jumps, when that was seen]
STARTS_KEPT = 16
STEP = 60.0
"""Seconds by which a clock may be set right without doubt about the rests, which have twice that to spare."""
DRIFT = 1.0
"""Seconds by which the distance of both clocks changes before somebody looks at what that means."""


async def heed_clock(world: World, ours: Held | None = None) -> None:
    """Let everything rest anew when the wall clock was set by more than a minute since somebody looked.

    What rests is read before the clock is: whoever stands still in between, and is overtaken, knows nothing that
    is newer. As long as something rests, small steps add up. Raises StateError when the lease that is `ours` was
    lost.
    """
    books, store = world.books, world.books.store
    text, resting = await books.do(store.get, CLOCKS), await books.do(store.resting)
    seen: dict[str, list[float]] = json.loads(text or "{}")
    now = world.clock.now()
    offset = now - world.clock.monotonic()
    before = seen[world.boot][0] if world.boot in seen else None
    was_set = before is not None and abs(offset - before) > STEP
    if before is not None and was_set:
        await books.do(store.rest_anew, resting, now, ours)
        for fact in (RESTORED_AT, BEGUN_AT):
            await _rest_anew_since(world, fact, now - offset + before)
    if before is None or was_set or (abs(offset - before) > DRIFT and not resting):
        old = sorted(seen.keys() - {world.boot}, key=lambda boot: seen[boot][1])[: -STARTS_KEPT + 1]
        await books.do(store.change_entries, CLOCKS, {world.boot: [offset, now]}, old)
    world.clock_offset = offset


async def sure_now(world: World, ours: Held | None = None) -> float:
    """Return what time it is, by a wall clock that was not set since it was heeded; raises StateError as above."""
    while True:
        now = world.clock.now()
        offset = now - world.clock.monotonic()
        if world.clock_offset is not None and abs(offset - world.clock_offset) <= DRIFT:
            return now
        await heed_clock(world, ours)


def rest_left(since: float, rest: float, now: float) -> float:
    """Return how many seconds books that were put back, or new, still rest; 0.0 when not (clocks may jump)."""
    left = since + rest - now
    return left if 0 < left <= rest else 0.0


async def _rest_anew_since(world: World, fact: str, then: float) -> None:
    """Let the rest of books put back, or new, begin anew, unless it is over; `then` is now by the old clock."""
    store = world.books.store
    since = await world.books.do(store.get, fact)
    if since and then - float(since) < world.in_doubt_rest:
        await world.books.do(store.put, fact, str(world.clock.now()))
