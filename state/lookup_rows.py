"""Lookup tables in the books: which row of CommCare holds which key, and what was written to it last."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import case, delete, func, select

from state.books import Books
from state.lease import Held, require_held
from state.tables import lookup_row, lookup_table, meta

WRITTEN = "@table_written:"  # fact: the ID of a table behind it -> when rows of it were written last


@dataclass(frozen=True, slots=True)
class TableRowKnown:
    """A row: its id in CommCare, the digest of what it holds, and how many complete reads in a row lacked it."""

    row_id: str
    digest: bytes
    missing_count: int = 0


@dataclass(frozen=True, slots=True)
class TableCount:
    """A table in numbers: its rows, those of them that the last read lacked, and times in epoch seconds.

    `doubt_at`: since when a write is in doubt, None for none; `written_at`: when rows were written last, 0.0 when
    that is not known.
    """

    tag: str
    rows: int
    missing: int = 0
    doubt_at: float | None = None
    written_at: float = 0.0


class LookupRows(Books):
    """The rows of lookup tables by key, and since when a write to a table is in doubt."""

    def table_rows(self, tag: str) -> dict[str, TableRowKnown]:
        """Return the rows that a table is known to have, by key."""
        columns = (lookup_row.c.key, lookup_row.c.row_id, lookup_row.c.digest, lookup_row.c.missing_count)
        query = select(*columns).where(lookup_row.c.tag == tag).order_by(lookup_row.c.key)
        with self._database.reading() as connection:
            return {row.key: TableRowKnown(*row[1:]) for row in connection.execute(query)}

    def table_in_doubt(self, tag: str) -> float | None:
        """Return when a write began whose outcome is not known; None when there is none."""
        query = select(lookup_table.c.doubt_at).where(lookup_table.c.tag == tag)
        with self._database.reading() as connection:
            return connection.scalar(query)

    def count_tables(self) -> list[TableCount]:
        """Return the tables that have rows, or had a write, in numbers and by their ID."""
        lacked = func.sum(case((lookup_row.c.missing_count > 0, 1), else_=0))
        counted = select(lookup_row.c.tag, func.count(), lacked).group_by(lookup_row.c.tag)
        facts = select(meta.c.name, meta.c.value).where(meta.c.name.startswith(WRITTEN, autoescape=True))
        with self._database.reading() as connection:
            rows = {tag: (count, int(missing)) for tag, count, missing in connection.execute(counted)}
            written = {name.removeprefix(WRITTEN): float(at) for name, at in connection.execute(facts)}
            doubts = {row.tag: row.doubt_at for row in connection.execute(select(lookup_table))}
        return [
            TableCount(tag, *rows.get(tag, (0, 0)), doubts.get(tag), written.get(tag, 0.0))
            for tag in sorted({*rows, *written, *doubts})
        ]

    def note_table_write(
        self, tag: str, now: float | None, *, written: float | None = None, ours: Held | None = None
    ) -> None:
        """Write down that a table is about to be written to; None: all of it was answered.

        `written`: when rows were written, if any were. Raises StateError when the lease that is `ours` was lost.
        """
        with self._database.writing() as connection:
            if ours is not None:
                require_held(connection, ours)
            doubt = self._database.upsert(lookup_table, "doubt_at")
            connection.execute(doubt, {"tag": tag, "doubt_at": now})
            if written is not None:
                fact = {"name": f"{WRITTEN}{tag}", "value": str(written)}
                connection.execute(self._database.upsert(meta, "value"), fact)

    def save_table_rows(self, tag: str, saved: Mapping[str, TableRowKnown], removed: Collection[str] = ()) -> None:
        """Remember rows, and forget those that were taken away, in one transaction."""
        with self._database.writing() as connection:
            for key in sorted({*saved, *removed}):
                connection.execute(delete(lookup_row).where(lookup_row.c.tag == tag, lookup_row.c.key == key))
            rows = [
                {
                    "tag": tag,
                    "key": key,
                    "row_id": row.row_id,
                    "digest": row.digest,
                    "missing_count": row.missing_count,
                }
                for key, row in sorted(saved.items())
            ]
            if rows:
                connection.execute(self._database.insert(lookup_row), rows)
