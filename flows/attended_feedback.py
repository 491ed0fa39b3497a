"""Feedback of coaches with somebody watching: progress, and a signal ends it in good order."""

from __future__ import annotations

import asyncio

from flows.attended import stoppable
from flows.fed_back import FedBack
from flows.feedback import send
from flows.feedback_desk import Options
from flows.open import open_preview, open_world
from flows.progress import shown_progress
from flows.settings import Settings
from flows.world import Progress, silent


def run_feedback(settings: Settings, options: Options) -> FedBack:
    """Look and publish with progress on standard error; raises Stopped after a signal."""

    async def run() -> FedBack:
        waiting = "Stopping; what is under way is finished first."
        with stoppable(asyncio.current_task(), waiting), shown_progress() as progress:
            return await send_feedback(settings, options, progress)

    return asyncio.run(run())


async def send_feedback(settings: Settings, options: Options, progress: Progress = silent) -> FedBack:
    """Open the world, look and publish, close it; a dry run makes no books."""
    world = open_preview(settings) if options.dry_run else open_world(settings)
    try:
        return await send(world, options, progress)
    finally:
        await world.close()
