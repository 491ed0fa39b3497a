"""Work that is not broken off: a write that is under way, and what is written down of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Return what some work comes to; when our task is cancelled meanwhile, the work ends first.

    A second cancellation does not wait: the work is cancelled too.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio says nothing of it: what counts is the end
        raise
    return task.result()
