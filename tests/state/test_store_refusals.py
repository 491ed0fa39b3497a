"""Rows that CommCare refused: remembered until they are taken, settled, retried or dropped."""

from __future__ import annotations

from state import Ack, Refusal, RefusalRow, RowId, Store

ROW, OTHER = RowId("student", 0, "site-user-1"), RowId("student", 0, "site-user-2")
REFUSED = Refusal(ROW, "update", "wrong_type", b"a" * 16)


def fill(store: Store) -> None:
    """Know a case that was refused."""
    store.acknowledge([Ack(ROW, "case-1", "owner", {"city": b"1" * 16}, "active", 1)], 1.0)
    store.note_refusals([REFUSED], 10.0)
    store.set_problems("student", 0, [(ROW.key, "", "wrong_type", ""), (ROW.key, "phone", "blank", "")], 11.0)


def test_a_refusal_counts_its_attempts(store: Store) -> None:
    """Refused again, it keeps its first time and takes over reason and content."""
    store.note_refusals([REFUSED], 10.0)
    store.note_refusals([Refusal(ROW, "create", "refused", b"b" * 16)], 20.0)
    assert [RefusalRow(ROW, "create", "refused", b"b" * 16, 10.0, 20.0, 2, False)] == store.refusals()


def test_a_refusal_that_is_another_begins_anew(store: Store) -> None:
    """Attempts and the first time count from then on, of that row only."""
    first, other = Refusal(ROW, "create", "refused", b"b" * 16, anew=True), Refusal(OTHER, "update", "no", b"c")
    store.note_refusals([REFUSED, other], 10.0)
    store.note_refusals([first, other], 20.0)
    assert [(ROW, 20.0, 1), (OTHER, 10.0, 2)] == [(r.row, r.first_at, r.attempts) for r in store.refusals()]


def test_a_refusal_that_is_met_was_not_sent(store: Store) -> None:
    """Only its last time changes."""
    store.note_refusals([REFUSED], 10.0)
    store.meet_refusals([ROW, OTHER], 30.0)
    assert [RefusalRow(ROW, "update", "wrong_type", b"a" * 16, 10.0, 30.0, 1, False)] == store.refusals()


def test_an_acknowledged_row_was_refused_no_more(store: Store) -> None:
    """Taken in the same transaction that writes the case."""
    store.note_refusals([REFUSED, Refusal(OTHER, "update", "refused", b"b")], 10.0)
    store.acknowledge([Ack(ROW, "case-1", "owner", {}, "active", 1)], 20.0)
    assert [OTHER] == [one.row for one in store.refusals()]


def test_what_needs_no_write_is_settled(store: Store) -> None:
    """A record that was read and differs in nothing has no refusal; others keep theirs."""
    withdrawn, course = Refusal(OTHER, "withdrawn", "refused", b"b"), RowId("student", 5, ROW.key)
    store.note_refusals([REFUSED, withdrawn, Refusal(course, "update", "refused", b"c")], 10.0)
    assert 1 == store.settle_refusals("student", 0, [ROW.key, OTHER.key])
    assert [OTHER, course] == [one.row for one in store.refusals()]


def test_a_retried_row_is_dirty(store: Store) -> None:
    """Refusal and problem are gone, a problem of one of its values stays."""
    fill(store)
    store.retry([ROW], 99.0)
    case = store.cases("student", 0)[ROW.key]
    assert ([], ["phone"]) == (store.refusals(), [problem.property for problem in store.problems()])
    assert (None, "case-1", 1) == (case.digests, case.case_id, case.generation)


def test_a_recreated_row_is_of_the_next_generation(store: Store) -> None:
    """It has no case id and no digests: the next write makes a new case."""
    fill(store)
    store.recreate([ROW], 99.0)
    case = store.cases("student", 0)[ROW.key]
    assert ("", None, 2, "active") == (case.case_id, case.digests, case.generation, case.status)
    assert [] == store.refusals()


def test_a_dropped_row_stays_as_it_is(store: Store) -> None:
    """It is off the list, still known as refused, and its digests are untouched; refused anew it is listed."""
    fill(store)
    store.drop([ROW], 99.0)
    assert ([True], ["phone"]) == (
        [one.dropped for one in store.refusals()],
        [problem.property for problem in store.problems()],
    )
    assert {"city": b"1" * 16} == store.cases("student", 0)[ROW.key].digests
    store.note_refusals([REFUSED], 20.0)
    assert [False] == [one.dropped for one in store.refusals()]
