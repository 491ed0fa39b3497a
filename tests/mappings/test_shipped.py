"""The mappings that ship: right, tested and neutral; no edit of them makes the checker fall over."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from mappings.engine import MappingError, check_project, load_project
from tests.mappings.workbench import CATALOGUE, CONTEXT, SHIPPED, drafted, shipped

EDITS = 1000
STRAY = "{}[]:,&*!|>'\"%@`#\t-? \n\0ñ🌍\x07\u2028x0"


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
    assert (18, 0) == (report.tests_run, report.tests_failed)
    assert (2, ("course", "engagement", "grade_item")) == (report.mappings, report.switched_off)


def test_everything_can_be_switched_on(tmp_path: Path) -> None:
    """Deleting one line in each of the mappings that are off gives more cases, down to a third level."""
    for file in shipped(tmp_path).glob("*.yaml"):
        file.write_text(file.read_text("utf-8").replace("enabled: false\n", ""), "utf-8")
    assert [] == [problem.render() for problem in check_project(tmp_path, CATALOGUE).problems]
    found = load_project(tmp_path, CATALOGUE).mappings
    levels = {"course": 0, "student": 0, "engagement": 1, "enrolment": 1, "grade_item": 2}
    assert levels == {mapping.name: mapping.level for mapping in found}


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
    for file in SHIPPED.glob("*.yaml"):
        if file.name != "project.yaml":
            lines = (line.split("#")[0] for line in file.read_text("utf-8").split("tests:")[0].splitlines())
            assert not re.search(r"kenya|nairobi|CHW|254|consent|chw_", "\n".join(lines), re.IGNORECASE)


def test_no_edit_makes_the_checker_fall_over(tmp_path: Path) -> None:
    """A thousand random edits of the shipped files: each is checked, and loads or ends in MappingError."""
    chance = random.Random(20261121)
    names = sorted(file.name for file in shipped(tmp_path).glob("*.yaml"))
    texts = {name: (shipped(tmp_path) / name).read_text("utf-8") for name in names}
    right = 0
    for number in range(EDITS):
        name = chance.choice(names)
        (tmp_path / name).write_text(edited(texts[name], chance), "utf-8", newline="")
        report = check_project(tmp_path, CATALOGUE)
        right += not report.errors
        if number % 5 == 0 and not report.tests_failed:
            assert bool(report.errors) is bool(errors_of_loading(tmp_path))
        (tmp_path / name).write_text(texts[name], "utf-8")
    assert 0 < right < EDITS // 2


def errors_of_loading(place: Path) -> str:
    """Return what stops a folder from being loaded, "" when nothing does."""
    try:
        load_project(place, CATALOGUE)
    except MappingError as error:
        return str(error)
    return ""


def edited(text: str, chance: random.Random) -> str:
    """Return a text with one to three random mistakes of the kind that people and editors make."""
    lines = text.splitlines(keepends=True)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(lines))
        line = lines[at]
        cut = chance.randrange(len(line) + 1)
        other = chance.randrange(len(lines))
        lines[at] = chance.choice(
            [
                "",
                line[:cut] + "\n",
                line[:cut] + chance.choice(STRAY) + line[cut:],
                line[:cut] + line[cut + 1 :],
                "  " + line,
                line.removeprefix("  "),
                line + line,
                lines[other],
                re.sub(r": .*", ":", line),
                re.sub(r"(\w+): (\w+)", r"\2: \1", line, count=1),
                re.sub(r"[\[{].*[\]}]", "[]", line),
                re.sub(r": [^\[{]*$", ": {a: [b, {c: d}]}\n", line),
            ]
        )
    return "".join(lines)
