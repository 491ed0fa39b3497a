"""docs/students-offline.md is true: its files, case types, fields and rules are those of the shipped set."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from flows.catalogue import field_catalogue
from flows.workers_create import HEADINGS
from mappings.engine import load_project
from tests.mappings.workbench import SHIPPED, offline

GUIDE = (Path(__file__).parents[1] / "docs" / "students-offline.md").read_text("utf-8")


def test_the_files_and_what_they_make(tmp_path: Path) -> None:
    """Each file of the set is in the table, with the case type or table that it makes."""
    project = load_project(offline(tmp_path), field_catalogue())
    every = (*project.mappings, *project.switched_off, *project.tables)
    made = {f"{one.name}.yaml": one.case_type for one in every}
    assert {file.name for file in SHIPPED.glob("offline/*.yaml")} == made.keys()
    told = dict(re.findall(r"`(\w+)`[^|]* from `([\w.]+)`", GUIDE))
    assert {name: kind for kind, name in told.items()} == made


def test_the_owner_rule_is_the_shipped_one(tmp_path: Path) -> None:
    """What the guide shows is what the mapping has."""
    (block,) = re.findall(r"(?ms)^```yaml\n(.*?)^```", GUIDE)
    mapping = yaml.safe_load((offline(tmp_path) / "student.yaml").read_text("utf-8"))
    assert yaml.safe_load(block)["owner"] == mapping["owner"]


def test_fields_and_columns(tmp_path: Path) -> None:
    """The fields of the table and the columns of the file with passwords are named as they are."""
    (table,) = load_project(offline(tmp_path), field_catalogue()).tables
    path = re.findall(r"\[(\w+) = \.\.\.\]/(\w+)`", GUIDE)[0]
    assert set(path) <= table.spec.properties.keys()
    assert table.case_type in GUIDE
    assert all(f"`{heading}`" in GUIDE for heading in HEADINGS)
