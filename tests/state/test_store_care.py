"""Copies of the books, what is forgotten, and how a copy takes the place of the books."""

from __future__ import annotations

import os
import shlex
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from state import (
    Ack,
    FeedbackRow,
    Hint,
    Holder,
    Intent,
    MatchRow,
    Refusal,
    RowId,
    StateError,
    Store,
    TableRowKnown,
)
from state.backups import KEPT, backups, moment, new_name, newest, prune
from state.care import DAY, RESTORED_AT, WHOLE_RUNS
from state.move import move
from state.restore import restore
from state.switch import held_still

KEYS = (b"k" * 32,)
TARGET = ("https://moodle.example.org", "https://commcare.example.org", "training")
ROW, OTHER = RowId("student", 0, "site-user-5"), RowId("student", 0, "site-user-6")
NOW = 1_800_000_000.0


def acked(store: Store, *rows: RowId, now: float = NOW) -> None:
    """Let CommCare have taken rows; the person is the number at the end of the key."""
    store.acknowledge(
        [Ack(row, f"case of {row.key}", "owner", {"city": b"1" * 16}, "active", int(row.key[-1])) for row in rows],
        now,
    )


def mode(path: Path) -> int:
    """Return the rights of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_copy_is_whole_and_ours_alone(file: Path) -> None:
    """What was committed last is in it, it is one file (0600), and its folder is closed (0700)."""
    with Store.open(f"sqlite:///{file}", key=KEYS) as store:
        acked(store, ROW)
        made = store.back_up(NOW)
    assert made is not None
    assert ([made], 0o600, 0o700) == (list(made.parent.iterdir()), mode(made), mode(made.parent))
    with Store.open(f"sqlite:///{made}", key=KEYS) as copy:
        assert ["site-user-5"] == list(copy.cases("student", 0))


def test_the_newest_seven_are_kept(file: Path) -> None:
    """The eighth copy takes the place of the oldest one, also when they are made within a second."""
    with Store.open(f"sqlite:///{file}", key=KEYS) as store:
        made = [store.back_up(NOW + second) for second in (0, 0, 0, 1, 2, 3, 4, 5, 6)]
    assert sorted(str(path) for path in made[2:]) == sorted(map(str, (file.parent / "backups").iterdir()))


def test_a_copy_is_not_pushed_out_by_others_of_its_second(file: Path) -> None:
    """However many there are of one moment, the one that was made last is there and is the newest."""
    with Store.open(f"sqlite:///{file}", key=KEYS) as store:
        for _ in range(120):
            assert (made := store.back_up(NOW)) == newest(file)
            assert made in backups(file)


def copies(file: Path, times: Iterable[float]) -> list[Path]:
    """Return the copies that are left of those of some times, oldest first."""
    for now in times:
        new = new_name(file, now)
        new.parent.mkdir(parents=True, exist_ok=True)
        new.touch()
        prune(file)
    return backups(file)


def test_hourly_copies_leave_some_of_days_before(file: Path) -> None:
    """The newest three, and the last one of each of four days before: who looks in the morning finds yesterday."""
    midnight = NOW // DAY * DAY
    left = copies(file, [midnight + 3600.0 * hour + 420 for hour in range(8 * 24 + 11)])
    expected = [midnight + DAY * day - 3600 + 420 for day in (5, 6, 7, 8)]
    expected += [midnight + 8 * DAY + 3600.0 * hour + 420 for hour in (8, 9, 10)]
    assert [moment(at) for at in expected] == [path.name.split("-")[1] for path in left]


def test_daily_copies_are_simply_the_newest_seven(file: Path) -> None:
    """One a day is a week."""
    left = copies(file, [NOW + DAY * day for day in range(12)])
    assert [moment(NOW + DAY * day) for day in range(5, 12)] == [path.name.split("-")[1] for path in left]


@pytest.mark.parametrize("begin", [0.0, 1.0, 43_200.0, 86_399.0])
@pytest.mark.parametrize("every", [3_600.0, 7_000.0, DAY / 2, DAY, DAY + 5_000.0, 3 * DAY])
def test_what_an_erasure_says_of_older_copies(file: Path, every: float, begin: float) -> None:
    """All those from before its own copy are gone after six more days on which one is made, however often."""
    midnight = NOW // DAY * DAY
    copies(file, [midnight - every * count for count in range(int(9 * DAY / every), 0, -1)])
    (*old, _own) = copies(file, [midnight + begin])
    days, later = {midnight // DAY}, midnight + begin
    while len(days) < KEPT:
        later += every
        copies(file, [later])
        days.add(later // DAY)
    assert [] == sorted({*old} & {*backups(file)})


@pytest.mark.parametrize("ahead", [3_600.0, 3 * DAY, 30 * DAY, 365 * DAY])
def test_a_clock_that_was_ahead_is_set_right(file: Path, ahead: float) -> None:
    """Each copy made from then on is the newest one, and those of before go as they do otherwise."""
    copies(file, [NOW + DAY * day for day in range(-9, 0)])
    copies(file, [NOW + ahead + 7_200.0 * count for count in range(100)])
    old = {*backups(file)}
    for count in range(6 * 24 + 1):
        left = copies(file, [NOW + 3_600.0 * count])
        assert [moment(NOW + 3_600.0 * count)] * 2 == [
            path.name.split("-")[1] for path in (left[-1], newest(file) or file)
        ]
    assert (set(), KEPT, KEPT - 2) == (
        old & {*left},
        len(left),
        len({path.name.split("-")[1][:8] for path in left}),
    )


def older(file: Path, *names: str) -> list[Path]:
    """Make copies with names of a version that counted within a second."""
    made = [file.parent / "backups" / f"state-{name}.db" for name in names]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return made


def test_copies_of_older_versions_are_older(file: Path) -> None:
    """They counted within a second only; what is made now comes behind all of them."""
    earlier = older(file, "20280101T000000Z-01", "20280101T000000Z-02", "20280102T000000Z-01")
    assert (earlier, earlier[-1]) == (backups(file), newest(file))
    (*_, made) = copies(file, [NOW])
    assert (f"state-{moment(NOW)}-001.db", made) == (made.name, newest(file))


def test_copies_of_an_older_version_that_was_used_for_a_while_go_bit_by_bit(file: Path) -> None:
    """They are sorted before those with a number, and so would all be gone with the first copy after them."""
    copies(file, [NOW - DAY * day for day in range(9, 0, -1)])
    between = older(file, *(f"{moment(NOW + 60 * minute)}-01" for minute in range(KEPT)))
    left = [copies(file, [NOW + DAY * day]) for day in range(1, KEPT + 2)]
    assert [13, 12, 11, 10, 9, 8, 7, 7] == [len(there) for there in left]
    assert [5, 3, 1, 0, 0, 0, 0, 0] == [len({*between} & {*there}) for there in left]


def test_books_that_share_a_folder_keep_their_own(tmp_path: Path) -> None:
    """Several sites may have their books in one folder: none deletes the copies of another."""
    files = [tmp_path / name for name in ("kisumu.db", "kisumu-old.db")]
    for file in files:
        with Store.open(f"sqlite:///{file}", key=KEYS) as store:
            for second in range(9):
                store.back_up(NOW + second)
    assert [7, 7, 14] == [len(backups(file)) for file in files] + [len(list((tmp_path / "backups").iterdir()))]


def test_books_in_memory_have_no_copy(store: Store) -> None:
    """Where there is no file nothing is copied."""
    assert store.back_up(NOW) is None


def test_a_copy_that_fails_is_told(file: Path) -> None:
    """The sentence names the file, and nothing half done is left."""
    with Store.open(f"sqlite:///{file}", key=KEYS) as store:
        (file.parent / "backups").write_text("in the way")
        with pytest.raises(StateError, match=r"No backup could be written to .*state-.*room on the disk"):
            store.back_up(NOW)


def test_what_is_old_is_forgotten(store: Store) -> None:
    """Problems and refusals after 30 days without a run that met them, runs after 90; the last run stays."""
    for day, run in ((0, "first"), (50, "second"), (95, "third")):
        store.start_run(run, NOW + day * DAY, "r")
    store.set_problems("student", 0, [("a", "city", "blank", "")], NOW + 60 * DAY)
    store.set_problems("student", 1, [("b", "city", "blank", "")], NOW + 70 * DAY)
    store.note_refusals([Refusal(ROW, "update", "refused", b"x")], NOW + 60 * DAY)
    store.note_refusals([Refusal(OTHER, "update", "refused", b"x")], NOW + 70 * DAY)
    store.forget_old(NOW + 95 * DAY)
    assert ["b"] == [one.row.key for one in store.problems()]
    assert [OTHER] == [one.row for one in store.refusals()]
    assert 2 == store.condition().counts["runs"]
    store.forget_old(NOW + 900 * DAY)
    assert 1 == store.condition().counts["runs"]


def counted(courses: int) -> dict[str, Any]:
    """Return what a run counted that read so many courses, the first one in vain."""
    found = {str(n): {"state": "completed" if n else "failed", "people": 30} for n in range(courses)}
    return {"courses": found, "cases": {"student": {"created": 3}}, "messages": ['{"courses": {"1"']}


def test_older_runs_keep_their_sums(store: Store) -> None:
    """What each course counted is kept of the newest runs; of older ones how many courses ended how."""
    for number in range(WHOLE_RUNS + 2):
        store.start_run(f"run-{number:03}", NOW + number, "r")
        store.finish_run(f"run-{number:03}", NOW + number + 0.5, "completed", counted(3))
    store.forget_old(NOW + DAY)
    runs = store.last_runs(WHOLE_RUNS + 2)
    assert [counted(3)] * WHOLE_RUNS == [run.counts for run in runs[:WHOLE_RUNS]]
    thin = counted(0) | {"courses": {}, "course_states": {"completed": 2, "failed": 1}}
    assert [thin, thin] == [run.counts for run in runs[WHOLE_RUNS:]]


def test_counts_that_cannot_be_read_stop_no_run(url: str, file: Path) -> None:
    """Somebody edited them by hand: they become nothing, and the others are summed up."""
    with Store.open(url, key=KEYS) as store, sqlite3.connect(file) as other:
        for number in range(WHOLE_RUNS + 2):
            store.start_run(f"run-{number:03}", NOW + number, "r")
            store.finish_run(f"run-{number:03}", NOW + number + 0.5, "completed", counted(1))
        with other:
            other.execute("UPDATE run SET counts = substr(counts, 1, 60) WHERE id = 'run-000'")
        store.forget_old(NOW + DAY)
        oldest = [run.counts["course_states"] for run in store.last_runs(WHOLE_RUNS + 2)[WHOLE_RUNS:]]
    other.close()
    assert [{"failed": 1}, {}] == oldest


def test_sums_are_made_once(url: str, file: Path) -> None:
    """Runs that were summed up, or counted no course, are left alone, and nothing is written."""
    with Store.open(url, key=KEYS) as store, sqlite3.connect(file) as other:
        for number in range(WHOLE_RUNS + 5):
            store.start_run(f"run-{number:03}", NOW + number, "r")
            store.finish_run(f"run-{number:03}", NOW + number + 0.5, "completed", counted(number % 2))
        store.forget_old(NOW + DAY)
        before = other.execute("PRAGMA data_version").fetchone()
        store.forget_old(NOW + DAY)
        assert before == other.execute("PRAGMA data_version").fetchone()
    other.close()


def test_rights_of_others_are_seen(url: str, file: Path) -> None:
    """The file, the backups and their folder are looked at; what SQLite keeps beside the file too."""
    with Store.open(url, key=KEYS) as store:
        made = store.back_up(NOW)
        assert made is not None
        assert () == Store.readable_by_others(url)
        made.chmod(0o640)
        made.parent.chmod(0o755)
    file.chmod(0o604)
    assert {file, made, made.parent} == set(Store.readable_by_others(url))


@pytest.mark.parametrize(
    ("rights", "changed", "shown"),
    [(0o700, False, False), (0o755, False, True), (0o775, True, True), (0o777, True, True), (0o1777, True, True)],
)
def test_a_folder_of_others_is_seen(url: str, file: Path, rights: int, changed: bool, shown: bool) -> None:
    """Who may write into it may put other books there; it may be shared on purpose, and stays as it is."""
    file.parent.mkdir()
    file.parent.chmod(rights)
    with Store.open(url, key=KEYS) as store:
        assert rights == mode(file.parent)
        assert ((file.parent,) if changed else ()) == Store.readable_by_others(url)
        assert (file.parent if shown else None) == store.condition().shown_folder


def test_the_condition_counts(store: Store) -> None:
    """Cases by mapping, what is in doubt, whom the books are about."""
    store.bind_target(*TARGET)
    acked(store, ROW, OTHER)
    store.stamp("batch", [Intent(ROW, 5, "update")], NOW)
    store.note_matches("student", [MatchRow("student", key, "c", 6, "duplicate") for key in ("a", "b")])
    store.note_feedback([FeedbackRow(Holder(ROW, "case-1", 5), name) for name in ("one", "two", "three")])
    store.save_table_rows("tag", {str(number): TableRowKnown(f"row-{number}", b"1") for number in range(4)})
    found = store.condition()
    assert (2, 3, 4) == (
        found.counts["matches"],
        found.counts["texts of feedback"],
        found.counts["rows of lookup tables"],
    )
    assert ({"student": 2}, 1, "training", ()) == (
        found.cases,
        found.counts["in doubt"],
        found.facts["@domain"],
        found.damage,
    )


# --- restoring --------------------------------------------------------------------------------------------


def backed_up(url: str) -> Path:
    """Make books with one case and a write that is not answered, and copy them; then they go on."""
    with Store.open(url, key=KEYS) as store:
        store.bind_target(*TARGET)
        store.take_key()
        store.take_lease("run", NOW, 600.0)
        acked(store, ROW)
        store.stamp("batch", [Intent(ROW, 5, "update")], NOW)
        made = store.back_up(NOW)
        store.release_lease("run", 1)
        acked(store, ROW, OTHER, now=NOW + 60)
    assert made is not None
    return made


def test_a_backup_takes_the_place_of_the_books(url: str, file: Path) -> None:
    """Its rows are dirty, what was not answered rests anew, nobody holds the lease; the old books are kept."""
    done = restore(url, backed_up(url), KEYS, TARGET, NOW + 7200)
    with Store.open(url, key=KEYS) as store:
        cases, intents = store.cases("student", 0), store.intents()
        assert (["site-user-5"], None, "case of site-user-5") == (
            list(cases),
            cases["site-user-5"].digests,
            cases["site-user-5"].case_id,
        )
        assert [NOW + 7200] == [one.last_sent_at for one in intents.values()]
        assert (str(NOW + 7200), 1) == (store.get(RESTORED_AT), store.take_lease("next", NOW, 1.0))
    assert done.aside is not None
    assert (True, ()) == (done.knows_erased, done.erased)
    with Store.open(f"sqlite:///{done.aside}", key=KEYS) as before:
        assert 2 == len(before.cases("student", 0))
    assert 0o600 == mode(file)


def test_books_that_were_set_aside_are_not_gone_on_with(url: str) -> None:
    """Who had them open does not get their lease, not even in the moment before the backup is in their place."""
    backup = backed_up(url)
    with Store.open(url, key=KEYS) as stale:
        restore(url, backup, KEYS, TARGET, NOW + 7200)
        with pytest.raises(StateError, match="was put back"):
            stale.take_lease("stale", NOW + 7201, 600.0)
        assert stale.lease_holder(NOW + 7201) == ("restore", NOW + 7800)


WRITES: dict[str, Callable[[Store], object]] = {
    "a hint": lambda store: store.inbox_add([Hint("moodle", "enrolled", b"m1", 1.0, 2, 4)], NOW),
    "a fact": lambda store: store.put("said", "in between"),
    "the end of a run": lambda store: store.finish_run("run", NOW, "completed", {}),
    "a lease given back": lambda store: store.release_lease("run", 1),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_nothing_is_written_into_books_that_were_set_aside(url: str, write: Callable[[Store], object]) -> None:
    """Who waited for its turn while they were put back is told, since nobody looks into the old ones any more."""
    backup = backed_up(url)
    with Store.open(url, key=KEYS) as stale:
        write(stale)
        aside = restore(url, backup, KEYS, TARGET, NOW + 7200).aside
        assert aside is not None
        before = aside.read_bytes()
        with pytest.raises(StateError, match="was put back"):
            write(stale)
        assert (before, False) == (aside.read_bytes(), aside.with_name(f"{aside.name}-wal").exists())


def test_a_restore_that_fails_holds_nobody_up(url: str) -> None:
    """The books that stay are free at once."""
    backup = backed_up(url)
    with Store.open(url, key=KEYS) as store:
        with pytest.raises(StateError, match="another target"):
            restore(url, backup, KEYS, ("https://other.example.org", *TARGET[1:]), NOW)
        assert store.take_lease("run", NOW, 600.0)


def test_a_damaged_file_gives_way(url: str, file: Path) -> None:
    """Opening names the command and the newest backup; the damaged file is kept beside it."""
    backup = backed_up(url)
    with file.open("r+b") as handle:
        handle.write(bytes(4096))
    with pytest.raises(StateError, match=f"state restore {shlex.quote(str(backup))}`"):
        Store.open(url, key=KEYS)
    done = restore(url, backup, KEYS, TARGET, NOW)
    assert (False, bytes(4096)) == (done.knows_erased, done.aside and done.aside.read_bytes()[:4096])
    with Store.open(url, key=KEYS) as store:
        assert ["site-user-5"] == list(store.cases("student", 0))


def test_books_that_are_gone_are_put_back(url: str, file: Path) -> None:
    """Without a file there is nothing to set aside, and nothing that tells who was erased since."""
    backup = backed_up(url)
    file.unlink()
    assert (None, False) == ((done := restore(url, backup, KEYS, TARGET, NOW)).aside, done.knows_erased)


@pytest.mark.parametrize("is_empty", [False, True])
def test_a_log_of_lost_books_is_not_replayed_into_others(url: str, file: Path, is_empty: bool) -> None:
    """Only the file is gone, or nothing is in it: the backup stays as it was, and no books begin in the log."""
    backup = backed_up(url)
    with Store.open(url, key=KEYS) as held:
        held.put("later", "1")
        log = file.with_name("state.db-wal")
        left = log.read_bytes()
        file.unlink()
        if is_empty:
            file.touch()
        with pytest.raises(StateError, match=rf"state\.db-wal is: .*state restore {shlex.quote(str(backup))}"):
            Store.open(url, key=KEYS)
        assert None is restore(url, backup, KEYS, TARGET, NOW + 7200).aside
        with Store.open(url, key=KEYS) as store:
            assert (str(NOW + 7200), None, ()) == (
                store.get(RESTORED_AT),
                store.get("later"),
                store.condition().damage,
            )
    assert left == next(file.parent.glob("*.aside-*-wal")).read_bytes()


STRANGE = (b"o" * 32,)


@pytest.mark.parametrize("before", [True, False], ids=["before the backup", "after the backup"])
def test_an_erasure_under_a_key_that_is_not_there_is_no_secret(url: str, file: Path, before: bool) -> None:
    """Only the key tells who was erased: without it they would come back unnoticed, so it takes a word."""
    backup = backed_up(url)
    with Store.open(url, key=KEYS) as store:
        store.take_key()
        store.begin_erasure(7, NOW)
        if before:
            backup = store.back_up(NOW) or backup
        else:
            with Store.open(f"sqlite:///{backup}", key=KEYS) as older:
                older.take_key()
    with pytest.raises(StateError, match=r"only those tell who was erased \(1\)"):
        restore(url, backup, STRANGE, TARGET, NOW)
    assert not list(file.parent.glob("*.restoring*"))
    with Store.open(url, key=KEYS) as store:
        assert (True, True) == (7 in store.erased(), store.take_lease("run", NOW, 1.0) is not None)
    done = restore(url, backup, STRANGE, TARGET, NOW + 60, lost=True)
    assert (False, int(before)) == (done.knows_erased, done.forgotten)
    with Store.open(url, key=STRANGE) as store:
        assert (0, True) == (len(store.erased()), store.has_known_key)


def damaged(backup: Path) -> None:
    """Zero the middle of a file."""
    with backup.open("r+b") as handle:
        handle.seek(4096)
        handle.write(bytes(4096 * 3))


def newer(backup: Path) -> None:
    """Let a file be of a newer version."""
    with sqlite3.connect(backup) as other:
        other.execute("UPDATE state_version SET version_num = '9999'")
    other.close()


def foreign(backup: Path) -> None:
    """Let a file be about another project space."""
    with sqlite3.connect(backup) as other:
        other.execute("UPDATE meta SET value = 'elsewhere' WHERE name = '@domain'")
    other.close()


def emptied(backup: Path) -> None:
    """Cut a file off at its start, as a copy does that finds no room."""
    backup.write_bytes(b"")


def of_text(backup: Path) -> None:
    """Let a file be no database at all."""
    backup.write_text('{"person": 5}')


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (emptied, "no backup of the books: it is empty"),
        (of_text, "no backup of the books: file is not a database"),
        (damaged, "damaged"),
        (newer, "newer moodle-commcare"),
        (foreign, "belongs to another target"),
        (Path.unlink, "There is no file"),
    ],
)
def test_what_cannot_be_the_books_is_refused(url: str, file: Path, spoil: object, words: str) -> None:
    """A damaged, newer, foreign or missing backup changes nothing."""
    backup = backed_up(url)
    assert callable(spoil)
    spoil(backup)
    with pytest.raises(StateError, match=words):
        restore(url, backup, KEYS, TARGET, NOW)
    with Store.open(url, key=KEYS) as store:
        assert 2 == len(store.cases("student", 0))
    assert {"state.db", "backups"} == {path.name for path in file.parent.iterdir()}


def test_what_a_killed_restore_left_is_not_used(url: str, file: Path) -> None:
    """A log of an earlier copy, left beside it by a process that was killed, would spoil the new copy."""
    backup = backed_up(url)
    left = sqlite3.connect(file.with_name("state.db.restoring"), isolation_level=None)
    left.execute("PRAGMA journal_mode=WAL")
    left.execute("CREATE TABLE left_over (a)")
    log = file.with_name("state.db.restoring-wal").read_bytes()
    left.close()
    file.with_name("state.db.restoring-wal").write_bytes(log)
    restore(url, backup, KEYS, TARGET, NOW)
    with Store.open(url, key=KEYS) as store:
        assert ["site-user-5"] == list(store.cases("student", 0))
    assert {"state.db", "backups"} == {path.name for path in file.parent.iterdir() if "aside" not in path.name}


def test_a_run_at_work_is_not_disturbed(url: str) -> None:
    """While somebody holds the lease nothing is put back."""
    backup = backed_up(url)
    with Store.open(url, key=KEYS) as store:
        store.take_lease("run", NOW, 600.0)
        with pytest.raises(StateError, match="A run is at work"):
            restore(url, backup, KEYS, TARGET, NOW + 1)


@pytest.mark.parametrize("held_for", [600.0, 3600.0])
def test_a_run_that_holds_its_lease_for_long_is_not_disturbed_either(url: str, held_for: float) -> None:
    """How long leases hold is a setting: one that holds for longer than usual is no sign of a wrong clock."""
    backup = backed_up(url)
    with Store.open(url, key=KEYS) as store:
        store.take_lease("run", NOW, held_for)
        with pytest.raises(StateError, match="A run is at work"):
            restore(url, backup, KEYS, TARGET, NOW + 1, lease_s=held_for)


def test_a_run_of_a_newer_version_is_not_disturbed(url: str, file: Path) -> None:
    """Its books cannot be opened, but they tell whether somebody holds the lease; without a run they give way."""
    backup = backed_up(url)
    with Store.open(url, key=KEYS) as store:
        store.take_lease("run", NOW, 600.0)
    newer(file)
    with pytest.raises(StateError, match="A run is at work"):
        restore(url, backup, KEYS, TARGET, NOW + 1)
    assert {"state.db", "backups"} == {path.name for path in file.parent.iterdir()}
    done = restore(url, backup, KEYS, TARGET, NOW + 601)
    assert (True, False) == (done.aside is not None, done.knows_erased)


def test_books_that_moved_away_are_not_put_back(url: str, tmp_path: Path) -> None:
    """Nobody is to go on with both: the sentence names the place where they are."""
    backup = backed_up(url)
    move(url, f"sqlite:///{tmp_path / 'elsewhere.db'}", lambda: None)
    with pytest.raises(StateError, match=r"moved to .*elsewhere"):
        restore(url, backup, KEYS, TARGET, NOW + 7200)


def test_a_database_of_something_else_does_not_give_way(url: str, file: Path) -> None:
    """A mistyped STATE_URL takes nothing from others."""
    backup = backed_up(url)
    with sqlite3.connect(file) as other:
        other.execute("DROP TABLE state_version")
    other.close()
    with pytest.raises(StateError, match="database of something else"):
        restore(url, backup, KEYS, TARGET, NOW + 7200)


def test_who_reads_in_the_books_is_waited_for(url: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed last cannot be moved into the file meanwhile: nothing is changed, and nobody held up."""
    monkeypatch.setattr("state.switch.PATIENCE_S", 0.0)
    backup = backed_up(url)
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM meta").fetchone()
    with Store.open(url, key=KEYS) as store:
        store.put("last", "1")
        with pytest.raises(StateError, match=r"in the middle of its work.*Stop it"):
            restore(url, backup, KEYS, TARGET, NOW + 7200)
        assert store.take_lease("run", NOW + 7201, 600.0)
        store.release_lease("run", 3)
    assert not list(file.parent.glob("*.restoring*"))
    reader.close()
    assert restore(url, backup, KEYS, TARGET, NOW + 9000).aside


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE"])
def test_who_works_in_the_books_is_waited_for_as_long_as_is_said(
    url: str, file: Path, monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    """However often it is tried: half a minute is half a minute."""
    monkeypatch.setattr("state.switch.PATIENCE_S", 0.1)
    backed_up(url)
    other = sqlite3.connect(file, isolation_level=None)
    with Store.open(url, key=KEYS) as store:
        other.execute(begin)
        other.execute("SELECT * FROM meta").fetchone()
        if begin == "BEGIN":
            store.put("last", "1")
        started = time.monotonic()
        with pytest.raises(StateError, match="in the middle of its work"), held_still(file):
            pass
        assert time.monotonic() - started < 0.5
    other.close()


def test_who_was_erased_stays_erased(url: str) -> None:
    """A backup from before an erasure learns of it from the books it takes the place of."""
    backup = backed_up(url)
    with Store.open(url, key=KEYS) as store:
        store.begin_erasure(5, NOW)
        store.finish_erasure(5)
    assert (5,) == restore(url, backup, KEYS, TARGET, NOW + 60).erased
    with Store.open(url, key=KEYS) as store:
        assert ([5], True) == (store.unfinished_erasures(), 5 in store.erased())


def test_a_server_has_its_own_tools() -> None:
    """For PostgreSQL the sentence says what to do."""
    with pytest.raises(StateError, match=r"pg_restore.*state restored"):
        restore("postgresql://db.example.org/state", Path("x"), KEYS, TARGET, NOW)


class Crash(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize(("is_damaged", "is_held"), [(False, False), (True, False), (False, True)])
def test_a_stop_at_any_moment_leaves_old_books_or_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_damaged: bool, is_held: bool
) -> None:
    """Whenever a restore is cut off there are whole books, old or new, and the next try puts the backup back.

    So it is when a receiver has them open, which goes on as long as they are in their place.
    """
    crashes, whole = 0, False
    while not whole:
        file = tmp_path / str(crashes) / "state.db"
        url = f"sqlite:///{file}"
        backup = backed_up(url)
        if is_damaged:
            damaged(file)
        others = [Store.open(url, key=KEYS)] if is_held else []
        said = {f"before-{number}" for number in range(len(others))}
        for other, name in zip(others, said, strict=True):
            other.put(name, "x" * 9000)
        left = crashes

        def step(real: object, *args: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash
            assert callable(real)
            return real(*args)

        with monkeypatch.context() as patch:
            for owner, name in ((Path, "replace"), (Path, "unlink"), (Path, "touch"), (os, "link"), (os, "fsync")):
                patch.setattr(owner, name, through(step, getattr(owner, name)))
            try:
                restore(url, backup, KEYS, TARGET, NOW + 7200)
                whole = True
            except Crash:
                crashes += 1
        assert file.exists(), f"no books after step {crashes}"
        if not is_damaged or whole:
            for other in others:
                if other.is_in_place:
                    other.put("after", "1")
                    said.add("after")
            with Store.open(url, key=KEYS) as store:
                is_new = store.get(RESTORED_AT) is not None
                assert len(store.cases("student", 0)) == (1 if is_new else 2)
                assert is_new or not [name for name in said if store.get(name) is None]
        restore(url, backup, KEYS, TARGET, NOW + 7200)
        for other in others:
            other.close()
        with Store.open(url, key=KEYS) as store:
            assert 1 == len(store.cases("student", 0))
        assert not list(file.parent.glob("*.restoring*"))
    assert 5 < crashes


def through(step: Callable[..., object], real: object) -> Callable[..., object]:
    """Return a function that takes the place of a real one and goes through `step`."""
    return lambda *args, **kwargs: step(partial(real, **kwargs), *args)  # type: ignore[arg-type]
