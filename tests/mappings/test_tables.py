"""Lookup table files: checked like mappings, with what a row cannot have refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from mappings.engine import check_project
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
