"""One person in the books: everything is found, all of it goes, and a mark stays that names nobody."""

from __future__ import annotations

import json
from pathlib import Path

from state import Ack, Intent, Refusal, RowId, Store
from state.facts import DELETED_ACCOUNTS, KEYS_KEPT_OUT, LOOKED_FOR

KEY = bytes(range(32))
STUDENT, ENROLMENT, SENT = (
    RowId("student", 0, "site-user-5"),
    RowId("enrolment", 7, "site-enrol-7-5"),
    RowId("enrolment", 8, "site-enrol-8-5"),
)
OTHER = RowId("student", 0, "site-user-6")


def fill(store: Store) -> None:
    """Put two people into the books, one with everything that can be known of somebody."""
    store.acknowledge(
        [
            Ack(STUDENT, "c1", "o", {"city": b"1" * 16}, "active", 5),
            Ack(ENROLMENT, "c2", "o", {"grade": b"2" * 16}, "left", 5),
            Ack(OTHER, "c3", "o", {"city": b"3" * 16}, "active", 6),
        ],
        1.0,
    )
    store.stamp("batch", [Intent(SENT, 5, "create"), Intent(OTHER, 6, "update")], 2.0)
    store.set_problems("enrolment", 7, [(ENROLMENT.key, "grade", "blank", "")], 2.0)
    store.set_problems("student", 0, [(OTHER.key, "city", "blank", "")], 2.0)
    store.note_refusals([Refusal(row, "update", "refused", b"x") for row in (STUDENT, OTHER)], 2.0)
    store.note_lacking("enrolment", 7, None, {ENROLMENT.key: ["grade_9"]}, "run")
    store.checkpoint(7, "run", 1.0, [5, 6])
    store.checkpoint(8, "run", 1.0, [6])


def test_a_person_is_found_everywhere(store: Store) -> None:
    """Cases of all mappings, whatever became of them, writes that were not answered, and courses."""
    fill(store)
    found = store.person(5)
    assert ([ENROLMENT, STUDENT], (SENT,), (7,)) == (
        [one.row for one in found.cases],
        found.unanswered,
        found.courses,
    )
    assert (set(), ()) == (store.person(4).rows, store.person(4).courses)


def test_from_the_first_step_on_nobody_reads_the_person(store: Store) -> None:
    """The mark is there before anything is emptied, and a read that lacks the person counts nothing."""
    fill(store)
    store.begin_erasure(5, 3.0)
    assert ([5], True, False) == (store.unfinished_erasures(), 5 in store.erased(), 6 in store.erased())
    assert [OTHER] == [one.row for one in store.note_read("student", 0, [], "run")]
    assert (0, 1) == (store.count_active("enrolment"), store.count_active("student"))


def test_everything_goes_but_the_mark(store: Store) -> None:
    """Nothing of the person is left in any table, and nothing of others is gone."""
    fill(store)
    store.begin_erasure(5, 3.0)
    store.finish_erasure(5)
    assert ((), {OTHER}) == (store.person(5).cases, store.person(6).rows)
    assert ([OTHER], [OTHER], [OTHER]) == (
        list(store.intents()),
        [one.row for one in store.problems()],
        [one.row for one in store.refusals()],
    )
    assert {} == store.note_lacking("enrolment", 7, None, {ENROLMENT.key: ["grade_9"]}, "next")
    assert ({6}, 1) == (store.member_ids(7), store.courses()[7].people)
    assert ([], True) == (store.unfinished_erasures(), 5 in store.erased())


def test_no_fact_names_the_person(store: Store) -> None:
    """The keys of the rows go out of the facts that hold keys, and those that are said to be the person's."""
    fill(store)
    kept_out, others = KEYS_KEPT_OUT.format(name="student", scope=0), KEYS_KEPT_OUT.format(name="visit", scope=7)
    looked_for, none = LOOKED_FOR.format(name="enrolment"), LOOKED_FOR.format(name="student")
    store.put(kept_out, json.dumps([STUDENT.key, OTHER.key]))
    store.put(others, json.dumps([STUDENT.key, "site-visit-7-5"]))
    store.put(looked_for, json.dumps({ENROLMENT.key: 2, SENT.key: 1, "site-enrol-9-5": 1, "site-enrol-9-6": 3}))
    store.put(none, "")
    store.put(DELETED_ACCOUNTS, json.dumps({"5": 2, "6": 1}))
    store.finish_erasure(5, lambda mapping, key: (mapping, key) in [("enrolment", "site-enrol-9-5")])
    assert ([OTHER.key], [STUDENT.key, "site-visit-7-5"], {"site-enrol-9-6": 3}, "") == (
        *(json.loads(store.get(name) or "") for name in (kept_out, others, looked_for)),
        store.get(none),
    )
    assert {"6": 1} == json.loads(store.get(DELETED_ACCOUNTS) or "")


def test_a_row_that_comes_back_is_being_erased(store: Store) -> None:
    """A write that was under way in another process may be taken in afterwards: it does not live."""
    store.begin_erasure(5, 1.0)
    fill(store)
    store.keep_erased()
    assert [5] == store.unfinished_erasures()


def test_a_person_can_be_let_in_again(store: Store) -> None:
    """The mark goes; of somebody who was not erased that is told."""
    store.begin_erasure(5, 1.0)
    assert (True, False, False) == (store.admit(5, 2.0), 5 in store.erased(), store.admit(5, 3.0))
    assert {5} == store.admitted()
    store.finish_erasure(5)
    assert set() == store.admitted()


def test_the_file_does_not_name_who_was_erased(url: str, file: Path) -> None:
    """Neither keys nor case ids are left on the disk, not even in pages that are free."""
    with Store.open(url, key=KEY) as store:
        fill(store)
        store.put(KEYS_KEPT_OUT.format(name="student", scope=0), json.dumps([STUDENT.key]))
        store.begin_erasure(5, 1.0)
        store.finish_erasure(5)
    written = b"".join(path.read_bytes() for path in file.parent.iterdir())
    assert (True, []) == (
        b"site-user-6" in written,
        [key for key in (b"site-user-5", b"enrol-8-5") if key in written],
    )
