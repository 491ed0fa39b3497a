"""What is known of the cases, and which ones a complete read lacked."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from state import Ack, CaseRow, Intent, RowId, Store
from tests.voided import void

DIGEST = b"0123456789abcdef"


def known(
    store: Store, keys: Iterable[str], *, mapping: str = "student", scope: int = 0, status: str = "active"
) -> None:
    """Put acknowledged cases into the books."""
    acks = [Ack(RowId(mapping, scope, key), f"id-{key}", "owner", {"@name": DIGEST}, status, 7) for key in keys]
    store.acknowledge(acks, now=100.0)


def counts(store: Store) -> dict[str, int]:
    """Return how many complete reads in a row lacked each student."""
    return {key: row.missing_count for key, row in store.cases("student", 0).items()}


def test_an_unknown_scope_is_empty(store: Store) -> None:
    """Nothing is known at first."""
    assert {} == store.cases("student", 0)


def test_a_scope_is_read_whole(store: Store) -> None:
    """All cases of a scope come by key, and none of another mapping or scope."""
    known(store, ["a"])
    known(store, ["b"], scope=3)
    known(store, ["c"], mapping="enrolment")
    expected = {"a": CaseRow("a", "id-a", "owner", {"@name": DIGEST}, "active", 0, 7)}
    assert expected == store.cases("student", 0)


def test_wanted_keys_are_read_in_pieces(store: Store) -> None:
    """More keys than fit into one query are found all the same; unknown ones are left out."""
    keys = [f"key-{number}" for number in range(1203)]
    known(store, [*keys, "other"])
    assert set(keys) == set(store.cases("student", 0, [*keys, "nobody"]))


def test_no_keys_are_no_cases(store: Store) -> None:
    """An empty choice is not the same as no choice."""
    known(store, ["a"])
    assert {} == store.cases("student", 0, [])


def test_known_and_active_cases_are_counted(store: Store) -> None:
    """Rows without case id do not count; active ones can be counted by scope."""
    known(store, ["a", "b"], scope=1)
    known(store, ["c"], scope=2)
    known(store, ["d"], scope=2, status="left")
    void(store, [RowId("student", 2, "in doubt")], 99.0)
    assert (4, 3, 1) == (
        store.count_known("student"),
        store.count_active("student"),
        store.count_active("student", 2),
    )


def test_scopes_are_those_with_such_rows(store: Store) -> None:
    """A scope where everybody left holds nothing that could go."""
    known(store, ["a"], scope=1)
    known(store, ["b"], scope=2, status="left")
    known(store, ["c"], mapping="enrolment", scope=3)
    assert ({1}, {1, 2}) == (store.scopes("student", ["active"]), store.scopes("student", ["active", "left"]))


def test_a_read_that_shows_everybody_lacks_nobody(store: Store) -> None:
    """Seen rows are not missing."""
    known(store, ["a", "b"])
    assert [] == store.note_read("student", 0, {"a", "b"}, "run-1")


def test_a_lacking_row_is_given_with_its_new_count(store: Store) -> None:
    """The first complete read without a row counts one."""
    known(store, ["a", "b"])
    (missing,) = store.note_read("student", 0, {"a"}, "run-1")
    assert (RowId("student", 0, "b"), 1, "id-b") == (missing.row, missing.case.missing_count, missing.case.case_id)


def test_a_row_counts_once_a_run(store: Store) -> None:
    """Noting the same read again changes nothing, and still tells who is missing."""
    known(store, ["a", "b"])
    first = store.note_read("student", 0, {"a"}, "run-1")
    assert first == store.note_read("student", 0, {"a"}, "run-1")


def test_a_second_run_counts_two(store: Store) -> None:
    """Two complete reads in a row are two."""
    known(store, ["a", "b"])
    store.note_read("student", 0, {"a"}, "run-1")
    store.note_read("student", 0, {"a"}, "run-2")
    assert {"a": 0, "b": 2} == counts(store)


def test_a_row_that_comes_back_starts_again(store: Store) -> None:
    """Lacked, seen, lacked is not two in a row."""
    known(store, ["a", "b"])
    for run, seen in (("run-1", {"a"}), ("run-2", {"a", "b"}), ("run-3", {"a"})):
        store.note_read("student", 0, seen, run)
    assert {"a": 0, "b": 1} == counts(store)


def test_rows_that_left_are_not_missed(store: Store) -> None:
    """Who is marked as left is not lacking from a read."""
    known(store, ["a"], status="left")
    assert [] == store.note_read("student", 0, set(), "run-1")


def test_a_row_that_left_and_is_seen_joins_again(store: Store) -> None:
    """From then on it lives, and is missed like others; who is only protected is as he was."""
    known(store, ["a", "b"], status="left")
    assert [] == store.note_read("student", 0, {"a"}, "run-1", {7})
    assert {"a": "rejoining", "b": "left"} == {key: row.status for key, row in store.cases("student", 0).items()}
    assert ["a"] == [missing.row.key for missing in store.note_read("student", 0, set(), "run-2")]


def test_who_joins_again_is_missing_from_no_read(store: Store) -> None:
    """What reads lacked before counts no more; any other status leaves it as it is."""
    known(store, ["a", "b"])
    for run in ("run-1", "run-2"):
        store.note_read("student", 0, set(), run)
    store.settle({RowId("student", 0, "a"): "rejoining", RowId("student", 0, "b"): "closing"})
    assert {"a": 0, "b": 2} == counts(store)
    store.note_read("student", 0, {"b"}, "run-2")
    assert {"a": 1, "b": 0} == counts(store)


def test_living_cases_in_courses_are_those_nobody_heard_of_too(store: Store) -> None:
    """Whether CommCare has a case or not, its person was seen there."""
    known(store, ["a"], scope=3)
    known(store, ["b"], scope=3, status="left")
    row = RowId("student", 3, "c")
    store.stamp("batch", [Intent(row, 8, "create")], 99.0)
    store.void_rested(store.resting().intents, 100.0)
    assert {RowId("student", 3, "a"): 7, row: 8} == store.active_in_courses(["student"], [7, 8])


def test_people_with_a_status(store: Store) -> None:
    """All rows of a mapping, or those of some people; nobody's rows are nobody's."""
    known(store, ["a"], scope=3, status="withdrawn")
    known(store, ["b"], status="clearing")
    known(store, ["c"])
    found = {RowId("student", 3, "a"): 7, RowId("student", 0, "b"): 7}
    assert found == store.people_with("student", {"withdrawn", "clearing"})
    assert found == store.people_with("student", {"withdrawn", "clearing"}, {7, 9})
    assert {} == store.people_with("student", {"withdrawn", "clearing"}, {8})
    assert {} == store.people_with("enrolment", {"withdrawn", "clearing"})


def test_other_scopes_are_not_missed(store: Store) -> None:
    """A read of one course says nothing about another."""
    known(store, ["a"], scope=2)
    assert [] == store.note_read("student", 1, set(), "run-1")


def test_a_large_scope_may_vanish_whole(store: Store) -> None:
    """An empty read of a big course is told completely, for the guard to judge."""
    known(store, [f"key-{number:04}" for number in range(1500)])
    assert 1500 == len(store.note_read("student", 0, [], "run-1"))


def test_nothing_is_written_when_nothing_is_news(url: str, file: Path) -> None:
    """A read that shows what is known leaves the file alone."""
    with Store.open(url, key=b"k" * 32) as store, sqlite3.connect(file) as other:
        known(store, ["a", "b"])
        store.note_read("student", 0, {"a"}, "run-1")
        before = other.execute("PRAGMA data_version").fetchone()
        store.note_read("student", 0, {"a"}, "run-1")
        store.cases("student", 0)
        after = other.execute("PRAGMA data_version").fetchone()
    other.close()
    assert before == after


def test_a_dirty_row_keeps_everything_but_its_digests(store: Store) -> None:
    """Of a case whose last write is in doubt the rest stays known: it is sent whole, under its case id."""
    known(store, ["a", "b"])
    void(store, [RowId("student", 0, "a")], 2.0)
    found = store.cases("student", 0)
    assert (None, "id-a", {"@name": DIGEST}) == (found["a"].digests, found["a"].case_id, found["b"].digests)


def test_digests_that_cannot_be_read_make_a_row_dirty(url: str, file: Path) -> None:
    """A damaged digest column heals by one more transmission."""
    with Store.open(url, key=b"k" * 32) as store:
        known(store, ["short", "unknown name"])
        with sqlite3.connect(file) as other:
            other.execute("UPDATE case_row SET digests = x'0001' WHERE key = 'short'")
            other.execute("UPDATE case_row SET digests = ? WHERE key = 'unknown name'", [b"\xff" * 20])
        other.close()
        assert [None, None] == [row.digests for row in store.cases("student", 0).values()]


def test_four_thousand_rows_make_the_round_trip(store: Store) -> None:
    """A large site's users are written and read in one go."""
    digests = {f"property_{number}": DIGEST for number in range(8)}
    acks = [
        Ack(RowId("student", 0, f"site-user-{number}"), f"id-{number}", "o", digests, "active", number)
        for number in range(4_000)
    ]
    store.acknowledge(acks, now=1.0)
    found = store.cases("student", 0)
    assert (4_000, digests) == (len(found), found["site-user-3999"].digests)
