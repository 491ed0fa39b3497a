"""Books that open quickly: tests open thousands of them, and what is the same each time is worked out once.

Nothing else is different: the statements are those of the engine, and so are the files and the locks.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event

import state.database
import state.schema
from state.tables import metadata

SAFE = state.database.PRAGMAS
UNSAFE = (SAFE[0], "PRAGMA synchronous=OFF", *(one for one in SAFE[1:] if "synchronous" not in one))
"""A test ends before the power does: a killed process loses nothing without FULL either.

It stands before the journal, since to begin one is a write that would be waited for.
"""


def quicken(patch: pytest.MonkeyPatch) -> None:
    """Let the books of this process open quickly."""
    patch.setattr(state.database, "PRAGMAS", UNSAFE)
    patch.setattr(os, "fsync", lambda _: None)
    patch.setattr(state.database, "create_engine", _engine)
    patch.setattr(state.schema, "metadata", Tables())


class Tables:
    """The tables of new books: the statements that make them are put together once a process."""

    def create_all(self, connection: Connection) -> None:
        """Make the tables as the engine does."""
        if connection.dialect.name != "sqlite":
            metadata.create_all(connection)
            return
        for statement in _making():
            connection.exec_driver_sql(statement)


def _engine(url: Any, **settings: Any) -> Engine:
    """Make an engine that compiles no statement that another one of this process has compiled."""
    made = create_engine(url, **settings)
    if made.dialect.name == "sqlite":
        model = _model()
        made.dialect, made._compiled_cache = model.dialect, model._compiled_cache
    return made


@cache
def _model() -> Engine:
    """Make the engine whose compiled statements the others share."""
    made = create_engine("sqlite://", query_cache_size=2000)
    with made.connect():  # its dialect looks at the version of SQLite now
        return made


@cache
def _making() -> tuple[str, ...]:
    """Return the statements with which SQLAlchemy makes the tables."""
    made, said = create_engine("sqlite://"), list[str]()
    event.listen(made, "before_cursor_execute", lambda *told: said.append(told[2]))
    with made.begin() as connection:
        metadata.create_all(connection)
    made.dispose()
    return tuple(statement for statement in said if not statement.lstrip().startswith("PRAGMA"))
