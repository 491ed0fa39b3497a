"""The runs, the problems and the small facts."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from state import Ack, ProblemRow, RowId, StateError, Store

PHONE = ("site-user-5", "phone", "invalid_phone", "")
CODE = ("site-user-6", "gender", "unknown_code", "X")


def test_there_is_no_last_run_at_first(store: Store) -> None:
    """New books have seen no run."""
    assert store.last_run() is None


def test_a_run_is_running_until_it_is_finished(store: Store) -> None:
    """The last run is told with its state and its time."""
    store.start_run("run-1", 10.0, "abc")
    running = store.last_run()
    store.finish_run("run-1", 20.0, "completed", {"created": 3})
    assert (("run-1", "running", 10.0), ("run-1", "completed", 20.0)) == (running, store.last_run())


def test_counts_are_kept_as_json(url: str, file: Path) -> None:
    """What a run counted can be read by anything."""
    with Store.open(url, key=b"k" * 32) as store:
        store.start_run("run-1", 10.0, "abc")
        store.finish_run("run-1", 20.0, "degraded", {"cases": {"student": {"created": 3}}})
    with sqlite3.connect(file) as other:
        found = other.execute("SELECT state, revision, counts FROM run").fetchall()
    other.close()
    assert [("degraded", "abc", '{"cases": {"student": {"created": 3}}}')] == found


def states(file: Path) -> dict[str, str]:
    """Return the state of each run."""
    with sqlite3.connect(file) as other:
        found = dict(other.execute("SELECT id, state FROM run"))
    other.close()
    return found


def test_a_run_that_never_finished_is_marked_crashed(url: str, file: Path) -> None:
    """Its lease is gone, so nobody is working on it any more."""
    with Store.open(url, key=b"k" * 32) as store:
        store.take_lease("run-1", 10.0, 600.0)
        store.start_run("run-1", 10.0, "abc")
        store.take_lease("run-2", 700.0, 600.0)
        store.start_run("run-2", 700.0, "abc")
    assert {"run-1": "crashed", "run-2": "running"} == states(file)


def test_a_run_that_holds_the_lease_is_not_crashed(url: str, file: Path) -> None:
    """A run beside the one with the lease leaves it alone."""
    with Store.open(url, key=b"k" * 32) as store:
        store.take_lease("run-1", 10.0, 600.0)
        store.start_run("run-1", 10.0, "abc")
        store.start_run("run-2", 20.0, "abc")
    assert {"run-1": "running", "run-2": "running"} == states(file)


def test_problems_of_a_read_are_kept(store: Store) -> None:
    """Each problem stands with its row, its property and its reason."""
    store.set_problems("student", 0, [CODE, PHONE], now=10.0)
    expected = [
        ProblemRow(RowId("student", 0, "site-user-5"), "phone", "invalid_phone", "", 10.0, 10.0, 1),
        ProblemRow(RowId("student", 0, "site-user-6"), "gender", "unknown_code", "X", 10.0, 10.0, 1),
    ]
    assert expected == store.problems()


def test_problems_last_go_and_come(store: Store) -> None:
    """One that lasts keeps its first time and counts; one that is gone is deleted; a new one begins."""
    store.set_problems("student", 0, [PHONE], now=10.0)
    store.set_problems("student", 0, [PHONE, CODE], now=20.0)
    store.set_problems("student", 0, [(*CODE[:3], "Y")], now=30.0)
    expected = ProblemRow(RowId("student", 0, "site-user-6"), "gender", "unknown_code", "Y", 20.0, 30.0, 2)
    assert [expected] == store.problems()


def test_problems_of_other_scopes_and_mappings_stay(store: Store) -> None:
    """A read of one course settles nothing in another."""
    store.set_problems("enrolment", 1, [PHONE], now=10.0)
    store.set_problems("enrolment", 2, [PHONE], now=10.0)
    store.set_problems("student", 0, [PHONE], now=10.0)
    store.set_problems("enrolment", 1, [], now=20.0)
    assert (1, 2) == (len(store.problems("enrolment")), len(store.problems()))


def test_problems_of_some_mappings_and_reasons(store: Store) -> None:
    """Of all scopes, and of nothing else; of no mapping there are none."""
    for mapping, scope in (("enrolment", 1), ("enrolment", 2), ("student", 0), ("grade_item", 1)):
        store.set_problems(mapping, scope, [PHONE, CODE], now=10.0)
    found = store.problems_for(["enrolment", "student"], [PHONE[2]])
    rows = {RowId("enrolment", 1, PHONE[0]), RowId("enrolment", 2, PHONE[0]), RowId("student", 0, PHONE[0])}
    assert (3, rows) == (len(found), {one.row for one in found})
    assert [] == store.problems_for([], [PHONE[2]])


def test_cases_that_cannot_go_away_are_no_part_of_a_read(store: Store) -> None:
    """They keep their first time, count each try, and go once they went, are for another reason, or came back."""
    rows = {name: RowId("student", 0, name) for name in ("tried", "other", "back", "lacked")}
    for row in rows.values():
        store.acknowledge([Ack(row, f"case-{row.key}", "owner", {}, "withdrawing", 5)], 1.0)
    store.set_stuck(rows.values(), dict.fromkeys(rows.values(), "duplicate_external_id"), 10.0)
    store.settle({rows["back"]: "active", rows["lacked"]: "active"})
    store.note_read("student", 0, {"tried", "other", "back"}, "run-2")
    store.set_problems("student", 0, [], 20.0)
    assert 4 == len(store.problems())
    store.set_stuck([rows["tried"]], {rows["tried"]: "duplicate_external_id"}, 20.0)
    assert [("lacked", 10.0, 1), ("other", 10.0, 1), ("tried", 10.0, 2)] == [
        (one.row.key, one.first_at, one.runs) for one in store.problems()
    ]
    store.set_stuck([rows["tried"], rows["other"]], {rows["tried"]: "refused"}, 30.0)
    assert [("lacked", "duplicate_external_id", 10.0), ("tried", "refused", 30.0)] == [
        (one.row.key, one.reason, one.first_at) for one in store.problems()
    ]


def test_no_problems_before_and_after_are_nothing_written(url: str, file: Path) -> None:
    """The usual read of a healthy course leaves the file alone."""
    with Store.open(url, key=b"k" * 32) as store, sqlite3.connect(file) as other:
        before = other.execute("PRAGMA data_version").fetchone()
        store.set_problems("student", 0, [], now=10.0)
        after = other.execute("PRAGMA data_version").fetchone()
    other.close()
    assert before == after


def test_facts_are_put_and_got(store: Store) -> None:
    """A fact is what was put last; one never put is none."""
    store.put("approved:student", "1")
    store.put("approved:student", "2")
    assert ("2", None) == (store.get("approved:student"), store.get("other"))


TARGET = ("https://moodle.example.org/m", "https://hq.example.org", "demo")


def test_the_target_is_remembered(store: Store) -> None:
    """The same target is welcome again, however its host is written."""
    store.bind_target(*TARGET)
    store.bind_target("HTTPS://Moodle.Example.org/m/", "https://HQ.example.org/", "demo")
    assert "https://moodle.example.org/m" == store.get("@moodle_url")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (("https://other.example.org", *TARGET[1:]), "MOODLE_URL"),
        ((TARGET[0], "https://eu.example.org", TARGET[2]), "COMMCARE_URL"),
        ((*TARGET[:2], "real"), "COMMCARE_DOMAIN"),
    ],
)
def test_another_target_is_refused(store: Store, changed: tuple[str, str, str], named: str) -> None:
    """Both targets are named, and only the setting that differs."""
    store.bind_target(*TARGET)
    with pytest.raises(StateError) as caught:
        store.bind_target(*changed)
    different = next(pair for pair in zip(TARGET, changed, strict=True) if pair[0] != pair[1])
    settings = [name for name in ("MOODLE_URL", "COMMCARE_URL", "COMMCARE_DOMAIN") if name in str(caught.value)]
    assert [named] == settings
    assert all(part in str(caught.value) for part in (*different, "STATE_URL"))
    assert ("MOODLE_URL" == named) == ("`moodle-commcare state moved-moodle`" in str(caught.value))


def test_the_same_moodle_at_another_address(store: Store) -> None:
    """The books go on with the new address, whatever case and slashes; the old one is another target then."""
    assert not store.knows_moodle(TARGET[0])
    store.bind_target(*TARGET)
    assert store.knows_moodle("HTTPS://Moodle.Example.org/m/")
    store.check_target(None, *TARGET[1:])
    store.move_moodle("https://moodle.example.org/m/", "https://Learn.example.org/")
    assert (True, False) == (store.knows_moodle("https://learn.example.org"), store.knows_moodle(TARGET[0]))
    store.check_target("https://learn.example.org", *TARGET[1:])
    with pytest.raises(StateError, match="MOODLE_URL is"):
        store.bind_target(*TARGET)


def test_books_about_another_moodle_are_not_moved(store: Store) -> None:
    """Somebody moved them meanwhile, or no run ever read: nothing is changed."""
    for bound in (False, True):
        if bound:
            store.bind_target(*TARGET)
        with pytest.raises(StateError, match="another Moodle by now"):
            store.move_moodle("https://other.example.org", "https://learn.example.org")
        assert (TARGET[0] if bound else None) == store.get("@moodle_url")


def test_any_moodle_is_not_any_project_space(store: Store) -> None:
    """Without a Moodle to compare, CommCare is compared all the same."""
    store.check_target(None, *TARGET[1:])
    store.bind_target(*TARGET)
    with pytest.raises(StateError, match="COMMCARE_DOMAIN is real"):
        store.check_target(None, TARGET[1], "real")
