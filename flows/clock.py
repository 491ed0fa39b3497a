"""The one place that asks the machine what time it is."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Real time: wall clock in epoch seconds (UTC), a monotonic clock, and waiting."""

    def now(self) -> float:
        """Return wall-clock seconds since 1970 (UTC)."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the loop."""
        await asyncio.sleep(seconds)
