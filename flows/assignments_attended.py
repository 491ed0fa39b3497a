"""Assignments with somebody watching: a desk of one's own, progress on standard error, signals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from flows.assignments import Desk
from flows.attended import stoppable
from flows.clock import SystemClock
from flows.open import open_moodle, open_project
from flows.progress import shown_progress
from flows.settings import Settings
from flows.world import Progress

T = TypeVar("T")
Work = Callable[[Desk, Progress], Awaitable[T]]


def open_desk(settings: Settings) -> Desk:
    """Prepare a desk at the configured Moodle, which keeps the quiet hours as runs do; nothing is sent yet.

    Only where there are some the project is read, whose time zone they are in: then raises MappingError.
    """
    zone = open_project(settings).time_zone if settings.moodle_quiet_hours else None
    return Desk(open_moodle(settings, SystemClock(), zone=zone))


def at_desk(settings: Settings, work: Work[T]) -> T:
    """Do some work at a desk and close it; raises Stopped after a signal."""

    async def run() -> T:
        with stoppable(asyncio.current_task(), "Stopping; what is under way is finished first."):
            desk = open_desk(settings)
            try:
                with shown_progress() as progress:
                    return await work(desk, progress)
            finally:
                await desk.close()

    return asyncio.run(run())
