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
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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
SETTINGS = "listen_addresses=127.0.0.1 fsync=off synchronous_commit=off full_page_writes=off max_connections=60"


class NoServer(Exception):
    """There can be no server here; says why."""


class Server:
    """A server that is running; every `database` is a new and empty one."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._numbers = count(1)
        self._has_model = False

    def url(self, name: str) -> str:
        """Return the address of a database, as STATE_URL takes it."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    @contextmanager
    def database(self, *, like: str = "template1") -> Iterator[str]:
        """Make a database, empty or like another one, give its address, and drop it."""
        name = f"books_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {like}")
        try:
            yield self.url(name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def books(self) -> AbstractContextManager[str]:
        """Make a database with the tables of new books: copying them takes a fraction of making them."""
        if not self._has_model:
            self._execute(f"CREATE DATABASE {MODEL}")
            database = Database(self.url(MODEL))
            prepare(database)
            database.close()
            self._has_model = True
        return self.database(like=MODEL)

    def cut_off(self, url: str) -> None:
        """End all connections to a database."""
        name = url.rsplit("/", 1)[1]
        self._execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


def content(url: str) -> bytes:
    """Return everything that a database holds, as raw bytes."""
    found = bytearray()
    with psycopg.connect(url) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (name,) in names:
            with connection.cursor().copy(f'COPY "{name}" TO STDOUT (FORMAT binary)'.encode()) as rows:
                for part in rows:
                    found += part
    return bytes(found)


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
