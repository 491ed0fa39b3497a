"""`mappings docs` and `mappings schema`: files for the client and the editor, the same bytes every time."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook
from typer.testing import CliRunner

from adaptors.moodle.functions import FUNCTIONS
from flows.catalogue import field_catalogue
from flows.cli import app
from flows.docs import documents, moodle_functions, stale_documents, used_functions, write_documents
from flows.steps.gate import needed_functions
from flows.steps.pull import wanted_by
from flows.workbook import dictionary_workbook, same_workbook, specification_workbook
from mappings.engine import Project, load_project
from mappings.engine.dictionary import CaseTypeSheet, Dictionary
from mappings.engine.phrases import phrases
from mappings.engine.sheet import Section, Specification, Table
from tests.mappings.workbench import HEAD, folder, shipped

RECORDINGS = Path(__file__).parents[1] / "recordings" / "moodle-4.5"
FORMULA = '=HYPERLINK("https://example.org","look")'


def cells(raw: bytes) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of every worksheet."""
    return {page.title: list(page.iter_rows(values_only=True)) for page in load_workbook(io.BytesIO(raw))}


def everything_on(place: Path) -> Project:
    """Return the shipped project with all its mappings switched on."""
    for file in shipped(place).glob("*.yaml"):
        file.write_text(file.read_text("utf-8").replace("enabled: false\n", ""), "utf-8")
    return load_project(place, field_catalogue())


# --- workbooks ----------------------------------------------------------------------------------------------


def test_specification_workbook(tmp_path: Path) -> None:
    """The workbook has an overview, then a page for each mapping with a frozen heading and wrapped cells."""
    raw = documents(shipped(tmp_path)).files["specification.xlsx"]
    book = load_workbook(io.BytesIO(raw))
    assert ["Project", "student", "enrolment"] == book.sheetnames[:3]
    page = book["student"]
    assert ("B2", "CommCare property", "first_name") == (page.freeze_panes, page["A1"].value, page["A2"].value)
    assert page["D2"].alignment.wrap_text
    assert 20 < page.column_dimensions["A"].width < page.column_dimensions["D"].width < 60


def test_dictionary_workbook(tmp_path: Path) -> None:
    """Each case type has its sheet and its sheet of values, with the headings that CommCare knows."""
    found = cells(documents(shipped(tmp_path)).files["data-dictionary.xlsx"])
    assert ["student", "student-vl", "enrolment", "enrolment-vl"] == list(found)[:4]
    heading = ("Case Property", "Label", "Group", "Data Type", "Description", "Deprecated")
    assert (heading, ("Case Property", "Valid Value", "Valid Value Description")) == (
        found["student"][0],
        found["student-vl"][0],
    )
    assert {("moodle_status", "left", "")} <= set(found["student-vl"])


@pytest.mark.parametrize("text", [FORMULA, "+254", "-1", "@SUM(A1)", "https://example.org", "007", "{=1+1}"])
def test_texts_stay_texts(text: str) -> None:
    """Nothing that a mapping says becomes a formula, a number or a link of the workbook."""
    table = Table(text, (text,), ((text,),), text)
    section = Section("student", text, text, text, ((text, text),), table)
    sheet = Specification(phrases("en"), text, text, ((text, text),), (section,), (table,))
    properties = Dictionary((CaseTypeSheet("student", ((text,) * 6,), ((text,) * 3,)),), ())
    for raw in (specification_workbook(sheet), dictionary_workbook(properties)):
        found = [cell for page in load_workbook(io.BytesIO(raw)) for row in page.iter_rows() for cell in row]
        assert text in [cell.value for cell in found]
        assert {"s"} == {cell.data_type for cell in found if cell.value is not None}
        assert [] == [cell for cell in found if cell.hyperlink]


def test_awkward_names_of_worksheets() -> None:
    """Names that Excel refuses, long ones and equal ones still make a workbook."""
    table = Table("Code list a/b: [with a very long name indeed]", ("a",), (("b",),))
    section = Section("Project", "t", "", "", (), Table("history", ("a",), ()))
    sheet = Specification(phrases("en"), "t", "", (), (section, section), (table, table))
    names = load_workbook(io.BytesIO(specification_workbook(sheet))).sheetnames
    assert [31, 31] == [len(name) for name in names[3:]]
    assert ["Project", "Project 2", "Project 3"] == names[:3]


def test_same_bytes_every_time(tmp_path: Path) -> None:
    """Two runs make the same files to the byte."""
    shipped(tmp_path)
    assert documents(tmp_path).files == documents(tmp_path).files


def test_same_workbook_however_packed(tmp_path: Path) -> None:
    """A workbook packed by another library counts as the same; other contents and no workbook do not."""
    raw = documents(shipped(tmp_path)).files["data-dictionary.xlsx"]
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as one, zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as other:
        for name in one.namelist():
            other.writestr(name, one.read(name))
    assert (True, False, False) == (
        same_workbook(raw, packed.getvalue()),
        same_workbook(raw, documents(tmp_path).files["specification.xlsx"]),
        same_workbook(raw, b"no workbook"),
    )


# --- what Moodle has to allow -------------------------------------------------------------------------------


def test_every_function_is_told(tmp_path: Path) -> None:
    """What a run with everything switched on may call is in the list, and the list has nothing else."""
    project = everything_on(tmp_path)
    used = used_functions(project).keys() | {"core_course_get_categories"}
    told = {function.name for function in FUNCTIONS}
    assert set(needed_functions(wanted_by(project.mappings))) <= used <= told


def test_functions_by_mapping(tmp_path: Path) -> None:
    """A function that only some mappings need names them; nothing is listed that no mapping needs."""
    used = used_functions(load_project(shipped(tmp_path), field_catalogue()))
    assert (["enrolment"], []) == (
        used["gradereport_user_get_grade_items"],
        used["core_enrol_get_enrolled_users"],
    )
    student = folder(tmp_path / "student", {"student.yaml": f"{HEAD}properties:\n  a: department\n"})
    text = moodle_functions(load_project(student, field_catalogue()))
    assert "core_user_get_users_by_field" in text
    assert "grade" not in text


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_sample_answers_are_like_moodles(function: Any) -> None:
    """A sample holds only keys that a real Moodle's answer to the same function has."""
    recorded: set[str] = set()
    for file in RECORDINGS.glob(f"{function.name}__*.json"):
        recorded |= set(keys_in(json.loads(file.read_text("utf-8"))))
    if not recorded:
        pytest.skip("no answer of this function was recorded here")
    assert set() == set(keys_in(json.loads(function.sample))) - recorded


def keys_in(answer: Any) -> Iterator[str]:
    """Yield every key of an answer, however deep."""
    if isinstance(answer, dict):
        yield from answer
    for part in answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list) else ():
        yield from keys_in(part)


# --- the commands -------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped mappings, named by the settings."""
    monkeypatch.setenv("MAPPINGS_DIR", str(shipped(tmp_path)))
    return tmp_path


def test_docs_writes_and_checks(place: Path) -> None:
    """The command writes all documents beside the mappings; --check is content until one is stale."""
    runner = CliRunner()
    assert 0 == runner.invoke(app, ["mappings", "docs"]).exit_code
    written = {file.name for file in (place / "docs").iterdir()}
    assert {"specification.md", "specification.xlsx", "data-dictionary.xlsx", "moodle-functions.md"} == written
    assert 0 == runner.invoke(app, ["mappings", "docs", "--check"]).exit_code
    student = place / "student.yaml"
    student.write_text(student.read_text("utf-8").replace("city: {source: city", "town: {source: city"), "utf-8")
    before = {file.name: file.read_bytes() for file in (place / "docs").iterdir()}
    checked = runner.invoke(app, ["mappings", "docs", "--check", "--json"])
    stale = [Path(name).name for name in json.loads(checked.stdout)["stale"]]
    assert (1, ["specification.md", "specification.xlsx", "data-dictionary.xlsx"]) == (checked.exit_code, stale)
    assert before == {file.name: file.read_bytes() for file in (place / "docs").iterdir()}


def test_docs_in_a_language(place: Path) -> None:
    """Documents of another language stand beside the English ones, under a name of their own."""
    made = CliRunner().invoke(app, ["mappings", "docs", "--language", "fr", "--out", str(place / "client")])
    text = (place / "client" / "specification.fr.md").read_text("utf-8")
    assert (0, "# Ce que Moodle envoie à CommCare : demo") == (made.exit_code, text.split("\n")[0])


@pytest.mark.parametrize("language", ["klingon", "xx", "fr/../../x", "fr_/../x", ""])
def test_docs_in_no_language(place: Path, language: str) -> None:
    """A language in which nothing can be said is refused, with those that there are."""
    made = CliRunner().invoke(app, ["mappings", "docs", "--language", language])
    assert (2, False) == (made.exit_code, (place / "docs").exists())
    assert "There are: en, es, fr, pt, sw." in made.stderr


def test_docs_of_a_wrong_mapping(place: Path) -> None:
    """A mapping that is not right makes no document; what is wrong is told as the check tells it."""
    student = place / "student.yaml"
    student.write_text(student.read_text("utf-8").replace("source: firstname", "source: fristname"), "utf-8")
    made = CliRunner().invoke(app, ["mappings", "docs"])
    assert (1, False) == (made.exit_code, (place / "docs").exists())
    assert "did you mean 'firstname'?" in made.stderr


def test_docs_into_a_file(place: Path) -> None:
    """A folder that is none is told in a sentence."""
    made = CliRunner().invoke(app, ["mappings", "docs", "--out", str(place / "student.yaml")])
    assert (1, True) == (made.exit_code, "student.yaml: File exists." in made.stderr)


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    """A file that says the same is left alone; a missing one is made."""
    made = documents(shipped(tmp_path))
    out = tmp_path / "out"
    assert 4 == len(write_documents(made, out))
    (out / "specification.md").unlink()
    assert ["specification.md"] == stale_documents(made, out)
    assert [out / "specification.md"] == write_documents(made, out)


def test_schema(place: Path) -> None:
    """The schemas for editors are written beside the mappings."""
    assert 0 == CliRunner().invoke(app, ["mappings", "schema"]).exit_code
    assert "properties" in json.loads((place / "schema" / "mapping.schema.json").read_text("utf-8"))
