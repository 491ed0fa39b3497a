"""The one place that asks the machine what time it is."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")


# On Linux the usual one stands still while the machine sleeps.
_STEADY: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


class SystemClock:
    """Real time: wall clock in epoch seconds (UTC), a monotonic clock, and waiting."""

    def now(self) -> float:
        """Return wall-clock seconds since 1970 (UTC)."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back, and goes on while a machine sleeps."""
        return time.clock_gettime(_STEADY) if _STEADY is not None else time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the loop."""
        await asyncio.sleep(seconds)


def boot() -> str:
    """Return the name that Linux gives to this start of the machine, "" elsewhere."""
    try:
        return BOOT.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
