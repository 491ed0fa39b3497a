"""The mappings that ship: right, tested and neutral."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mappings.engine import check_project, load_project
from tests.mappings.workbench import CATALOGUE, CONTEXT, SHIPPED, drafted, offline, shipped


@pytest.mark.parametrize(
    "project",
    [
        "",
        "language: 1\nsite: x\ntime_zone: America/Lima\ncountry: PE\nowner: {user: coach}\n",
        "language: 1\nsite: a-1\ntime_zone: Pacific/Kiritimati\ncountry: KI\nowner: {location: office}\n",
    ],
)
def test_nothing_to_find(tmp_path: Path, project: str) -> None:
    """The shipped mappings are right and pass their own tests in any project of any country."""
    report = check_project(shipped(tmp_path, project), CATALOGUE)
    assert [] == [problem.render() for problem in report.problems]
    assert (21, 0) == (report.tests_run, report.tests_failed)
    assert (2, ("course", "engagement", "grade_item")) == (report.mappings, report.switched_off)


def test_the_set_for_students(tmp_path: Path) -> None:
    """The mappings for students' own phones are right, pass their tests, and each case has an owner of its own."""
    report = check_project(offline(tmp_path), CATALOGUE)
    assert [] == [problem.render() for problem in report.problems]
    assert (0, ("grade_item",)) == (report.tests_failed, report.switched_off)
    project = load_project(tmp_path, CATALOGUE)
    found = {mapping.name: mapping for mapping in (*project.mappings, *project.switched_off)}
    assert {"student": "", "enrolment": "student", "grade_item": "enrolment"} == {
        name: mapping.spec.owner.same_as or "" for name, mapping in found.items()
    }
    assert found["student"].spec.owner.otherwise is None
    for mapping in found.values():
        assert not [path for path in mapping.reads if "hidden" in path]


def test_everything_can_be_switched_on(tmp_path: Path) -> None:
    """Deleting one line in each of the mappings that are off gives more cases, down to a third level."""
    for file in shipped(tmp_path).glob("*.yaml"):
        file.write_text(file.read_text("utf-8").replace("enabled: false\n", ""), "utf-8")
    assert [] == [problem.render() for problem in check_project(tmp_path, CATALOGUE).problems]
    found = load_project(tmp_path, CATALOGUE).mappings
    levels = {"course": 0, "student": 0, "engagement": 1, "enrolment": 1, "grade_item": 2}
    assert levels == {mapping.name: mapping.level for mapping in found}


def test_a_slip_in_the_parent_is_told_once(tmp_path: Path) -> None:
    """A file that cannot be read makes no test of its children fail."""
    file = shipped(tmp_path) / "student.yaml"
    file.write_text(file.read_text("utf-8").replace("  country:", "\tcountry:"), "utf-8")
    report = check_project(tmp_path, CATALOGUE)
    assert (["student.yaml"], 0) == ([Path(each.path).name for each in report.problems], report.tests_failed)


def test_a_case_type_that_is_none_is_told_once(tmp_path: Path) -> None:
    """Nobody is sent from the files below it to a name that the same check refuses."""
    file = shipped(tmp_path) / "student.yaml"
    file.write_text(file.read_text("utf-8").replace("case_type: student", "case_type: My Student"), "utf-8")
    report = check_project(tmp_path, CATALOGUE)
    assert ["student.yaml"] == [Path(each.path).name for each in report.errors]


def test_reminders_do_not_start_by_themselves() -> None:
    """The first load of engagement cases carries sms_live "no"; switching on is one word in the file."""
    text = (SHIPPED / "engagement.yaml").read_text("utf-8")
    assert 1 == text.count('    value: "no"\n')
    assert "enabled: false\n" in text


def test_code_lists_are_used(tmp_path: Path) -> None:
    """Each shipped code list is used by a shipped mapping: as one word, and as a multiple choice."""
    texts = "".join(file.read_text("utf-8") for file in shipped(tmp_path).glob("*.yaml"))
    assert {"languages", "roles"} == set(re.findall(r"\{code_list: (\w+)\}", texts))
    lists = (tmp_path / "code_lists.yaml").read_text("utf-8")
    assert {"languages", "roles"} == set(re.findall(r"^  (\w+):$", lists, re.MULTILINE))


def test_the_demo_project(tmp_path: Path) -> None:
    """The demo chooses its courses by short name, and one group owns everybody."""
    project = load_project(shipped(tmp_path), CATALOGUE)
    assert ("demo", "CHW-*") == (project.site, project.courses.shortname_like)
    record = {"id": 1, "firstname": "Amina", "lastname": "Otieno", "roles": ["student"]}
    owner = drafted(project.mappings[0].draft(record, CONTEXT)).owner
    assert ([("group", "Field coaches")], True) == (
        [(c.kind, c.value) for c in owner.candidates],
        owner.write_once,
    )


def test_neutral() -> None:
    """No shipped mapping knows a country, a course or a coach."""
    for file in (*SHIPPED.glob("*.yaml"), *SHIPPED.glob("offline/*.yaml")):
        if file.name != "project.yaml":
            lines = (line.split("#")[0] for line in file.read_text("utf-8").split("tests:")[0].splitlines())
            assert not re.search(r"kenya|nairobi|CHW|254|consent|chw_", "\n".join(lines), re.IGNORECASE)
