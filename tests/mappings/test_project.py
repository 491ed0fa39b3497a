"""project.yaml and the folder around it: choices, tables, order of mappings, and what is off."""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import run

import pytest

from mappings.engine import (
    CourseChoice,
    Guards,
    MappingError,
    NamesChoice,
    OwnerReference,
    check_project,
    load_project,
)
from tests.mappings.workbench import (
    CATALOGUE,
    CONTEXT,
    HEAD,
    PERSON,
    PROJECT,
    ROOT,
    drafted,
    folder,
    messages,
    project_of,
)

STUDENT = f"{HEAD}properties:\n  x: department\n"
CHILD = """
language: 1
case_type: enrolment
source: enrolments
external_id: "{site}-enrol-{course.id}-{user.id}"
case_name: "{course.fullname}"
owner: {same_as: student}
indices:
  student: {case_type: student, external_id: "{site}-user-{user.id}", relationship: extension}
properties: {status: status}
"""
GRANDCHILD = """
language: 1
case_type: grade_item
source: grade_items
external_id: "{site}-grade-{item.id}-{user.id}"
case_name: "{item.name}"
owner: {same_as: enrolment}
indices:
  enrolment: {case_type: enrolment, external_id: "{site}-enrol-{course.id}-{user.id}", relationship: child}
properties: {x: status}
"""


def test_what_the_project_says(tmp_path: Path) -> None:
    """Everything in project.yaml reaches the project."""
    chosen = (
        "ids: [7, 9], categories: [3], shortname_like: CHW-*, only_running: true, custom_field: {region: Siaya}"
    )
    text = PROJECT.replace("ids: [7]", chosen)
    text += "guards: {leavers_people: 10}\nintervals: {people: 1, grades: 0.5}\nsite_url: https://learn.example.org/x\n"
    project = project_of(tmp_path, {"student.yaml": STUDENT}, project=text)
    assert ("demo", "https://learn.example.org/x", "KE") == (project.site, project.site_url, project.country)
    assert "Africa/Nairobi" == project.time_zone.key
    assert CourseChoice((7, 9), (3,), "CHW-*", True, ("region", "Siaya")) == project.courses
    assert Guards(leavers_people=10) == project.guards
    assert {"people": 1.0, "grades": 0.5} == project.intervals
    assert OwnerReference("group", "Field coaches") == project.owner
    assert "moodle_key" == project.moodle_key_property


def test_no_course_is_chosen_by_default(tmp_path: Path) -> None:
    """A project that chooses nothing says so."""
    project = project_of(tmp_path, {"student.yaml": STUDENT}, project=PROJECT.replace("courses: {ids: [7]}\n", ""))
    assert project.courses.is_empty
    assert not CourseChoice(only_running=True).is_empty


def test_parents_come_first(tmp_path: Path) -> None:
    """Mappings are in the order in which they can be sent, whatever their files are called."""
    files = {"a.yaml": GRANDCHILD, "b.yaml": CHILD, "c.yaml": STUDENT}
    assert [("c", 0), ("b", 1), ("a", 2)] == [(m.name, m.level) for m in project_of(tmp_path, files).mappings]


def test_two_mappings_for_one_case_type(tmp_path: Path) -> None:
    """Two files may make one case type with different keys; a child finds the one whose key it names."""
    other = STUDENT.replace("{site}-user-{id}", "{site}-tutor-{id}")
    files = {"enrolment.yaml": CHILD, "a_tutor.yaml": other, "student.yaml": STUDENT}
    made = {mapping.name: mapping for mapping in project_of(tmp_path, files).mappings}
    assert "student" == made["enrolment"].parents[0].mapping


def test_a_mapping_that_is_off(tmp_path: Path) -> None:
    """A mapping that is off is not used, and what is wrong in it stops nothing."""
    off = GRANDCHILD.replace("language: 1", "language: 1\nenabled: false").replace("status}", "sttus}")
    place = folder(tmp_path, {"student.yaml": STUDENT, "enrolment.yaml": CHILD, "grade_item.yaml": off})
    report = check_project(place, CATALOGUE)
    assert (2, ("grade_item",), ()) == (report.mappings, report.switched_off, report.errors)
    assert "source 'grade_items' has no field 'sttus'" in {problem.sentence for problem in report.problems}
    assert ["student", "enrolment"] == [mapping.name for mapping in load_project(place, CATALOGUE).mappings]


CIRCLE = (
    STUDENT.replace("users", "enrolments")
    .replace("{id}", "{user.id}")
    .replace("{firstname} {lastname}", "{status}")
    .replace("department", "status")
    + "indices:\n  x: {case_type: enrolment, relationship: child, "
    + "external_id: '{site}-enrol-{course.id}-{user.id}'}\n"
)


@pytest.mark.parametrize(
    ("expected", "files"),
    [
        (
            "enrolment.yaml:9:24: the mapping for 'student' is switched off",
            {"student.yaml": STUDENT.replace("language: 1", "language: 1\nenabled: false")},
        ),
        (
            "tutor.yaml:5:14: student.yaml makes keys of the same form for 'student'",
            {"student.yaml": STUDENT, "tutor.yaml": STUDENT},
        ),
        (
            "tutor.yaml:5:14: student.yaml makes keys of the same form for 'student'",
            {"student.yaml": STUDENT, "tutor.yaml": STUDENT.replace("case_type: student", "case_type: tutor")},
        ),
        ("enrolment.yaml:9:3: the parents of 'enrolment' lead back to itself", {"student.yaml": CIRCLE}),
        (
            "student.yml:1:1: this file is not read, because its name ends in .yml",
            {"student.yml": "", "student.yaml": STUDENT},
        ),
    ],
)
def test_files_that_do_not_fit_together(tmp_path: Path, expected: str, files: dict[str, str]) -> None:
    """What only shows between files is found, and has its place in one of them."""
    assert expected in messages(folder(tmp_path, {"enrolment.yaml": CHILD, **files}))


def test_no_project(tmp_path: Path) -> None:
    """A folder without project.yaml says how to get one, to both who load and who check."""
    with pytest.raises(MappingError, match="init"):
        load_project(tmp_path, CATALOGUE)
    assert "project.yaml:1:1: there is no such file" in messages(tmp_path)


def test_no_mapping(tmp_path: Path) -> None:
    """A project without a mapping is not right."""
    with pytest.raises(MappingError, match="there is no mapping in this folder"):
        project_of(tmp_path, {})


def test_a_broken_parent_is_the_only_finding(tmp_path: Path) -> None:
    """A mistake in one file is told once, not again in the files that lean on it."""
    broken = STUDENT.replace("source: users", "sorce: users")
    said = messages(folder(tmp_path, {"student.yaml": broken, "enrolment.yaml": CHILD}))
    assert 1 == sum(not line.startswith("warning") for line in said.splitlines() if ".yaml:" in line)


@pytest.mark.parametrize(
    ("expected", "content"),
    [
        ("siaya-02", "district,site_code\nBondo,siaya-02\n".encode("utf-8-sig")),
        ("siaya-02", b"note;district;site_code\nx;Bondo; siaya-02 \n;;\n"),
        ("a,b", b'district,site_code\r\n"Bondo","a,b"\r\n'),
    ],
)
def test_tables_as_excel_writes_them(tmp_path: Path, expected: str, content: bytes) -> None:
    """A byte order mark, semicolons, quotes and empty rows are all read."""
    text = f"{HEAD}properties:\n  x: {{source: city, personal: false, transform: [{{lookup: facility}}]}}\n"
    place = folder(tmp_path, {"student.yaml": text})
    (place / "lookups" / "facility.csv").write_bytes(content)
    made = load_project(place, CATALOGUE).mappings[0]
    assert expected == drafted(made.draft({**PERSON, "city": "Bondo"}, CONTEXT)).properties["x"]


@pytest.mark.parametrize(
    ("expected", "content"),
    [
        ("this table is not UTF-8 text", "district\nÑ".encode("latin-1")),
        ("this is not a CSV table", b'a\n"' + b"x" * 200_000),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, expected: str, content: bytes) -> None:
    """A table in another encoding, or that is none, is told as such."""
    place = folder(tmp_path, {"student.yaml": STUDENT})
    (place / "lookups" / "facility.csv").write_bytes(content)
    assert expected in messages(place)


def test_revision_changes_with_every_edit(tmp_path: Path) -> None:
    """The revision stands for all files, tables included."""
    place = folder(tmp_path, {"student.yaml": STUDENT})
    revisions = {load_project(place, CATALOGUE).revision for _ in range(2)}
    (place / "student.yaml").write_text(f"{STUDENT}\n# a note\n", "utf-8")
    revisions.add(load_project(place, CATALOGUE).revision)
    (place / "lookups" / "facility.csv").write_text("district,site_code\nBondo,b\n", "utf-8")
    revisions.add(load_project(place, CATALOGUE).revision)
    assert 3 == len(revisions)


def test_the_engine_is_cheap_to_import() -> None:
    """Checking a mapping loads no orchestration, no network, no database and no telephone numbers."""
    heavy = ["prefect", "httpx", "sqlalchemy", "phonenumbers"]
    program = f"import sys, mappings.engine; print([name for name in {heavy} if name in sys.modules])"
    done = run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    assert "[]" == done.stdout.strip()


def test_names_are_asked_for_as_project_yaml_says(tmp_path: Path) -> None:
    """Moodle's filters are off unless asked for, and a language may be named with them."""
    files = {"student.yaml": STUDENT}
    assert NamesChoice(filters=False, language="") == project_of(tmp_path, files).names
    filtered = project_of(tmp_path, files, project=f"{PROJECT}names: {{filters: true, language: sw}}\n")
    assert NamesChoice(filters=True, language="sw") == filtered.names


@pytest.mark.parametrize(
    ("expected", "names"),
    [
        ("a language is chosen, but Moodle's filters are off", "{language: sw}"),
        ("'Swahili' is not the code of a language", "{filters: true, language: Swahili}"),
    ],
)
def test_names_are_checked(tmp_path: Path, expected: str, names: str) -> None:
    """A language needs the filters, and is a code."""
    folder(tmp_path, {"student.yaml": STUDENT}, project=f"{PROJECT}names: {names}\n")
    assert expected in messages(tmp_path)


def test_every_stream_may_have_an_interval(tmp_path: Path) -> None:
    """Hours between two reads are kept for the streams that have them."""
    hours = "{people: 1, engagement: 24, assignments: 0.5}"
    project = project_of(tmp_path, {"student.yaml": STUDENT}, project=f"{PROJECT}intervals: {hours}\n")
    assert {"people": 1.0, "engagement": 24.0, "assignments": 0.5} == project.intervals
