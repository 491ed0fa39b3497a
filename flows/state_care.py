"""Care of the books: before each run, and on somebody's word."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.decide import take_over as take_over_matches
from flows.errors import UsageError
from flows.open import has_books, open_store, target
from flows.result import Result, RunState
from flows.settings import Settings
from flows.steps.clocks import rest_left
from flows.steps.merged import take_over as take_over_merges
from flows.words import listed, numbered
from flows.world import World
from state import Condition, StateError, Store
from state.backups import newest
from state.care import RESTORED_AT
from state.database import file_of
from state.key import add_key, read_or_make_keys
from state.move import move as move_books
from state.restore import restore as put_back

SINCE = (
    "Nothing tells what was done between the backup and now: erase again whoever was erased since, and admit "
    "whoever was let in again."
)
MERGE_AGAIN = " Merge again whoever was merged."


@dataclass(frozen=True)
class Done:
    """What was done with the books: sentences, and what `found` scripts want to know without reading them."""

    messages: list[str]
    found: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Tended:
    trouble: str
    unfinished: list[int]
    restored_at: float


async def care_for(world: World, result: Result, *, copy: bool = True) -> bool:
    """Copy the books and forget what is old, before anything is read; returns whether the run may go on.

    A run that hints asked for makes no copy: one a minute would soon leave none of an hour ago.

    Books that were just put back do not know what was under way when they were lost: a run then rests as long as
    after a write of unknown outcome.
    """
    now = world.clock.now()
    tended = await world.books.do(_tend, world.books.store, now, world.history_kept, copy=copy)
    if tended.trouble:
        result.worse(RunState.DEGRADED, tended.trouble)
    for person in tended.unfinished:
        result.worse(
            RunState.DEGRADED,
            f"The erasure of person {person} is not finished. Run `moodle-commcare person erase {person}` again.",
        )
    left = rest_left(tended.restored_at, world.in_doubt_rest, now)
    if not left:
        return True
    result.worse(
        RunState.POSTPONED,
        f"The books were put back a short while ago, and CommCare may still be at work on what they do not know "
        f"of. The first run is possible in {numbered(int(left // 60) + 1, 'minute')}; nothing is lost.",
    )
    return False


def restored_at(store: Store) -> float:
    """Return when the books were put back, minus infinity when they never were."""
    return float(store.get(RESTORED_AT) or "-inf")


def _tend(store: Store, now: float, history_kept: float, *, copy: bool) -> _Tended:
    """Do it on the books' own thread."""
    trouble = ""
    try:
        if copy:
            store.back_up(now)
    except StateError as error:
        trouble = str(error)
    store.forget_old(now, history_kept)
    store.keep_erased()
    return _Tended(trouble, store.unfinished_erasures(), restored_at(store))


@contextmanager
def leased(store: Store, now: float, ttl: float) -> Iterator[None]:
    """Hold the lease for a short work on the books; raises StateError while a run is at work."""
    holder = f"state-{secrets.token_hex(4)}"
    epoch = store.take_lease(holder, now, ttl)
    if epoch is None:
        raise StateError("A run is at work on these books. Let it finish, then try again.")
    try:
        yield
    finally:
        store.release_lease(holder, epoch)


def back_up(settings: Settings, now: float) -> Done:
    """Copy the books now, into a new `file`; UsageError where that is the work of somebody else."""
    with open_store(settings) as store:
        made = store.back_up(now)
    if made is None:
        raise UsageError(
            "These books are in PostgreSQL: back them up with the server's own tools (pg_dump), and keep a copy "
            f"of {settings.state_key_file} at another place."
        )
    key = f"The key is not in it: keep a copy of {settings.state_key_file} at another place."
    return Done([f"Written: {made}. {key}"], {"file": str(made)})


def restore(settings: Settings, file: Path | None, now: float, *, lost: bool = False) -> Done:
    """Put a backup in the place of the books, which are kept `aside`; UsageError without a file that is there.

    `lost`: the key file of then is gone for good. `erase_again` are people whom the backup does not know to be
    erased; others may be where it is not `knows_erased`.
    """
    books = file_of(settings.state_url)
    if file is None or (books and not file.is_file()):  # without books of this kind the file is not the trouble
        found = newest(books) if books else None
        there = f"The newest one is {found}." if found else "There is none beside the state file."
        raise UsageError(f"There is no file {file}. {there}" if file else f"Name the backup to put back. {there}")
    keys = read_or_make_keys(Path(settings.state_key_file))
    ttl = settings.lease_ttl_s
    done = put_back(
        settings.state_url, file, keys, target(settings), now, lost=lost, carry=take_over_words, lease_s=ttl
    )
    said = [f"Put back: {file}."]
    if done.aside:
        said.append(f"The books from before are kept as {done.aside}; delete them when all is well.")
    minutes = int(settings.in_doubt_rest_s // 60)
    said.append(
        f"The next run is possible in {minutes} minutes. It sends every case once more, onto the same cases."
    )
    if done.forgotten:
        people = numbered(done.forgotten, "erased person", "erased people")
        said.append(f"{people} forgotten with the key: erase them again.")
    if not done.knows_erased:
        said.append(f"{SINCE}{'' if done.has_carried else MERGE_AGAIN}")
    said += [
        f"Run `moodle-commcare person erase {person}`: the backup is older than that." for person in done.erased
    ]
    aside = str(done.aside) if done.aside else None
    return Done(said, {"aside": aside, "erase_again": [*done.erased], "knows_erased": done.knows_erased})


def take_over_words(before: Store, store: Store) -> None:
    """Take over what persons said in the books that give way: who was merged, and which case is whose."""
    take_over_merges(before, store)
    take_over_matches(before, store)


def note_restored(settings: Settings, now: float) -> str:
    """Take in that somebody put the books back with other tools, and return a sentence."""
    with open_store(settings) as store, leased(store, now, settings.lease_ttl_s):
        store.take_key()
        store.mark_restored(now)
        store.keep_erased()
    minutes = int(settings.in_doubt_rest_s // 60)
    return (
        f"Noted. The next run is possible in {minutes} minutes, and sends every case once more. "
        f"{SINCE}{MERGE_AGAIN}"
    )


def move(settings: Settings, target_url: str, now: float) -> Done:
    """Move the books to another `place`, so many `rows`; StateError while a run is at work."""
    holder, ttl = f"state-{secrets.token_hex(4)}", settings.lease_ttl_s
    with open_store(settings) as store:
        epoch = store.take_lease(holder, now, ttl)
        if epoch is None:
            raise StateError("A run is at work on these books. Let it finish, then try again.")
        try:
            done = move_books(settings.state_url, target_url, lambda: store.renew_lease(holder, epoch, now, ttl))
        finally:
            store.release_lease(holder, epoch)
    said = [
        f"Moved and compared: {numbered(done.count, 'row')}, now in {done.place}.",
        f"Name the new place in STATE_URL before the next run. {settings.state_key_file} stays as it is and is "
        "needed there too. The old books are kept, and no run uses them any more.",
    ]
    return Done(said, {"place": done.place, "rows": done.count})


def look_over(settings: Settings) -> Condition:
    """Look the books over; StateError when others may read them, or when they are damaged or gone.

    The rights are looked at first: opening takes them away from the file, and nobody would learn of it.
    """
    if not has_books(settings):
        raise UsageError("There are no books yet: the first run makes them.")
    _refuse_others(settings)
    with open_store(settings) as store:
        refuse_other_key(store, settings)
        found = store.condition()
    if found.damage:
        raise StateError(f"The books in {found.place} are damaged: {listed(found.damage, 3)}.")
    return found


def _refuse_others(settings: Settings) -> None:
    """Raise StateError where others on this machine may read or change the books or their backups."""
    books = file_of(settings.state_url)
    others = Store.readable_by_others(settings.state_url)
    said = []
    if books and books.parent in others:
        others = tuple(place for place in others if place != books.parent)
        said.append(
            f"Others on this machine may write into the folder {books.parent}, and so put another file in the "
            "place of the books. Name a place in STATE_URL whose folder is for the books alone; if this one is, "
            f"run: chmod 700 {books.parent}"
        )
    if others:
        commands = listed([f"chmod {'700' if place.is_dir() else '600'} {place}" for place in others], 10)
        said.append(f"Others on this machine may read the books or their backups. Run: {commands}")
    if said:
        raise StateError("\n".join(said))


def refuse_other_key(store: Store, settings: Settings) -> None:
    """Raise StateError when the key file is not that of the books: they look whole then, and are not."""
    if not store.has_other_key:
        return
    people = len(store.erased())
    without = (
        f"no run works, since only the old one tells who was erased ({people}); when it is lost for good: "
        "`moodle-commcare state rotate-key --lost`"
        if people
        else "the next run sends every case once more"
    )
    raise StateError(
        f"The key in {settings.state_key_file} is not that of the books. Put the old key file back. Without it "
        f"{without}."
    )


def condition_lines(found: Condition) -> Iterator[str]:
    """Yield what was found, one sentence or list a line."""
    if found.on_server:
        yield (
            f"The books in {found.place} answer (schema {found.schema}). Damage, who may read them, and backups "
            "are the server's own matter."
        )
    else:
        yield f"The books in {found.place} are sound (schema {found.schema}), and nobody else may read them."
        if found.shown_folder:
            yield f"Others on this machine see which files are in the folder {found.shown_folder}."
    about = [
        value for name, value in sorted(found.facts.items()) if name in ("@moodle_url", "@commcare_url", "@domain")
    ]
    yield f"They are about: {listed(about) or 'nothing yet'}."
    yield f"Cases: {listed([f'{name} {count:,}' for name, count in sorted(found.cases.items())], 20) or 'none'}."
    yield f"Also: {listed([f'{name} {count:,}' for name, count in found.counts.items()], 20)}."
    restored = found.facts.get(RESTORED_AT)
    if restored:
        yield f"Put back from a backup: {datetime.fromtimestamp(float(restored), UTC):%Y-%m-%d %H:%M} UTC."
    if not found.on_server:
        yield f"Backups: {_counted(found.backups)}."
    if found.upgrade_copies:
        yield f"Copies from before an upgrade: {_counted(found.upgrade_copies)}."


def _counted(copies: Sequence[Path]) -> str:
    return f"{len(copies)}{f', the newest {copies[-1]}' if copies else ''}"


def condition_json(found: Condition) -> dict[str, object]:
    """Return the object of `--json`."""
    return {
        "ok": True,
        "place": found.place,
        "schema": found.schema,
        "cases": found.cases,
        "counts": found.counts,
        "about": {name.removeprefix("@"): value for name, value in found.facts.items()},
        "backups": [str(path) for path in found.backups],
        "upgrade_copies": [str(path) for path in found.upgrade_copies],
    }


def rotate_key(settings: Settings, now: float, *, lost: bool = False) -> str:
    """Put a new key behind the others and carry all digests over to it; returns a sentence.

    A rotation that was cut off is finished instead. `lost`: the old key file is gone for good; UsageError when the
    one that is there fits.
    """
    path = Path(settings.state_key_file)
    with open_store(settings, lost_key=lost) as store, leased(store, now, settings.lease_ttl_s):
        if lost and store.has_known_key:
            raise UsageError(f"{path} is the key of the books: it is not lost. For a new one leave --lost out.")
        people = store.forget_erased() if lost else 0
        was_cut_off = store.is_rotating
        store.take_key()
        if not was_cut_off and not lost:
            store.add_keys(add_key(path))
    if lost:
        return (
            f"{path} counts from now on. The next run sends every case once more. "
            f"{numbered(people, 'erased person', 'erased people')} forgotten: erase them again."
        )
    word = "The rotation that was cut off is finished" if was_cut_off else "There is a new key"
    return (
        f"{word}: {path} holds all that are needed, so copy the file anew to where its copy is. Nothing has to be "
        "sent again; only rows that CommCare refused are tried once more."
    )
