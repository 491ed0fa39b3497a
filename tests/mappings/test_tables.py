"""Lookup table files: checked like mappings, with what a row cannot have refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from mappings.engine import check_project, load_project
from tests.mappings.workbench import CATALOGUE, offline


def said(place: Path, old: str, new: str) -> list[str]:
    """Return what the check says of the shipped table after an edit."""
    file = offline(place) / "courses.table.yaml"
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf-8")
    return [problem.sentence for problem in check_project(place, CATALOGUE).problems]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("lookup_table: moodle_courses", "lookup_table: my table", "'my table' cannot be the ID of a table"),
        ("  shortname: shortname", "  key: shortname", "the field key holds the key of the row"),
        (
            "  shortname: shortname",
            "  shortname: {source: shortname, write: once}",
            "a lookup table has no 'write'",
        ),
        ("  shortname: shortname", "  shortname: shortnam", "source 'courses' has no field 'shortnam'"),
        ('external_id: "{site}-course-{id}"', 'external_id: "course-{id}"', "this key does not name the site"),
        ("source: courses", "source: users", ""),
        ("language: 1\n", "language: 1\nowner: {otherwise: project}\n", ""),
    ],
)
def test_slips_are_told(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    """Each at its line; what a mapping has and a table has not is an unknown key."""
    found = said(tmp_path, old, new)
    assert found
    assert not sentence or sentence in found


def test_two_files_cannot_make_one_table(tmp_path: Path) -> None:
    """Each of the two is told."""
    text = (offline(tmp_path) / "courses.table.yaml").read_text("utf-8")
    (tmp_path / "again.table.yaml").write_text(text, "utf-8")
    found = [problem.sentence for problem in check_project(tmp_path, CATALOGUE).problems]
    assert 2 * ["another file makes the table 'moodle_courses'"] == found


def test_a_failing_test_is_told(tmp_path: Path) -> None:
    """The tests in the file are run."""
    assert said(tmp_path, "category: Basics\n        summary", "category: Other\n        summary")


@pytest.mark.parametrize(
    ("old", "new", "remedy"),
    [
        ("lookup_table: moodle_courses\n", "case_type: moodle_courses\n", "the word for it is 'lookup_table'"),
        ("lookup_table: moodle_courses\n", "", "add lookup_table: moodle_courses"),
        ("source: courses\n", "", "add source: courses"),
        (
            "language: 1\n",
            "language: 1\nowner: {otherwise: project}\n",
            "take it out: a row of a lookup table has",
        ),
        ("language: 1\n", "language: 1\nwhen_left: {close: true}\n", "take it out: a row of a lookup table has"),
        ("    expect:\n", "    expect:\n      owner: project\n", "take it out: a test of a table looks at"),
        ("    expect:\n", "    expect:\n      case_name: Basics\n", "take it out: a test of a table looks at"),
    ],
)
def test_what_to_do_about_words_of_mappings(tmp_path: Path, old: str, new: str, remedy: str) -> None:
    """What only a case has is taken out; what is missing is shown as a table has it."""
    file = offline(tmp_path) / "courses.table.yaml"
    file.write_text(file.read_text("utf-8").replace(old, new, 1), "utf-8")
    told = [problem.remedy for problem in check_project(tmp_path, CATALOGUE).problems]
    assert [one for one in told if one.startswith(remedy)], told


def test_the_project_has_what_is_on_and_what_is_off(tmp_path: Path) -> None:
    """A report names them apart, and so does the project; what is off makes no row."""
    place = offline(tmp_path)
    text = (place / "courses.table.yaml").read_text("utf-8").replace("moodle_courses", "other_courses")
    (place / "other.table.yaml").write_text(
        text.replace("language: 1\n", "language: 1\nenabled: false\n"), "utf-8"
    )
    report = check_project(place, CATALOGUE)
    assert (("courses.table",), ("other.table",)) == (report.tables, report.tables_off)
    project = load_project(place, CATALOGUE)
    found = [[one.case_type for one in tables] for tables in (project.tables, project.tables_off)]
    assert [["moodle_courses"], ["other_courses"]] == found
    assert [False, False, False, True, True] == [one.is_table for one in project.everything]
