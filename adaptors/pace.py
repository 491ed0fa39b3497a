"""When a request to a system may go out: few at once, within what people allow, none to one that is down."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from adaptors.circuit import Alive, Circuit, RetryBudget
from adaptors.errors import QuietTime
from adaptors.limits import Limits, clock_time
from adaptors.slots import Slots

MINUTE = 60.0

Attend = Callable[[], Awaitable[None]]
"""Is awaited before each request, and once a minute while one waits; what it raises stops that request."""


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
    """Lets requests to one system out one by one: slots, limits, pauses it asked for, and the circuit.

    `retries` is the budget of repeated reads. `alive` and `easy` ask the system an easy question, see `Circuit`.
    """

    def __init__(
        self,
        system: str,
        clock: Clock,
        limits: Limits,
        slots: Slots,
        *,
        pause: float = 0.0,
        alive: Alive | None = None,
        easy: Alive | None = None,
    ) -> None:
        self.retries = RetryBudget()
        self._system, self._clock, self._limits = system, clock, limits
        self._slots = slots
        self._pause = pause
        self._parts = 1
        self._easy = easy
        self._circuit = Circuit(system, clock, alive, None if easy is None else self._asked_easily)
        self._busy = 0
        self._resting: list[float] = []  # when each slot is free again that has worked its share
        self._starts: deque[float] = deque()  # of the last minute, where a number per minute is kept
        self._not_before = 0.0
        self._freed = asyncio.Event()
        self.attend: Attend | None = None

    @property
    def slots(self) -> int:
        """Return how many requests may be in flight now."""
        return self._slots.value

    @property
    def most_parts(self) -> int | None:
        """Return into how many parts the limits can be shared without anybody going beyond them; None: any."""
        limits = [limit for limit in (self._limits.at_once, self._limits.per_minute) if limit is not None]
        return min(limits, default=None)

    def share(self, parts: int) -> None:
        """Keep to one of so many equal parts of the limits: other processes have the other parts."""
        self._parts = max(1, parts)
        self._slots.share(self._parts)

    @property
    def _per_minute(self) -> int | None:
        most = self._limits.per_minute
        return None if most is None else max(1, most // self._parts)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one slot for the length of a request; raises CircuitOpen and QuietTime instead of waiting long."""
        await self._turn()
        started = self._clock.monotonic()
        try:
            yield
        finally:
            self._busy -= 1
            ended = self._clock.monotonic()
            if self._limits.share < 1 and ended > started:
                self._resting.append(ended + (ended - started) * (1 / self._limits.share - 1))
            self._freed.set()  # all who wait look again
            self._freed.clear()

    def answered(self, kind: str, seconds: float, length: int = 0) -> None:
        """Learn from an answer of `length` bytes that took `seconds`; `kind` is a function or endpoint name."""
        self._circuit.answered()
        self.retries.earn()
        self._slots.answered((kind, length.bit_length()), seconds, self._busy)

    async def open(self) -> None:
        """Return when the system is known to be up, as far as can be told; raises CircuitOpen."""
        await self._circuit.closed()

    def failed(self, wait: float | None = None, trouble: str = "", *, suspect: bool = False) -> None:
        """Learn from a request without a usable answer; `wait` seconds are what the system asked for.

        `trouble` is a sentence on what came in the place of an answer; `suspect` as in `Circuit`.
        """
        self._circuit.failed(trouble, suspect=suspect)
        self.refused(self._pause if wait is None else wait)

    def refused(self, wait: float) -> None:
        """Learn from a refusal for too many requests: half as many, and none before `wait` seconds have passed."""
        self._slots.halve(self._busy)
        self._not_before = max(self._not_before, self._clock.monotonic() + wait)

    async def _turn(self) -> None:
        """Wait until a request may go out, and take its slot."""
        while True:
            await self._circuit.closed()
            if self.attend is not None:
                await self.attend()
            self._refuse_quiet_hours()
            now = self._clock.monotonic()
            if (wait := self._wait(now)) > 0:
                await self._clock.sleep(min(wait, MINUTE))
            elif self._busy + len(self._resting) < self.slots:
                break
            elif self._resting:
                await self._clock.sleep(min(min(self._resting) - now, MINUTE))
            else:
                await self._freed.wait()
        self._busy += 1
        if self._limits.per_minute is not None:
            self._starts.append(now)

    async def _asked_easily(self) -> bool:
        """Ask the easy question when a request may go out, beside those that have a slot."""
        while (wait := self._wait(self._clock.monotonic())) > 0:
            await self._clock.sleep(min(wait, MINUTE))
            if self.attend is not None:
                await self.attend()
        self._refuse_quiet_hours()
        if self._limits.per_minute is not None:
            self._starts.append(self._clock.monotonic())
        return self._easy is None or await self._easy()

    def _wait(self, now: float) -> float:
        """Return how long nothing may go out, whatever is free."""
        self._resting = [until for until in self._resting if until > now]
        while self._starts and self._starts[0] <= now - MINUTE:
            self._starts.popleft()
        wait = self._not_before - now
        if self._per_minute is not None and len(self._starts) >= self._per_minute:
            wait = max(wait, self._starts[-self._per_minute] + MINUTE - now)
        return wait

    def _refuse_quiet_hours(self) -> None:
        quiet = self._limits.quiet
        span = quiet.span(self._clock.now()) if quiet is not None else None
        if quiet is not None and span is not None:
            start, end = map(clock_time, span)
            raise QuietTime(
                f"{self._system} has its quiet hours, {start} to {end} ({quiet.zone}).",
                system=self._system,
                operation="any request",
            )
