"""The books in numbers: counted as often as they are listed."""

from __future__ import annotations

from collections import Counter

from flows.problems import list_problems
from state import Ack, DoubtCount, RowCount, RowId, RunRow, Standing, Store, TableCount
from tests.flows.status_world import HOUR, MINUTE, NOW, fill


def test_rows_by_status(store: Store) -> None:
    """Living, left, dirty and never acknowledged rows are told apart, by mapping."""
    fill(store)
    expected = [
        RowCount("enrolment", "active", True, False, 2),
        RowCount("enrolment", "active", True, True, 1),
        RowCount("student", "active", True, False, 3),
        RowCount("student", "left", True, False, 1),
    ]
    assert expected == store.count_rows()


def test_rows_that_went_a_way(store: Store) -> None:
    """Those of the statuses asked for, in the order of their addresses, with whose they are and when written."""
    fill(store)
    store.acknowledge([Ack(RowId("enrolment", 2, "site-enrolment-8"), "c8", "o", {}, "withdrawn", 8)], NOW)
    expected = [
        Standing(RowId("enrolment", 2, "site-enrolment-8"), 8, "c8", "withdrawn", NOW),
        Standing(RowId("student", 0, "site-student-3"), 3, "case-student-3", "left", NOW - HOUR),
    ]
    assert expected == store.standing({"left", "withdrawn"})
    assert [] == store.standing({"closed"})


def test_every_row_is_counted_once(store: Store) -> None:
    """The sum is that of all rows, also of those that CommCare is not known to have."""
    fill(store)
    before = sum(row.count for row in store.count_rows())
    store.void_rested(store.resting().intents, NOW)
    assert RowCount("enrolment", "active", False, True, 1) in store.count_rows()
    assert before + 1 == sum(row.count for row in store.count_rows())


def test_problems_are_counted_as_they_are_listed(store: Store) -> None:
    """Of each mapping, property and reason as many as `problems list` shows; dropped ones are not."""
    fill(store)
    listed = Counter((one.row.mapping, one.name, one.reason) for one in list_problems(store))
    counted = {(one.mapping, one.property, one.reason): one.count for one in store.count_problems()}
    assert {("student", "phone", "invalid_phone"): 2, ("student", "", "owner_unresolved"): 1} | {
        ("enrolment", "", "poison"): 1
    } == counted
    assert dict(listed) == counted


def test_a_refusal_that_a_read_lists_too_is_counted_once(store: Store) -> None:
    """A row that CommCare refused stands in both tables after the next read."""
    fill(store)
    store.set_problems("enrolment", 2, [("site-enrolment-1", "", "poison", "refused")], NOW)
    (counted,) = [one for one in store.count_problems() if one.mapping == "enrolment"]
    assert (1, NOW) == (counted.count, counted.first_at)


def test_writes_in_doubt(store: Store) -> None:
    """By mapping, with the oldest."""
    fill(store)
    assert [DoubtCount("enrolment", 1, NOW - 15 * MINUTE)] == store.count_in_doubt()


def test_last_runs(store: Store) -> None:
    """The newest first, no more than asked for, each with what it counted; one at work has no end."""
    fill(store)
    newest, before = store.last_runs(2)
    assert RunRow("run-3", NOW - 7 * MINUTE, None, "running", "r1", {}) == newest
    assert ("run-2", NOW - HOUR - 7 * MINUTE, "degraded", {"write": 2}) == (
        before.id,
        before.started_at,
        before.state,
        before.counts["requests"]["commcare"],
    )


def test_who_holds_the_lease(store: Store) -> None:
    """Nobody, the holder until the end of the lease, nobody again."""
    assert store.lease_holder(NOW) is None
    epoch = store.take_lease("run-9", NOW, 600.0)
    assert ("run-9", NOW + 600.0) == store.lease_holder(NOW + 1.0)
    assert store.lease_holder(NOW + 601.0) is None
    store.release_lease("run-9", epoch or 0)
    assert store.lease_holder(NOW + 1.0) is None


def test_a_lease_of_a_clock_that_was_ahead_holds_nobody_up(store: Store) -> None:
    """It would hold for longer than any lease does: who wants to begin may, and nobody is shown at work."""
    store.take_lease("run-9", NOW + 7_200.0, 600.0)
    assert store.lease_holder(NOW) is None
    assert store.lease_holder(NOW, 600.0) is None
    assert ("run-9", NOW + 7_800.0) == store.lease_holder(NOW, 8_000.0)
    assert store.take_lease("run-10", NOW, 600.0)


def test_empty_books(store: Store) -> None:
    """There is nothing to count."""
    assert ([], [], [], []) == (
        store.count_rows(),
        store.count_problems(),
        store.count_in_doubt(),
        store.last_runs(30),
    )


def test_lookup_tables_in_numbers(store: Store) -> None:
    """Rows, those that the last read lacked, since when a write is in doubt, and when rows were written last."""
    fill(store)
    courses = TableCount("moodle_courses", 3, 1, None, NOW - 2 * HOUR)
    assert [courses, TableCount("places", 0, 0, NOW - 10 * MINUTE)] == store.count_tables()
    store.note_table_write("moodle_courses", NOW)
    store.note_table_write("moodle_courses", None)
    store.save_table_rows("moodle_courses", {}, ["3"])
    assert TableCount("moodle_courses", 2, 0, None, NOW - 2 * HOUR) == store.count_tables()[0]
