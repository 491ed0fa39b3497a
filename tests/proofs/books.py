"""The books of a process that may die: in memory, without a thread, a fault before and after each commit.

What a method read from the same books before need not be read again: a run differs from the next by one fault.
"""

from __future__ import annotations

import asyncio
import pickle
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, event

from flows.world import Books
from state import StateError, Store
from tests.proofs.faults import Faults

UNIMPORTANT = ("alembic_version", "run")  # what runs looked like decides nothing
KEY = bytes(32)
MOST = 100_000  # answers remembered


class Memory(Books):
    """Books whose whole content can be taken out and put back."""

    def __init__(self) -> None:
        self.store = self._first = Store.open("sqlite://", key=KEY)
        self.database = self.store._database
        self.faults = Faults()
        self._connection = self.database.engine.raw_connection().driver_connection
        self._known: dict[tuple[bytes, str, bytes], Any] = {}
        self._version = b""
        self._accidents = self._commits = 0
        self._statements = [f"SELECT * FROM {name}" for name in self._names() if name not in UNIMPORTANT]  # noqa: S608
        event.listen(self.database.engine, "commit", self._commit)

    def _names(self) -> list[str]:
        rows = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        return [name for (name,) in rows if not name.startswith("sqlite_")]

    async def do(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run a method of the store, unless the process is dead."""
        await asyncio.sleep(0)
        self.faults.live()
        key = self._version, method.__name__, pickle.dumps((args, kwargs))
        if key not in self._known:
            commits = self._commits
            try:
                found = method(*args, **kwargs)
            except BaseException:
                self._accidents += 1
                self._version = b"?%d" % self._accidents  # whatever is in them now, nobody has read it
                raise
            if self._commits > commits:
                self._version = blake2b(b"".join((key[0], key[1].encode(), key[2]))).digest()
                return found
            self._known[key] = found
        found = self._known[key]
        return found.copy() if isinstance(found, dict | list | set) else found

    def _commit(self, connection: Connection) -> None:
        """Let the fault of a commit strike; it is called when everything is ready, and nothing is done yet."""
        if not connection.get_execution_options().get("state_writes"):
            return
        self._commits += 1
        fault = self.faults.at("commit", "")
        if fault == "crash before":
            self.faults.die()
        elif fault == "disk full":
            raise StateError("The disk is full.")
        elif fault == "crash after":
            self.faults.dies_next = True
        elif fault == "cancel":
            self.faults.cancel()

    def begin(self, faults: Faults) -> None:
        """Let a new process open the books."""
        self.faults = faults
        self.store = Store(self.database, KEY)

    def take(self) -> bytes:
        """Return the books whole."""
        return bytes(self._connection.serialize())

    def put(self, books: bytes, version: bytes) -> None:
        """Put back what `take` gave; `version` tells contents apart."""
        self._connection.deserialize(books)
        self._version = version
        if len(self._known) > MOST:
            self._known.clear()

    def content(self) -> list[Any]:
        """Return all that decides what later runs do: every row but those of the runs themselves."""
        return [sorted(self.rows(statement), key=repr) for statement in self._statements]

    def rows(self, statement: str) -> list[Any]:
        """Read past the engine."""
        return self._connection.execute(statement).fetchall()

    def close(self) -> None:
        """Close the store."""
        self._first.close()

