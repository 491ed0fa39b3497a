"""Copies of an SQLite file: where they are, in which order they were made, and how many are kept."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from state.errors import StateError
from state.folders import WRITE, is_open, make_folder

KEPT = 7
NEWEST = 3
"""So many of those that are kept are simply the newest; of the days before them one each is kept, their last."""
UPGRADES_KEPT = 2
"""So many copies from before an upgrade are kept, beside the others: those go within days."""
PART = ".part"  # ends the name of a copy that is not whole yet
DIGITS = 3
"""So many a number has at least; in names of versions that counted within a second only it has two."""
AT_ONCE = 2
"""So many backups go at most when one is made: there are too many after an older version was used for a while."""
BESIDE = ("-wal", "-shm")  # what SQLite keeps beside a file


def is_begun(file: Path) -> bool:
    """Say whether a file holds something: one of no bytes, of a full disk for one, is no books."""
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def backup_folder(file: Path) -> Path:
    """Return the folder of the backups of a state file, whether it exists or not."""
    return file.parent / "backups"


def moment(now: float) -> str:
    """Return a time as it stands in names of files: UTC, to the second."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")


class Copy(NamedTuple):
    """A copy of a state file, as its name tells it; they sort in the order in which they were made.

    That is the order of their numbers, since a clock that was ahead is set right. Those that older versions made
    have none (0): they come first, in the order of their names, which begin with the time. `schema` is "" unless
    the copy is from before an upgrade.
    """

    number: int
    name: str
    schema: str
    path: Path


def copies(file: Path, ending: str = "") -> list[Copy]:
    """Return all copies of a state file, oldest first; the folder may hold those of other files too."""
    name = rf"{re.escape(file.stem)}-\d{{8}}T\d{{6}}Z-(\d+)(?:-schema-(\w+))?\.db{re.escape(ending)}"
    found = ((path, re.fullmatch(name, path.name)) for path in backup_folder(file).glob("*"))
    return sorted(Copy(_number(match[1]), path.name, match[2] or "", path) for path, match in found if match)


def _number(digits: str) -> int:
    return int(digits) if len(digits) >= DIGITS else 0


def new_name(file: Path, now: float) -> Path:
    """Return the name of a backup made now; its number is above those of all copies that are there."""
    return backup_folder(file) / f"{_beginning(file, now)}.db"


def backups(file: Path, ending: str = "") -> list[Path]:
    """Return the backups of a state file, oldest first."""
    return [copy.path for copy in copies(file, ending) if not copy.schema]


def upgrade_name(file: Path, now: float, schema: str) -> Path:
    """Return the name of a copy made now of books that are about to leave a schema; it tells the schema.

    It is none of the names of backups, also for older versions, which would push it out.
    """
    return backup_folder(file) / f"{_beginning(file, now)}-schema-{schema}.db"


def _beginning(file: Path, now: float) -> str:
    there = copies(file)
    return f"{file.stem}-{moment(now)}-{there[-1].number + 1 if there else 1:0{DIGITS}}"


def upgrade_copies(file: Path, ending: str = "") -> list[Path]:
    """Return the copies of a state file that were made before its schema changed, oldest first."""
    return [path for path, _ in upgrades(file, ending)]


def upgrades(file: Path, ending: str = "") -> list[tuple[Path, str]]:
    """Return the same copies, each with the schema it has."""
    return [(copy.path, copy.schema) for copy in copies(file, ending) if copy.schema]


def newest(file: Path) -> Path | None:
    """Return the copy of a state file that was made last, whatever for; None where there is none."""
    there = copies(file)
    return there[-1].path if there else None


def prune(file: Path) -> None:
    """Delete backups other than those of `spread`, and all but the newest copies from before an upgrade.

    Where there are too many, the oldest go first, some with each new one. What one that was cut off left behind
    goes too.
    """
    there = backups(file)
    kept = spread(there)
    old = [path for path in there if path not in kept][:AT_ONCE]
    for path in (*old, *upgrade_copies(file)[:-UPGRADES_KEPT], *backups(file, PART), *upgrade_copies(file, PART)):
        path.unlink(missing_ok=True)


def spread(there: Sequence[Path]) -> set[Path]:
    """Return which of some backups (oldest first) are kept.

    The newest ones, and the last one of each other day: hourly copies would else all be of last night. Where there
    are not so many days, others fill the places, the newest first.
    """
    newest_first = there[::-1]
    last_of = {_day(path): path for path in there}  # of each day the last one stays
    for path in newest_first[:NEWEST]:
        last_of.pop(_day(path), None)
    others = [path for path in newest_first if path in last_of.values()]
    return {*islice(dict.fromkeys([*newest_first[:NEWEST], *others, *newest_first]), KEPT)}


def _day(path: Path) -> str:
    """Return the day (UTC) that the name of a backup tells."""
    return path.stem.rsplit("-", 2)[1][:8]


def write_copy(source: sqlite3.Connection, target: Path) -> None:
    """Copy one moment of a database into a file of its own (0600) in a folder that is ours alone (0700).

    The name appears when the copy is whole and on disk. StateError when there is no room or no right.
    """
    part = target.with_name(target.name + PART)
    try:
        make_folder(target.parent)
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        copy = sqlite3.connect(part, isolation_level=None)
        try:
            copy.execute("PRAGMA synchronous=OFF")  # nobody reads it before it is on disk as a whole, below
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
        finally:
            copy.close()
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(target)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StateError(
            f"No backup could be written to {target}: {reason}. Check the room on the disk."
        ) from None


def open_rights(file: Path) -> Iterator[Path]:
    """Yield what of the books others may read or change: the files, the backups and their folder.

    And the folder of the books, where others may write into it: whoever only sees the names in it reads nothing.
    """
    folder = backup_folder(file)
    if is_open(file.parent, WRITE):
        yield file.parent
    places = [file, *(file.with_name(file.name + end) for end in BESIDE), folder, *folder.glob("*")]
    yield from filter(is_open, places)
