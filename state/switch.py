"""One file takes the place of the books: a stop at any moment leaves the old ones whole, or the new ones.

Others may have the books open, a receiver for one. What they committed last stands in the -wal file beside, maybe
for long: first all of it goes into the file itself, and nobody adds to it until the new file is there.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from state.backups import BESIDE, is_begun, moment
from state.errors import StateError

PATIENCE_S = 30.0
TRIES = 10  # in that time: each waits for its part of it
STAND_IN = "-old"  # ends the name of the copy that is the old books while these get their other name
BUSY = (
    "Something is in the middle of its work with the books in {file}: a receiver, or a command that reads them. "
    "Stop it, or let it finish, then try again. Nothing was changed."
)


@contextmanager
def held_still(file: Path) -> Iterator[None]:
    """Have all of the books in the file itself, and nobody write into them, until the block ends.

    StateError when somebody is at work with them for longer than half a minute.
    """
    connection = sqlite3.connect(file, timeout=PATIENCE_S / TRIES, isolation_level=None)
    try:
        if not _is_still(connection, file):
            raise StateError(BUSY.format(file=file))
        yield
    finally:
        connection.close()


def exchange(file: Path, fresh: Path, now: float) -> Path | None:
    """Put a fresh file in the place of the books; return the name under which they are kept, None without any.

    Those who have them open keep the file that gets the other name, and see that it is not in its place any more.
    So what SQLite has beside it is taken away only when a copy, which nobody has open, stands in for it. What is
    left beside books that are gone goes first: it would be replayed into the fresh file.
    """
    if not is_begun(file):
        _clear(file, _free_name(file, now))
        fresh.replace(file)
        return None
    stand_in = fresh.with_name(fresh.name + STAND_IN)
    _copy(file, stand_in)
    aside = _second_name(file, now)
    stand_in.replace(file)
    _clear(file, aside)
    fresh.replace(file)
    return aside


def _is_still(connection: sqlite3.Connection, file: Path) -> bool:
    """Move what is beside the file into it and begin to write; False when somebody does not let us."""
    log = file.with_name(f"{file.name}-wal")
    for _ in range(TRIES):
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # or the next line does nothing
            if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                continue  # somebody writes, or reads what is older, and was waited for
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                continue
            raise StateError(f"The books in {file} cannot be exchanged: {error}. Nothing was changed.") from None
        if not log.exists() or log.stat().st_size == 0:
            return True
        connection.execute("ROLLBACK")  # somebody wrote in between
    return False


def _second_name(file: Path, now: float) -> Path:
    """Give a file another name beside its own."""
    aside = _free_name(file, now)
    try:
        os.link(file, aside)
    except OSError:  # a disk without second names
        _copy(file, aside)
    return aside


def _free_name(file: Path, now: float) -> Path:
    """Return a name beside a file under which nothing is kept, no log either."""
    names = (file.with_name(f"{file.name}.aside-{moment(now)}-{number:02}") for number in range(1, 1000))
    ends = ("", *BESIDE)
    return next(name for name in names if not any(name.with_name(name.name + end).exists() for end in ends))


def _copy(file: Path, target: Path) -> None:
    """Copy a file to one that is ours alone, and wait until it is on disk; StateError when that fails."""
    try:
        target.unlink(missing_ok=True)
        target.touch(mode=0o600)
        shutil.copyfile(file, target)
        with target.open("rb+") as written:
            os.fsync(written.fileno())
    except OSError as error:
        with suppress(OSError):
            target.unlink(missing_ok=True)
        raise StateError(
            f"The books in {file} could not be copied: {error.strerror}. Nothing was changed. Check the room on "
            "the disk."
        ) from None


def _clear(file: Path, aside: Path) -> None:
    """Take away what SQLite has beside a file."""
    for end in reversed(BESIDE):  # the log last: until it is gone, it belongs to the books that give way too
        with suppress(FileNotFoundError):
            _take_away(file.with_name(file.name + end), aside.with_name(aside.name + end))


def _take_away(log: Path, kept: Path) -> None:
    """Delete what SQLite has beside a file; the log of damaged or lost books, which nobody could move, is kept."""
    if log.name.endswith("-wal") and log.stat().st_size:
        log.replace(kept)
    else:
        log.unlink()
