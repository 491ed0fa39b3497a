"""Putting a backup in the place of the books: a stop at any moment leaves the old books or the new ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from state.backups import BESIDE, is_begun, write_copy
from state.database import Database, file_of
from state.errors import DamagedError, NewerError, StateError
from state.key import Keys
from state.lease import COUNT_ALL_AT_WORK, LEASE_TTL, at_work
from state.schema import VERSION_TABLE
from state.store import Store
from state.switch import STAND_IN, exchange, held_still

HOLDER = "restore"
AT_WORK_NOW = "A run is at work on these books. Let it finish, then restore."
Target = tuple[str, str, str]
Carry = Callable[[Store, Store], None]
"""Takes over from the books that give way, the first ones, what must not be lost of them."""
EARLIER_ADDRESS = (
    "If the same Moodle had that address then: put it into MOODLE_URL, restore, put the present one back, and run "
    "`moodle-commcare state moved-moodle`. If it is another Moodle, this is no backup of these books."
)
OTHER_KEY = (
    "The keys in STATE_KEY_FILE are not those of {what}, and only those tell who was erased ({people}). Put the "
    "old key file back. If it is lost for good, give --lost too: those who were erased come back then unless they "
    "are erased again."
)


@dataclass(frozen=True)
class Restored:
    """What was done: where the books from before are (None: there were none), and who is erased again.

    `knows_erased` is False when there were none, or when they, or who was erased in them, could not be read: who
    was erased since the backup comes back with it. `forgotten` are people whom the backup knew to be erased, and
    of whom nothing tells any more, since the key is lost.
    """

    aside: Path | None
    knows_erased: bool
    erased: tuple[int, ...]
    forgotten: int = 0
    has_carried: bool = False
    """Whether there were books that could be read, from which something could be taken over."""


def nothing(_: Store, __: Store) -> None:
    """Take nothing over."""


def restore(
    url: str,
    backup: Path,
    keys: Keys,
    target: Target,
    now: float,
    *,
    lost: bool = False,
    carry: Carry = nothing,
    lease_s: float = LEASE_TTL,
) -> Restored:
    """Put a backup in the place of the books at an SQLite URL.

    The backup is checked first: StateError when it is damaged, no backup, of a newer version or of another target;
    and while a run is at work. So it is when people were erased, in the backup or since, under a key that is not
    there, since they would come back: unless it is `lost` for good. What is there is kept under another name, and
    `carry` takes over from it what was said since. `lease_s` is how long runs hold the lease.
    """
    file = file_of(url)
    if file is None:
        raise StateError(
            "A PostgreSQL database is put back with its own tools (pg_restore). When that is done, run "
            "`moodle-commcare state restored`: the next run then knows that the books are older than CommCare."
        )
    lease_s = max(lease_s, LEASE_TTL)
    fresh = file.with_name(f"{file.name}.restoring")
    _remove(fresh)  # what a restore that was cut off left: its -wal would be taken for that of the new copy
    _copy(backup, fresh)
    before: Store | None = None
    epoch: int | None = None
    try:
        before, is_sound = _open(url, file, keys, (now, lease_s))
        epoch = before.take_lease(HOLDER, now, lease_s) if before is not None else 0
        if epoch is None:
            raise StateError(AT_WORK_NOW)
        done = _prepared(fresh, keys, target, before, now, lost)
        if before is not None:
            _carry_over(carry, before, fresh, keys)
        with held_still(file) if is_sound else nullcontext():
            # with the lease still held: who has these books open begins nothing in them
            aside = exchange(file, fresh, now)
    except BaseException:
        _remove(fresh)
        if before is not None:
            with suppress(StateError):  # a copy of them may be in their place by now
                before.release_lease(HOLDER, epoch or 0)
        raise
    finally:
        if before is not None:
            before.close()
    return replace(done, aside=aside, has_carried=before is not None)


def _carry_over(carry: Carry, before: Store, fresh: Path, keys: Keys) -> None:
    """Take over from the books that are there what was said in them since."""
    with Store.open(f"sqlite:///{fresh}", key=keys, is_copy=True) as store:
        carry(before, store)


def _copy(backup: Path, fresh: Path) -> None:
    """Copy the backup beside the books; the backup itself is only read."""
    if not backup.is_file():
        raise StateError(
            f"There is no file {backup}. The backups are in the folder backups beside the state file."
        )
    try:
        source = sqlite3.connect(f"{backup.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise StateError(f"{backup} cannot be read: {error}.") from None
    try:
        _refuse_others(source, backup)
        write_copy(source, fresh)
    finally:
        source.close()


def _refuse_others(source: sqlite3.Connection, backup: Path) -> None:
    """Raise StateError for a file that holds no books; an empty one would make empty books."""
    try:
        found = source.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (VERSION_TABLE,)).fetchone()
        reason = "" if found else "it is empty, or of something else"
    except sqlite3.Error as error:
        reason = str(error)
    if reason:
        raise StateError(
            f"{backup} is no backup of the books: {reason}. Nothing was changed. Name another one; they are "
            "in the folder backups beside the state file."
        )


def _open(url: str, file: Path, keys: Keys, lease: tuple[float, float]) -> tuple[Store | None, bool]:
    """Open the books that are there, if there are any that can be; and say whether SQLite can read the file.

    Damaged ones give way, and those of a newer version, unless a run is at work on them (`lease`: now, and how
    long one holds). Raises StateError when they are held by others, moved away, or are none of ours.
    """
    if not is_begun(file):
        return None, False
    try:
        return Store.open(url, key=keys), True
    except DamagedError:
        return None, False
    except NewerError:
        if _is_at_work(url, *lease):
            raise StateError(AT_WORK_NOW) from None
        return None, True


def _is_at_work(url: str, now: float, ttl: float) -> bool:
    """Say whether somebody holds a lease of newer books, as far as their tables are known."""
    database = Database(url)
    try:
        with database.reading() as connection:
            return bool(connection.scalar(COUNT_ALL_AT_WORK, at_work(now, ttl)))
    except StateError:
        return False
    finally:
        database.close()


def _prepared(fresh: Path, keys: Keys, target: Target, before: Store | None, now: float, lost: bool) -> Restored:
    """Check the copy and make it ready to be the books; return what is to be said of it."""
    try:
        with Store.open(f"sqlite:///{fresh}", key=keys, is_copy=True) as store:
            store.check_target(*target, EARLIER_ADDRESS)
            forgotten = _forget_erased(store, lost=lost)
            store.take_key()
            store.mark_restored(now)
            knows = before is not None and _tells_erased(before, lost=lost)
            if before is not None and knows:
                store.take_over_erased(before)
                store.take_over_admitted(before, now)
            store.keep_erased()
            return Restored(None, knows, tuple(store.unfinished_erasures()), forgotten)
    except StateError as error:
        raise StateError(str(error).replace(str(fresh), f"{fresh.name} (the copy of the backup)")) from None


def _forget_erased(store: Store, *, lost: bool) -> int:
    """Forget who was erased under a lost key, and return how many; StateError while the key may be found."""
    people = 0 if store.has_known_key else len(store.erased())
    if people and not lost:
        raise StateError(OTHER_KEY.format(what="the backup", people=people))
    return store.forget_erased() if people else 0


def _tells_erased(before: Store, *, lost: bool) -> bool:
    """Say whether the books from before tell who was erased; StateError when a key that may be found would."""
    people = 0 if before.has_known_key else len(before.erased())
    if people and not lost:
        raise StateError(OTHER_KEY.format(what="the books that are there", people=people))
    return not people


def _remove(fresh: Path) -> None:
    """Delete a copy and what SQLite keeps beside it."""
    for end in ("", *BESIDE, STAND_IN):
        fresh.with_name(fresh.name + end).unlink(missing_ok=True)
