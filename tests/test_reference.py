"""The reference is made of the code, complete, and as fresh as the code; `make docs` writes it anew."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from flows.catalogue import field_catalogue
from mappings.engine import REASONS, check_project
from mappings.engine.reference import keys_reference, transforms_reference
from mappings.engine.remedies import REMEDIES
from mappings.engine.transform import TRANSFORMS
from tests.mappings.workbench import SHIPPED
from tests.references import FOLDER, references

PAGES = references()


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_fresh(name: str) -> None:
    """The page in docs/reference is what the code says today; else: make docs."""
    assert PAGES[name] == (FOLDER / name).read_text("utf-8")


def test_no_page_is_left_over() -> None:
    """The folder holds the pages that are made, and no others."""
    assert set(PAGES) == {file.name for file in FOLDER.iterdir()}


def test_every_transform_is_listed() -> None:
    """Each transform of the language has a line with a help text and an example."""
    lines = [line for line in PAGES["transforms.md"].splitlines() if line.startswith("| `")]
    assert len(TRANSFORMS) == len(lines)
    assert [] == [line for line in lines if re.search(r"\| \|(?! `)", line.replace("| | `", "| - | `"))]


def test_settings_are_listed() -> None:
    """A transform's line says how to write it, and which words a setting takes."""
    line = next(line for line in transforms_reference([TRANSFORMS["phone"]]).splitlines() if "`{phone" in line)
    assert "`format`: `e164`, `digits`, `national`, `international`" in line


def test_every_field_is_listed() -> None:
    """Each field of each source has a line, custom fields under their short name."""
    page = PAGES["fields.md"]
    for source, fields in field_catalogue().items():
        section = page.split(f"\n## {source}\n")[1].split("\n## ")[0]
        listed = re.findall(r"(?m)^\| `([^`]+)`", section)
        assert [path.replace("*", "<short name>") for path in fields] == listed


def test_every_key_says_something() -> None:
    """No key of the files is without a sentence, and no line shows a programmer's word for what it takes."""
    rows = [line for line in keys_reference().splitlines() if line.startswith("| `")]
    assert [] == [row for row in rows if not re.search(r"\| [^|`]+ \|$", row)]
    assert [] == [row for row in rows if re.search(r"\b(str|dict|tuple|None|bool|int|Any|Spec)\b", row)]


def test_links_between_blocks_lead_somewhere() -> None:
    """Each block that a key points to has its heading on the same page."""
    page = PAGES["keys.md"]
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"(?m)^## (.*)$", page)}
    assert set() == set(re.findall(r"\]\(#([^)]*)\)", page)) - headings


def test_every_reason_has_a_remedy() -> None:
    """Each reason with which a value can be listed says what to do about it."""
    assert REASONS.keys() == REMEDIES.keys()
    assert [] == [name for name, text in REMEDIES.items() if not text.endswith(".")]


def test_examples_of_keys_are_right(tmp_path: Path) -> None:
    """The examples beside the keys, put together, are files without a mistake."""
    shutil.copy(SHIPPED / "demo" / "project.yaml", tmp_path)
    for title, name in (("A mapping file", "student"), ("A lookup table file", "courses.table")):
        section = PAGES["keys.md"].split(f"## {title}\n")[1].split("\n## ")[0]
        kind = "table" if "." in name else "mapping"
        lines = [f"# yaml-language-server: $schema=schema/{kind}.schema.json"]
        lines += re.findall(r"(?m)^\| `(?:[^`]*)` \|.*\| `(\w+: [^`]*)` \| [^|]*\|$", section)
        text = "\n".join(line for line in lines if not line.startswith(("enabled", "recheck_daily")))
        (tmp_path / f"{name}.yaml").write_text(text, "utf-8")
    report = check_project(tmp_path, field_catalogue())
    assert [] == [f"{problem.source_line}: {problem.sentence}" for problem in report.problems]
    assert (1, ("courses.table",)) == (report.mappings, report.tables)
