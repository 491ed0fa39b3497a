"""Books that move to another database, SQLite or PostgreSQL: all tables in one go, compared before they count.

The new books become valid in one transaction, after they were read back and are the same. The old ones then say
where they moved to and are opened no more, so that nobody goes on with both. What others, a receiver for one,
write during the copy is copied too; from then until the old books say so nobody writes into them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, exists, func, insert, select, text

from state.database import Database
from state.errors import StateError
from state.moved import MOVED_TO, keep_out, moved_to
from state.schema import prepare
from state.server import may_stand_still
from state.tables import lease, meta, metadata

Sums = dict[str, tuple[int, int]]
"""Table -> how many rows it has, and a sum over them."""
AT_ONCE = 1000  # rows that are copied and compared at a time
TABLES = [table for table in metadata.sorted_tables if table is not lease]  # nobody holds the new books yet


@dataclass(frozen=True)
class Moved:
    """What was done: where the books are now, and how many rows each table has."""

    place: str
    rows: dict[str, int]

    @property
    def count(self) -> int:
        """Return how many rows there are in all."""
        return sum(self.rows.values())


def move(url: str, target: str, hold: Callable[[], None]) -> Moved:
    """Move the books at one SQLAlchemy URL to another; `hold` makes sure that their lease is still the caller's.

    The target must be empty, hold books that moved away from there, or be what a move that was cut off left there.
    StateError otherwise, and when the copy is not the same as what was copied: then nothing has changed.
    """
    old, new = Database(url), Database(target)
    try:
        if _are_one(old, new):
            raise StateError("The books are there already. Name another database.")
        prepare(new)
        with ExitStack() as closing:  # the new books are valid before the old ones are marked and open to others
            with new.writing() as sink:
                may_stand_still(sink)
                with old.reading() as source:
                    copied = _settle(source, sink, new)
                hold()
                closed = closing.enter_context(old.writing())
                may_stand_still(closed)
                keep_out(closed, *TABLES)
                rows = _catch_up(closed, sink, copied, new)
            _mark(closed, new.place)
        return Moved(new.place, rows)
    finally:
        old.close()
        new.close()


def _are_one(old: Database, new: Database) -> bool:
    if old.file is None or new.file is None:
        return old.url == new.url
    return old.file.samefile(new.file)  # opening made it, where it was missing


def _mark(connection: Connection, place: str) -> None:
    """Write into the old books where they went."""
    connection.execute(delete(meta).where(meta.c.name == MOVED_TO))
    connection.execute(insert(meta), {"name": MOVED_TO, "value": place})


def _settle(source: Connection, sink: Connection, new: Database) -> Sums:
    """Copy all tables and compare them; what is there already and the same stays. Returns what was read."""
    wanted = _summed(source)
    if _is_empty(sink) or moved_to(sink):
        for table in reversed([*TABLES, lease]):
            sink.execute(delete(table))
        for table in TABLES:
            _copy(source, sink, table)
        _count_on(sink, new)
    elif _summed(sink) != wanted:
        raise StateError(
            f"There are other books in {new.place} already. Name an empty database, or one that these books left."
        )
    _compare(sink, wanted, new)
    return wanted


def _catch_up(source: Connection, sink: Connection, copied: Sums, new: Database) -> dict[str, int]:
    """Copy once more the tables into which somebody wrote since; return how many rows each table has."""
    wanted = _summed(source)
    for table in TABLES:
        if wanted[table.name] != copied[table.name]:
            sink.execute(delete(table))
            _copy(source, sink, table)
    if wanted != copied:
        _count_on(sink, new)
        _compare(sink, wanted, new)
    return {name: count for name, (count, _) in wanted.items()}


def _compare(sink: Connection, wanted: Sums, new: Database) -> None:
    if _summed(sink) != wanted:
        raise StateError(f"What was copied to {new.place} is not what was read. Nothing has changed; try again.")


def _is_empty(connection: Connection) -> bool:
    return not any(connection.scalar(select(exists().select_from(table))) for table in TABLES)


def _copy(source: Connection, sink: Connection, table: Table) -> None:
    """Copy one table."""
    for rows in _chunks(source, table):
        sink.execute(insert(table), [row._asdict() for row in rows])


def _chunks(connection: Connection, table: Table) -> Iterator[list[Any]]:
    """Yield the rows of a table, some at a time, in the order of nobody."""
    found = connection.execute(select(table).execution_options(yield_per=AT_ONCE))
    for part in found.partitions(AT_ONCE):
        yield list(part)


def _summed(connection: Connection) -> Sums:
    """Return of each table how many rows it has and a sum over them that does not depend on their order."""
    found = {}
    for table in TABLES:
        count = total = 0
        for rows in _chunks(connection, table):
            count += len(rows)
            total += sum(map(_number, rows))
        found[table.name] = (count, total % 2**256)
    return found


def _number(row: Any) -> int:
    """Return a number that stands for a row with all its values."""
    values = [bytes(value) if isinstance(value, bytes | memoryview) else value for value in row]
    return int.from_bytes(hashlib.sha256(repr(values).encode("utf-8", "surrogatepass")).digest())


def _count_on(connection: Connection, database: Database) -> None:
    """Let a server give numbers from behind those that were copied."""
    if not database.is_postgresql:
        return
    for table in TABLES:
        column = table.autoincrement_column
        if column is None:
            continue
        highest = connection.scalar(select(func.max(column)))
        where = {"table": table.name, "column": column.name, "highest": highest or 1, "used": highest is not None}
        connection.execute(text("SELECT setval(pg_get_serial_sequence(:table, :column), :highest, :used)"), where)
