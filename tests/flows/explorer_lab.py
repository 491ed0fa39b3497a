"""A lab to go wild in: requests take their time, the process may die, the disk may be full."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from adaptors.moodle.fake_site import FakeSite
from flows.result import Result
from flows.world import Books
from mappings.engine import Project
from state import StateError, Store
from state.key import Keys
from tests.flows.worlds import Lab


class Killed(BaseException):
    """The process is gone: nothing that it still does reaches anybody."""


class MortalBooks(Books):
    """Books of a process that may die, on a disk that may be full; without a thread, so that a walk repeats."""

    def __init__(self, url: str = "sqlite://", keys: Keys = (bytes(32),)) -> None:
        self.store = Store.open(url, key=keys)
        self.dead = False
        self.full_after: int | None = None

    async def do(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run a method of the store, unless the process is dead or the disk is full."""
        await asyncio.sleep(0)
        if self.dead:
            raise Killed
        if self.full_after is not None:
            self.full_after -= 1
            if self.full_after < 0:
                self.full_after = None
                raise StateError("The disk is full.")
        return method(*args, **kwargs)

    def close(self) -> None:
        """Close the store."""
        self.store.close()


class WatchedLab(Lab):
    """A lab whose requests may be the last ones; after each of them no two cases may have one external id."""

    def __init__(self, folder: Path, site: FakeSite, seed: int, **values: Any) -> None:
        super().__init__(folder, site, **values)
        self.books.close()
        self.mortal = MortalBooks(values.get("state_url", "sqlite://"))
        self.books = self.mortal
        self._waits = random.Random(seed)
        self.task: asyncio.Task[Result] | None = None
        self.at_request: dict[int, Callable[[], Any]] = {}
        """What happens at the nth request of a run."""
        self.served = 0
        self._loaded: Project | None = None

    def loaded(self) -> Project:
        """Read the mapping files once."""
        self._loaded = self._loaded or super().loaded()
        return self._loaded

    async def _slowly(self, request: httpx.Request, answer: Callable[[httpx.Request], httpx.Response]) -> Any:
        await self._wait()
        self.served += 1
        self.at_request.pop(self.served, lambda: None)()
        self._live()
        response = answer(request)
        await self._wait()
        self._live()
        return response

    async def _wait(self) -> None:
        """Let others have their turn, in an order that differs from walk to walk."""
        for _ in range(self._waits.randrange(4)):
            await asyncio.sleep(0)

    def _live(self) -> None:
        if self.mortal.dead:
            raise Killed

    def _to_moodle(self, request: httpx.Request) -> Any:
        return self._slowly(request, super()._to_moodle)

    def _to_commcare(self, request: httpx.Request) -> Any:
        return self._slowly(request, self._watched)

    def _watched(self, request: httpx.Request) -> httpx.Response:
        try:
            return self.commcare(request)
        finally:
            cases = (*self.project.cases.values(), *self.project.deleted.values())
            doubles = [key for key, count in Counter(case.external_id for case in cases).items() if count > 1]
            assert not doubles, f"two cases of {doubles}"
