"""One property per element: names from ids, absent and blank grades, names that clash or cannot be made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mappings.engine import CompiledMapping, Draft, HeldBack, ValueProblem
from tests.mappings.workbench import CONTEXT, HEAD, drafted, project_of

ENROLMENT = """
language: 1
case_type: enrolment
source: enrolments
external_id: "{site}-enrol-{course.id}-{user.id}"
case_name: "{course.fullname}"
owner: {same_as: student}
indices:
  student: {case_type: student, external_id: "{site}-user-{user.id}", relationship: extension}
properties:
"""
STUDENT = f"{HEAD}properties:\n  x: department\n"
GRADES = "grades: {one_property_per: {each: items, key: item.id, name: 'grade_{key}', source: grade.percent, transform: [{number: {decimals: 0}}]}}"  # noqa: E501
NAMED = "grades: {one_property_per: {each: items, key: {source: item.id, transform: [{code_list: item_names}]}, name: '{key}_grade', source: grade.percent}}"  # noqa: E501


def enrolment(place: Path, properties: str, extra: str = "") -> CompiledMapping:
    """Load an enrolment mapping with these properties, under a student mapping."""
    lines = "".join(f"  {line}\n" for line in properties.splitlines())
    files = {"enrolment.yaml": f"{ENROLMENT}{lines}{extra}", "student.yaml": STUDENT}
    return project_of(place, files).mappings[1]


def record(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return an enrolment with these graded activities."""
    return {"course": {"id": 7, "fullname": "Health"}, "user": {"id": 1042}, "items": list(items), **fields}


def item(number: Any, **grade: Any) -> dict[str, Any]:
    """Return a graded activity."""
    return {"item": {"id": number}, "grade": grade}


def made(place: Path, properties: str, *items: dict[str, Any], extra: str = "") -> Draft:
    """Return the draft of an enrolment with these activities."""
    return drafted(enrolment(place, properties, extra).draft(record(*items), CONTEXT))


def test_a_property_for_each(tmp_path: Path) -> None:
    """Each element has its own property; a blank grade is blank, one that was not sent is left alone."""
    draft = made(tmp_path, GRADES, item(55, percent=79.5), item(56, percent=None), item(57))
    assert {"grade_55": "80", "grade_56": ""} == dict(draft.properties)


def test_what_a_list_stands_for(tmp_path: Path) -> None:
    """A draft tells the properties of all elements, of those without a usable value as well; none for no list."""
    mapping = enrolment(tmp_path, GRADES)
    given = record(item(55, percent=79.5), item(56), item(57, percent="odd"))
    assert {"grades": {"grade_55", "grade_56", "grade_57"}} == drafted(mapping.draft(given, CONTEXT)).listed
    for items, listed in (([], {"grades": set()}), ("odd", {}), ([1], {}), ([{"item": {}}], {})):
        assert listed == drafted(mapping.draft(record() | {"items": items}, CONTEXT)).listed


@pytest.mark.parametrize("fields", [{}, {"items": None}, {"items": []}, {"items": "odd"}, {"items": [1, None]}])
def test_no_elements(tmp_path: Path, fields: dict[str, Any]) -> None:
    """Without a list, or with an empty or odd one, nothing is sent."""
    mapping = enrolment(tmp_path, GRADES)
    given = {"course": {"id": 7, "fullname": "Health"}, "user": {"id": 1042}, **fields}
    assert {} == dict(drafted(mapping.draft(given, CONTEXT)).properties)


def test_readable_names(tmp_path: Path) -> None:
    """A key may go through a code list; what no property name may hold becomes an underscore."""
    draft = made(tmp_path, NAMED, item(55, percent=80.0), item(57, percent=70.5))
    assert {"quiz_grade": "80", "Rapport_d_ete_grade": "70.5"} == dict(draft.properties)


def test_names_that_clash(tmp_path: Path) -> None:
    """Two elements with one name are both named and neither is sent; the others go."""
    draft = made(tmp_path, NAMED, item(55, percent=80.0), item(56, percent=1.0), item(57, percent=2.0))
    assert {"Rapport_d_ete_grade": "2"} == dict(draft.properties)
    assert (ValueProblem("quiz_grade", "name_collision", "55 and 56"),) == draft.problems


def test_a_name_of_another_property(tmp_path: Path) -> None:
    """An element never takes the name of an ordinary property, sent or not."""
    draft = made(tmp_path, f"{GRADES}\ngrade_55: status", item(55, percent=80.0))
    assert {} == dict(draft.properties)
    assert (ValueProblem("grade_55", "name_collision", "55"),) == draft.problems


@pytest.mark.parametrize(
    ("problem", "number"),
    [
        (ValueProblem("grades", "missing_element_key"), None),
        (ValueProblem("grades", "missing_element_key"), ""),
        (ValueProblem("grades", "illegal_name", "???"), "???"),
        (ValueProblem("grades", "unexpected_list"), ["x"]),
    ],
)
def test_elements_without_a_name(tmp_path: Path, problem: ValueProblem, number: Any) -> None:
    """An element that makes no name is listed, the others go on."""
    draft = made(tmp_path, GRADES, item(number, percent=80.0), item(56, percent=1.0))
    assert {"grade_56": "1"} == dict(draft.properties)
    assert (problem,) == draft.problems


def test_an_unknown_key_code(tmp_path: Path) -> None:
    """An element whose id is in no code list is listed by its id."""
    draft = made(tmp_path, NAMED, item(99, percent=80.0))
    assert (ValueProblem("grades", "unknown_code", "99"),) == draft.problems


def test_a_value_that_cannot_be_used(tmp_path: Path) -> None:
    """A problem with one element's value carries that element's property name."""
    draft = made(tmp_path, GRADES, item(55, percent="many"))
    assert (ValueProblem("grade_55", "not_a_number"),) == draft.problems


def test_required_elements_hold_the_record_back(tmp_path: Path) -> None:
    """What is said beside `one_property_per` holds for every element."""
    required = GRADES.replace("grades: {", "grades: {required: true, ")
    held = enrolment(tmp_path, required).draft(record(item(55, percent=None)), CONTEXT)
    assert HeldBack("demo-enrol-7-1042", (ValueProblem("grades", "blank"),)) == held


def test_when_blank_keep(tmp_path: Path) -> None:
    """A blank grade can be left as it is in CommCare."""
    kept = GRADES.replace("grades: {", "grades: {when_blank: keep, ")
    assert {} == dict(made(tmp_path, kept, item(55, percent=None)).properties)


def test_once_and_ignored_reach_every_element(tmp_path: Path) -> None:
    """`write: once` and `ignore_changes` on the family name each of its properties."""
    once = GRADES.replace("grades: {", "grades: {write: once, ")
    draft = made(tmp_path, once, item(55, percent=1.0), extra="ignore_changes: [grades]\n")
    assert "grade_55" in draft.once
    assert "grade_55" in draft.ignored


def test_definition_and_privacy_of_an_element(tmp_path: Path) -> None:
    """A property's definition can be found from its name in a draft."""
    private = GRADES.replace("grades: {", "grades: {personal: true, ")
    mapping = enrolment(tmp_path, f"{private}\ngrade_percent: grade.percent")
    assert ["grades", "grade_percent", ""] == [
        mapping.definition_of(name) for name in ("grade_55", "grade_percent", "other")
    ]
    assert [True, False] == [mapping.is_personal(name) for name in ("grade_55", "grade_percent")]
