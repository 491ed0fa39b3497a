"""Prefect's own data folder: its settings, whether its database can be used, and who is at work in it.

Prefect is not imported here: what is wrong is said at once.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from flows.errors import UsageError
from flows.settings import KNOWN
from state import StateError
from state.folders import make_folder

DAY = 86_400
KEEPS = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(30 * DAY),
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P7D",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}
"""How long runs and events are kept, and that a slot taken by a run outlives the server; yours win over them."""
PASSWORD, SERVER_PASSWORD = "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"
"""Settings of Prefect: the password that is said to a server, and the one that a server asks for."""
NOT_PASSED_ON = ("PREFECT_PROFILE", "PREFECT_API_KEY", PASSWORD)
VERSION = "SELECT version_num FROM alembic_version"
DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"


def prefect_env(env: Mapping[str, str], home: Path, host: str, port: int) -> dict[str, str]:
    """Return the environment of Prefect's server: no telemetry, one address, everything kept in `home`.

    The settings of the two systems are not in it, since the server has no use for them.
    """
    kept = {name: value for name, value in env.items() if name not in KNOWN and name not in NOT_PASSED_ON}
    near = reach(host)
    direct = ",".join(filter(None, [env.get("NO_PROXY") or env.get("no_proxy"), "127.0.0.1,localhost", near]))
    return {
        **KEEPS,
        **kept,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://{in_url(near)}:{port}/api",
        "PREFECT_SERVER_API_HOST": host,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_API_URL": "/api",  # where the page came from: a proxy or a tunnel may be between
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_PROXY": direct,
        "no_proxy": direct,
        "PYTHONUNBUFFERED": "1",
    }


def reach(host: str) -> str:
    """Return where this computer reaches what listens on a host."""
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - asked about, not listened on


def in_url(host: str) -> str:
    """Return a host as it stands in an address."""
    return f"[{host}]" if ":" in host else host


@contextmanager
def alone(lock: Path, what: str) -> Iterator[None]:
    """Hold a lock file; UsageError when another `serve` holds it, with the address that it wrote there."""
    make_folder(lock.parent)
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            who = file.read().strip()
            raise UsageError(
                f"Another serve is at work on {what}{f' ({who})' if who else ''}. Stop it, or use that one."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def check_database(home: Path, env: Mapping[str, str]) -> None:
    """Look at Prefect's database before its server does; StateError with what to do when it cannot be used."""
    file = home / "prefect.db"
    if env.get(DATABASE) or not file.exists():
        return
    aside = f"mv {home} {home}.old"
    try:
        with closing(sqlite3.connect(file, timeout=5, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            query = "SELECT version_num FROM alembic_version"
            versions = (
                {version for (version,) in database.execute(query)} if "alembic_version" in tables else set()
            )
            database.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise StateError(f"Another program is at work on {file}, Prefect's database. Stop it first.") from None
        raise StateError(f"Prefect's database {file} cannot be opened: {error}.") from None
    except sqlite3.DatabaseError:
        raise StateError(
            f"Prefect's database {file} is damaged. It holds only the history of runs; what was sent is in the "
            f"books. Put the folder aside and start again: {aside}"
        ) from None
    if versions - known_versions() and known_versions():
        raise StateError(
            f"Prefect's database {file} was made by a newer Prefect than this one. Install that version again, or "
            f"put the folder aside (only the history of runs is lost): {aside}"
        )


def known_versions() -> set[str]:
    """Return the versions of the database that the installed Prefect knows, by the names of its migrations."""
    spec = importlib.util.find_spec("prefect")
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    files = [file for place in places for file in place.glob("server/database/_migrations/versions/sqlite/*.py")]
    return {part for file in files for part in file.stem.split("_")[4:5]}
