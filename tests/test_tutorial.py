"""docs/mappings.md is true: each example is checked as a user would check it, and each table comes out so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows.catalogue import field_catalogue
from flows.docs import documents
from mappings.engine import check_project
from tests.tutorial import GUIDE, Example, examples

TEXT = GUIDE.read_text("utf-8")
EXAMPLES = examples(TEXT)
EXPECTED_TO_BE_SAID = ("this mapping has no test",)


def said_about(example: Example, folder: Path) -> list[str]:
    """Return what the check says about an example, without the reminders that are no mistake of it."""
    example.write(folder)
    report = check_project(folder, field_catalogue())
    return [
        problem.render() for problem in report.problems if not problem.sentence.startswith(EXPECTED_TO_BE_SAID)
    ]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.section}, line {one.line}")
def test_example(tmp_path: Path, example: Example) -> None:
    """The example is right, and each row of its table comes out as it says."""
    assert [] == said_about(example, tmp_path)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.section}, line {one.line}")
def test_example_can_be_handed_over(tmp_path: Path, example: Example) -> None:
    """Each example makes documents for a client in which no cell is left in a programmer's words."""
    example.write(tmp_path)
    made = documents(tmp_path, "fr")
    text = made.files["specification.fr.md"].decode()
    assert [] == re.findall(r"\bNone\b|Spec\(|\(\)|'\)", text)
    assert "moodle-functions.md" in made.files


def test_every_block_is_an_example() -> None:
    """No YAML of the guide escapes the tests, and nearly every example shows what comes out."""
    blocks = re.findall(r"(?m)^```yaml\n(.*)\n", TEXT)
    assert [] == [first for first in blocks if not first.startswith("# mappings/")]
    tables = len(re.findall(r"(?m)^\| Moodle has \|", TEXT))
    assert tables == sum(bool(example.rows) for example in EXAMPLES)
    assert 20 <= tables


def test_projects_alone_are_tried(tmp_path: Path) -> None:
    """A section that shows only something of the project is checked with a plain mapping beside it."""
    wrong = "## Courses\n\n```yaml\n# mappings/project.yaml\ncourses: {idz: [7]}\n```\n"
    assert ["Courses"] == [one.section for one in examples(wrong)]
    assert "unknown key 'idz'" in said_about(examples(wrong)[0], tmp_path)[0]


def test_every_source_is_told() -> None:
    """The table of sources at the start has all of them, and no others."""
    table = TEXT.split("| source | one record for each |")[1].split("\n\n")[0]
    assert set(field_catalogue()) == set(re.findall(r"(?m)^\| `(\w+)`", table))


def test_every_section_is_in_the_contents() -> None:
    """The contents at the top lead to every section, and to nothing else."""
    anchors = {
        heading.lower().replace(" ", "-").replace(",", "") for heading in re.findall(r"(?m)^## (.*)$", TEXT)
    }
    assert anchors == set(re.findall(r"\]\(#([^)]*)\)", TEXT))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("`phone1: 0722 000 111`", "`contact_phone_number: 254722000112`"),
        ("`phone1: 0722 000 111`", "left out"),
        ("`phone1: 0722 000 111`", "held back"),
        ("`phone1: 0722 000 111`", "`contact_phone_number` is emptied"),
        ("`phone1: 0722 000 111`", "`contact_phone_number` stays as it is"),
        ("`mobile: 0722 000 111`", "`contact_phone_number: 254722000111`"),
    ],
)
def test_wrong_rows_are_noticed(tmp_path: Path, left: str, right: str) -> None:
    """A row that is not so fails."""
    example = next(one for one in examples(TEXT) if one.section == "Send a phone number")
    example.rows = [(left, right)]
    assert [] != said_about(example, tmp_path)
