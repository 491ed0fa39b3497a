"""Reads docs/mappings.md: its examples as mapping files, and the tables below them as tests in those files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

GUIDE = Path(__file__).parents[1] / "docs" / "mappings.md"
TODAY = "2025-10-19"

PROJECT = """
language: 1
site: demo
site_url: https://moodle.example.org
time_zone: Africa/Nairobi
country: KE
courses: {ids: [7]}
owner: {group: Field coaches}
"""
HEADS = {
    "student.yaml": """
language: 1
case_type: student
source: users
external_id: "{site}-user-{id}"
case_name: "{firstname} {lastname}"
owner: {otherwise: project}
properties: {country: {source: country, personal: false}}
""",
    "enrolment.yaml": """
language: 1
case_type: enrolment
source: enrolments
external_id: "{site}-enrol-{course.id}-{user.id}"
case_name: "{course.fullname}"
owner: {otherwise: project}
""",
}
PEOPLE: dict[str, dict[str, Any]] = {
    "student.yaml": {"id": "1042", "firstname": "Amina", "lastname": "Otieno", "roles": ["student"]},
    "enrolment.yaml": {"course": {"id": "7", "fullname": "Community health"}, "user": {"id": "1042"}},
}
_OF_THE_CASE = ("external_id", "case_name", "owner")


EDITOR_LINE = "# yaml-language-server: $schema=schema/mapping.schema.json\n"
"""The first line of every mapping; the guide shows it once."""


@dataclass
class Example:
    """One mapping of the guide with the files it needs; `rows` are the lines of the table below it."""

    section: str
    file: str
    line: int
    files: dict[str, str]
    rows: list[tuple[str, str]] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write the project, with a test in the mapping for each row."""
        mapping = _read(HEADS.get(self.file, "")) | _read(self.files[self.file])
        if "source" in mapping and self.rows:
            mapping["tests"] = [self._test(number, *row) for number, row in enumerate(self.rows)]
        files = {"project.yaml": PROJECT, **self.files, self.file: _written(mapping)}
        if self.file == "enrolment.yaml":
            files.setdefault("student.yaml", HEADS["student.yaml"])
        files["project.yaml"] = _written(_read(PROJECT) | _read(files["project.yaml"]))
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            is_mapping = name.endswith(".yaml") and name not in ("project.yaml", "code_lists.yaml")
            (folder / name).write_text(EDITOR_LINE + text if is_mapping else text, "utf-8")

    def _test(self, number: int, left: str, right: str) -> dict[str, Any]:
        record = deepcopy(PEOPLE[self.file])
        for span in re.findall(r"`([^`]+)`", left):
            record |= _read(f"{{{span}}}")
        return {"name": f"row {number + 1}", "today": TODAY, "given": record, "expect": expected(right)}


def expected(right: str) -> dict[str, Any]:
    """Return the right cell of a row as what a test expects."""
    if right in ("left out", "held back"):
        return {"excluded" if right == "left out" else "held_back": "true"}
    expect: dict[str, Any] = {"properties": {}, "not_sent": []}
    for span, after in re.findall(r"`([^`]+)`([^`]*)", right):
        after = after.strip(" ,")
        if ": " in span and not after:
            name, value = next(iter(_read(span).items()))
            (expect if name in _OF_THE_CASE else expect["properties"])[name] = value
        elif after == "is emptied":
            expect["properties"][span] = ""
        elif after == "stays as it is":
            expect["not_sent"].append(span)
        else:
            raise ValueError(f"nothing is expected by: {span} {after}")
    return expect


def examples(markdown: str) -> list[Example]:
    """Return every mapping of the guide; what a section says about the project holds until the section ends.

    A section that says something about the project and shows no mapping after it is an example as well.
    """
    guide = _Guide(markdown)
    line = 0
    for part in re.split(r"(?m)^(## .*\n|```\w*\n(?:.*\n)*?```\n|\|(?:.*\|\n)+)", markdown):
        guide.take(part, line + 1)
        line += part.count("\n")
    guide.begin("", line)
    return guide.found


class _Guide:
    """Reads the parts of the guide one after the other."""

    def __init__(self, markdown: str) -> None:
        self.found: list[Example] = []
        self._markdown = markdown
        self._section = ""
        self._around: dict[str, str] = {}
        self._untried = False

    def take(self, part: str, line: int) -> None:
        """Read a heading, a block or a table."""
        block = re.match(r"```(yaml|python|csv)\n(?:# mappings/(\S+)\n)?", part)
        if part.startswith("## "):
            self.begin(part[3:].strip(), line)
        elif part.startswith("| Moodle has |"):
            self.found[-1].rows += [_cells(row) for row in part.splitlines()[2:]]
        elif block:
            body = part.partition("\n")[2].removesuffix("```\n")
            self._file(block[2] or _csv_name(self._markdown, part), body, line)

    def begin(self, section: str, line: int) -> None:
        """End a section and begin another."""
        if self._untried:
            self._file("student.yaml", "", line)
        self._section, self._around = section, {}

    def _file(self, name: str, body: str, line: int) -> None:
        self._untried = name not in HEADS
        if name in HEADS:
            self.found.append(Example(self._section, name, line, {**self._around, name: body}))
        else:
            before = self._around.get(name, "")
            self._around = {**self._around, name: _merged(before, body) if name.endswith(".yaml") else body}


def _merged(before: str, after: str) -> str:
    return _written(_read(before) | _read(after))


def _csv_name(markdown: str, part: str) -> str:
    return re.findall(r"`mappings/(\S+\.csv)`", markdown[: markdown.index(part)])[-1]


def _cells(row: str) -> tuple[str, str]:
    left, right = row.strip("|").split("|")
    return left.strip(), right.strip()


def _read(text: str) -> dict[str, Any]:
    return yaml.load(text, Loader=yaml.BaseLoader) or {}  # noqa: S506 - reads texts only


def _written(data: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(data), allow_unicode=True, sort_keys=False, width=1000)
