"""Books of other versions: those that an older one made, and those that only a newer one understands."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from alembic import command

from state import RowId
from state.database import Database
from state.schema import VERSION_TABLE, _config

ROW = RowId("enrolment", 2, "test-enrol-2-7")


def old_books(url: str, schema: str) -> None:
    """Make books as a version of then made them, with one case."""
    database = Database(url)
    with database.writing() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            f"INSERT INTO case_row VALUES ('enrolment', 2, '{ROW.key}', 'c', '', NULL, 'active', 0, '', 7, 1.0)"  # noqa: S608
        )
        command.upgrade(config, schema)
    database.close()


def make_newer(file: Path) -> None:
    """Let a file be of a version that there is not yet."""
    with sqlite3.connect(file) as other:
        other.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")  # noqa: S608
    other.close()
