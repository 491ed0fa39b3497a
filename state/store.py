"""The store: everything the flows ask of the books, over one database. Synchronous; used from one thread."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from sqlalchemy import update

from state.audits import Audits
from state.cases import LIVING
from state.courses import Courses
from state.database import Database, there
from state.digest import digest
from state.elements import Elements
from state.errors import StateError
from state.facts import Facts
from state.lease import Lease
from state.outcomes import Outcomes
from state.problems import Problems
from state.refusals import Refusals
from state.runs import Runs
from state.schema import prepare
from state.tables import case_row

KEY_MARK = "@key"  # fact in the books: a digest of nothing, by which a lost key is noticed


class Store(Outcomes, Audits, Elements, Courses, Runs, Problems, Refusals, Facts, Lease):
    """The books: cases and intents, courses, runs, problems, small facts and the lease.

    Every method is one transaction, and times are epoch seconds given by the caller. Raises StateError when the
    database cannot do what is asked of it.
    """

    @classmethod
    def open(cls, url: str, *, key: bytes) -> Self:
        """Open or make the books at an SQLAlchemy URL (`sqlite:///var/state.db`, `sqlite://` for memory).

        `key` is the secret of the digests. StateError when the database is damaged, written by a newer version,
        or of something else.
        """
        if not key:
            raise StateError("The key of the digests is empty. Name a key file in STATE_KEY_FILE.")
        database = Database(url)
        try:
            database.check()
            prepare(database)
        except BaseException:
            database.close()
            raise
        return cls(database, key)

    @staticmethod
    def exists(url: str) -> bool:
        """Say whether there are books to open: the file is there; of a server that is not asked."""
        return there(url)

    def close(self) -> None:
        """Close the books."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def take_key(self) -> None:
        """Make every row dirty when its digests were made with another key: they tell nothing any more."""
        mark = digest(self._key, "", KEY_MARK, "").hex()
        known = self.get(KEY_MARK)
        if known == mark:
            return
        with self._database.writing() as connection:
            if known is not None:
                connection.execute(update(case_row).values(digests=None))
            self._put(connection, KEY_MARK, mark)

    def replace_keys(self, mapping: str, fact: str, value: str) -> int:
        """Set all living cases of a mapping aside, because it makes other keys now; returns how many.

        The fact that says so is written in the same transaction.
        """
        rows = update(case_row).where(case_row.c.mapping == mapping, case_row.c.status.in_(LIVING))
        with self._database.writing() as connection:
            self._put(connection, fact, value)
            return connection.execute(rows.values(status="replaced")).rowcount

    def digest(self, entity_key: str, name: str, value: str) -> bytes:
        """Return the keyed digest (16 bytes) of one value of one entity."""
        return digest(self._key, entity_key, name, value)
