"""How many requests may be in flight: few for a small server, more while it stays quick."""

from __future__ import annotations

import asyncio
import statistics
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

WINDOW = 10  # answers looked at before the number of slots changes


class Clock(Protocol):
    """Time as the adaptors see it; tests pass a virtual one."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...

    def now(self) -> float:
        """Return wall-clock seconds since 1970 (UTC)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the loop."""
        ...


class Pace:
    """Slots for requests to one system: additive increase, halving on trouble.

    Latency is the signal, not errors: a small PHP site queues long before it fails. The baseline is the 10th
    percentile of the last 100 answers of the same kind and about the same length: what was asked for more takes
    longer, and that is no sign of trouble. A window whose median is under 1.5 baselines earns a slot, one over 2.5
    baselines (or a failure) halves them.
    """

    def __init__(self, *, start: int, ceiling: int, floor: int = 1) -> None:
        self.slots = start
        self._floor, self._ceiling = floor, ceiling
        self._busy = 0
        self._free = asyncio.Condition()
        self._history: dict[tuple[str, int], deque[float]] = defaultdict(lambda: deque(maxlen=100))
        self._window: list[float] = []

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one slot for the length of a request."""
        async with self._free:
            await self._free.wait_for(lambda: self._busy < self.slots)
            self._busy += 1
        try:
            yield
        finally:
            async with self._free:
                self._busy -= 1
                self._free.notify_all()

    def answered(self, kind: str, seconds: float, length: int = 0) -> None:
        """Learn from an answer of `length` bytes that took `seconds`; `kind` is a function or endpoint name."""
        history = self._history[kind, length.bit_length()]
        history.append(seconds)
        baseline = sorted(history)[len(history) // 10]
        self._window.append(seconds / baseline if baseline > 0 else 1.0)
        if len(self._window) < WINDOW:
            return
        slowness = statistics.median(self._window)
        self._window.clear()
        if slowness < 1.5:
            self.slots = min(self._ceiling, self.slots + 1)
        elif slowness > 2.5:
            self.trouble()

    def trouble(self) -> None:
        """Learn from a failure or a refusal for too many requests: halve the slots."""
        self.slots = max(self._floor, self.slots // 2)
        self._window.clear()
