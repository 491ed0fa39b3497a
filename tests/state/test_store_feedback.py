"""Feedback in the books: whose case it is, fingerprints that survive a rotation, nothing of the erased."""

from __future__ import annotations

from dataclasses import replace

from state import Ack, FeedbackRow, Holder, RowId, Store

ONE, TWO = b"1" * 32, b"2" * 32
ROW = RowId("enrolment", 7, "site-enrol-7-5")
OTHER = RowId("enrolment", 7, "site-enrol-7-6")


def with_cases(store: Store) -> None:
    """Let two people have a case."""
    store.take_key()
    store.acknowledge(
        [Ack(row, f"case-{row.key}", "o", {}, "active", int(row.key[-1])) for row in (ROW, OTHER)], 1.0
    )


def row_of(store: Store, reason: str = "") -> FeedbackRow:
    """Return what is known of a text."""
    told = store.digest("e", "text", "Good") + store.digest("e", "grade", "")
    return FeedbackRow(Holder(ROW, f"case-{ROW.key}", 5), "coach_feedback", told, b"", reason, 1.0, 1.0, 1)


def test_whose_case_it_is(store: Store) -> None:
    """Cases that the books do not know, and those of people being erased, are nobody's."""
    with_cases(store)
    wanted = [f"case-{ROW.key}", f"case-{OTHER.key}", "another", ""]
    assert {5, 6} == {one.user_id for one in store.holders("enrolment", wanted).values()}
    assert {} == store.holders("student", wanted)
    store.begin_erasure(6, 2.0)
    assert {f"case-{ROW.key}": Holder(ROW, f"case-{ROW.key}", 5)} == store.holders("enrolment", wanted)


def test_what_is_written_is_read(store: Store) -> None:
    """A later word about a text takes the place of the one before; only open ones are listed if asked."""
    row = row_of(store, "feedback_conflict")
    store.note_feedback([row])
    assert {(ROW, "coach_feedback"): row} == store.feedback("enrolment", open_only=True)
    store.note_feedback([replace(row, reason="", tries=2)])
    assert ({}, 2) == (store.feedback(open_only=True), store.feedback()[row.at].tries)
    assert {} == store.feedback("student")


def test_properties_that_are_sent_back_no_more(store: Store) -> None:
    """What was in their way is off the list."""
    store.note_feedback([row_of(store, "feedback_conflict")])
    store.forget_feedback("enrolment", ["coach_feedback"])
    assert 1 == len(store.feedback(open_only=True))
    store.forget_feedback("enrolment", [])
    assert {} == store.feedback(open_only=True)


def test_fingerprints_are_carried_over(anywhere: str) -> None:
    """After a rotation they are what the texts give under the new keys; under other keys they tell nothing."""
    with Store.open(anywhere, key=ONE) as store:
        with_cases(store)
        store.note_feedback([replace(row_of(store), sent=store.digest("e", "text", "x") * 2)])
    with Store.open(anywhere, key=(ONE, TWO)) as store:
        store.take_key()
        (found,) = store.feedback().values()
        assert (row_of(store).told, store.digest("e", "text", "x") * 2) == (found.told, found.sent)
    with Store.open(anywhere, key=b"3" * 32) as store:
        store.take_key()
        (found,) = store.feedback().values()
        assert (b"", b"") == (found.told, found.sent)


def test_an_erased_person_is_forgotten(store: Store) -> None:
    """Nothing of it stays."""
    with_cases(store)
    store.note_feedback([row_of(store)])
    store.begin_erasure(5, 2.0)
    store.finish_erasure(5)
    assert {} == store.feedback()
