"""Mobile workers made with somebody watching: progress, and a signal ends it in good order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from flows.attended import stoppable
from flows.open import open_world
from flows.progress import shown_progress
from flows.settings import Settings
from flows.workers_create import Creation, Newcomer, WorkerPlan, create_workers, plan_workers


def run_plan(settings: Settings, mappings: Sequence[str]) -> WorkerPlan:
    """Say who needs a mobile worker, with progress on standard error; raises Stopped after a signal."""

    async def run() -> WorkerPlan:
        with stoppable(asyncio.current_task(), "Stopping."):
            world = open_world(settings)
            try:
                with shown_progress() as progress:
                    return await plan_workers(world, mappings, progress=progress)
            finally:
                await world.close()

    return asyncio.run(run())


def run_creation(settings: Settings, newcomers: Sequence[Newcomer], file: Path) -> Creation:
    """Make mobile workers; after a signal the file tells how far it came."""

    async def run() -> Creation:
        with stoppable(asyncio.current_task(), "Stopping; the file tells who was made."):
            world = open_world(settings)
            try:
                return await create_workers(world, newcomers, file)
            finally:
                await world.close()

    return asyncio.run(run())
