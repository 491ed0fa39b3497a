"""What the receiver says in its log: a line every few seconds in which something came, with ids only."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from adaptors.pace import Clock
from flows.words import courses_named, numbered

log = logging.getLogger("flows.receive")

EVERY_S = 10.0
MOST_COURSES = 1_000
"""Courses remembered between two lines, so that no flood of posts grows the memory."""


class Tally:
    """Counts what came, and says it now and then; `async with` begins and ends it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._courses: set[int] = set()
        self._teller: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._teller = asyncio.create_task(self._tell_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._teller is not None:
            self._teller.cancel()
            with suppress(asyncio.CancelledError):
                await self._teller
        self.tell()

    def taken(self, system: str, courses: Iterable[int]) -> None:
        """Count a post that is in the inbox."""
        self._counts[f"{system}: %s taken in"] += 1
        if len(self._courses) < MOST_COURSES:
            self._courses.update(filter(None, courses))

    def ignored(self, system: str) -> None:
        """Count a post for which nothing has to be read."""
        self._counts[f"{system}: %s ignored"] += 1

    def refused(self, system: str, status: int, line: str) -> None:
        """Count a post that was refused."""
        self._refused[f"{system}: %s refused ({status}). {line}"] += 1

    def tell(self) -> None:
        """Say what came since the last time, if anything did."""
        if self._counts:
            told = "; ".join(sorted(text % numbered(count, "post") for text, count in self._counts.items()))
            log.info("%s%s", told, f"; {courses_named(self._courses)}" if self._courses else "")
        for text, count in sorted(self._refused.items()):
            log.warning(text.replace("%s", "{}").format(numbered(count, "post")))
        self._counts.clear()
        self._refused.clear()
        self._courses.clear()

    async def _tell_on(self) -> None:
        while True:
            await self._clock.sleep(EVERY_S)
            self.tell()
