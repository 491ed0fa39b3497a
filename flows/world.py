"""Everything a run works with, built once: the two systems, the books, the mappings, the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from adaptors.commcare.client import CommCareClient
from adaptors.moodle.client import MoodleClient
from adaptors.moodle.names import Names
from adaptors.moodle.sizes import Sizes
from adaptors.pace import Attend, Clock
from mappings.engine import Project
from state import Store
from state.care import LOG_KEPT

if TYPE_CHECKING:
    from flows.expiry import Expiry
    from flows.steps.planned import Planned, TablePlan

P = ParamSpec("P")
T = TypeVar("T")


class Books:
    """The store on its one writer thread, so that a slow disk never stops the requests in flight."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="books")
        self.store = self._thread.submit(open_store).result()

    async def do(self, method: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method of the store on its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(method, *args, **kwargs))

    def close(self) -> None:
        """Finish what is queued and close the store."""
        self._thread.submit(self.store.close).result()
        self._thread.shutdown()


class Progress(Protocol):
    """Where long work tells how far it is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Tell that `done` of `total` of a stage ("people", "courses", "cases") are done."""
        ...


def silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


def both(one: Progress, other: Progress) -> Progress:
    """Return somebody who tells two."""

    def tell(stage: str, done: int, total: int) -> None:
        one(stage, done, total)
        other(stage, done, total)

    return tell


def unwatched(row: Planned | TablePlan) -> None:
    """Tell nobody."""


@dataclass
class World:
    """The systems and books of one pair of Moodle site and project space."""

    moodle: MoodleClient
    commcare: CommCareClient
    books: Books
    project: Project
    clock: Clock
    target: tuple[str, str, str]
    """What the books are about: both addresses and the project space."""
    site_url: str = ""
    in_doubt_rest: float = 1200.0
    lease_ttl: float = 600.0
    history_kept: float = LOG_KEPT
    """How many seconds the log of what was written goes back."""
    sizes: Callable[[], Sizes] = field(default=Sizes)
    boot: str = ""
    """Which start of which machine this is: within it the clock that never jumps goes on."""
    watch: Callable[[Planned], None] = field(default=unwatched)
    """In a preview: is told of each row that a run would send."""
    watch_table: Callable[[TablePlan], None] = field(default=unwatched)
    """In a preview: is told of each lookup table what a run would do to it."""

    expiries: tuple[Expiry, ...] = ()
    expiry_days: int = 14
    """So many days before a token or key stops working, each run says so."""

    clock_offset: float | None = field(default=None, init=False)
    """Wall clock less the clock that never jumps, when this process looked last."""

    def __post_init__(self) -> None:
        self.moodle.names = Names(self.project.names.filters, self.project.names.language)

    def today(self) -> date:
        """Return the date in the project's time zone."""
        return datetime.fromtimestamp(self.clock.now(), self.project.time_zone).date()

    @property
    def most_parts(self) -> int | None:
        """Return how many processes may share what both systems may be asked; None: any number."""
        most = [client.most_parts for client in (self.moodle, self.commcare)]
        return min((parts for parts in most if parts is not None), default=None)

    def share(self, parts: int) -> None:
        """Keep to one of so many equal parts of what both systems may be asked."""
        self.moodle.share(parts)
        self.commcare.share(parts)

    async def begin(self) -> None:
        """Begin a run: Moodle's client is told whether these books know that Moodle from an earlier one."""
        store, (url, *_) = self.books.store, self.target
        self.moodle.begin(known=await self.books.do(store.knows_moodle, url))

    @contextmanager
    def attended_by(self, attend: Attend) -> Iterator[None]:
        """Have somebody told before each request to either system, and once a minute while one waits."""
        of_moodle, of_commcare = self.moodle.attended_by(attend), self.commcare.attended_by(attend)
        try:
            yield
        finally:
            self.moodle.attended_by(of_moodle)
            self.commcare.attended_by(of_commcare)

    async def close(self) -> None:
        """Close connections and books."""
        await self.moodle.close()
        await self.commcare.close()
        self.books.close()
