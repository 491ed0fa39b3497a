"""The looks at phones and gaps, with progress and signals: nothing is written but the table that was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import tzinfo
from typing import TypeVar

from flows.attended import stoppable
from flows.errors import UsageError
from flows.gaps import Gaps, gaps
from flows.masked import Eyes
from flows.open import has_books, open_preview
from flows.phones import Phones, phones
from flows.progress import shown_progress
from flows.settings import Settings
from flows.world import World

T = TypeVar("T")


def run_phones(settings: Settings) -> tuple[Phones, float, tzinfo]:
    """Count what phones hold; returns that, the time now and the project's time zone. UsageError without books."""
    if not has_books(settings):
        raise UsageError("There are no books yet: the first run makes them.")

    async def count(world: World) -> tuple[Phones, float, tzinfo]:
        return await phones(world), world.clock.now(), world.project.time_zone

    return _attended(settings, count)


def run_gaps(settings: Settings, courses: Sequence[int], *, everything: bool, eyes: Eyes) -> Gaps:
    """Read Moodle and tell who lacks what."""

    async def read(world: World) -> Gaps:
        with shown_progress() as progress:
            return await gaps(world, courses, everything=everything, eyes=eyes, progress=progress)

    return _attended(settings, read)


def _attended(settings: Settings, work: Callable[[World], Awaitable[T]]) -> T:
    """Open the world for a look, work, close it; raises Stopped after a signal."""

    async def run() -> T:
        with stoppable(asyncio.current_task(), "Stopping."):
            world = open_preview(settings)
            try:
                return await work(world)
            finally:
                await world.close()

    return asyncio.run(run())
