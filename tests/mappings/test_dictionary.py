"""The data dictionary is what CommCare's own upload takes: names, types, values, and what is no longer used."""

from __future__ import annotations

from pathlib import Path

from mappings.engine.dictionary import Dictionary, dictionary
from tests.mappings.workbench import HEAD, PROJECT, project_of

PROPERTIES = """
properties:
  status:
    label: {en: Status, fr: Statut}
    group: Course
    description: Where the learner stands.
    cases: [{when: {source: suspended, is: true}, value: suspended}]
    otherwise: active
  gender: {source: profile.sex, transform: [{code_list: gender}], personal: true, data_type: select}
  kind: {value: learner}
  born: {source: profile.born, personal: true, data_type: date}
  free: {source: profile.sex, transform: [{code_list: gender}], personal: true, when_invalid: original}
  old: {retire: clear, description: Replaced by status.}
"""
ENROLMENT = """
language: 1
case_type: enrolment
source: enrolments
external_id: "{site}-enrol-{course.id}-{user.id}"
case_name: "{course.fullname}"
owner: {otherwise: project}
properties:
  grades:
    label: Grade
    one_property_per:
      each: items
      key: {source: item.id, transform: [{code_list: item_names}]}
      name: "grade_{key}"
      source: grade.percent
    data_type: number
  plain:
    one_property_per: {each: items, key: item.id, name: "points_{key}", source: grade.raw}
"""


def made(place: Path, files: dict[str, str], *, language: str = "en") -> Dictionary:
    """Return the dictionary of mapping files."""
    return dictionary(project_of(place, files, project=PROJECT).mappings, language)


def test_rows(tmp_path: Path) -> None:
    """A row has name, label, group, raw type, description and whether it is deprecated."""
    sheet = made(tmp_path, {"student.yaml": HEAD + PROPERTIES}).sheets[0]
    expected = (
        ("status", "Status", "Course", "select", "Where the learner stands.", "False"),
        ("gender", "", "", "select", "", "False"),
        ("kind", "", "", "", "", "False"),
        ("born", "", "", "date", "", "False"),
        ("free", "", "", "", "", "False"),
        ("old", "", "", "", "Replaced by status.", "True"),
    )
    assert ("student", expected) == (sheet.case_type, sheet.properties)


def test_values(tmp_path: Path) -> None:
    """Values come from cases, code lists, constants and departures; none are given where others may come."""
    left = "when_left: {set: {status: left, born: '', left_on: yes}}\n"
    sheet = made(tmp_path, {"student.yaml": f"{HEAD}{PROPERTIES}{left}"}).sheets[0]
    values = [(name, value) for name, value, _ in sheet.values]
    statuses = [("status", "suspended"), ("status", "active"), ("status", "left")]
    assert [*statuses, ("gender", "female"), ("gender", "male"), ("kind", "learner")] == values
    assert ("left_on", "", "", "", "", "False") == sheet.properties[-1]


def test_families(tmp_path: Path) -> None:
    """Properties that a code list names are listed one by one; those that Moodle names are told to be missing."""
    found = made(tmp_path, {"enrolment.yaml": ENROLMENT})
    grades = [(row[0], row[1], row[3]) for row in found.sheets[0].properties]
    assert [("grade_quiz", "Grade", "number"), ("grade_Rapport_d_ete", "Grade", "number")] == grades
    assert ["enrolment: the properties points_{item.id} of 'plain' are not listed"] == [
        sentence.split(",")[0] for sentence in found.left_out
    ]


def test_two_mappings_of_one_case_type(tmp_path: Path) -> None:
    """They share a sheet; a property that one fills is not deprecated because the other retired it."""
    tutor = HEAD.replace("-user-", "-tutor-") + "properties:\n  old: department\n  extra: department\n"
    found = made(tmp_path, {"student.yaml": HEAD + PROPERTIES, "tutor.yaml": tutor})
    assert ["student"] == [sheet.case_type for sheet in found.sheets]
    rows = {row[0]: row[-1] for row in found.sheets[0].properties}
    assert ("False", "False") == (rows["old"], rows["extra"])


def test_case_types_without_room(tmp_path: Path) -> None:
    """A name too long for a worksheet is left out with what to do; nothing of it is cut."""
    name = "learner_in_the_second_programme"
    found = made(tmp_path, {"student.yaml": HEAD.replace("student", name) + "properties:\n  a: department\n"})
    assert () == found.sheets
    assert [f"{name}: a sheet's name ends at 31 characters; enter this case type in CommCare by hand"] == list(
        found.left_out
    )


def test_language(tmp_path: Path) -> None:
    """Labels come in the language of the client."""
    sheet = made(tmp_path, {"student.yaml": HEAD + PROPERTIES}, language="fr").sheets[0]
    assert "Statut" == sheet.properties[0][1]
