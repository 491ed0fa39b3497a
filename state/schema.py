"""The schema's age: a new database gets the tables, an older one is brought up, a newer or foreign one refused."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, insert, inspect, text

from state.backups import prune, upgrade_name, upgrades
from state.database import Database
from state.errors import NewerError, StateError
from state.tables import meta, metadata

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0010"  # the newest revision in migrations/versions
VERSION_TABLE = "state_version"  # not Alembic's own name: Prefect keeps its revision there, maybe in this database


def prepare(database: Database, begun: Mapping[str, str] | None = None, *, is_copy: bool = False) -> None:
    """Bring the tables to the newest revision; StateError when the database is newer than us or not ours.

    `begun` are facts that new books begin with, from the transaction on that makes them. Older ones in a file are
    copied first, unless they are a copy themselves (`is_copy`); StateError when that fails, and nothing changes.
    """
    with database.reading() as connection:
        if revision(connection) == HEAD:
            return
    with database.writing() as connection:  # looks again: another process may have been faster
        found = revision(connection)
        if found == HEAD:
            return
        _refuse(connection, found, database)
        if found is None:
            _create(connection, begun or {})
        else:
            if database.file is not None and not is_copy:
                _keep(database, database.file, found)
            _upgrade(connection)


def _keep(database: Database, file: Path, found: str) -> None:
    """Copy the books of an older schema beside them, as the way back; the lock of the caller is held meanwhile.

    The moment in its name is that at which this process opened the file.
    """
    try:
        database.copy_to(upgrade_name(file, file.stat().st_mtime, found))
    except StateError as error:
        raise StateError(
            f"The books keep their schema {found} and are not brought to {HEAD}, since there is no copy to go "
            f"back to. {error}"
        ) from None
    prune(file)


def revision(connection: Connection) -> str | None:
    """Return the revision of the tables, None where there are none of ours."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    return None if found is None else str(found)


def _refuse(connection: Connection, found: str | None, database: Database) -> None:
    """Raise StateError unless the database is empty or holds an older revision of ours."""
    place = database.place
    if found is None:
        if inspect(connection).get_table_names():
            raise StateError(f"{place} is a database of something else. Name an empty or a new one in STATE_URL.")
    elif found not in known():
        raise NewerError(
            f"{place} was written by a newer moodle-commcare (schema {found}, this one knows {HEAD}). "
            "Install the newer version again, or restore a backup made before it was "
            f"installed{_way_back(database)}."
        )


def _way_back(database: Database) -> str:
    """Name the newest copy that an upgrade left and this version can read, where there is one."""
    found = [] if database.file is None else upgrades(database.file)
    fit = [copy for copy, schema in found if schema in known()]
    return f": `moodle-commcare state restore {shlex.quote(str(fit[-1]))}`" if fit else ""


def known() -> list[str]:
    """Return the revisions this code knows, newest first."""
    from alembic.script import ScriptDirectory  # 0.1 s, only needed when there is something to migrate

    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def _create(connection: Connection, begun: Mapping[str, str]) -> None:
    """Make the tables of a new database as they are now; what all revisions one after the other would make."""
    metadata.create_all(connection)
    for name, value in begun.items():
        connection.execute(insert(meta), {"name": name, "value": value})
    connection.execute(text(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES ('{HEAD}')"))  # noqa: S608


def _upgrade(connection: Connection) -> None:
    """Run the missing revisions inside the caller's transaction."""
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    """Return Alembic's settings; made here so that an installed package needs no alembic.ini."""
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
