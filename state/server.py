"""What only a PostgreSQL server needs: how it is opened, how a writer is alone, and what its refusals mean.

All of it holds for one transaction, so that poolers may give each to another connection.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, exc

PATIENCE = "30s"  # as long as SQLite waits
IDLE = "2min"
"""How long a writer may stand still: a frozen one holds up nobody for longer than that."""
SETTINGS: dict[str, Any] = {
    "isolation_level": "READ COMMITTED",
    "connect_args": {"client_encoding": "utf8", "prepare_threshold": None},  # whatever the server or a pooler does
}
ALONE = (
    "SELECT set_config('lock_timeout', %(patience)s, true), "
    "set_config('idle_in_transaction_session_timeout', %(idle)s, true), "
    "set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), true), "
    "pg_advisory_xact_lock(716540, hashtext(coalesce(current_schema(), '')))"  # the first is a number of ours
)
BUSY = "The state database {place} is held by another process. Let it finish, then run again."
STOOD_STILL = (
    "This process stood still while it wrote into the state database {place}, and the server ended that. Nothing "
    "of it was written; run again."
)
TOO_FEW_RIGHTS = (
    "The role {role} has too few rights in the state database {place}: {reason}. Let its owner run there: GRANT "
    "USAGE, CREATE ON SCHEMA public TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; GRANT ALL ON "
    "ALL SEQUENCES IN SCHEMA public TO {role}."
)
NOT_WHOLE = (
    "The books in the state database {place} are not whole: {reason}. Are they being put back? Let that end, then "
    "run again; otherwise put back a backup with pg_restore."
)
OTHERWISE = "The state database {place} cannot be used: {reason}. Check STATE_URL and the database."
TOLD = {
    "25P03": STOOD_STILL,  # idle in a transaction
    "3F000": TOO_FEW_RIGHTS,  # no schema to make tables in
    "40P01": BUSY,  # deadlock, with something that is not ours
    "42501": TOO_FEW_RIGHTS,
    "42703": NOT_WHOLE,  # no such column
    "42P01": NOT_WHOLE,  # no such table
    "55P03": BUSY,  # a lock was waited for too long
}
"""SQLSTATE -> what is said."""


def be_alone(connection: Connection) -> None:
    """Wait until nobody else writes into these books, and keep others waiting until the transaction ends.

    So do SQLite's writers. A commit is on disk when it returns. One statement: each is a way to the server.
    """
    connection.exec_driver_sql(ALONE, {"patience": PATIENCE, "idle": IDLE})


def may_stand_still(connection: Connection) -> None:
    """Let a writing transaction do nothing for long."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


def is_known(error: exc.DBAPIError) -> bool:
    """Say whether a refusal of the server is no mistake of ours."""
    return _code(error) in TOLD


def told(error: exc.DBAPIError, reason: str, place: str, role: str) -> str:
    """Say what an error means and what to do."""
    return TOLD.get(_code(error), OTHERWISE).format(reason=reason, place=place, role=role)


def _code(error: exc.DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""
