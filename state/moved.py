"""The mark of books that moved to another database: whoever opens them is told where they went."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Table

from state.database import Database
from state.errors import StateError
from state.tables import FACT

MOVED_TO = "@moved_to"
"""Fact: the place, without a password, where these books went; they are old from then on."""


def moved_to(connection: Connection) -> str:
    """Return where books moved to, "" when they did not."""
    return connection.scalar(FACT, {"name": MOVED_TO}) or ""


def refuse_moved(database: Database) -> None:
    """Raise StateError when the books moved away from here: what happened since is not in them."""
    with database.reading() as connection:
        refuse_if_moved(connection, database.place)


def refuse_if_moved(connection: Connection, place: str) -> None:
    """Raise StateError when the books moved away from a place, inside a transaction of the caller's."""
    there = moved_to(connection)
    if there:
        raise StateError(
            f"The books in {place} moved to {there}, and these are old. Name the new place in STATE_URL."
        )


def keep_out(connection: Connection, *tables: Table) -> None:
    """Let nobody else write into tables until the transaction ends; SQLite has one writer at a time anyway."""
    _lock(connection, "EXCLUSIVE", tables)


def stay_here(connection: Connection, place: str, table: Table) -> None:
    """Raise StateError as above; else the books cannot move away before the transaction, a write, has ended."""
    _lock(connection, "ROW EXCLUSIVE", [table])
    refuse_if_moved(connection, place)


def _lock(connection: Connection, mode: str, tables: Sequence[Table]) -> None:
    if connection.dialect.name == "postgresql":
        names = ", ".join(map(connection.dialect.identifier_preparer.format_table, tables))
        connection.exec_driver_sql(f"LOCK TABLE {names} IN {mode} MODE")
