"""The store: everything the flows ask of the books, over one database. Synchronous; used from one thread."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import ColumnElement, Connection, select, update

from state.backups import newest, open_rights
from state.care import Care
from state.cases import CHUNK, LIVES_AGAIN
from state.counts import Counts
from state.database import Database, file_of, there
from state.digest import chained
from state.elements import Elements
from state.errors import StateError
from state.feedback import Feedback
from state.history import History
from state.inbox import Inbox
from state.key import Keys
from state.lookup_rows import LookupRows
from state.matches import Matches
from state.moved import refuse_moved
from state.outcomes import Outcomes
from state.problems import Problems
from state.refusals import Refusals
from state.renames import Renames
from state.rotation import Rotation, key_mark, known_keys
from state.rounds import Rounds
from state.rows import Ours, RowId
from state.runs import Runs
from state.schema import prepare
from state.statuses import LIVING
from state.tables import at_row, case_row, row_parameters

SET_ASIDE = tuple(status for status in LIVING if status not in ("withdrawing", "closing"))
"""What a case is that goes with its key."""
PUT_ASIDE = update(case_row).where(at_row(case_row)).values(status="replaced", missing_run=case_row.c.status)
PUT_BACK = update(case_row).where(at_row(case_row)).values(status=LIVES_AGAIN, missing_run="")


class Store(
    Outcomes,
    Inbox,
    Matches,
    Feedback,
    History,
    Elements,
    LookupRows,
    Runs,
    Problems,
    Refusals,
    Rotation,
    Rounds,
    Care,
    Counts,
    Renames,
):
    """The books: cases and intents, courses, people, hints, runs, problems, facts, the lease, and their care.

    Every method is one transaction, and times are epoch seconds given by the caller. Raises StateError when the
    database cannot do what is asked of it.
    """

    @classmethod
    def open(
        cls, url: str, *, key: bytes | Keys, begun: Mapping[str, str] | None = None, is_copy: bool = False
    ) -> Self:
        """Open or make the books at an SQLAlchemy URL (`sqlite:///var/state.db`, `sqlite://` for memory).

        `key` is the secret of the digests, or the chain of them; `begun` are facts that books made now begin with.
        Older books are copied before their tables change, unless they are a copy themselves (`is_copy`).
        StateError when the database is damaged, written by a newer version, of something else, or moved away.
        """
        keys = (key,) if isinstance(key, bytes) else key
        if not all(keys):
            raise StateError("The key of the digests is empty. Name a key file in STATE_KEY_FILE.")
        database = Database(url)
        try:
            database.check()
            prepare(database, begun, is_copy=is_copy)
            refuse_moved(database)
            with database.reading() as connection:
                mark = key_mark(connection)
            return cls(database, known_keys(mark, keys) or keys, keys, mark)
        except BaseException:
            database.close()
            raise

    @staticmethod
    def exists(url: str) -> bool:
        """Say whether there are books to open: the file is there, not empty; of a server that is not asked."""
        return there(url)

    @staticmethod
    def readable_by_others(url: str) -> tuple[Path, ...]:
        """Return which files and folders of the books others may read or change; asked before they are opened."""
        file = file_of(url)
        return tuple(open_rights(file)) if file else ()

    @staticmethod
    def newest_backup(url: str) -> Path | None:
        """Return the newest backup of the books at a URL, whether these are there or not; None without one."""
        file = file_of(url)
        return newest(file) if file else None

    @property
    def is_in_place(self) -> bool:
        """Say whether these are still the books at their address: a restore puts another file there."""
        return self._database.is_in_place

    def close(self) -> None:
        """Close the books."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def replace_keys(self, mapping: str, fact: str, value: str, is_ours: Ours) -> int:
        """Set the living cases of a mapping aside whose keys it makes no more; returns how many.

        Those that were set aside before, and whose keys it makes again, are what they were; but for dirty ones,
        which CommCare may have closed: that is looked at with their records. The fact that says so is written in
        the same transaction. Cases that are to be emptied, or maybe closed, are not set aside: that is said first.
        """
        with self._database.writing() as connection:
            self._put(connection, fact, value)
            aside = self._with_keys(connection, mapping, SET_ASIDE, lambda *row: not is_ours(*row))
            back = self._with_keys(connection, mapping, ("replaced",), is_ours, case_row.c.digests.is_not(None))
            for rows, statement in ((aside, PUT_ASIDE), (back, PUT_BACK)):
                if rows:
                    connection.execute(statement, [row_parameters(row) for row in rows])
            return len(aside)

    @staticmethod
    def _with_keys(
        connection: Connection,
        mapping: str,
        statuses: Collection[str],
        is_meant: Ours,
        *wanted: ColumnElement[bool],
    ) -> list[RowId]:
        """Return the rows of a mapping with one of these statuses, and a key that is meant."""
        query = select(case_row.c.scope, case_row.c.key, case_row.c.user_id).where(
            case_row.c.mapping == mapping, case_row.c.status.in_(statuses), *wanted
        )
        rows = connection.execute(query.execution_options(yield_per=CHUNK))
        return [RowId(mapping, *row[:2]) for row in rows if is_meant(*row)]

    def count_by_key(self, mapping: str, is_ours: Ours) -> tuple[Counter[str], Counter[str]]:
        """Return how many cases of a mapping CommCare has by status: those whose key `is_ours`, and the others."""
        query = select(case_row.c.scope, case_row.c.key, case_row.c.user_id, case_row.c.status).where(
            case_row.c.mapping == mapping, case_row.c.case_id != ""
        )
        ours, others = Counter[str](), Counter[str]()
        with self._database.reading() as connection:
            for *row, status in connection.execute(query.execution_options(yield_per=CHUNK)):
                (ours if is_ours(*row) else others)[status] += 1
        return ours, others

    def under_other_keys(self, mapping: str, scope: int, is_old: Ours) -> dict[int, list[str]]:
        """Return the keys of the replaced cases of a scope by person, and of those gone whose key `is_old`."""
        query = select(case_row.c.key, case_row.c.status, case_row.c.user_id).where(
            case_row.c.mapping == mapping,
            case_row.c.scope == scope,
            case_row.c.status.in_(("replaced", "ended", "left")),
            case_row.c.user_id != 0,
        )
        found = defaultdict[int, list[str]](list)
        with self._database.reading() as connection:
            for key, status, user_id in connection.execute(query.execution_options(yield_per=CHUNK)):
                if status == "replaced" or is_old(scope, key, user_id):
                    found[user_id].append(key)
        return dict(found)

    def all_scopes(self, mapping: str) -> set[int]:
        """Return the scopes that hold rows of a mapping."""
        query = select(case_row.c.scope).distinct().where(case_row.c.mapping == mapping)
        with self._database.reading() as connection:
            return set(connection.scalars(query))

    def keep_case_ids(self, rows: Mapping[RowId, str]) -> None:
        """Remember under which ids CommCare has cases of which no answer told it."""
        self._put_each("case_id", rows)

    def digest(self, entity_key: str, name: str, value: str) -> bytes:
        """Return the keyed digest (16 bytes) of one value of one entity."""
        return chained(self._keys, entity_key, name, value)
