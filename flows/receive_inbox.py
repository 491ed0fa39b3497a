"""From posts to the inbox: all that wait go to disk in one transaction, and each is answered after it.

While one transaction is written the next posts gather, so a burst costs a few writes to disk and not thousands.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Self

from adaptors.pace import Clock
from state import Hint, StateError, Store
from state.moved import MOVED_TO

log = logging.getLogger(__name__)

AT_ONCE = 500
"""Posts in one transaction."""
WAITING = 2_000
"""Posts that may wait for the disk: beyond that, another one is turned away at once."""
PATIENCE_S = 5.0
"""Seconds that a post waits: in Moodle, a person sits and waits with it."""
WELL_FOR_S = 1.0


class NoRoom(Exception):
    """A hint was not taken in: the inbox is full, or the disk is too slow or broken; says which."""


class Intake:
    """Writes hints into the books on a thread of its own; `async with` begins and ends it."""

    def __init__(self, open_store: Callable[[], Store], clock: Clock) -> None:
        self._open = open_store
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inbox")
        self._store = self._thread.submit(open_store).result()
        self._waiting: deque[tuple[Sequence[Hint], asyncio.Future[bool]]] = deque()
        self._some = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._looked = (float("-inf"), False)

    async def __aenter__(self) -> Self:
        self._writer = asyncio.create_task(self._write_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer
        self.close()

    def close(self) -> None:
        """Finish what is being written and close the books."""
        self._thread.submit(lambda: self._store.close()).result()
        self._thread.shutdown()

    async def put(self, hints: Sequence[Hint]) -> None:
        """Return when the hints of one post are on disk; raises NoRoom, and some may be on disk all the same."""
        if len(self._waiting) >= WAITING:
            raise NoRoom("Too many posts at once: try again later. The next run reads everything anyway.")
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((hints, taken))
        self._some.set()
        try:
            async with asyncio.timeout(PATIENCE_S):
                fits = await taken
        except TimeoutError:
            raise NoRoom("The books are slow or held by somebody: try again later.") from None
        if not fits:
            raise NoRoom("The inbox is full. A read of the whole site is asked for instead.")

    async def is_well(self) -> bool:
        """Say whether the books can be read; asked again once a second at most."""
        at, well = self._looked
        if self._clock.monotonic() - at < WELL_FOR_S:
            return well
        self._looked = self._clock.monotonic(), well  # who asks meanwhile gets the answer of before
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.get_running_loop().run_in_executor(self._thread, self._look)
            well = True
        except Exception:  # also what nobody foresaw
            well = False
        self._looked = self._clock.monotonic(), well
        return well

    async def _write_on(self) -> None:
        """Write what waits, again and again; what is being written when this is cancelled is written still."""
        while True:
            await self._some.wait()
            batch = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            if not self._waiting:
                self._some.clear()
            hints = [hint for one, _ in batch for hint in one]
            try:
                taken = await asyncio.get_running_loop().run_in_executor(self._thread, self._write, hints)
            except Exception as error:  # whatever it is, the next post is taken; it may hold what was posted
                known = isinstance(error, StateError)
                log.error("Hints were turned away: %s", error if known else f"{type(error).__name__}.")
                _fail(batch)
            else:
                _answer(batch, taken)

    def _write(self, hints: Sequence[Hint]) -> int:
        """Write hints into the books; a server that was restarted meanwhile is asked a second time.

        So are books whose key was changed: they are opened anew, with the key file as it is now.
        """
        try:
            self._follow()
            return self._store.inbox_add(hints, self._clock.now())
        except StateError:
            self._follow()
            return self._store.inbox_add(hints, self._clock.now())

    def _look(self) -> None:
        """Read something; StateError when the books moved away from here."""
        self._follow()
        if place := self._store.get(MOVED_TO):
            raise StateError(f"The books moved to {place}. Name the new place in STATE_URL.")

    def _follow(self) -> None:
        """Make sure that the books are those at their address, and of our key.

        After a restore it is another file, and somebody may have rotated the key.
        """
        if not self._store.is_in_place or self._store.has_another_key:
            fresh = self._open()
            self._store.close()
            self._store = fresh


def _answer(batch: Sequence[tuple[Sequence[Hint], asyncio.Future[bool]]], taken: int) -> None:
    """Tell each post whether all of its hints are among the first `taken`."""
    so_far = 0
    for hints, waiting in batch:
        so_far += len(hints)
        if not waiting.done():
            waiting.set_result(so_far <= taken)


def _fail(batch: Sequence[tuple[Sequence[Hint], asyncio.Future[bool]]]) -> None:
    for _, waiting in batch:
        if not waiting.done():
            waiting.set_exception(NoRoom("The books cannot be written to: try again later."))
