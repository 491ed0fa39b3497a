"""What an implementer reads after a mistake: every file of this folder against its golden text.

After a change of wording, delete the golden file and run the test: it is written anew, for you to read.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mappings.engine import MappingError, load_project
from tests.mappings.fuzz import PYTHON
from tests.mappings.workbench import CATALOGUE, HEAD, folder, messages

MISTAKES = Path(__file__).parent
GOOD = f"""{HEAD}properties:
  x: department
tests:
  - name: somebody
    given: {{id: 1, firstname: Amina, lastname: Otieno}}
    expect: {{case_name: Amina Otieno}}
"""
DOUBLED = "district;site_code\nBondo;siaya-02\nGem;siaya-03\nBondo;siaya-04\n;siaya-05\n"
DOUBTFUL = (
    *("personal", "failing_tests", "role_names", "checkbox", "patterns", "template_as_value", "hash_in_text"),
    *("leading_zero", "no_schema_line", "default_of_visits", "not_sent_name"),
)  # a run takes these: they are warnings, or found by a test in the file
NAMES = sorted(file.stem for file in MISTAKES.glob("*.yaml"))


def mistaken(place: Path, name: str) -> Path:
    """Write a folder in which one file is wrong: project.yaml, or a mapping beside a right one."""
    text = (MISTAKES / f"{name}.yaml").read_bytes().decode("utf-8")
    if name.startswith("project-"):
        made = folder(place, {"student.yaml": GOOD}, project=text)
    else:
        is_second = name.startswith("beside-") or "case_type: enrolment" in text
        parents = {"student.yaml": GOOD} if is_second else {}
        made = folder(place, {**parents, f"{name}.yaml": text})
    (made / "lookups" / "doubled.csv").write_text(DOUBLED, "utf-8")
    (made / "lookups" / "latin.csv").write_text("district;site_code\nÑandú;a\n", "latin-1")
    (made / "lookups" / "facility.xlsx").write_bytes(b"PK\x03\x04\x9d\xff")
    (made / "lookups" / "headless.csv").write_text("Bondo;siaya-02\n", "utf-8")
    return made


@pytest.mark.parametrize("name", NAMES)
def test_messages(tmp_path: Path, name: str) -> None:
    """The checker says exactly this."""
    golden = MISTAKES / f"{name}.txt"
    said = messages(mistaken(tmp_path, name)) + "\n"
    if not golden.exists():
        golden.write_text(said, "utf-8")
        pytest.fail(f"{golden.name} was written: read it")
    assert golden.read_text("utf-8") == said


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DOUBTFUL])
def test_loading_stops_with_the_errors(tmp_path: Path, name: str) -> None:
    """A run refuses what the checker calls an error."""
    with pytest.raises(MappingError) as caught:
        load_project(mistaken(tmp_path, name), CATALOGUE)
    assert {"error"} == {problem.severity for problem in caught.value.problems}


def test_there_are_forty() -> None:
    """Each mistake is there with what is told about it."""
    assert len(NAMES) >= 40
    assert NAMES == sorted(file.stem for file in MISTAKES.glob("*.txt"))


@pytest.mark.parametrize("name", NAMES)
def test_messages_are_for_people(name: str) -> None:
    """No message speaks Python."""
    golden = (MISTAKES / f"{name}.txt").read_text("utf-8")
    said = "\n".join(line for line in golden.splitlines() if " | " not in line)
    assert [] == PYTHON.findall(said)
