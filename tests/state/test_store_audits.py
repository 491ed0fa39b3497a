"""What an audit asks of the books and writes into them."""

from __future__ import annotations

from state import Ack, RowId, Store
from state.audits import NO_DIGEST
from tests.voided import void


def fill(store: Store, count: int = 3) -> list[RowId]:
    """Know some cases of two courses, case-0, case-1 ..."""
    rows = [RowId("enrolment", 2 + number % 2, f"site-enrol-{number}") for number in range(count)]
    acks = [
        Ack(row, f"case-{n}", "owner", {"grade": b"1" * 16, "city": b"2" * 16}, "active", n)
        for n, row in enumerate(rows)
    ]
    store.acknowledge(acks, 100.0)
    return rows


def test_rows_are_found_by_case_id(store: Store) -> None:
    """In any scope, of the mappings asked for only, more ids than one walk takes included."""
    rows = fill(store, 12)
    many = {f"nobody-{number}" for number in range(11_000)} | {"case-3", "case-10"}
    found = store.by_case_ids(["enrolment", "student"], many)
    assert {"case-3": rows[3], "case-10": rows[10]} == {case_id: held.row for case_id, held in found.items()}
    assert ({}, 100.0) == (store.by_case_ids(["student"], many), found["case-3"].pushed_at)
    assert {"enrolment"} == store.mappings_with_cases()


def test_known_cases_that_are_not_listed(store: Store) -> None:
    """Living ones that were not written lately; who left is no case that anybody misses."""
    rows = fill(store, 5)
    store.settle({rows[1]: "left"})
    store.acknowledge([Ack(rows[2], "case-2", "owner", {}, "active", 2)], 500.0)
    found = store.known_and_not("enrolment", {"case-0"}.__contains__, before=400.0)
    assert {"case-3", "case-4"} == {held.case.case_id for held in found}


def test_known_cases_that_are_not_listed_come_in_pieces(store: Store) -> None:
    """In the order of their rows, each once, with whatever statuses; what is ahead of the clock is among them."""
    rows = fill(store, 9)
    store.settle({rows[4]: "left", rows[6]: "closed"})
    store.acknowledge([Ack(rows[2], "case-2", "owner", {}, "active", 2)], 9_000.0)
    found, after = list[str](), None
    while piece := store.known_and_not(
        "enrolment", {"case-0"}.__contains__, 400.0, ahead=800.0, statuses=("active", "left"), after=after, most=2
    ):
        found, after = found + [one.case.case_id for one in piece], piece[-1].row
    assert ["case-2", "case-4", "case-8", "case-1", "case-3", "case-5", "case-7"] == found


def test_cases_at_rows(store: Store) -> None:
    """Those that are known, and have a case id, whatever scope they are in."""
    rows = fill(store, 3)
    void(store, [RowId("enrolment", 7, "sent-once")], 98.0)
    found = store.at_rows([*rows[:2], RowId("student", 0, "nobody"), RowId("enrolment", 7, "sent-once")])
    assert {"case-0": rows[0], "case-1": rows[1]} == {case_id: held.row for case_id, held in found.items()}


def test_owners_are_noted(store: Store) -> None:
    """The books know who owns a case now; its digests stay."""
    rows = fill(store)
    store.note_owners({rows[0]: "somebody", rows[2]: "somebody else"})
    cases = store.cases("enrolment", 2)
    assert ["somebody", "somebody else"] == [cases[rows[0].key].owner_id, cases[rows[2].key].owner_id]
    assert "owner" == store.cases("enrolment", 3)[rows[1].key].owner_id
    assert {"grade", "city"} == (cases[rows[0].key].digests or {}).keys()


def test_single_values_are_doubted(store: Store) -> None:
    """Only the digests named are void; a name that was never sent is not made up, a dirty row stays dirty."""
    rows = fill(store)
    void(store, [rows[2]], 98.0)
    store.void_values(
        {rows[0]: ["grade", "other"], rows[2]: ["grade"], RowId("enrolment", 9, "x"): ["grade"]}, 99.0
    )
    cases = store.cases("enrolment", 2)
    assert {"grade": NO_DIGEST, "city": b"2" * 16} == cases[rows[0].key].digests
    assert cases[rows[2].key].digests is None


def test_with_its_values_nothing_else_of_a_case_is_doubted(store: Store) -> None:
    """It stays what it is, also when it went away."""
    rows = fill(store, 8)
    ways = ("left", "withdrawn", "ended", "closed")
    store.settle(dict(zip(rows[::2], ways, strict=True)))
    store.void_values({row: ["grade"] for row in rows[::2]}, 99.0)
    cases = store.cases("enrolment", 2)
    assert [*ways] == [cases[row.key].status for row in rows[::2]]
