"""The log of what was written: in one piece with what it tells, small, and gone when it has to be."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from state import Ack, CaseRow, Change, Intent, Kind, Refusal, RowId, Share, Store
from state.care import DAY
from state.log import ANSWERS, OPS, pack, unpack

NOW = 1_800_000_000.0
ROW = RowId("enrolment", 12, "site-enrol-12-5")
OTHER = RowId("enrolment", 12, "site-enrol-12-6")
ONE, TWO = b"1" * 16, b"2" * 16
ACK = Ack(ROW, "case-1", "owner-1", {"@name": ONE, "grade": TWO}, "active", 5, "create")


def told(changes: list[Change]) -> list[tuple[str, str]]:
    """Return what was meant and what came of it."""
    return [(one.op, one.answer) for one in changes]


# --- what is written ----------------------------------------------------------------------------------------


def test_an_answer_is_logged_with_all_about_it(store: Store) -> None:
    """When, in which run and request, with which mappings, which properties, and the form that CommCare made."""
    store.start_run("run", NOW, "revision-1")
    store.acknowledge([ACK], NOW + 1, "run-7", "form-7")
    expected = Change(ROW, NOW + 1, "create", "taken", "", ("@name", "grade"), 1, "run", 7, "form-7", "revision-1")
    assert [expected] == store.history(ROW.key)


def test_what_was_sent_is_logged_and_not_what_is_known(store: Store) -> None:
    """An update of one property is logged as that, whatever digests the answer brings."""
    store.acknowledge([ACK], NOW)
    store.acknowledge([replace(ACK, op="update", sent=["grade"], closed=True)], NOW + 1)
    assert [("create", "taken"), ("update", "closed")] == told(store.history(ROW.key))
    assert ("grade",) == store.history(ROW.key)[-1].names


def test_two_answers_to_one_row_are_one_entry(store: Store) -> None:
    """As the digests are merged, so are the names."""
    store.acknowledge([ACK, replace(ACK, digests={"city": ONE})], NOW)
    (found,) = store.history(ROW.key)
    assert ("@name", "city", "grade") == found.names


def test_an_unanswered_write_is_logged_when_it_is_given_up(store: Store) -> None:
    """Each under the request that it went out with; a row that is not under way any more is not mentioned."""
    over = RowId("enrolment", 12, "site-enrol-12-7")
    store.stamp("run-1", [Intent(ROW, 5, "create")], NOW)
    store.stamp("run-2", [Intent(OTHER, 6, "closed"), Intent(over, 7, "create")], NOW)
    rested = store.resting().intents
    store.release([over])
    store.void_rested(rested, NOW + 1200)
    found = [store.history(row.key)[0] for row in (ROW, OTHER)]
    assert [("create", "unknown"), ("closed", "unknown")] == told(found)
    assert [("run", 1), ("run", 2)] == [(one.run, one.batch) for one in found]
    assert [] == store.history(over.key)


def test_a_close_without_an_answer_is_remembered_until_one_comes(store: Store) -> None:
    """Also over later writes that nobody answered; of another case of the key nothing is said."""
    store.acknowledge([ACK], NOW)
    assert not store.may_have_closed(ROW, 1)
    for number, op in enumerate(("closed", "withdrawn")):
        store.stamp(f"run-{number}", [Intent(ROW, 5, op)], NOW)
        store.void_rested(store.resting().intents, NOW + 1200)
        assert [True, False] == [store.may_have_closed(ROW, generation) for generation in (1, 2)]
    assert not store.may_have_closed(OTHER, 1)
    store.acknowledge([replace(ACK, op="update")], NOW + 2400)
    assert not store.may_have_closed(ROW, 1)


def test_a_refusal_is_logged_with_its_reason(store: Store) -> None:
    """Also of a row of which there is no case."""
    store.note_refusals([Refusal(ROW, "create", "wrong_type", b"x", 5, ["grade", "city"])], NOW, "run")
    (found,) = store.history(ROW.key)
    assert ("create", "refused", "wrong_type", ("city", "grade"), "run") == (
        *(found.op, found.answer, found.reason),
        *(found.names, found.run),
    )


def test_words_about_a_row_are_logged(store: Store) -> None:
    """What a person said, what an audit doubted, and a new case under the next generation."""
    store.acknowledge([ACK], NOW)
    store.void_values({ROW: ["grade", "unknown"]}, NOW + 1)
    store.note_refusals([Refusal(ROW, "update", "target_deleted", b"x", 5)], NOW + 2)
    store.drop([ROW], NOW + 3)
    store.retry([ROW], NOW + 4)
    store.note_refusals([Refusal(ROW, "update", "target_deleted", b"x", 5)], NOW + 5)
    store.recreate([ROW], NOW + 6)
    store.acknowledge([replace(ACK, status="closed", op="closed", closed=True)], NOW + 7)
    store.renew([ROW, OTHER], NOW + 8)
    found = store.history(ROW.key)
    assert ["create", "doubt", "update", "drop", "retry", "update", "recreate", "closed", "renew"] == [
        one.op for one in found
    ]
    assert [1, 1, 1, 1, 1, 1, 2, 2, 3] == [one.generation for one in found]
    assert ("grade",) == found[1].names
    assert [] == store.history(OTHER.key)


def test_an_adopted_case_is_logged_as_found(store: Store) -> None:
    """It was looked up, and nothing was written."""
    store.adopt(ROW, CaseRow(ROW.key, "case-1", "owner", None, "active", 0, 5, 2), NOW, "run")
    assert [("adopt", "found")] == told(store.history(ROW.key))


def test_an_emptied_case_is_told_apart(store: Store) -> None:
    """A write that erases is none of the mapping's; whoever looks before the end sees how far it came."""
    store.acknowledge([ACK], NOW)
    store.begin_erasure(5, NOW + 1)
    store.acknowledge([replace(ACK, status="erasing", op="withdrawn")], NOW + 2)
    assert ("erase", "taken") == told(store.history(ROW.key))[-1]


def test_the_order_is_that_of_writing(store: Store) -> None:
    """Also when the clock was set back in between."""
    store.acknowledge([ACK], NOW)
    store.acknowledge([replace(ACK, op="left")], NOW - 500)
    assert ["create", "left"] == [one.op for one in store.history(ROW.key)]


@pytest.mark.parametrize("numbers", [[], [1], [3, 1, 2], [127, 128, 129], [1, 40_000, 2**31]])
def test_names_are_packed(numbers: list[int]) -> None:
    """They come back sorted, and what lies close together costs a byte each."""
    assert sorted(numbers) == unpack(pack(numbers))
    assert 60 == len(pack(range(1, 61)))


def test_a_cut_off_list_of_names_is_read_as_far_as_it_goes() -> None:
    """SQLite has no checksums: damage costs a name, not the command."""
    assert [5] == unpack(pack([5, 400])[:-1])


def test_a_row_is_small(url: str, file: Path) -> None:
    """Ten thousand enrolments with thirteen properties each take less than 70 bytes a row, keys included."""
    names = [f"property_{number}" for number in range(13)]
    with Store.open(url, key=b"k" * 32) as store:
        for course in range(100):
            rows = [RowId("enrolment", course, f"site-enrol-{course}-{1000 + person}") for person in range(100)]
            acks = [replace(ACK, row=row, digests={}, sent=names) for row in rows]
            store.acknowledge(acks, NOW, f"20261121T080000-abc123-{course}", "0" * 36)
    with sqlite3.connect(file) as books:
        books.execute("VACUUM")
        whole = books.execute("PRAGMA page_count").fetchone()[0]
        books.execute("DROP TABLE change")
        books.execute("DROP TABLE occasion")
        books.execute("VACUUM")
        taken = (whole - books.execute("PRAGMA page_count").fetchone()[0]) * 4096
    books.close()
    assert 70 > taken / 10_000


# --- what is asked ------------------------------------------------------------------------------------------


def test_a_run_is_told_by_kinds_and_the_first_rows(store: Store) -> None:
    """Counts are of all, the rows are limited; other runs do not count, also when their names begin alike."""
    rows = [RowId("enrolment", 12, f"site-enrol-12-{number}") for number in range(9)]
    store.acknowledge([replace(ACK, row=row) for row in rows], NOW, "run-1")
    store.note_refusals([Refusal(OTHER, "update", "refused", b"x")], NOW, "run")
    store.acknowledge([ACK], NOW, "run-2-1")
    found, counts = store.history_of_run("run", 3)
    assert 3 == len(found)
    assert {Kind("enrolment", "create", "taken"): 9, Kind("enrolment", "update", "refused"): 1} == counts
    assert ["run-2", "run"] == store.runs_like("ru")


def test_near_keys_are_found(store: Store) -> None:
    """By their beginning, by their last part, by the number of the person; signs of patterns are letters."""
    store.acknowledge([ACK, replace(ACK, row=OTHER, user_id=6, case_id="case-2")], NOW)
    assert [ROW.key, OTHER.key] == store.keys_like("site-enrol-1")
    assert [OTHER.key] == store.keys_like("other-enrol-3-6")
    assert [ROW.key] == store.keys_like("5")
    assert [] == store.keys_like("%_")
    assert {"enrolment": ROW.key} == store.example_keys()
    assert (OTHER.key, None) == (store.key_of_case("case-2"), store.key_of_case("case-3"))


def test_rows_of_a_key_are_found_before_they_are_answered(store: Store) -> None:
    """A row that is under way for the first time is known by its intent."""
    store.stamp("run-1", [Intent(ROW, 5, "create")], NOW)
    assert [ROW] == store.rows_of_key(ROW.key)


def test_cases_and_changes_are_counted_by_owner(store: Store) -> None:
    """Changes count for who has the case now; refusals, words and what nobody answered are none."""
    store.acknowledge([ACK, replace(ACK, row=OTHER, owner_id="owner-2", status="left")], NOW)
    store.acknowledge([replace(ACK, owner_id="owner-3")], NOW + 10)
    store.note_refusals([Refusal(OTHER, "update", "refused", b"x")], NOW + 10)
    mine, others = Share("owner-3", "enrolment", "active"), Share("owner-2", "enrolment", "left")
    assert {mine: 1, others: 1} == store.carried()
    assert {mine: 2, others: 1} == store.written_since(NOW)
    assert {mine: 1} == store.written_since(NOW + 5)
    assert NOW == store.log_begins()


# --- what is forgotten --------------------------------------------------------------------------------------


def test_what_is_old_is_cut_once_a_day(store: Store) -> None:
    """The log goes back so many days and up to one more; as long as it is, its runs are known."""
    for day in range(5):
        store.start_run(f"run{day}", NOW + day * DAY, f"r{day}")
        store.acknowledge([replace(ACK, op="update")], NOW + day * DAY + 1, f"run{day}-1")
    store.forget_old(NOW + 4 * DAY, 3.5 * DAY)
    assert 5 == len(store.history(ROW.key))
    store.forget_old(NOW + 4 * DAY, 2.5 * DAY)
    found = store.history(ROW.key)
    assert (["r2", "r3", "r4"], NOW + 2 * DAY + 1) == ([one.revision for one in found], store.log_begins())
    store.forget_old(NOW + 900 * DAY)
    assert ([], None) == (store.history(ROW.key), store.log_begins())


def test_a_clock_that_was_ahead_does_not_stop_the_cutting(store: Store) -> None:
    """What was written in the year 2100 by mistake is no reason to keep all that came after it."""
    store.acknowledge([ACK], NOW + 30_000 * DAY)
    store.acknowledge([replace(ACK, op="update")], NOW)
    store.acknowledge([replace(ACK, op="left")], NOW + 95 * DAY)
    store.forget_old(NOW + 95 * DAY)
    assert ["left"] == [one.op for one in store.history(ROW.key)]


def test_a_person_is_forgotten_whole(store: Store) -> None:
    """Also what CommCare refused and never had a case; everybody else stays."""
    never = RowId("grade_item", 12, "site-grade-3-5")
    store.acknowledge([ACK, replace(ACK, row=OTHER, user_id=6)], NOW)
    store.note_refusals([Refusal(never, "create", "refused", b"x", 5)], NOW)
    store.drop([never], NOW)
    assert {ROW, never} == {one.row for one in store.history_of_person(5, [])}
    store.begin_erasure(5, NOW)
    store.finish_erasure(5)
    assert [] == store.history_of_person(5, [ROW, never])
    assert ([], 1) == (store.refusals(), store.condition().counts["in the log"])


def test_the_words_of_the_log_keep_their_places() -> None:
    """Books hold numbers: a word that moved would change what they tell."""
    assert (
        "create update left withdrawn ended closed erase adopt merge unmerge renew retry recreate drop doubt "
        "link unlink reject retype" == " ".join(OPS)
    )
    assert "taken closed refused unknown found noted" == " ".join(ANSWERS)
