"""A drain with somebody watching, or a scheduler: once, or again and again for a while."""

from __future__ import annotations

import asyncio

from adaptors.pace import Clock
from flows.attended import stoppable
from flows.clock import SystemClock
from flows.drain import drain
from flows.drained import Drained
from flows.open import open_world
from flows.progress import shown_progress
from flows.settings import Settings
from flows.world import Progress
from state import hints_wait

LOOK_EVERY_S = 2.0
"""How often an empty inbox is looked at: that costs a millisecond."""
PAUSE_S = 10.0
"""Pause after a drain: its courses rest anyway, and another run may be waiting for its turn."""


def run_drain(settings: Settings, seconds: float) -> Drained:
    """Drain with progress on standard error; raises Stopped after a signal."""

    async def run() -> Drained:
        waiting = "Stopping; what is under way is finished first."
        with stoppable(asyncio.current_task(), waiting), shown_progress() as progress:
            return await drain_for(settings, seconds, SystemClock(), progress)

    return asyncio.run(run())


async def drain_for(settings: Settings, seconds: float, clock: Clock, progress: Progress) -> Drained:
    """Drain whenever hints wait, until so many seconds are over; with 0 once."""
    end, total = clock.monotonic() + seconds, Drained()
    while True:
        pause = LOOK_EVERY_S
        if hints_wait(settings.state_url):
            total.add(await _drain_once(settings, progress))
            pause = PAUSE_S
        if clock.monotonic() + pause > end:
            return total
        await clock.sleep(pause)


async def _drain_once(settings: Settings, progress: Progress) -> Drained:
    """Open the world, drain, close it: mappings that were edited meanwhile count."""
    world = open_world(settings)
    try:
        return await drain(world, progress)
    finally:
        await world.close()
