"""One database, SQLite or PostgreSQL: where it is, how it is opened, and its two kinds of transaction.

SQLite is set to survive a power cut (FULL) and to lock at the start of a writing transaction: one that reads
first and writes later fails at once when another process wrote in between, whatever the busy timeout says. A
server's writers are alone from their start too.
"""

from __future__ import annotations

import logging
import shlex
import shutil
import sqlite3
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine, Table, create_engine, event, exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import StaticPool

from state import server
from state.address import clear_address
from state.backups import BESIDE, is_begun, newest, write_copy
from state.errors import DamagedError, StateError
from state.folders import make_folder

log = logging.getLogger(__name__)
PRAGMAS = (
    "PRAGMA busy_timeout=30000",  # first: the next one may have to wait for another process
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA cache_size=-8192",
)
RESTORE = (
    "Put the newest backup back: `moodle-commcare state restore {backup}`. Without a backup, move the file aside "
    "together with its -wal and -shm files, and leave the key file where it is: the next run begins new books and "
    "rests, since CommCare may still be at work on what the old ones sent; then each case is found again by its "
    "external id."
)
LEFT_OVER = (
    "The state file {file} is not there, or empty, and {left} is: it was lost, maybe while something has it open. "
    "Stop that, a receiver for one. "
)
PUT_BACK = (
    "The state file {file} was put back, or begun anew, while this process had the old one open. Nothing more is "
    "written to that; run again."
)
NARROWED = "Others on this machine could read or change %s: its rights were narrowed from %o to %o."
MISTAKES = (exc.IntegrityError, exc.ProgrammingError, exc.InterfaceError)
LITTLE_ROOM = 1_000_000  # bytes: SQLite needs some beside the file to open it


class Database:
    """A database at an SQLAlchemy URL; used from one thread at a time."""

    def __init__(self, url: str) -> None:
        self.url = parsed(url)
        self.file = _file(self.url)
        if self.file is not None:
            self._refuse_left_over(self.file)
            _prepare_file(self.file)
        self._inode = _inode(self.file)
        self.engine = _engine(self.url)
        self._reader = self.engine
        self._idle = deque[Connection]()  # SQLite's, while nobody works with them
        if self.is_postgresql:
            self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ")

    @property
    def is_postgresql(self) -> bool:
        """Say whether this is a server and not a file."""
        return self.engine.dialect.name == "postgresql"

    @property
    def place(self) -> str:
        """Return where the books are, fit for a message: no password in it."""
        return str(self.file) if self.file else self.url.set(query={}).render_as_string(hide_password=True)

    @property
    def is_in_place(self) -> bool:
        """Say whether the file is still the one that was opened: a restore puts another one there.

        Raises StateError when there is none, as for a moment of a restore.
        """
        inode = _inode(self.file)
        if self.file is not None and not inode:
            raise StateError(f"The state file {self.place} is not there. Is it being put back?")
        return self._inode == inode

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one moment of the books and waits for no writer."""
        with self._explained(), self._begun(self._reader, "BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in a transaction: all of it is on disk when the block ends, or nothing of it.

        Raises StateError when another file is in the place of this one: who puts it there keeps others waiting
        meanwhile, so it is looked for once nobody else writes. That costs a few microseconds. Nobody else writes
        until the block ends; StateError when somebody does for longer than half a minute.
        """
        with self._explained(), self._begun(self.engine, "BEGIN IMMEDIATE") as connection:
            if self.is_postgresql:
                server.be_alone(connection)
            if not self.is_in_place:
                raise StateError(PUT_BACK.format(file=self.place))
            yield connection

    @contextmanager
    def _begun(self, engine: Engine, statement: str) -> Iterator[Connection]:
        """Give a connection in a transaction; SQLite is told how to begin it.

        Past SQLAlchemy, which takes longer than SQLite, and without an event of its engine: each costs them all.
        For the same reason SQLite's connection is kept, unless something failed: then the pool rolls it back.
        """
        if self.is_postgresql:
            with engine.begin() as connection:
                yield connection
            return
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = engine.connect()
        try:
            raw = cast(sqlite3.Connection, connection.connection.driver_connection)
            try:
                raw.execute(statement)
            except sqlite3.Error as error:
                raise exc.OperationalError(statement, {}, error) from None
            with connection.begin():
                yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    def insert(self, table: Table) -> sqlite.Insert:
        """Return an INSERT that has on_conflict_do_update, in the dialect of this database."""
        return _insert(table, self.is_postgresql)

    def insert_new(self, table: Table) -> sqlite.Insert:
        """Return an INSERT that leaves rows alone which are there."""
        return _insert_new(table, self.is_postgresql)

    def upsert(self, table: Table, *columns: str) -> sqlite.Insert:
        """Return an INSERT that has rows which are there take over these columns."""
        return _upsert(table, columns, self.is_postgresql)

    def check(self) -> None:
        """Look for damage in an SQLite file (0.5-0.8 s for a million rows); raise StateError when there is some.

        SQLite keeps no checksums: lost and misplaced pages are found, a flipped bit in a value is not.
        """
        if self.file is None:
            return
        with self.reading() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if found != "ok":
            raise DamagedError(f"The state file {self.place} is damaged. {self._restore}")

    def copy_to(self, target: Path) -> None:
        """Copy an SQLite database, as it is at one moment, into a new file; StateError when that fails."""
        with self.reading() as connection:
            raw = connection.connection.dbapi_connection
            if isinstance(raw, sqlite3.Connection):
                write_copy(raw, target)

    def server_time(self) -> float | None:
        """Return the server's clock (epoch); None where there is no server."""
        if not self.is_postgresql:
            return None
        with self.reading() as connection:
            return float(connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar() or 0)

    def _refuse_left_over(self, file: Path) -> None:
        """Raise StateError where only a log is left of the books: SQLite would take it for that of new ones.

        The log is looked for first: whoever makes new books meanwhile has the file before that.
        """
        left = [name for end in BESIDE if (name := file.with_name(file.name + end)).exists()]
        if left and not is_begun(file):
            raise StateError(LEFT_OVER.format(file=file, left=left[0].name) + self._restore)

    @property
    def _restore(self) -> str:
        """Return how damaged books are put back, with the name of the newest backup."""
        found = None if self.file is None else newest(self.file)
        return RESTORE.format(backup=shlex.quote(str(found)) if found else "FILE")

    def close(self) -> None:
        """Close the connections."""
        while self._idle:
            self._idle.pop().close()
        self.engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the database itself cannot do into a StateError; mistakes of ours pass unchanged."""
        try:
            yield
        except exc.DBAPIError as error:
            if isinstance(error, MISTAKES) and not server.is_known(error):
                raise
            raise self._told(error) from None

    def _told(self, error: exc.DBAPIError) -> StateError:
        """Say what happened to the database and what to do; never with the values of a statement."""
        reason = (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0]
        if self.file is None:
            role = self.engine.dialect.identifier_preparer.quote(self.url.username or "ROLE")
            return StateError(server.told(error, reason, self.place, role))
        if any(word in reason for word in ("disk I/O error", "is full")) and _is_full(self.file):
            return StateError(
                f"There is no room on the disk of the state file {self.place}. Make room, then run again; the "
                "books are whole, and nothing is lost."
            )
        if any(word in reason for word in ("malformed", "not a database", "disk I/O error")):
            return DamagedError(
                f"The state file {self.place} is damaged or no state file at all ({reason}). {self._restore}"
            )
        if "locked" in reason:
            return StateError(
                f"The state file {self.place} is held by another process. Let it finish, then run again."
            )
        return StateError(
            f"The state file {self.place} cannot be used: {reason}. Check the disk and the rights of the folder."
        )


def _insert(table: Table, is_postgresql: bool) -> sqlite.Insert:
    if is_postgresql:
        return cast(sqlite.Insert, postgresql.insert(table))  # same methods, no common class
    return sqlite.insert(table)


@cache
def _insert_new(table: Table, is_postgresql: bool) -> sqlite.Insert:
    return _insert(table, is_postgresql).on_conflict_do_nothing()


@cache
def _upsert(table: Table, columns: tuple[str, ...], is_postgresql: bool) -> sqlite.Insert:
    insert = _insert(table, is_postgresql)
    taken_over = {column: insert.excluded[column] for column in columns}
    return insert.on_conflict_do_update(index_elements=[*table.primary_key.columns], set_=taken_over)


def parsed(url: str) -> URL:
    """Read a STATE_URL; StateError, without it, when it is none or names a database we do not work with."""
    try:
        clear_address(url)
    except ValueError as error:
        raise StateError(f"STATE_URL {error}.") from None
    try:
        found = make_url(url)
    except exc.ArgumentError:
        found = None
    except ValueError:  # it quotes what stands there, maybe a password without a server behind it
        raise StateError(
            "STATE_URL names a port that is no number. Write it as postgresql://user:password@server:5432/database."
        ) from None
    kind = "" if found is None else found.get_backend_name()
    if (
        found is None
        or kind not in ("sqlite", "postgresql")
        or (kind == "sqlite" and (found.host or found.username))
    ):
        raise StateError("STATE_URL must begin with sqlite:/// (a file) or postgresql:// (a server).")
    return found


def there(url: str) -> bool:
    """Say whether the file of an SQLite URL holds something; True for memory and servers. StateError without."""
    file = file_of(url)
    return file is None or is_begun(file)


def file_of(url: str) -> Path | None:
    """Return the file of an SQLite URL, None for memory and for servers. StateError for no URL."""
    return _file(parsed(url))


def _file(url: URL) -> Path | None:
    """Return the file of an SQLite URL, None for memory and for servers."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database).expanduser()


def _inode(file: Path | None) -> int:
    """Return the number of a file on its disk, 0 where there is none."""
    try:
        return 0 if file is None else file.stat().st_ino
    except OSError:
        return 0


def _prepare_file(file: Path) -> None:
    """Make the file (0600) and its folder (0700) where missing; take the rights to the file away from others."""
    try:
        make_folder(file.parent)
        file.touch(mode=0o600, exist_ok=True)
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & 0o077:
            file.chmod(mode & 0o700)
            log.warning(NARROWED, file, mode, mode & 0o700)
    except OSError as error:
        raise StateError(
            f"The state file {file} cannot be made or protected: {error.strerror}. "
            "Choose another place with STATE_URL, or correct the owner of the file and its folder."
        ) from None


def _engine(url: URL) -> Engine:
    """Make the engine; statements never show their values in an error."""
    settings: dict[str, Any] = {"hide_parameters": True}
    if url.get_backend_name() == "postgresql":
        url, settings = url.set(drivername="postgresql+psycopg"), settings | server.SETTINGS
    if url.get_backend_name() == "sqlite":
        file = _file(url)
        if file is None:
            settings |= {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
        else:
            url = url.set(database=str(file))
    try:
        engine = create_engine(url, **settings)
    except ModuleNotFoundError as error:
        raise StateError(
            f"STATE_URL names a PostgreSQL server, and {error.name} is not installed. "
            "Run: pip install 'psycopg[binary]>=3.3,<4'"
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up)
    return engine


def _is_full(file: Path) -> bool:
    """Say whether a disk has no room; SQLite then tells of a disk error as if it were broken."""
    try:
        return shutil.disk_usage(file.parent).free < LITTLE_ROOM
    except OSError:
        return False


def _set_up(connection: sqlite3.Connection, _record: object) -> None:
    """Set up a new SQLite connection; the driver's own opening of transactions is switched off."""
    connection.isolation_level = None
    for pragma in PRAGMAS:
        connection.execute(pragma)
