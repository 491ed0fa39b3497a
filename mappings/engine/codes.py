"""Code lists from YAML and lookup tables from CSV files: a text in, a text out."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mappings.engine.problems import quoted, suggestion
from mappings.engine.project_spec import LookupSpec
from mappings.engine.texts import Invalid

_LARGEST_TABLE = 5_000_000  # bytes


@dataclass(frozen=True)
class CodeTable:
    """A code list or lookup; `otherwise` is the answer for any other value, None to have it reported."""

    name: str
    values: Mapping[str, str]
    otherwise: str | None = None
    digest: str = field(default="", compare=False)

    def translate(self, text: str) -> str:
        """Return the value for a code; Invalid("unknown_code") when there is none."""
        found = self.values.get(text.strip(), self.otherwise)
        if found is None:
            raise Invalid("unknown_code", text.strip())
        return found


def code_table(name: str, values: Mapping[str, str], otherwise: str | None) -> CodeTable:
    """Return a table with the digest that fingerprints use."""
    content = json.dumps([sorted(values.items()), otherwise], ensure_ascii=True)
    return CodeTable(name, dict(values), otherwise, hashlib.sha256(content.encode()).hexdigest())


def code_list(name: str, entries: Mapping[str, str]) -> CodeTable:
    """Return a code list; its entry `otherwise` answers for all other values."""
    values = {code.strip(): value for code, value in entries.items() if code != "otherwise"}
    return code_table(name, values, entries.get("otherwise"))


class TableFault(NamedTuple):
    """What is wrong with a table: on a `line` of the CSV file, or (line 0) at a `key` of project.yaml."""

    line: int
    key: str
    sentence: str
    remedy: str


class TableError(Exception):
    """A lookup table that cannot be used."""

    def __init__(self, *faults: TableFault) -> None:
        super().__init__(faults)
        self.faults = faults


def read_lookup(folder: Path, name: str, spec: LookupSpec) -> CodeTable:
    """Read a lookup table; TableError with everything that is wrong with it."""
    rows = _rows(_inside(folder, spec.file))
    header = [cell.strip() for cell in rows[0]] if rows else []
    columns = (_column(header, spec.key, "key"), _column(header, spec.value, "value"))
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    faults: list[TableFault] = []
    for number, row in enumerate(rows[1:], start=2):
        key, value = (row[column].strip() if column < len(row) else "" for column in columns)
        if key in values:
            sentence = f"{quoted(key)} is in the table twice"
            faults.append(TableFault(number, "file", sentence, f"first given on line {lines[key]}"))
        elif key:
            values[key], lines[key] = value, number
        elif value:
            sentence = f"this row has nothing under {quoted(spec.key)}"
            faults.append(TableFault(number, "file", sentence, "fill it in, or delete the row"))
    if faults:
        raise TableError(*faults)
    return code_table(name, values, spec.otherwise)


def _inside(folder: Path, name: str) -> Path:
    """Return the table's path; only files of the mappings folder are read."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or any(letter in name for letter in "\\:\0"):
        raise TableError(TableFault(0, "file", f"{quoted(name)} is not in this folder", "put it in lookups/"))
    file = folder / name
    if not file.is_file():
        there = [f"lookups/{other.name}" for other in sorted((folder / "lookups").glob("*.csv"))]
        remedy = suggestion(name, there, none="put the table there, saved as CSV UTF-8")
        raise TableError(TableFault(0, "file", f"there is no file {quoted(name)}", remedy))
    return file


def _rows(file: Path) -> list[list[str]]:
    if file.stat().st_size > _LARGEST_TABLE:
        raise TableError(TableFault(1, "file", "this table is larger than 5 MB", "keep only the two columns"))
    try:
        text = file.read_bytes().decode("utf-8-sig")
        first = text.split("\n", 1)[0]
        delimiter = max(",;\t", key=first.count)  # Excel writes ; where the comma is the decimal sign
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except UnicodeDecodeError:
        remedy = "in Excel: Save as, CSV UTF-8 (comma delimited)"
        raise TableError(TableFault(1, "file", "this table is not UTF-8 text", remedy)) from None
    except csv.Error:
        raise TableError(TableFault(1, "file", "this is not a CSV table", "save it again as CSV UTF-8")) from None


def _column(header: list[str], wanted: str, key: str) -> int:
    if wanted in header:
        return header.index(wanted)
    remedy = suggestion(wanted, header, none="name it in the first row")
    remedy = f"its first row holds the names of the columns: {remedy}" if header else "the table is empty"
    raise TableError(TableFault(0, key, f"the table has no column {quoted(wanted)}", remedy))
