"""Rows of cases that went away in one way or another, and those that come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from state import Ack, CaseRow, Intent, RowId, Store
from state.rows import Ours
from tests.state.conftest import KEY
from tests.state.versions import old_books

ROW, OTHER = RowId("enrolment", 2, "test-enrol-2-7"), RowId("enrolment", 2, "test-enrol-2-8")


def acknowledged(store: Store, status: str = "active", row: RowId = ROW, case_id: str = "c1") -> None:
    """Let CommCare have a case."""
    store.acknowledge([Ack(row, case_id, "owner", {"city": b"1" * 16}, status, 7)], 1.0)


def makes(*rows: RowId) -> Ours:
    """Return what says that a mapping makes the keys of these rows, all of one person."""
    return lambda scope, key, person: person == 7 and (scope, key) in {row[1:] for row in rows}


def test_books_of_the_first_schema_are_brought_up(tmp_path: Path) -> None:
    """Rows written before there were generations are of the first one."""
    url = f"sqlite:///{tmp_path / 'state.db'}"
    old_books(url, "0001")
    with Store.open(url, key=KEY) as store:
        assert 1 == store.cases("enrolment", 2)[ROW.key].generation


def test_a_closed_case_is_renewed(store: Store) -> None:
    """The row keeps its key and owner, loses case id and digests, and counts one generation more."""
    acknowledged(store, "closed")
    store.renew([ROW, OTHER], 99.0)
    found = store.cases(*ROW[:2])[ROW.key]
    assert ("", "owner", None, "active", 2) == (
        found.case_id,
        found.owner_id,
        found.digests,
        found.status,
        found.generation,
    )


def test_only_a_closed_case_is_renewed(store: Store) -> None:
    """A case that lives keeps its case id, whatever is asked."""
    acknowledged(store)
    store.renew([ROW], 99.0)
    assert "c1" == store.cases(*ROW[:2])[ROW.key].case_id


def test_a_row_follows_to_a_later_case(store: Store) -> None:
    """In one step, whatever the row said before, and told once; the key and the owner stay."""
    acknowledged(store, "left")
    store.follow(ROW, 4, 99.0)
    found = store.cases(*ROW[:2])[ROW.key]
    assert CaseRow(ROW.key, "", "owner", None, "active", 0, 7, 4) == found
    assert [("update", 1), ("renew", 4)] == [(one.op, one.generation) for one in store.history(ROW.key)]


@pytest.mark.parametrize("generation", [1, 3])
def test_a_row_never_goes_back_to_an_earlier_case(store: Store, generation: int) -> None:
    """Somebody who looked before the row went on changes nothing, nor does a word about a row of nobody."""
    acknowledged(store)
    store.follow(ROW, 3, 99.0)
    acknowledged(store)
    before = store.cases(*ROW[:2]), store.history(ROW.key)
    store.follow(ROW, generation, 100.0)
    store.follow(OTHER, generation, 100.0)
    assert before == (store.cases(*ROW[:2]), store.history(ROW.key))


def test_a_close_in_doubt_is_remembered(store: Store) -> None:
    """When nobody knows whether a case was closed, its row says so and is still looked for."""
    acknowledged(store)
    store.stamp("b", [Intent(row, 7, "closed") for row in (ROW, OTHER)], 2.0)
    store.void_rested(store.resting().intents, 99.0)
    found = store.cases(*ROW[:2])[ROW.key]
    assert ("closing", None, 1) == (found.status, found.digests, store.count_active("enrolment"))


def test_living_rows_are_looked_for(store: Store) -> None:
    """Withdrawn and ended cases can leave; those that left, closed ones and replaced ones cannot leave again."""
    found = {}
    for status in ("active", "withdrawn", "ended", "leaving", "emptying", "clearing", "left", "closed"):
        acknowledged(store, status)
        found[status] = len(store.note_read("enrolment", 2, set(), f"run {status}"))
    assert dict.fromkeys(found, 1) | {"left": 0, "closed": 0} == found


def test_replaced_rows_are_told_at_once(store: Store) -> None:
    """Cases under old keys are set aside together with the new form of the keys, and are told in the next read."""
    acknowledged(store)
    assert 1 == store.replace_keys("enrolment", "written:enrolment", "new", makes())
    (missing,) = store.note_read("enrolment", 2, {"other"}, "run 1", protected={7})
    assert ("replaced", 0, "new") == (
        missing.case.status,
        missing.case.missing_count,
        store.get("written:enrolment"),
    )


def test_a_replaced_row_that_is_seen_is_active(store: Store) -> None:
    """Whatever was said of its key: its person is there, and the reads that lacked it before count no more."""
    acknowledged(store)
    store.note_read("enrolment", 2, set(), "run 1")
    store.replace_keys("enrolment", "written:enrolment", "new", makes())
    assert [] == store.note_read("enrolment", 2, {ROW.key}, "run 2")
    case = store.cases(*ROW[:2])[ROW.key]
    assert ("active", 0) == (case.status, case.missing_count)


def test_a_key_that_is_made_again_is_no_old_key(store: Store) -> None:
    """Only keys that the new form does not make are set aside; those that it makes again live again."""
    acknowledged(store)
    acknowledged(store, row=OTHER, case_id="c2")
    fact = "enrolment", "written:enrolment"
    statuses = list[list[str]]()
    for mine in ([ROW], [OTHER], [ROW, OTHER]):
        aside = store.replace_keys(*fact, "form", makes(*mine))
        cases = store.cases(*ROW[:2])
        statuses.append([cases[row.key].status for row in (ROW, OTHER)] + [str(aside)])
    assert [["active", "replaced", "1"], ["replaced", "active", "1"], ["active", "active", "0"]] == statuses


@pytest.mark.parametrize("status", ["active", "withdrawn", "ended", "returning", "rejoining"])
@pytest.mark.parametrize("by", ["the text", "a read"])
def test_what_is_set_aside_is_what_it_was_again(store: Store, status: str, by: str) -> None:
    """Nothing was made under other keys: nobody forgets who was emptied, or whose course was over."""
    acknowledged(store, status)
    fact = "enrolment", "written:enrolment"
    for _ in range(2):
        assert store.replace_keys(*fact, "new", makes()) < 2
    if by == "the text":
        assert 0 == store.replace_keys(*fact, "old", makes(ROW))
    else:
        store.note_seen("enrolment", 2, {ROW.key})
    assert status == store.cases(*ROW[:2])[ROW.key].status
    (missing,) = store.note_read("enrolment", 2, set(), "run 1")
    assert 1 == missing.case.missing_count


def test_a_replaced_row_whose_key_is_made_again_counts_reads(store: Store) -> None:
    """Set aside by books of before: a read that lacks it is the first one, as of any other row."""
    acknowledged(store, "replaced")
    for number in (1, 2):
        (missing,) = store.note_read("enrolment", 2, set(), f"run {number}", is_ours=makes(ROW))
        assert ("active", number) == (missing.case.status, missing.case.missing_count)
    acknowledged(store, "replaced", OTHER, "c2")
    assert [] == store.note_read("enrolment", 2, {ROW.key}, "run 3", {7}, makes(OTHER))


def test_what_two_runs_lacked_is_due(store: Store) -> None:
    """An element is due when another run lacked it before; the same run counts once."""
    scope = ("enrolment", 2, {"a", "b"})
    assert {} == store.note_lacking(*scope, {"a": ["grade_1"]}, "run 1")
    assert {} == store.note_lacking(*scope, {"a": ["grade_1"]}, "run 1")
    due = store.note_lacking(*scope, {"a": ["grade_1"], "b": ["grade_1"]}, "run 2")
    assert {"a": {"grade_1"}} == due


def test_what_is_there_again_is_forgotten(store: Store) -> None:
    """An element that came back starts again; what was not read stays as it was."""
    store.note_lacking("enrolment", 2, {"a", "b"}, {"a": ["grade_1"], "b": ["grade_1"]}, "run 1")
    store.note_lacking("enrolment", 2, {"a"}, {}, "run 2")
    due = store.note_lacking("enrolment", 2, {"a", "b"}, {"a": ["grade_1"], "b": ["grade_1"]}, "run 3")
    assert {"b": {"grade_1"}} == due


def test_people_who_are_gone(store: Store) -> None:
    """Who has cases in a scope, and none that lives or waits to be replaced; of others nothing is said."""
    statuses = (
        "left", "leaving", "closed", "emptying", "clearing", "active", "withdrawn", "replaced", "returning",
        "rejoining",
    )  # fmt: skip
    rows = [RowId("enrolment", 2, f"test-enrol-2-{number}") for number in range(1, len(statuses) + 1)]
    for number, (row, status) in enumerate(zip(rows, statuses, strict=True), 1):
        store.acknowledge([Ack(row, f"c{number}", "owner", {}, status, number)], 1.0)
    second = RowId("enrolment", 2, "test-enrol-2-1-again")
    assert {1, 2, 3, 4, 5} == store.gone_people("enrolment", 2, range(20))
    store.acknowledge([Ack(second, "c20", "owner", {}, "active", 1)], 1.0)
    assert {2} == store.gone_people("enrolment", 2, [1, 2, 6])
    assert set() == store.gone_people("enrolment", 3, range(20))


def test_courses_that_lack_elements_are_counted(store: Store) -> None:
    """Each course in which elements wait for a second look is told, with its rows; other mappings' are not."""
    for name, scope, keys in (("enrolment", 2, "ab"), ("enrolment", 3, "c"), ("other", 4, "d")):
        store.note_lacking(name, scope, None, {key: ["grade_1", "grade_2"] for key in keys}, "run 1")
    found = store.lacking_in("enrolment")
    names = frozenset({"grade_1", "grade_2"})
    assert {2: (2, names), 3: (1, names)} == found


def test_people_with_cases_that_are_not_marked(store: Store) -> None:
    """Of the site, and of courses that are not read: whoever lives, or may live still; nobody without a number."""
    statuses = ("active", "withdrawn", "ended", "closing", "leaving", "emptying", "left", "closed", "replaced")
    for number, status in enumerate(statuses, 1):
        store.acknowledge([Ack(RowId("student", 0, f"s-{number}"), f"a{number}", "o", {}, status, number)], 1.0)
        store.acknowledge([Ack(RowId("enrolment", 2, f"e-{number}"), f"b{number}", "o", {}, status, number)], 1.0)
    store.acknowledge([Ack(RowId("enrolment", 3, "e-3-20"), "c20", "o", {}, "active", 20)], 1.0)
    store.acknowledge([Ack(RowId("enrolment", 3, "e-3-0"), "c0", "o", {}, "active", 0)], 1.0)
    assert ({1, 2, 3, 4, 5, 6}, {20}) == store.unmarked_people(["student", "enrolment"], [2])
    assert (set(), {1, 2, 3, 4, 5, 6, 20}) == store.unmarked_people(["enrolment"], [])
    assert (set(), set()) == store.unmarked_people([], [])


def test_people_are_counted_once(store: Store) -> None:
    """Whoever lives in some mapping, however many cases there are."""
    for number, status in ((7, "active"), (8, "left"), (9, "ended"), (0, "active")):
        for scope in (2, 3):
            row = RowId("enrolment", scope, f"test-enrol-{scope}-{number}")
            store.acknowledge([Ack(row, f"c{scope}{number}", "owner", {}, status, number)], 1.0)
    assert (2, 0) == (store.count_active_people(["enrolment", "student"]), store.count_active_people(["student"]))
