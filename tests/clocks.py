"""Time for tests: it moves only when somebody waits."""

from __future__ import annotations


class VirtualClock:
    """A clock that starts on 2026-11-21 and moves when something sleeps or the test says so."""

    def __init__(self, now: float = 1_795_219_200.0) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
