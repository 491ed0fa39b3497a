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

    def step(self, seconds: float) -> None:
        """Let somebody set the wall clock."""
        self._now += seconds

    def restart(self) -> None:
        """Begin the clock that never goes back anew, as a start of the machine does."""
        self._monotonic = 5.0

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
