"""What was matched and decided, and what a link does to the rows of the cases."""

from __future__ import annotations

import pytest

from state import Ack, CaseRow, Intent, Link, MatchRow, OpenCount, RowId, Store

ROW = RowId("student", 0, "s-user-3")
OPEN = MatchRow("student", "s-user-3", "case-1", 3, "duplicate", "email", found_at=5.0)
LINKED = MatchRow("student", "s-user-3", "case-1", 3, "duplicate", "email", "", "linked", "person", 5.0, 9.0)


def link(case_id: str = "case-1", key: str = "s-user-3", user: int = 3) -> Link:
    """Return a person's word that a case is that of a key."""
    found = MatchRow("student", key, case_id, user, "duplicate", "email", "", "linked", "person", 5.0, 9.0)
    case = CaseRow(key, case_id, "owner", None, "active", 0, user, linked=True)
    return Link(RowId("student", 0, key), found, case)


def test_what_was_found_replaces_what_was_open(store: Store) -> None:
    """A new match puts its findings in the place of the open ones; decided ones stay."""
    other = MatchRow("student", "s-user-4", "case-2", 4, "unverified", "name", "same_name")
    store.note_matches("student", [OPEN, other])
    store.reject([other], "person", 7.0)
    store.note_matches("student", [MatchRow("student", "s-user-5", "", 5, "missing_email"), other])
    assert [("s-user-4", "rejected"), ("s-user-5", "")] == [(row.key, row.decision) for row in store.matches()]
    assert ["s-user-5"] == [row.key for row in store.matches(decision="")]
    assert [] == store.matches("tutor")
    assert ["s-user-5"] == [row.key for row in store.matches(kind="missing_email")]


def test_what_a_run_finds_stands_beside_what_is_open(store: Store) -> None:
    """It takes nothing away and nothing back: what was open or decided before stays as it was."""
    rival = MatchRow("student", "s-user-4", "case-2", 4, "conflict", "key", "keys_disagree")
    store.note_matches("student", [OPEN, rival])
    store.reject([rival], "person", 7.0)
    store.add_matches([rival, MatchRow("student", "s-user-4", "case-3", 4, "conflict", "key", "keys_disagree")])
    expected = [("case-1", ""), ("case-2", "rejected"), ("case-3", "")]
    assert expected == [(row.case_id, row.decision) for row in store.matches()]
    assert {"s-user-3", "s-user-4"} == store.open_keys("student")


def test_who_waits(store: Store) -> None:
    """Those without a case wait whose cases somebody has to look at; missing addresses make nobody wait."""
    store.note_matches("student", [OPEN, MatchRow("student", "s-user-5", "", 5, "missing_email")])
    assert frozenset({"s-user-3"}) == store.open_keys("student")
    store.acknowledge([Ack(ROW, "case-9", "owner", {}, "active", 3)], 1.0)
    assert frozenset() == store.open_keys("student")


def test_open_matches_are_counted(store: Store) -> None:
    """People by mapping, kind and whether their case is known; several cases of a person count once."""
    assert [] == store.count_open()
    other = MatchRow("student", "s-user-3", "case-2", 3, "duplicate", "email")
    tutor = MatchRow("tutor", "s-user-3", "case-1", 3, "unverified", "name", "same_name")
    store.note_matches(
        "student", [OPEN, other, MatchRow("student", "s-user-4", "case-3", 4, "duplicate", "email")]
    )
    store.note_matches("tutor", [tutor])
    assert [OpenCount("student", "duplicate", False, 2), OpenCount("tutor", "unverified", False, 1)] == (
        store.count_open()
    )
    store.acknowledge([Ack(ROW, "case-9", "owner", {}, "active", 3)], 1.0)
    store.reject([tutor], "person", 7.0)
    assert [OpenCount("student", "duplicate", False, 1), OpenCount("student", "duplicate", True, 1)] == (
        store.count_open()
    )


@pytest.mark.parametrize(("heard", "generation"), [(None, 1), (True, 2), (False, 2)])
def test_a_link_leaves_room_for_a_case_that_may_be_there(
    store: Store, heard: bool | None, generation: int
) -> None:
    """A case of our own before it counts, be it that no answer told of it; one that was never sent does not."""
    if heard is None:
        store.adopt(ROW, CaseRow(ROW.key, "", "", None, "active", 0, 3), 1.0)
    elif heard:
        store.acknowledge([Ack(ROW, "case-9", "owner", {}, "active", 3)], 1.0)
    else:
        store.stamp("run-1", [Intent(ROW, 3, "create")], 1.0)
        store.void_rested(store.resting().intents, 99.0)
    assert [] == store.link([link()])
    assert generation == store.cases("student", 0)[ROW.key].generation


def test_a_link_makes_a_dirty_row(store: Store) -> None:
    """The case of somebody else becomes that of the row, marked as linked, to be sent whole."""
    store.note_matches("student", [OPEN])
    assert [] == store.link([link()])
    assert {"s-user-3": CaseRow("s-user-3", "case-1", "owner", None, "active", 0, 3, 1, True)} == store.cases(
        "student", 0
    )
    assert [LINKED] == store.matches()
    assert (0, 1) == (store.count_own("student"), store.count_known("student"))
    assert {"s-user-3": "case-1"} == store.case_ids("student")


def test_an_answer_keeps_the_mark(store: Store) -> None:
    """Written to, a linked case stays linked; linked again it is not made dirty."""
    store.link([link()])
    store.acknowledge([Ack(ROW, "case-1", "owner", {"@name": b"0" * 16}, "active", 3, whole=True)], 1.0)
    store.link([link()])
    row = store.cases("student", 0)["s-user-3"]
    assert (True, {"@name": b"0" * 16}) == (row.linked, row.digests)


def test_other_candidates_are_rejected(store: Store) -> None:
    """Choosing one case rejects the others that were found for the person."""
    other = MatchRow("student", "s-user-3", "case-2", 3, "unverified", "name")
    store.note_matches("student", [OPEN, other])
    store.link([link()])
    assert {"case-1": "linked", "case-2": "rejected"} == {row.case_id: row.decision for row in store.matches()}


def test_another_case_is_of_the_next_generation(store: Store) -> None:
    """A person who had a case and is linked to another one never finds the old one by its external id."""
    store.acknowledge([Ack(ROW, "case-0", "owner", {}, "active", 3)], 1.0)
    store.link([link()])
    assert ("case-1", 2) == (
        store.cases("student", 0)["s-user-3"].case_id,
        store.cases("student", 0)["s-user-3"].generation,
    )


def test_whoever_had_the_case_has_none(store: Store) -> None:
    """The row that had the case loses it, is left, and gets the next generation; its own link is forgotten."""
    store.link([link(key="s-user-1", user=1)])
    store.link([link()])
    old = store.cases("student", 0)["s-user-1"]
    assert ("", "left", 2, False) == (old.case_id, old.status, old.generation, old.linked)
    assert ["s-user-3"] == [row.key for row in store.matches()]


def test_what_is_in_doubt_waits(store: Store) -> None:
    """Neither a row with an unanswered write, nor one whose case it would take, is touched."""
    store.stamp("batch", [Intent(ROW, 3, "create")], 1.0)
    assert [link()] == store.link([link()])
    store.link([link(key="s-user-1", user=1)])
    store.release([ROW])
    store.stamp("batch", [Intent(RowId("student", 0, "s-user-1"), 1, "update")], 1.0)
    assert [link()] == store.link([link()])
    assert "case-1" == store.cases("student", 0)["s-user-1"].case_id
    assert "in_doubt" == store.make_anew([RowId("student", 0, "s-user-1")], 9.0)


def test_made_anew(store: Store) -> None:
    """A person whose case was deleted gets a row without a case, of the next generation, and nothing is open."""
    store.link([link()])
    store.note_matches("student", [MatchRow("student", "s-user-3", "", 3, "new", "", "deleted")])
    assert "" == store.make_anew([ROW], 9.0)
    row = store.cases("student", 0)["s-user-3"]
    assert ("", 2, "active", False, []) == (row.case_id, row.generation, row.status, row.linked, store.matches())


def told(store: Store, key: str = "s-user-3") -> list[tuple[float, str, str, str, int]]:
    """Return what the log says of a key: when, what, the answer, who decided it, and of which generation."""
    return [(one.at, one.op, one.answer, one.reason, one.generation) for one in store.history(key)]


def test_a_link_is_logged(store: Store) -> None:
    """When, by whom, in which match; linked again to the same case it is no news."""
    store.link([link()], "match-20261129T070000-abcdef")
    store.link([link()])
    assert [(9.0, "link", "found", "person", 1)] == told(store)
    (change,) = store.history("s-user-3")
    assert ("match-20261129T070000-abcdef", ()) == (change.run, change.names)


def test_both_sides_of_a_link_are_logged(store: Store) -> None:
    """Whoever had the case is told to have lost it; a person who had another one begins the next generation."""
    store.link([link(key="s-user-1", user=1)])
    store.acknowledge([Ack(ROW, "case-0", "owner", {}, "active", 3)], 1.0)
    store.link([link()])
    assert [(9.0, "link", "found", "person", 1), (9.0, "unlink", "noted", "person", 1)] == told(store, "s-user-1")
    assert (9.0, "link", "found", "person", 2) == told(store)[-1]


def test_a_rejection_is_logged(store: Store) -> None:
    """Also of somebody who never had a case."""
    store.note_matches("student", [OPEN])
    assert ([], []) == store.reject([OPEN], "person", 7.0)
    assert [(7.0, "reject", "noted", "person", 1)] == told(store)
    assert {} == store.cases("student", 0)


def test_a_link_is_taken_back(store: Store) -> None:
    """Rejected after all, a linked case is the person's no more: the next one is of the next generation."""
    store.link([link()])
    (linked,) = store.matches()
    assert ([], [linked]) == store.reject([linked], "person", 11.0)
    row = store.cases("student", 0)["s-user-3"]
    assert ("", 2, "active", False, None) == (row.case_id, row.generation, row.status, row.linked, row.digests)
    assert ["rejected"] == [one.decision for one in store.matches()]
    assert (11.0, "unlink", "noted", "person", 1) == told(store)[-1]


def test_a_link_that_was_left_behind_is_only_rejected(store: Store) -> None:
    """When the person lives on with a case of our own, that one stays."""
    store.link([link()])
    store.settle({ROW: "closed"})
    store.renew([ROW], 10.0)
    store.acknowledge([Ack(ROW, "case-9", "owner", {}, "active", 3)], 11.0)
    assert ([], []) == store.reject(store.matches(), "person", 12.0)
    assert "case-9" == store.cases("student", 0)["s-user-3"].case_id


def test_a_link_under_way_is_not_taken_back(store: Store) -> None:
    """While a write to the case was not answered the rejection waits, and nothing is logged."""
    store.link([link()])
    store.stamp("batch", [Intent(ROW, 3, "update")], 10.0)
    (linked,) = store.matches()
    assert ([linked], []) == store.reject([linked], "person", 11.0)
    assert [linked] == store.matches()
    assert ["link"] == [one.op for one in store.history("s-user-3")]


def test_a_new_case_for_a_deleted_one_is_logged(store: Store) -> None:
    """A person's word that there shall be another case stands in the log, with the generation that ended."""
    store.link([link()])
    store.make_anew([ROW], 12.0)
    assert (12.0, "recreate", "noted", "", 1) == told(store)[-1]


def test_a_closed_link_lives_on_as_our_own(store: Store) -> None:
    """Closed by us and back again, a person gets a case of our own."""
    store.link([link()])
    store.settle({ROW: "closed"})
    store.renew([ROW], 9.0)
    row = store.cases("student", 0)["s-user-3"]
    assert ("", 2, False) == (row.case_id, row.generation, row.linked)


def test_kept_values(store: Store) -> None:
    """Names of what a blank leaves alone are remembered for linked cases; None until somebody has looked."""
    store.link([link()])
    assert {"s-user-3": None} == store.kept("student", ["s-user-3", "s-user-9"])
    store.keep("student", {"s-user-3": ["phone", "city"]})
    assert {"s-user-3": frozenset({"city", "phone"})} == store.kept("student", ["s-user-3"])
    store.keep("student", {"s-user-3": []})
    assert {"s-user-3": frozenset()} == store.kept("student", ["s-user-3"])


def test_an_erased_person_leaves_no_match(store: Store) -> None:
    """With a person's rows go the matches."""
    store.link([link()])
    store.note_matches("student", [MatchRow("student", "s-user-3", "case-7", 3, "conflict", "email")])
    store.begin_erasure(3, 1.0)
    store.finish_erasure(3)
    assert [] == store.matches()


def test_whose_a_case_is(store: Store) -> None:
    """A link names the case also after one of our own followed it; a case is of who has it, or had it linked."""
    store.link([link()])
    store.settle({ROW: "closed"})
    store.renew([ROW], 10.0)
    store.acknowledge([Ack(ROW, "case-9", "owner", {}, "active", 3)], 11.0)
    store.acknowledge([Ack(RowId("student", 0, "s-user-4"), "case-4", "owner", {}, "active", 4)], 11.0)
    assert {"s-user-3": "case-1"} == store.linked_cases("student", ["s-user-3", "s-user-4"])
    expected = {"case-1": {"s-user-3"}, "case-9": {"s-user-3"}, "case-4": {"s-user-4"}}
    assert expected == store.keys_of_cases("student", ["case-1", "case-4", "case-9", "case-none"])
    assert ({}, {}) == (store.linked_cases("tutor", ["s-user-3"]), store.keys_of_cases("tutor", ["case-1"]))
