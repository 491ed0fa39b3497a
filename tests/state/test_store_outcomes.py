"""Intents before every transmission, one transaction after it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from state import NO_VALUE, Ack, CaseRow, Intent, IntentRow, RowId, Store
from tests.voided import void

ROW = RowId("enrolment", 12, "site-enrol-12-5")
OTHER = RowId("enrolment", 12, "site-enrol-12-6")
ONE, TWO, THREE = b"1" * 16, b"2" * 16, b"3" * 16
ACK = Ack(ROW, "case-1", "owner-1", {"@name": ONE, "grade": TWO}, "active", 5)


def case(store: Store, row: RowId = ROW) -> CaseRow | None:
    """Return what is known of a row."""
    return store.cases(row.mapping, row.scope).get(row.key)


def test_a_stamp_is_an_intent(store: Store) -> None:
    """What is about to be sent stands in the books with its batch and time."""
    store.stamp("batch-1", [Intent(ROW, 5, "create")], now=10.0)
    assert {ROW: IntentRow(ROW, "batch-1", "create", 10.0, 1)} == store.intents()


def test_a_second_stamp_takes_over(store: Store) -> None:
    """Sent again, a row counts an attempt and rests from the later time."""
    store.stamp("batch-1", [Intent(ROW, 5, "create")], now=10.0)
    store.stamp("batch-2", [Intent(ROW, 5, "update")], now=20.0)
    assert {ROW: IntentRow(ROW, "batch-2", "update", 20.0, 2)} == store.intents()


def test_only_what_was_announced_in_a_batch_is_released(store: Store) -> None:
    """Who lost the lease takes nothing back that the next one announced."""
    store.stamp("batch-1", [Intent(ROW, 5, "create")], now=10.0)
    store.stamp("batch-2", [Intent(ROW, 5, "create")], now=20.0)
    store.release([ROW], "batch-1")
    assert {ROW} == set(store.intents())
    store.release([ROW], "batch-2")
    assert {} == store.intents()


def test_a_stamp_says_nothing_about_the_case(store: Store) -> None:
    """Only an answer makes a case known."""
    store.stamp("batch-1", [Intent(ROW, 5, "create")], now=10.0)
    assert case(store) is None


def test_an_answer_makes_the_case_known_and_removes_its_intent(store: Store) -> None:
    """Case id, owner, status and digests come from the answer; other intents stay."""
    store.stamp("batch-1", [Intent(ROW, 5, "create"), Intent(OTHER, 6, "create")], now=10.0)
    store.acknowledge([ACK], now=11.0)
    expected = CaseRow(ROW.key, "case-1", "owner-1", {"@name": ONE, "grade": TWO}, "active", 0, 5)
    assert (expected, {OTHER}) == (case(store), set(store.intents()))


def test_an_answer_about_an_earlier_case_says_nothing_of_the_row(store: Store) -> None:
    """Its announcement is over, and the log tells which of the cases it was."""
    store.acknowledge([ACK], now=11.0)
    before = case(store)
    store.stamp("run-1-2", [Intent(ROW, 5, "withdrawn")], now=12.0)
    earlier = replace(
        ACK, case_id="case-0", digests={"grade": THREE}, status="withdrawn", op="withdrawn", earlier=7
    )
    store.acknowledge_earlier([earlier], now=13.0, batch="run-1-2", form_id="form")
    assert (before, {}) == (case(store), store.intents())
    told = store.history(ROW.key)[-1]
    assert ("withdrawn", "taken", 7, ("grade",), "form") == (
        told.op,
        told.answer,
        told.generation,
        told.names,
        told.form_id,
    )


def test_digests_are_merged_over_the_stored_ones(store: Store) -> None:
    """An update of one property leaves the digests of the others."""
    store.acknowledge([ACK], now=11.0)
    store.acknowledge([replace(ACK, digests={"grade": THREE, "city": ONE})], now=12.0)
    found = case(store)
    assert found is not None
    assert {"@name": ONE, "grade": THREE, "city": ONE} == found.digests


def test_a_dirty_row_gets_exactly_the_given_digests(store: Store) -> None:
    """What was void is not brought back by a merge."""
    store.acknowledge([ACK], now=11.0)
    void(store, [ROW], now=11.5)
    store.acknowledge([replace(ACK, digests={"city": ONE}, whole=True)], now=12.0)
    found = case(store)
    assert found is not None
    assert {"city": ONE} == found.digests


def test_a_part_of_a_dirty_row_leaves_it_dirty(store: Store) -> None:
    """Somebody asked for all of it while what had changed was on its way: the rest is still to be sent."""
    store.acknowledge([ACK], now=11.0)
    void(store, [ROW], now=11.5)
    store.acknowledge([replace(ACK, digests={"city": ONE})], now=12.0)
    found = case(store)
    assert found is not None
    assert found.digests is None


@pytest.mark.parametrize(("held", "after"), [({"@type": ONE}, {"@type": NO_VALUE}), ({}, {})])
def test_a_new_type_without_an_answer_is_doubted(
    store: Store, held: dict[str, bytes], after: dict[str, bytes]
) -> None:
    """All else that is known of the case stays, and what is dirty stays dirty."""
    store.acknowledge([replace(ACK, digests={"grade": TWO, **held}, status="left")], now=11.0)
    store.acknowledge([replace(ACK, row=OTHER)], now=11.0)
    void(store, [OTHER], 11.5)
    store.stamp("b", [Intent(ROW, 5, "retype"), Intent(OTHER, 6, "retype")], 12.0)
    store.void_rested(store.resting().intents, 99.0)
    found, other = case(store), case(store, OTHER)
    assert found is not None
    assert other is not None
    assert ("left", {"grade": TWO, **after}, None) == (found.status, found.digests, other.digests)


@pytest.mark.parametrize(
    ("before", "op", "missed", "after"),
    [
        ("left", "update", 2, "rejoining"), ("ended", "update", 0, "rejoining"),
        ("withdrawn", "update", 0, "returning"),
        ("withdrawing", "update", 0, "withdrawing"), ("closed", "create", 2, "closed"),
        ("active", "left", 2, "leaving"), ("active", "left", 0, "rejoining"), ("left", "left", 0, "leaving"),
        ("withdrawn", "left", 2, "leaving"), ("withdrawn", "left", 0, "withdrawing"),
        ("withdrawing", "left", 2, "withdrawing"), ("ended", "left", 0, "rejoining"),
        ("active", "ended", 0, "rejoining"), ("returning", "ended", 0, "returning"),
        ("active", "closed", 2, "closing"), ("left", "closed", 2, "closing"), ("closing", "left", 3, "closing"),
        ("rejoining", "update", 0, "rejoining"), ("rejoining", "left", 2, "leaving"),
        ("withdrawing", "closed", 0, "withdrawing"), ("returning", "closed", 0, "returning"),
        ("withdrawing", "withdrawn", 0, "withdrawing"), ("returning", "withdrawn", 0, "returning"),
        ("emptying", "withdrawn", 0, "emptying"), ("clearing", "left", 1, "clearing"),
        ("erasing", "withdrawn", 0, "erasing"),
    ],
)  # fmt: skip
def test_whether_a_case_went_away_is_open_again(
    store: Store, before: str, op: str, missed: int, after: str
) -> None:
    """A write that was not answered may have brought it back, or let it go; a read since tells more."""
    store.acknowledge([ACK], now=11.0)
    for number in range(missed):
        store.note_read(*ROW[:2], set(), f"run {number}")
    store.acknowledge([replace(ACK, status=before)], now=11.5)
    store.stamp("b", [Intent(ROW, 7, op)], 12.0)
    store.void_rested(store.resting().intents, 99.0)
    found = case(store)
    assert found is not None
    assert after == found.status


def test_who_is_seen_is_not_leaving(store: Store) -> None:
    """Nobody knows whether the case says that its person left: the person is there, so the row is sent whole."""
    store.acknowledge([replace(ACK, status="left")], now=11.0)
    store.mark_restored(12.0)
    store.note_read(*ROW[:2], {ROW.key}, "run")
    found = case(store)
    assert found is not None
    assert ("rejoining", None) == (found.status, found.digests)


@pytest.mark.parametrize(
    ("before", "after"),
    [("left", "leaving"), ("withdrawn", "withdrawing"), ("ended", "rejoining"), ("active", "active")],
)
def test_books_put_back_do_not_know_who_went_away(store: Store, before: str, after: str) -> None:
    """Who was away in the backup may have come back since, and gone again."""
    store.acknowledge([replace(ACK, status=before)], now=11.0)
    store.mark_restored(12.0)
    found = case(store)
    assert found is not None
    assert after == found.status


def test_two_answers_to_one_row_are_both_merged(store: Store) -> None:
    """Also within one call the later answer adds to the earlier one."""
    store.acknowledge([ACK, replace(ACK, digests={"city": THREE})], now=11.0)
    found = case(store)
    assert found is not None
    assert {"@name": ONE, "grade": TWO, "city": THREE} == found.digests


def test_an_answer_leaves_the_missing_count(store: Store) -> None:
    """Only complete reads count who is missing."""
    store.acknowledge([ACK], now=11.0)
    store.note_read(ROW.mapping, ROW.scope, [], "run-1")
    store.acknowledge([replace(ACK, status="left")], now=12.0)
    found = case(store)
    assert found is not None
    assert ("left", 1) == (found.status, found.missing_count)


def test_many_property_names_are_told_apart(store: Store) -> None:
    """Each graded activity is a property of its own."""
    many = {f"grade_{number}": number.to_bytes(16, "big") for number in range(300)}
    store.acknowledge([ACK, replace(ACK, row=OTHER, digests=many)], now=11.0)
    found = case(store, OTHER)
    assert found is not None
    assert many == found.digests


def test_names_of_another_process_are_learned(anywhere: str) -> None:
    """Digests under a name that another process made are readable in this one."""
    with Store.open(anywhere, key=b"k" * 32) as first, Store.open(anywhere, key=b"k" * 32) as second:
        first.acknowledge([ACK], now=1.0)
        second.acknowledge([replace(ACK, row=OTHER, digests={"new": THREE, "grade": ONE})], now=2.0)
        found = case(first, OTHER)
    assert found is not None
    assert {"new": THREE, "grade": ONE} == found.digests


def test_release_forgets_the_intent_and_nothing_else(store: Store) -> None:
    """Certainly not applied: what was known of the case still holds."""
    store.acknowledge([ACK], now=9.0)
    before = case(store)
    store.stamp("batch-1", [Intent(ROW, 5, "update")], now=10.0)
    store.release([ROW])
    assert ({}, before) == (store.intents(), case(store))


def test_void_makes_a_known_case_dirty(store: Store) -> None:
    """Of unknown outcome: the case id stays, the digests do not count any more."""
    store.acknowledge([ACK], now=9.0)
    store.stamp("batch-1", [Intent(ROW, 5, "update")], now=10.0)
    store.void_rested(store.resting().intents, now=99.0)
    expected = CaseRow(ROW.key, "case-1", "owner-1", None, "active", 0, 5)
    assert ({}, expected) == (store.intents(), case(store))


def test_void_remembers_a_case_that_was_sent_once(store: Store) -> None:
    """A creation of unknown outcome leaves a row without case id, with the person it is about."""
    store.stamp("batch-1", [Intent(ROW, 5, "create")], now=10.0)
    store.void_rested(store.resting().intents, now=99.0)
    assert CaseRow(ROW.key, "", "", None, "active", 0, 5) == case(store)


@pytest.mark.parametrize(("batch", "moment"), [("batch-2", 10.0), ("batch-1", 20.0)])
def test_what_was_announced_anew_is_not_void(store: Store, batch: str, moment: float) -> None:
    """It is under way, be it in another batch or the same one again; what is as it was read is void by itself."""
    store.stamp("batch-1", [Intent(ROW, 5, "create"), Intent(OTHER, 6, "create")], now=10.0)
    rested = store.resting().intents
    store.stamp(batch, [Intent(ROW, 5, "create")], now=moment)
    store.void_rested(rested, now=99.0)
    assert ({ROW: IntentRow(ROW, batch, "create", moment, 2)}, None) == (store.intents(), case(store))
    assert CaseRow(OTHER.key, "", "", None, "active", 0, 6) == case(store, OTHER)


def test_void_twice_is_void_once(store: Store) -> None:
    """Recovery that was cut short may begin again."""
    store.stamp("batch-1", [Intent(ROW, 5, "create")], now=10.0)
    rested = store.resting().intents
    store.void_rested(rested, now=99.0)
    once = case(store)
    store.void_rested(rested, now=99.0)
    assert once == case(store)


def test_nothing_to_do_is_nothing_done(store: Store) -> None:
    """Empty lists are no statements."""
    store.stamp("batch-1", [], now=1.0)
    store.acknowledge([], now=1.0)
    store.release([])
    store.void_rested([], now=1.0)
    assert {} == store.intents()
