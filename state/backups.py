"""Copies of an SQLite file: where they are, how many are kept, and how one takes the place of the books."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from state.errors import StateError

KEPT = 7
NEWEST = 3
"""So many of those that are kept are simply the newest; of the days before them one each is kept, their last."""
UPGRADES_KEPT = 2
"""So many copies from before an upgrade are kept, beside the others: those go within days."""
PART = ".part"  # ends the name of a copy that is not whole yet
BESIDE = ("-wal", "-shm")  # what SQLite keeps beside a file


def backup_folder(file: Path) -> Path:
    """Return the folder of the backups of a state file, whether it exists or not."""
    return file.parent / "backups"


def moment(now: float) -> str:
    """Return a time as it stands in names of files: UTC, to the second."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")


def new_name(file: Path, now: float) -> Path:
    """Return the name of a backup made now, one that no backup has; a later one sorts behind it."""
    folder, stem = backup_folder(file), f"{file.stem}-{moment(now)}"
    return _free(folder / f"{stem}-{number:02}.db" for number in range(1, 1000))


def backups(file: Path, ending: str = "") -> list[Path]:
    """Return the backups of a state file, oldest first; the folder may hold those of other files too."""
    name = re.compile(rf"{re.escape(file.stem)}-\d{{8}}T\d{{6}}Z-\d+\.db{re.escape(ending)}")
    return sorted(path for path in backup_folder(file).glob("*") if name.fullmatch(path.name))


def upgrade_name(file: Path, now: float, schema: str) -> Path:
    """Return the name of a copy made now of books that are about to leave a schema; it tells the schema.

    It is none of the names of backups, also for older versions, which would push it out.
    """
    folder, stem = backup_folder(file), f"{file.stem}-{moment(now)}"
    return _free(folder / f"{stem}-{number:02}-schema-{schema}.db" for number in range(1, 1000))


def upgrade_copies(file: Path, ending: str = "") -> list[Path]:
    """Return the copies of a state file that were made before its schema changed, oldest first."""
    return [path for path, _ in upgrades(file, ending)]


def upgrades(file: Path, ending: str = "") -> list[tuple[Path, str]]:
    """Return the same copies, each with the schema it has."""
    name = re.compile(rf"{re.escape(file.stem)}-\d{{8}}T\d{{6}}Z-\d+-schema-(\w+)\.db{re.escape(ending)}")
    found = ((path, name.fullmatch(path.name)) for path in backup_folder(file).glob("*"))
    return sorted((path, match[1]) for path, match in found if match)


def newest(file: Path) -> Path | None:
    """Return the newest copy of a state file, whatever it was made for; None where there is none."""
    return max((*backups(file), *upgrade_copies(file)), default=None)


def prune(file: Path) -> None:
    """Delete all backups but those of `spread`, and all but the newest copies from before an upgrade.

    What one that was cut off left behind goes too.
    """
    there = backups(file)
    kept = spread(there)
    old = [*(path for path in there if path not in kept), *upgrade_copies(file)[:-UPGRADES_KEPT]]
    for path in (*old, *backups(file, PART), *upgrade_copies(file, PART)):
        path.unlink(missing_ok=True)


def spread(copies: Sequence[Path]) -> set[Path]:
    """Return which of some backups (oldest first) are kept.

    The newest ones, and the last one of each day before those: hourly copies would else all be of last night.
    Where there are not so many days, others fill the places, the newest first.
    """
    newest_first = copies[::-1]
    begin = _day(newest_first[:NEWEST][-1]) if copies else ""
    last_of = {_day(path): path for path in copies if _day(path) < begin}  # of each day the last one stays
    order = dict.fromkeys([*newest_first[:NEWEST], *reversed(last_of.values()), *newest_first])
    return {*islice(order, KEPT)}


def _day(path: Path) -> str:
    """Return the day (UTC) that the name of a backup tells."""
    return path.stem.rsplit("-", 2)[1][:8]


def write_copy(source: sqlite3.Connection, target: Path) -> None:
    """Copy one moment of a database into a file of its own (0600) in a folder that is ours alone (0700).

    The name appears when the copy is whole and on disk. StateError when there is no room or no right.
    """
    part = target.with_name(target.name + PART)
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
    """Yield what of the books others may read or change: the files, the backups and their folder."""
    folder = backup_folder(file)
    places = [file, *(file.with_name(file.name + end) for end in BESIDE), folder, *folder.glob("*")]
    for place in places if os.name == "posix" else ():
        with suppress(FileNotFoundError):
            if stat.S_IMODE(place.stat().st_mode) & 0o077:
                yield place


def set_aside(file: Path, now: float) -> Path | None:
    """Keep a state file, with what SQLite has beside it, under another name; None when there is none.

    The file itself keeps its own name as well, until another takes it: there is no moment without books.
    """
    if not file.exists():
        return None
    aside = _free(file.with_name(f"{file.name}.aside-{moment(now)}-{number:02}") for number in range(1, 1000))
    for end in BESIDE:
        with suppress(FileNotFoundError):
            file.with_name(file.name + end).replace(aside.with_name(aside.name + end))
    try:
        os.link(file, aside)
    except OSError:  # a disk without second names
        aside.touch(mode=0o600)
        aside.write_bytes(file.read_bytes())
    return aside


def _free(paths: Iterable[Path]) -> Path:
    return next(path for path in paths if not path.exists())
