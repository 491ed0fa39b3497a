"""A whole mapping at work: keys, names, parents, what is sent once, what it reads, and what an edit touches."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mappings.engine import (
    Context,
    Departure,
    Draft,
    HeldBack,
    IndexReference,
    IndexRule,
    OwnerReference,
    OwnerRule,
    ValueProblem,
)
from tests.mappings.workbench import CONTEXT, HEAD, PERSON, PROJECT, drafted, mapping, project_of, student

ENROLMENT = """
language: 1
case_type: enrolment
description: One case per learner per course.
source: enrolments
external_id: "{site}-enrol-{course.id}-{user.id}"
case_name: "{course.fullname}"
owner: {same_as: student, write: once}
indices:
  student:
    case_type: student
    external_id: "{site}-user-{user.id}"
    relationship: extension
    when_parent_unknown: WORD
properties: {status: status}
when_left: {set: {status: left}}
when_course_ends: {set: {status: finished}}
"""
STUDENT = f"""{HEAD}
properties:
  first_name: {{source: firstname, personal: true, write: once, description: Given name}}
  last_access: {{source: lastaccess, transform: [date]}}
  gender: {{source: profile.gender, transform: [{{code_list: gender}}]}}
  phone: {{first_of: [phone1, phone2], transform: [phone], personal: true}}
  status: {{cases: [{{when: {{source: suspended, is: true}}, value: off}}], otherwise: "on"}}
ignore_changes: [last_access]
when_excluded: {{set: {{status: withdrawn}}}}
existing_cases: ignore
"""


def test_a_whole_draft(tmp_path: Path) -> None:
    """A draft holds the case as it should be: key, name, owner, properties and what is special about them."""
    record = {
        **PERSON,
        "firstname": "Amina ",
        "lastaccess": 1760000000,
        "suspended": False,
        "profile": {"gender": "F"},
    }
    assert Draft(
        case_type="student",
        key="demo-user-1042",
        name="Amina Otieno",
        owner=OwnerRule((OwnerReference("group", "Field coaches"),), "", False),
        properties={"first_name": "Amina ", "last_access": "2025-10-09", "gender": "female", "status": "on"},
        once=frozenset({"first_name"}),
        ignored=frozenset({"last_access"}),
        indices=(),
        problems=(),
    ) == mapping(tmp_path, STUDENT).draft(record, CONTEXT)


def test_what_a_mapping_says_about_itself(tmp_path: Path) -> None:
    """Everything a file says is carried, also what is only used later."""
    files = {"student.yaml": STUDENT, "enrolment.yaml": ENROLMENT.replace("WORD", "wait")}
    first, second = project_of(tmp_path, files).mappings
    assert ("student", "student", "users", 0, "ignore") == (
        first.name, first.case_type, first.source, first.level, first.existing_cases
    )  # fmt: skip
    assert frozenset({"first_name", "phone"}) == first.personal
    assert "Given name" == first.notes["first_name"].description
    assert Departure({"status": "withdrawn"}) == first.when_excluded
    assert first.when_left is None
    assert not first.recheck_daily
    assert (1, "stop", Departure({"status": "left"})) == (second.level, second.existing_cases, second.when_left)
    assert Departure({"status": "finished"}) == second.when_course_ends
    assert (IndexRule("student", "student", "extension", "wait", "student"),) == second.parents
    assert "One case per learner per course." == second.description


def test_what_a_mapping_reads(tmp_path: Path) -> None:
    """Every field a mapping looks at is named, those of conditions and templates too."""
    read = mapping(tmp_path, STUDENT).reads
    expected = ["id", "firstname", "lastname", "lastaccess", "profile.gender", "phone1", "phone2", "suspended"]
    assert frozenset(expected) == read


def test_what_include_asks_for(tmp_path: Path) -> None:
    """The words that `include` asks for are known, so that a role that nobody has can be found."""
    text = STUDENT + "include: [{source: roles, any_of: [student, learner]}, {source: auth, like: m*}]\n"
    assert {"roles": frozenset({"student", "learner"})} == mapping(tmp_path, text).included


@pytest.mark.parametrize(
    ("problem", "record"),
    [
        (ValueProblem("@key", "not_sent"), {"firstname": "A", "lastname": "B"}),
        (ValueProblem("@key", "blank"), {"id": None, "firstname": "A", "lastname": "B"}),
        (ValueProblem("@key", "unexpected_list"), {"id": [1], "firstname": "A", "lastname": "B"}),
    ],
)
def test_no_key(tmp_path: Path, problem: ValueProblem, record: Mapping[str, Any]) -> None:
    """Without a key a record is held back."""
    assert HeldBack("", (problem,)) == mapping(tmp_path, STUDENT).draft({**record, "suspended": False}, CONTEXT)


@pytest.mark.parametrize(
    ("reason", "fields"),
    [("blank", {"lastname": " "}), ("not_sent", {"lastname": ...}), ("too_long", {"lastname": "x" * 250})],
)
def test_no_name(tmp_path: Path, reason: str, fields: dict[str, Any]) -> None:
    """Without a name that CommCare takes a record is held back, under its key."""
    record = {name: found for name, found in {**PERSON, **fields}.items() if found is not ...}
    expected = HeldBack("demo-user-1042", (ValueProblem("@name", reason),))
    assert expected == student(tmp_path, "x: department").draft(record, CONTEXT)


@pytest.mark.parametrize(("word", "held"), [("wait", True), ("reject", True), ("skip", False)])
def test_parents(tmp_path: Path, word: str, held: bool) -> None:
    """An index names the parent by its key; where none can be made, `skip` goes without."""
    text = ENROLMENT.replace("WORD", word).replace(
        "{site}-enrol-{course.id}-{user.id}", "{site}-e-{course.id}-{user.id}"
    )
    files = {"student.yaml": STUDENT, "enrolment.yaml": text}
    enrolment = project_of(tmp_path, files).mappings[1]
    whole = {"course": {"id": 7, "fullname": "Health"}, "user": {"id": 1042}, "status": "active"}
    reference = IndexReference("student", "student", "demo-user-1042", "extension", word)
    assert (reference,) == drafted(enrolment.draft(whole, CONTEXT)).indices
    assert OwnerRule((), "student", True) == drafted(enrolment.draft(whole, CONTEXT)).owner
    broken = enrolment.draft({**whole, "user": {"id": None}}, CONTEXT)
    assert isinstance(broken, HeldBack)
    assert held is any(problem.property == "@index:student" for problem in broken.problems)


@pytest.mark.parametrize(
    ("expected", "key"),
    [
        (1042, "demo-enrol-7-1042"),
        (7, "demo-enrol-1042-7"),
        (None, "demo-user-1042"),
        (None, "other-enrol-7-1042"),
        (None, "demo-enrol-7-1042~2"),
        (None, f"demo-enrol-7-{'1' * 19}"),
        (None, "demo-enrol-7-١٠٤٢"),
    ],
)
def test_a_key_tells_whose_it_is(tmp_path: Path, expected: int | None, key: str) -> None:
    """The number of the person, wherever it stands; nothing of a key that the mapping does not make."""
    files = {"student.yaml": STUDENT, "enrolment.yaml": ENROLMENT.replace("WORD", "wait")}
    assert expected == project_of(tmp_path, files).mappings[1].person_of(key, "demo")


@pytest.mark.parametrize(
    ("expected", "case"),
    [
        (True, (7, "demo-enrol-7-1042", 1042)),
        (True, (0, "demo-enrol-7-1042", 0)),
        (False, (7, "demo-enrol-1042-7", 1042)),
        (False, (7, "demo-enrol-7-1042", 1043)),
        (False, (8, "demo-enrol-7-1042", 1042)),
        (False, (7, "demo-user-1042", 1042)),
    ],
)
def test_a_key_is_that_of_a_case(tmp_path: Path, expected: bool, case: tuple[int, str, int]) -> None:
    """It names the person and the course of the case, where these are known: other ids make keys of one form."""
    files = {"student.yaml": STUDENT, "enrolment.yaml": ENROLMENT.replace("WORD", "wait")}
    people, enrolments = project_of(tmp_path, files).mappings
    assert expected == enrolments.makes_on("demo")(*case)
    assert people.makes_on("demo")(0, "demo-user-1042", 1042)
    assert not people.makes_on("demo")(0, "demo-user-1042", 7)


def test_a_key_of_people_and_one_of_nobody(tmp_path: Path) -> None:
    """In the keys of people it is their own id; a course is nobody."""
    made = mapping(tmp_path, STUDENT)
    assert 1042 == made.person_of("demo-user-1042", "demo")
    assert 0 == replace(made, source="courses").person_of("demo-user-1042", "demo")


def test_site_is_in_every_key(tmp_path: Path) -> None:
    """The same record of another site has another key."""
    other = Context("other", "", CONTEXT.today)
    assert "other-user-1042" == drafted(mapping(tmp_path, STUDENT).draft(PERSON, other)).key


@pytest.mark.parametrize(
    ("touched", "old", "new"),
    [
        (set(), "description: Given name", "label: First"),
        (set(), "personal: true, write", "personal: false, data_type: plain, write"),
        ({"first_name"}, "source: firstname", "source: fullname"),
        ({"phone"}, "transform: [phone]", "transform: [{phone: {country: UG}}]"),
        ({"status"}, "value: off", "value: out"),
        ({"@name"}, '"{firstname} {lastname}"', '"{lastname}"'),
        ({"@key"}, '"{site}-user-{id}"', '"{site}-person-{id}"'),
        ({"@owner"}, "{otherwise: project}", "{otherwise: project, write: once}"),
        ({"@include"}, "ignore_changes", "exclude: [{source: username, is: guest}]\nignore_changes"),
    ],
)
def test_an_edit_touches_what_it_changes(tmp_path: Path, touched: set[str], old: str, new: str) -> None:
    """A fingerprint changes with what its property sends, and with nothing else."""
    assert old in STUDENT
    assert touched == changes(tmp_path, STUDENT, PROJECT, STUDENT.replace(old, new), PROJECT)


@pytest.mark.parametrize(
    ("touched", "old", "new"),
    [
        ({"gender"}, "F: female", "F: woman"),
        ({"phone"}, "country: KE", "country: UG"),
        ({"last_access"}, "Africa/Nairobi", "Africa/Lagos"),
        ({"@owner"}, "Field coaches", "Coaches"),
        (set(), "ids: [7]", "ids: [8]"),
    ],
)
def test_an_edit_of_the_project(tmp_path: Path, touched: set[str], old: str, new: str) -> None:
    """A code list, the country, the time zone and the owner touch what depends on them."""
    assert old in PROJECT
    assert touched == changes(tmp_path, STUDENT, PROJECT, STUDENT, PROJECT.replace(old, new))


def changes(place: Path, text: str, project: str, new_text: str, new_project: str) -> set[str]:
    """Return the fingerprints that differ between two states of a project."""
    before = mapping(place, text, project=project).fingerprints
    after = mapping(place, new_text, project=new_project).fingerprints
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def test_fingerprints_of_parents(tmp_path: Path) -> None:
    """Each index has its own fingerprint."""
    files = {"student.yaml": STUDENT, "enrolment.yaml": ENROLMENT.replace("WORD", "wait")}
    names = set(project_of(tmp_path, files).mappings[1].fingerprints)
    assert {"status", "@name", "@type", "@key", "@owner", "@include", "@index:student"} == names


def test_no_record_makes_a_mapping_fall_over(tmp_path: Path) -> None:
    """Whatever a record holds, an outcome comes back, and everything that is sent is text that XML takes."""
    chance = random.Random(7)
    fields = "id firstname lastname lastaccess suspended phone1 phone2 profile".split()  # noqa: SIM905
    made = mapping(tmp_path, STUDENT)
    for _ in range(3000):
        record = {name: odd(chance) for name in fields if chance.random() < 0.8}
        found = made.draft({"id": 1, "lastname": "Otieno", **record}, CONTEXT)
        for text in found.properties.values() if isinstance(found, Draft) else ():
            assert not re.search("[\x00-\x08\x0b-\x1f\ud800-\udfff]", text)


def odd(chance: random.Random, depth: int = 0) -> Any:
    """Return something that may stand in a record, or may not."""
    inner = [] if depth > 2 else [[odd(chance, depth + 1)], {"gender": odd(chance, depth + 1)}]
    ordinary = ["Amina", "F", "0722000111", 1760000000, True, False, 71.25, "2025-01-31"]
    strange = [
        None,
        "",
        " ",
        [],
        {},
        10**20,
        -1,
        float("nan"),
        float("inf"),
        1e300,
        "\ud800\x00",
        "x" * 300,
        "<p>&amp;",
    ]
    return chance.choice([*ordinary, *strange, *inner])
