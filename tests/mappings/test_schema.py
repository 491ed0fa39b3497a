"""What editors are told about the files: right files have nothing marked, slips do, and the schemas are fresh."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from flows.catalogue import field_catalogue
from mappings.engine.odd_texts import schema_line
from mappings.engine.schema import schemas, write_schemas
from mappings.engine.transform import TRANSFORMS
from tests.mappings.workbench import ROOT, SHIPPED

FILES = sorted([*SHIPPED.glob("*.yaml"), *SHIPPED.glob("offline/*.yaml"), SHIPPED / "demo" / "project.yaml"])
HEAD = """
language: 1
case_type: student
source: users
external_id: "{site}-user-{id}"
case_name: "{firstname} {lastname}"
owner: {otherwise: project}
"""


class Editor(yaml.SafeLoader):
    """YAML as editors read it (1.2): true and false are flags, 007 is a number, no and 2026-01-31 are texts."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for tag, pattern, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    Editor.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})$"), list(first))


def as_editors_read(text: str) -> Any:
    """Return YAML as an editor's language server sees it; keys are texts there."""

    def named(node: Any) -> Any:
        if isinstance(node, dict):
            return {str(key): named(value) for key, value in node.items()}
        return [named(entry) for entry in node] if isinstance(node, list) else node

    return named(yaml.load(text, Loader=Editor))  # noqa: S506


@cache
def made() -> dict[str, Any]:
    """Return the schemas of the real catalogue."""
    return schemas(field_catalogue())


def marked(text: str, name: str = "mapping") -> list[str]:
    """Return the places that an editor marks, as paths."""
    validator = Draft7Validator(made()[f"{name}.schema.json"])
    return sorted({error.json_path for error in validator.iter_errors(as_editors_read(text))})


def kind_of(file: Path) -> str:
    """Return which schema the first line of a file names."""
    return re.sub(r".*/(\w+)\.schema\.json$", r"\1", file.read_text("utf-8").splitlines()[0])


def test_the_files_are_fresh(tmp_path: Path) -> None:
    """What stands in mappings/schema is what the models say now; `moodle-commcare mappings schema` writes it."""
    expected = {file.name: file.read_text("utf-8") for file in write_schemas(tmp_path, field_catalogue())}
    assert expected == {file.name: file.read_text("utf-8") for file in (SHIPPED / "schema").glob("*.json")}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  shortname: shortname", "  shortname: {source: shortname, write: once}"),
        ("source: courses\n", "source: users\n"),
        ("language: 1\n", "language: 1\nowner: {otherwise: project}\n"),
        ("    expect:\n", "    expect:\n      case_name: Basics\n"),
    ],
)
def test_an_editor_marks_what_a_table_has_not(old: str, new: str) -> None:
    """Words that only a mapping knows are marked in a table's file while it is typed."""
    text = (SHIPPED / "offline" / "courses.table.yaml").read_text("utf-8")
    assert old in text
    assert [] == marked(text, "table")
    assert [] != marked(text.replace(old, new, 1), "table")


@pytest.mark.parametrize("name", made())
def test_the_schemas_are_schemas(name: str) -> None:
    """Each is draft-07, and no reference leads nowhere or hides what stands beside it."""
    schema = made()[name]
    Draft7Validator.check_schema(schema)
    parts = {f"#/definitions/{part}" for part in schema.get("definitions", {})}
    for node in nodes(schema):
        assert "$ref" not in node or (node.keys() == {"$ref"} and node["$ref"] in parts)


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Return every block of a schema."""
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(inner)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_shipped_files_have_nothing_marked(file: Path) -> None:
    """Each shipped file names its schema in the first line, and meets it."""
    assert schema_line(file.name) == file.read_text("utf-8").splitlines()[0]
    assert [] == marked(file.read_text("utf-8"), kind_of(file))


@pytest.mark.parametrize(
    "text",
    [
        "x: department",
        "x: {source: department, required: true, description: It is}",
        "x: {value: 7}",
        "x: {value: no}",
        'x: {first_of: [phone1, phone2], transform: [{phone: {format: digits}}, trim], personal: true}',
        "x: {source: city, transform: [{bands: {low: 10, high: 20.5, otherwise: top}}]}",
        "x: {source: city, transform: [{number: 1}, {number: {decimals: 1}}, number]}",
        "x: {source: city, transform: [{code_list: cadre}, {replace: {find: 7, with: 8}}]}",
        "x: {cases: [{when: {source: suspended, is: true}, value: 1}], otherwise: 0}",
        "x: {cases: [{when: [{source: id, below: 4}, {source: id, at_least: 2}], value: a}]}",
        "x: {source: city, when_blank: keep, when_not_sent: clear, when_invalid: original, write: once}",
    ],
)  # fmt: skip
def test_every_way_of_writing_is_taken(text: str) -> None:
    """Short forms, numbers and flags where texts are meant, settings bare and by name."""
    assert [] == marked(f"{HEAD}properties:\n  {text}\n")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("x: {sorce: city}", "$.properties.x"),
        ("x: [city]", "$.properties.x"),
        ("x: {source: city, transform: trim}", "$.properties.x"),
        ("x: {source: city, transform: [trimm]}", "$.properties.x"),
        ("x: {source: city, transform: [{split: {bye: ',', take: 1}}]}", "$.properties.x"),
        ("x: {source: city, transform: [{number: few}]}", "$.properties.x"),
        ("x: {source: city, when_blank: ignore}", "$.properties.x"),
        ("x: {source: city, required: yes}", "$.properties.x"),
        ("x: city\ninclude: {source: roles}", "$.include"),
        ("x: city\ntets: []", "$"),
        ("x: city\nexclude: [{source: roles, iss: x}]", "$.exclude[0]"),
        ("x: city\nindices: {student: {case_type: a, external_id: b, relationship: parent}}",
         "$.indices.student.relationship"),
    ],
)  # fmt: skip
def test_slips_are_marked(text: str, place: str) -> None:
    """Keys that do not exist, lists that are none, words and transforms that are unknown."""
    assert [place] == marked(f"{HEAD}properties:\n  {text}\n")


def test_a_source_that_does_not_exist_is_marked() -> None:
    """The sources are those of the catalogue."""
    assert ["$.source"] == marked(f"{HEAD}properties: {{x: city}}\n".replace("users", "user"))


def test_transforms_are_explained() -> None:
    """Hovering over a transform shows its help, whether it has settings or not."""
    step = made()["mapping.schema.json"]["definitions"]["StepSpec"]["anyOf"]
    told = {each["const"]: each["description"] for each in step[:-1]}
    told |= {name: each["description"] for name, each in step[-1]["properties"].items()}
    assert TRANSFORMS.keys() == told.keys()
    assert all(told[name].startswith(each.help) for name, each in TRANSFORMS.items())


def test_fields_are_proposed() -> None:
    """An editor offers Moodle's fields where one is typed, and takes custom ones as well."""
    source = made()["mapping.schema.json"]["definitions"]["PropertySpec"]["properties"]["source"]
    assert {"firstname", "course.fullname", "grade.percent"} <= set(source["examples"])
    assert [] == marked(f"{HEAD}properties: {{x: {{source: profile.gender}}}}\n")


def test_project_and_code_lists() -> None:
    """The other two files are checked as well."""
    project = "language: 1\nsite: demo\ntime_zone: Africa/Nairobi\ncountry: KE\n"
    assert [] == marked(f"{project}code_lists: {{a: {{1: x, 2: 3, otherwise: no}}}}\n", "project")
    assert ["$"] == marked(f"{project}timezone: Africa/Nairobi\n", "project")
    assert [] == marked("language: 1\ncode_lists: {a: {1: x}}\n", "code_lists")
    assert ["$.code_lists.a"] == marked("language: 1\ncode_lists: {a: [x]}\n", "code_lists")


def test_the_files_are_texts_for_any_system() -> None:
    """They end in one line end and hold no carriage return."""
    for file in (SHIPPED / "schema").glob("*.json"):
        raw = file.read_bytes()
        assert (raw.endswith(b"}\n"), False) == (True, b"\r" in raw)
        assert json.loads(raw)["$schema"].endswith("draft-07/schema#")


MISTAKES = ROOT / "tests" / "mistakes"
WRONG_KEYS = sorted(
    golden.stem
    for golden in MISTAKES.glob("*.txt")
    if "unknown key" in golden.read_text("utf-8") and "given twice" not in golden.read_text("utf-8")
)


@pytest.mark.parametrize("name", WRONG_KEYS)
def test_typical_mistakes_are_marked(name: str) -> None:
    """Whatever the checker calls an unknown key is marked in the editor already."""
    kind = "project" if name.startswith("project-") else "mapping"
    assert marked((MISTAKES / f"{name}.yaml").read_text("utf-8"), kind)


def test_there_are_such_mistakes() -> None:
    """Enough of the typical mistakes have a key that does not exist."""
    assert len(WRONG_KEYS) >= 5
