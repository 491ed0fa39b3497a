"""Properties taken out on purpose, cases parked with nobody's phone, and what the checker wants said for both."""

from __future__ import annotations

from pathlib import Path

import pytest

from mappings.engine import Departure, MappingError, OwnerReference
from tests.mappings.workbench import CONTEXT, HEAD, PERSON, PROJECT, drafted, folder, messages, project_of, student

PARKED = f"{PROJECT}parked_owner: {{location: parked}}\n"
RETIRED = "kept: department\nold_code: {retire: clear, description: Until 2025.}"


def test_a_retired_property_is_in_no_draft(tmp_path: Path) -> None:
    """A retired property is listed for those who empty it, and no record gives it a value."""
    made = student(tmp_path, RETIRED)
    assert frozenset(["old_code"]) == made.retired
    assert {"kept": "Nurse"} == dict(drafted(made.draft({**PERSON, "department": "Nurse"}, CONTEXT)).properties)
    assert "old_code" not in made.personal
    assert "Until 2025." == made.notes["old_code"].description


def test_retiring_is_an_edit(tmp_path: Path) -> None:
    """Retiring changes the fingerprint of that property and of no other; its description changes none."""
    before = student(tmp_path, "kept: department\nold_code: institution").fingerprints
    after = student(tmp_path, RETIRED).fingerprints
    assert {"old_code"} == {name for name in after if after[name] != before[name]}
    assert after == student(tmp_path, RETIRED.replace("2025", "2024")).fingerprints


def test_a_retired_name_is_not_made_by_a_family(tmp_path: Path) -> None:
    """A property per element that would make a retired name is a collision, so that it stays empty."""
    text = """
language: 1
case_type: enrolment
source: enrolments
external_id: "{site}-enrol-{course.id}-{user.id}"
case_name: "{course.fullname}"
owner: {otherwise: project}
properties:
  grade_55: {retire: clear}
  grades: {one_property_per: {each: items, key: item.id, name: "grade_{key}", source: grade.raw}}
"""
    record = {
        "course": {"id": 7, "fullname": "Basics"},
        "user": {"id": 1},
        "items": [{"item": {"id": 55}, "grade": {"raw": 8}}, {"item": {"id": 56}, "grade": {"raw": 9}}],
    }
    made = drafted(project_of(tmp_path, {"enrolment.yaml": text}).mappings[0].draft(record, CONTEXT))
    assert {"grade_56": "9"} == dict(made.properties)
    assert [("grade_55", "name_collision")] == [(problem.property, problem.reason) for problem in made.problems]


@pytest.mark.parametrize(
    ("expected", "properties", "extra"),
    [
        ("'retire' empties this property, so 'source' has nothing to do", "x: {retire: clear, source: city}", ""),
        ("'retire' empties this property, so 'write' has nothing to do", "x: {retire: clear, write: once}", ""),
        ("'x' is retired, and here it is set", "x: {retire: clear}", "when_left: {set: {x: gone}}\n"),
        ("'x' is retired", "x: {retire: clear}", "ignore_changes: [x]\n"),
        ("'keep' is not allowed here; use 'clear'", "x: {retire: keep}", ""),
        ("project.yaml does not say who owns a parked case", "x: city", "when_left: {park: true}\n"),
    ],
)
def test_contradictions_are_told(tmp_path: Path, expected: str, properties: str, extra: str) -> None:
    """What retires or parks and at the same time does something else is refused."""
    with pytest.raises(MappingError) as caught:
        student(tmp_path, properties, extra=extra)
    assert [expected] == [problem.sentence for problem in caught.value.problems]


@pytest.mark.parametrize("word", ["when_left", "when_excluded"])
def test_parking_and_closing(tmp_path: Path, word: str) -> None:
    """Every departure may set, park or close; parking takes the owner that project.yaml names for it."""
    text = f"{HEAD}properties:\n  x: department\n{word}: {{set: {{x: gone}}, park: true}}\n"
    project = project_of(tmp_path, {"student.yaml": text}, project=PARKED)
    assert Departure({"x": "gone"}, park=True) == getattr(project.mappings[0], word)
    assert OwnerReference("location", "parked") == project.parked_owner
    closing = project_of(tmp_path, {"student.yaml": text.replace("park: true", "close: true")})
    assert Departure({"x": "gone"}, close=True) == getattr(closing.mappings[0], word)
    assert closing.parked_owner is None


@pytest.mark.parametrize(
    ("expected", "line"),
    [
        ("'project' names nobody here: this is where 'parked_owner' is said", "parked_owner: {project: true}"),
        ("this owner has no name", "parked_owner: {location: ' '}"),
        ("cases would be parked with the owner they have already", "parked_owner: {group: Field coaches}"),
    ],
)
def test_parked_owner_is_checked(tmp_path: Path, expected: str, line: str) -> None:
    """Parking needs a named owner who is not the usual one."""
    folder(tmp_path, {"student.yaml": f"{HEAD}properties:\n  x: department\n"}, project=f"{PROJECT}{line}\n")
    assert expected in messages(tmp_path)
