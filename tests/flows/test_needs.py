"""What waits for a person, from the facts in the books: the sentence, the command, the form."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

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
from flows.needs import (
    EXISTING,
    FIRST_RUNS,
    NEW_TERMS,
    OTHER_KEYS,
    REFUSED_BLANKS,
    REFUSED_LEAVERS,
    REFUSED_WITHDRAWN,
    Need,
    needs,
)
from state import Store
from tests.test_docs import wrong_commands

FACTS = {
    REFUSED_LEAVERS: {"10": 4, "2": 3, "0": 7},
    REFUSED_WITHDRAWN: {"0": 5},
    REFUSED_BLANKS: {"student email": 9},
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


def test_every_command_can_be_typed(store: Store) -> None:
    """Each question names a command that exists, and ends its sentence."""
    for fact, value in FACTS.items():
        store.put(fact, json.dumps(value))
    all_of_them = needs(store)
    assert {"first-run", "existing-cases", "leavers", "withdrawn", "blanks", "new-term", "rekey"} == {
        need.kind for need in all_of_them
    }
    assert [] == [wrong for need in all_of_them for wrong in wrong_commands(need.command)]
    assert all(re.fullmatch(r"[A-Za-z0-9].*\.", need.sentence) for need in all_of_them)
