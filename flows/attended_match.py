"""A match with somebody watching: progress, and a signal ends it in good order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from flows.attended import stoppable
from flows.match import match
from flows.matched import Matched
from flows.open import open_world
from flows.progress import shown_progress
from flows.settings import Settings
from flows.workers import WorkerMatch, match_workers


def run_match(settings: Settings, mappings: Sequence[str], show_values: bool) -> Matched:
    """Match people with cases, with progress on standard error; raises Stopped after a signal."""

    async def run() -> Matched:
        with stoppable(asyncio.current_task(), "Stopping."):
            world = open_world(settings)
            try:
                with shown_progress() as progress:
                    return await match(world, mappings, show_values=show_values, progress=progress)
            finally:
                await world.close()

    return asyncio.run(run())


def run_workers(settings: Settings, mappings: Sequence[str]) -> WorkerMatch:
    """Compare people with mobile workers, with progress on standard error; raises Stopped after a signal."""

    async def run() -> WorkerMatch:
        with stoppable(asyncio.current_task(), "Stopping."):
            world = open_world(settings)
            try:
                with shown_progress() as progress:
                    return await match_workers(world, mappings, progress=progress)
            finally:
                await world.close()

    return asyncio.run(run())
