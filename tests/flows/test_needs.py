"""What waits for a person, from the facts in the books: the sentence, the command, the form."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import get_args

import pytest

from flows.confirm import (
    confirm,
    confirm_blanks,
    confirm_existing,
    confirm_first_run,
    confirm_rekey,
    confirm_term,
    confirm_withdrawn,
)
from flows.decide import all_of, approve_class, decide
from flows.need import ASKS_FOR, Kind, Need
from flows.needs import (
    EXISTING,
    FIRST_RUNS,
    MAYBE_LOST,
    NEW_TERMS,
    OTHER_KEYS,
    REFUSED_BLANKS,
    REFUSED_LEAVERS,
    REFUSED_WITHDRAWN,
    blanks,
    leavers,
    needs,
    withdrawn,
)
from state import Ack, MatchRow, RowId, Store
from tests.test_docs import wrong_commands

FACTS = {
    REFUSED_LEAVERS: {"10": {"enrolment": 4, "grade_item": 2}, "2": {"enrolment": 3}, "0": {"student": 7}},
    REFUSED_WITHDRAWN: {"0": {"student": 3, "volunteer": 2}},
    REFUSED_BLANKS: {"student email": {"2": 5, "3": 4}},
    NEW_TERMS: {"4": 1_800_000_000},
    FIRST_RUNS: {
        "student": {"case_type": "student", "creates": 12, "print": "a"},
        "enrolment": {"case_type": "enrolment", "creates": 1, "print": "b"},
    },
    EXISTING: {"student": {"case_type": "student", "cases": 1}},
    OTHER_KEYS: {"course": {"cases": 3, "then": "left", "keys": "test c0ffee"}},
}


@pytest.fixture
def store() -> Iterator[Store]:
    """Give empty books."""
    with Store.open("sqlite://", key=bytes(32)) as books:
        yield books


def found(store: Store, fact: str) -> list[Need]:
    """Return the needs that one of the facts makes."""
    store.put(fact, json.dumps(FACTS[fact]))
    return needs(store)


def test_nothing_waits_in_new_books(store: Store) -> None:
    """Books in which no run asked anything have no needs."""
    assert [] == needs(store)


def test_places_in_order_of_their_numbers(store: Store) -> None:
    """Leavers are asked about course by course; 0, the people of the site, stays visible in the form."""
    expected = [
        {"kind": "leavers", "course": 0, "count": 7},
        {"kind": "leavers", "course": 2, "count": 3},
        {"kind": "leavers", "course": 10, "count": 4},
    ]
    assert expected == [need.form for need in found(store, REFUSED_LEAVERS)]


def test_first_runs_are_one_question(store: Store) -> None:
    """All mappings whose first run waits are approved with one number: the sum of their new cases."""
    (need,) = found(store, FIRST_RUNS)
    assert {"kind": "first-run", "count": 13} == need.form
    assert (
        "First run of enrolment, student: it would make 1 case of enrolment, 12 cases of student, and nothing was "
        "sent." == need.sentence
    )
    assert "moodle-commcare sync --yes" == need.command


def test_first_run_of_one_mapping(store: Store) -> None:
    """One mapping is named in the command and in the form."""
    store.put(FIRST_RUNS, json.dumps({"student": {"case_type": "student", "creates": 2, "print": "a"}}))
    (need,) = needs(store)
    assert {"kind": "first-run", "mapping": "student", "count": 2} == need.form
    assert "moodle-commcare sync --mapping student --yes" == need.command


@pytest.mark.parametrize(
    ("fact", "form"),
    [
        (REFUSED_WITHDRAWN, {"kind": "withdrawn", "course": 0, "count": 5}),
        (REFUSED_BLANKS, {"kind": "blanks", "mapping": "student", "property": "email", "count": 9}),
        (NEW_TERMS, {"kind": "new-term", "course": 4}),
        (EXISTING, {"kind": "existing-cases", "mapping": "student", "count": 1}),
        (OTHER_KEYS, {"kind": "rekey", "mapping": "course", "count": 3}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_forms(store: Store, fact: str, form: dict[str, str | int]) -> None:
    """Each kind of question fills in the parameters that its answer needs, and no others."""
    assert [form] == [need.form for need in found(store, fact)]


def test_one_person_is_one_person() -> None:
    """A question about one person says so."""
    assert leavers(3, 1).sentence.startswith("1 person is missing from course 3, ")
    assert withdrawn(3, 1).sentence.startswith("1 person of course 3 has a case and is kept out ")
    assert blanks("student city", 1).sentence.startswith(f"{MAYBE_LOST} 1 person would lose their city ")


def test_both_ways_in_one_message(store: Store) -> None:
    """The message of a run names what was found, the command and the form."""
    (need,) = found(store, REFUSED_WITHDRAWN)
    assert (
        "5 people have a case and are kept out by the mappings now, more than is usual; nothing of theirs was "
        "emptied. If that is right: `moodle-commcare confirm-withdrawn 0 --count 5`, or in Prefect `approve`: "
        "kind withdrawn, course 0, count 5." == need.message
    )


@pytest.mark.parametrize(
    ("fact", "answer"),
    [
        (FIRST_RUNS, lambda store: confirm_first_run(store, "", 13)),
        (EXISTING, lambda store: confirm_existing(store, "student", 1)),
        (OTHER_KEYS, lambda store: confirm_rekey(store, "course", 3)),
        (REFUSED_LEAVERS, lambda store: confirm(store, None, 14)),
        (REFUSED_WITHDRAWN, lambda store: confirm_withdrawn(store, 0, 5)),
        (REFUSED_BLANKS, lambda store: confirm_blanks(store, "student", "email", 9)),
        (NEW_TERMS, lambda store: confirm_term(store, 4, True)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_was_answered_waits_no_more(store: Store, fact: str, answer: Callable[[Store], str]) -> None:
    """A question is listed until a person has answered it, and no run has to come for that."""
    assert found(store, fact)
    answer(store)
    assert [] == needs(store)


# --- matches ------------------------------------------------------------------------------------------------


def open_match(kind: str, user: int, case_id: str = "case", mapping: str = "student") -> MatchRow:
    """Return a match that nobody has decided."""
    return MatchRow(mapping, f"s-user-{user}", case_id, user, kind, "email", found_at=1.0)


def test_open_matches_are_two_questions(store: Store) -> None:
    """Those who are alike are linked all at once, with the number; the others are looked at one by one."""
    alike = [open_match("duplicate", user, f"case-{user}") for user in (3, 4)]
    others = [open_match("unverified", 5, f"case-{number}") for number in (5, 6)]
    store.note_matches("student", [*alike, *others, open_match("conflict", 6), open_match("missing_email", 7, "")])
    first, second = needs(store)
    assert "moodle-commcare match approve --class duplicate --count 2 --mapping student" == first.command
    assert ("match-review", {"everybody": "duplicate", "mapping": "student", "count": 2}) == (
        first.deployment,
        first.form,
    )
    assert "2 people of student have a case in CommCare that is not linked yet" in first.sentence
    assert ("moodle-commcare match list --mapping student", 2) == (second.command, second.count)
    assert second.message.endswith("or in Prefect `match-review`: a row for each person and case.")


def test_matches_wait_until_they_are_decided(store: Store) -> None:
    """What the question names is what the command takes; then nothing waits."""
    store.note_matches("student", [open_match("duplicate", 3), open_match("unverified", 5, "case-5")])
    first, _ = needs(store)
    approve_class(store, first.everybody, first.count, 2.0, first.mapping)
    (left,) = needs(store)
    decide(store, all_of(store, 5), 3.0)
    assert ("matches", []) == (left.kind, needs(store))


def test_another_case_of_somebody_holds_nobody_up(store: Store) -> None:
    """Who has a case already waits for nothing: it is told by `match`, and is no question."""
    store.acknowledge([Ack(RowId("student", 0, "s-user-3"), "case-1", "owner", {}, "active", 3)], 1.0)
    store.note_matches("student", [open_match("conflict", 3), open_match("new", 4, "")])
    assert [] == needs(store)


def test_matches_of_mappings_that_are_no_more(store: Store) -> None:
    """They are nobody's question any more."""
    store.note_matches("student", [open_match("duplicate", 3)])
    store.note_matches("tutor", [open_match("duplicate", 3, mapping="tutor")])
    assert ["tutor"] == [need.mapping for need in needs(store, ["tutor", "enrolment"])]
    assert ["student", "tutor"] == [need.mapping for need in needs(store)]


def test_every_command_can_be_typed(store: Store) -> None:
    """Each question names a command that exists, and ends its sentence."""
    for fact, value in FACTS.items():
        store.put(fact, json.dumps(value))
    store.note_matches("student", [open_match("duplicate", 3), open_match("conflict", 4)])
    all_of_them = needs(store)
    assert {*get_args(Kind)} == {need.kind for need in all_of_them} == {*ASKS_FOR}
    assert [] == [wrong for need in all_of_them for wrong in wrong_commands(need.command)]
    assert all(re.fullmatch(r"[A-Za-z0-9].*\.", need.sentence) for need in all_of_them)
