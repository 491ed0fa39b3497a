"""The books of a process that may die: in memory, without a thread, a fault before and after each commit.

A method of the store follows from what is in the books and from what it is given: what it did once in the same
books is known, so that a schedule costs the statements in which it differs from all the others.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection

from flows.world import Books
from state import StateError, Store
from state.digest import Names
from tests.proofs.faults import Faults

KEY = bytes(32)
MOST = 2000  # contents of the books that are kept at a time


@dataclass(frozen=True)
class Known:
    """What a method did: its answer, how many transactions it committed, and what was in the books then."""

    answer: Any
    commits: int
    content: bytes


class Memory(Books):
    """Books whose whole content can be taken out and put back."""

    def __init__(self) -> None:
        self.store = self._first = Store.open("sqlite://", key=KEY)
        self.database = self.store._database
        self.faults = Faults()
        self._connection: Any = self.database.engine.raw_connection().driver_connection
        self._known: dict[tuple[bytes, str, bytes], Known] = {}
        self._kept: dict[bytes, bytes] = {}
        self._commits, self._method = 0, ""
        self._statements: list[str] = []
        names = self.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        self._tables = [name for (name,) in names if not name.startswith(("sqlite_", "alembic_"))]
        self._there = self._content = self._keep()
        self._writing = self.database.writing
        self.database.writing = self._faulty  # type: ignore[method-assign]

    async def do(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run a method of the store, unless the process is dead."""
        await asyncio.sleep(0)
        self.faults.live()
        key = self._content, method.__name__, pickle.dumps((_named(args), kwargs))
        known = self._known.get(key)
        if self.faults.may_freeze() and (known or self._tried(key, method, args, kwargs)).commits:
            await self.faults.stand_still("commit")
            key, known = (self._content, *key[1:]), None
        if known is None or self.faults.strikes_within(known.commits):
            return self._really(key, method, args, kwargs)
        for _ in range(known.commits):
            self.faults.at("commit", method.__name__)
        self._content = known.content
        return known.answer.copy() if isinstance(known.answer, dict | list | set) else known.answer

    def _really(self, key: tuple[bytes, str, bytes], method: Any, args: Any, kwargs: Any) -> Any:
        self._materialise()
        commits, self._method = self._commits, method.__name__
        try:
            answer = method(*args, **kwargs)
        finally:
            self._there = self._content = self._keep() if self._commits > commits else self._content
        if not self.faults.dies_next:
            kept = answer.copy() if isinstance(answer, dict | list | set) else answer
            self._known[key] = Known(kept, self._commits - commits, self._content)
        return answer

    def _tried(self, key: tuple[bytes, str, bytes], method: Any, args: Any, kwargs: Any) -> Known:
        """Return what a method would do; the books stay as they are."""
        content, self.faults.quiet = self._content, True
        there = self._kept[content]
        try:
            self._really(key, method, args, kwargs)
        except StateError:
            pass  # it will say so again
        finally:
            self.faults.quiet, self._content = False, content
            self._kept[content] = there  # there may have been too many, and all were forgotten
            self.store._names = Names(self.database)  # what was learned is not in the books
        return self._known.get(key, Known(None, 0, content))

    def _materialise(self) -> None:
        """Let the database hold what the books hold."""
        if self._there != self._content:
            self._connection.deserialize(self._kept[self._content])
            self._there = self._content

    def _keep(self) -> bytes:
        """Keep what the database holds, and return what tells it from all else."""
        rows = [self._connection.execute(f"SELECT * FROM {name}").fetchall() for name in self._tables]  # noqa: S608
        content = blake2b(repr(rows).encode()).digest()
        if content not in self._kept:
            if len(self._kept) > MOST:
                self._kept.clear()
                self._known.clear()
            self._kept[content] = bytes(self._connection.serialize())
        return content

    @contextmanager
    def _faulty(self) -> Iterator[Connection]:
        """Give a connection in a transaction at whose commit a fault may strike."""
        with self._writing() as connection:
            yield connection
            self._commit()

    def _commit(self) -> None:
        """Let the fault of a commit strike; it is called when everything is ready, and nothing is done yet."""
        fault = self.faults.at("commit", self._method)
        if fault == "crash before":
            self.faults.die()
        if fault == "disk full":
            raise StateError("The disk is full.")
        self._commits += 1
        if fault == "crash after":
            self.faults.dies_next = True
        elif fault == "cancel":
            self.faults.cancel()

    def begin(self, faults: Faults) -> None:
        """Let a new process open the books."""
        self.faults = faults
        self.store = copy(self._first)
        self.store._names = Names(self.database)  # what an earlier process had learned is forgotten

    def take(self) -> bytes:
        """Return the books whole."""
        return self._kept[self._content]

    def put(self, books: bytes) -> None:
        """Put back what `take` gave."""
        self._connection.deserialize(books)
        self._there = self._content = self._keep()

    def rows(self, statement: str) -> list[Any]:
        """Read past the engine."""
        if self._kept:
            self._materialise()
        found: list[Any] = self._connection.execute(statement).fetchall()
        return found

    def deciding(self, indifferent: Mapping[str, str]) -> list[Any]:
        """Return every row, without the columns (by table, "*" for all) that decide nothing."""
        if not self._statements:
            for table in self._tables:
                names = [row[1] for row in self.rows(f"PRAGMA table_info({table})")]
                left = [name for name in names if name not in indifferent.get(table, "").split()]
                if indifferent.get(table) != "*":
                    self._statements.append(f"SELECT {', '.join(left)} FROM {table}")  # noqa: S608
        return [self.rows(statement) for statement in self._statements]

    def close(self) -> None:
        """Close the store."""
        self._first.close()


def _named(args: tuple[Any, ...]) -> list[Any]:
    """Return what a method is given, the store by its name: it is no more than its content."""
    return ["the store" if isinstance(arg, Store) else arg for arg in args]
