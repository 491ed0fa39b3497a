"""What keeps an outage from being made worse by us: after failures in a row nobody asks, and few ask again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from adaptors.errors import CircuitOpen

if TYPE_CHECKING:
    from adaptors.pace import Clock

FAILURES = 8  # in a row; more than one question is asked in vain, so that one hard question does not open it
REST = 60.0  # seconds in which a system that gave no answer is left alone
SHARE, AT_LEAST, AT_MOST = 0.1, 10.0, 30.0  # repeats per request, and the number of them that may be saved up
WAITS, A_WAIT = 600.0, 10.0  # seconds of waiting that may be asked for, and what each answer gives back of them

Alive = Callable[[], Awaitable[bool]]


class Circuit:
    """Opens after failures in a row: then the system rests a minute and is tried once more before we give up.

    With `alive`, an easy question, a system that only fails at hard ones is told from one that is down, at once
    and without a rest. Without it the next request that comes is the trial.

    Failures of suspect requests, at which the system is likely to fail while it is in order, are counted apart.
    After as many of them `easy` decides, an easy question as well: answered, they said nothing; else it opens.
    """

    def __init__(self, system: str, clock: Clock, alive: Alive | None = None, easy: Alive | None = None) -> None:
        self._system, self._clock, self._alive, self._easy = system, clock, alive, easy
        self._failures = self._suspect = 0
        self._trouble = ""
        self._on_trial = False
        self._given_up = False
        self._one = asyncio.Lock()

    def answered(self) -> None:
        """Note an answer: whatever was before is over."""
        self._failures, self._suspect, self._on_trial, self._given_up = 0, 0, False, False

    def failed(self, trouble: str = "", *, suspect: bool = False) -> None:
        """Note a request without a usable answer; `trouble` is a sentence on what came instead."""
        if suspect and self._easy is not None and not self._on_trial:
            self._suspect += 1
        else:
            self._failures += 1
        self._trouble = trouble

    async def closed(self) -> None:
        """Return when a request may go out; raises CircuitOpen when the system is out of order."""
        if max(self._failures, self._suspect) < FAILURES:
            return
        async with self._one:
            if self._suspect >= FAILURES and self._easy is not None:
                self._suspect = 0
                if not await self._easy():
                    self._failures = FAILURES
            while self._failures >= FAILURES:
                await self._try_again()

    async def _try_again(self) -> None:
        if self._given_up or self._on_trial:
            self._given_up = True
            raise self._error()
        if self._alive is None:
            await self._clock.sleep(REST)
            self._failures, self._on_trial = FAILURES - 1, True
        elif await self._alive():
            self.answered()
        else:
            await self._clock.sleep(REST)
            self._on_trial = not await self._alive()
            if not self._on_trial:
                self.answered()

    def _error(self) -> CircuitOpen:
        return CircuitOpen(
            f"{self._system} gave no usable answer {FAILURES} times in a row, and again after a minute's rest. "
            f"{self._trouble}".rstrip(),
            system=self._system,
            operation="any request",
        )


class Repeats(Protocol):
    """Whoever says whether a read may be repeated."""

    def take(self) -> bool:
        """Take one repeat; False when there is none left."""
        ...

    def wait(self, seconds: float) -> bool:
        """Take one repeat after a wait that the system asked for; False when there is none left."""
        ...


class RetryBudget:
    """How often reads may be repeated: a tenth of the requests, and ten times in any case.

    A system that refuses for now and says until when is not broken: such waits are counted by their seconds, and
    only where it asks for more than ten minutes, and ten seconds an answer, are they repeats like others.
    """

    def __init__(self) -> None:
        self._left = AT_LEAST
        self._waits = WAITS

    def earn(self) -> None:
        """Note a request that was answered."""
        self._left = min(self._left + SHARE, AT_MOST)
        self._waits = min(self._waits + A_WAIT, WAITS)

    def take(self) -> bool:
        """Take one repeat out of the budget; False when it is used up."""
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def wait(self, seconds: float) -> bool:
        """Take the seconds of a wait that the system asked for, or one repeat; False when both are used up."""
        if self._waits < seconds:
            return self.take()
        self._waits -= seconds
        return True
