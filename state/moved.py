"""The mark of books that moved to another database: whoever opens them is told where they went."""

from __future__ import annotations

from sqlalchemy import Connection, select

from state.database import Database
from state.errors import StateError
from state.tables import meta

MOVED_TO = "@moved_to"
"""Fact: the place, without a password, where these books went; they are old from then on."""


def moved_to(connection: Connection) -> str:
    """Return where books moved to, "" when they did not."""
    return connection.scalar(select(meta.c.value).where(meta.c.name == MOVED_TO)) or ""


def refuse_moved(database: Database) -> None:
    """Raise StateError when the books moved away from here: what happened since is not in them."""
    with database.reading() as connection:
        place = moved_to(connection)
    if place:
        raise StateError(
            f"The books in {database.place} moved to {place}, and these are old. Name the new place in STATE_URL."
        )
