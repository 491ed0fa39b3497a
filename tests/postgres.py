"""A private PostgreSQL server for tests: in a temporary folder, on a free port of this machine, gone afterwards.

It runs where the server's programs are installed; elsewhere the tests that need it are skipped with the reason.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest

from state.database import Database
from state.schema import prepare

USER = "books"
MODEL = "model"
SHARED = os.environ.get("TMPDIR", "/tmp")  # a folder of a test is closed to the somebody as whom the server runs
PLACES = Path("/usr/lib/postgresql")  # where Debian puts the programs, one folder a version
SHAPE = (
    "SELECT relname, relkind::text, attname, atttypid::int, attnotnull, atthasdef FROM pg_class "
    "JOIN pg_attribute ON attrelid = pg_class.oid JOIN pg_namespace ON relnamespace = pg_namespace.oid "
    "WHERE attnum > 0 AND nspname <> 'information_schema' AND nspname !~ '^pg_' ORDER BY relname, attnum"
)
NOT_RUN = "NOT RUN: the tests on PostgreSQL."
SETTINGS = "listen_addresses=127.0.0.1 fsync=off synchronous_commit=off full_page_writes=off max_connections=60"


class NoServer(Exception):
    """There can be no server here; says why."""


class Server:
    """A server that is running; every `database` is a new and empty one."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._numbers = count(1)
        self._model: _Model | None = None
        self._spare: list[str] = []

    def url(self, name: str) -> str:
        """Return the address of a database, as STATE_URL takes it."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database, give its address, and drop it."""
        name = self._create("template1")
        try:
            yield self.url(name)
        finally:
            self._drop(name)

    @contextmanager
    def books(self) -> Iterator[str]:
        """Give the address of a database with the tables of new books.

        It is what another test has left, emptied, or a copy: copying takes a fraction of making the tables, and
        emptying a fraction of copying.
        """
        if self._model is None:
            self._execute(f"CREATE DATABASE {MODEL}")
            database = Database(self.url(MODEL))
            prepare(database)
            database.close()
            self._model = _Model(self.url(MODEL))
        name = self._spare.pop() if self._spare else self._create(MODEL)
        try:
            yield self.url(name)
        finally:
            if self._model.is_put_back(self.url(name)):
                self._spare.append(name)
            else:
                self._drop(name)

    def cut_off(self, url: str) -> None:
        """End all connections to a database."""
        name = url.rsplit("/", 1)[1]
        self._execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608

    def _create(self, like: str) -> str:
        name = f"books_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {like}")
        return name

    def _drop(self, name: str) -> None:
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


class _Model:
    """What new books look like on a server: the tables, and the few rows that are in them from the beginning."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(url) as connection:
            self._shape = connection.execute(SHAPE).fetchall()
            names = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
            ).fetchall()
            self._tables = [name for (name,) in names]
            self._rows = {name: _rows(connection, name) for name in self._filled(connection)}

    def is_put_back(self, url: str) -> bool:
        """Make used books new again; say whether that could be: not where a test has changed the tables."""
        with psycopg.connect(url) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            if connection.execute(SHAPE).fetchall() != self._shape:
                return False
            if filled := self._filled(connection):
                names = ", ".join(f'"{name}"' for name in filled)
                connection.execute(f"TRUNCATE {names} RESTART IDENTITY".encode())
            for name, rows in self._rows.items():
                with connection.cursor().copy(f'COPY "{name}" FROM STDIN (FORMAT binary)'.encode()) as copy:
                    copy.write(rows)
        return True

    def _filled(self, connection: psycopg.Connection) -> list[str]:
        """Return the tables that have rows."""
        one = "SELECT '{0}' WHERE EXISTS (SELECT FROM \"{0}\")"
        query = " UNION ALL ".join(one.format(name) for name in self._tables)
        return [name for (name,) in connection.execute(query.encode()).fetchall()]


def content(url: str) -> bytes:
    """Return everything that a database holds, as raw bytes."""
    found = bytearray()
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        ).fetchall()
        for (name,) in names:
            found += _rows(connection, name)
    return bytes(found)


def _rows(connection: psycopg.Connection, name: str) -> bytes:
    """Return all rows of a table, in the server's own format."""
    with connection.cursor().copy(f'COPY "{name}" TO STDOUT (FORMAT binary)'.encode()) as parts:
        return b"".join(parts)


def forget(url: str) -> None:
    """Take everything out of a database, as when it was lost and made anew."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(b"DROP SCHEMA public CASCADE")
        connection.execute(b"CREATE SCHEMA public")


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server while the block lasts; NoServer when it cannot be."""
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=SHARED))
    try:
        before = _as_somebody(folder)
        data, port = folder / "data", _free_port()
        _run(
            [*before, initdb, "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        )
        options = " ".join(f"-c {setting}" for setting in f"{SETTINGS} unix_socket_directories={folder}".split())
        control = [*before, pg_ctl, "-D", str(data), "-w", "-t", "30", "-l", str(folder / "log")]
        _run([*control, "-o", f"-p {port} {options}", "start"])
        try:
            yield Server(port)
        finally:
            _run([*control, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def why_none() -> str:
    """Return which program of a server is not here, "" when all are."""
    try:
        _program("initdb")
        _program("pg_ctl")
    except NoServer as error:
        return str(error)
    return ""


def not_run(skipped: Iterable[pytest.TestReport]) -> list[str]:
    """Return a line for each reason for which tests on a server were skipped, with their number."""
    told = [str(one.longrepr[2]) for one in skipped if isinstance(one.longrepr, tuple)]
    reasons = Counter(text.partition(NOT_RUN)[2].strip() for text in told if NOT_RUN in text)
    return [f"{NOT_RUN} {reason} Skipped: {number}." for reason, number in reasons.items()]


def _program(name: str) -> str:
    """Return where a program of the server is: in the PATH, or the newest one of PLACES."""
    places = sorted(PLACES.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    found = shutil.which(name) or (str(places[-1]) if places else None)
    if found is None:
        raise NoServer(f"PostgreSQL's {name} is not installed here.")
    return found


def _as_somebody(folder: Path) -> list[str]:
    """Return what to put before a command so that root does not run it: the server refuses root."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise NoServer("PostgreSQL does not run as root, and setpriv, to be somebody else, is not installed here.")
    try:
        somebody = pwd.getpwnam("nobody")
    except KeyError:
        raise NoServer("PostgreSQL does not run as root, and there is no user 'nobody' here.") from None
    os.chown(folder, somebody.pw_uid, somebody.pw_gid)
    return [setpriv, f"--reuid={somebody.pw_uid}", f"--regid={somebody.pw_gid}", "--clear-groups", "--"]


def _free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def _run(command: list[str]) -> None:
    """Run a command of the server; NoServer with its last line when it fails."""
    # Not through a pipe: the server would inherit it, and we would wait for its end.
    with tempfile.TemporaryFile("w+") as said:
        ran = subprocess.run(command, stdout=said, stderr=said, cwd="/", check=False, timeout=60)  # noqa: S603
        if ran.returncode:
            said.seek(0)
            lines = said.read().strip().splitlines() or ["nothing was said"]
            raise NoServer(f"PostgreSQL does not start here: {lines[-1]}")


@pytest.fixture(params=["sqlite", "postgresql"])
def both_books(request: pytest.FixtureRequest) -> Iterator[str]:
    """Say where the books of a test are, first in a file of its own (""), then on a server."""
    if request.param == "sqlite":
        yield ""
        return
    server: Server = request.getfixturevalue("postgres")
    with server.books() as url:
        yield url
