"""CommCare's data dictionary for its own upload: per case type a sheet of properties and a sheet of their values.

CommCare reads every cell as text, wants True or False in the last column, and empties what a row leaves blank.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mappings.engine.compile import CompiledMapping
from mappings.engine.elements import KEY_MARK
from mappings.engine.names import RESERVED, legal_name, made_legal
from mappings.engine.spec import ElementsSpec
from mappings.engine.steps import table_name

HEADINGS: Final = ("Case Property", "Label", "Group", "Data Type", "Description", "Deprecated")
VALUE_HEADINGS: Final = ("Case Property", "Valid Value", "Valid Value Description")
VALUES_SUFFIX: Final = "-vl"

_LONGEST_SHEET_NAME: Final = 31
_UPLOADABLE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_OTHER_MEANING: Final = "fhir_mapping"  # a sheet of this name is read as something else


@dataclass(frozen=True)
class CaseTypeSheet:
    """One case type: rows under HEADINGS, and rows under VALUE_HEADINGS."""

    case_type: str
    properties: tuple[tuple[str, ...], ...]
    values: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Dictionary:
    """The whole upload; `left_out` are sentences about what it cannot hold."""

    sheets: tuple[CaseTypeSheet, ...]
    left_out: tuple[str, ...]


def dictionary(mappings: Sequence[CompiledMapping], language: str) -> Dictionary:
    """Return the data dictionary of mappings; several of one case type share its sheets."""
    by_type: dict[str, list[CompiledMapping]] = {}
    for mapping in mappings:
        by_type.setdefault(mapping.case_type, []).append(mapping)
    left_out = [f"{name}: {why}" for name in by_type if (why := _refused(name))]
    sheets = [_sheet(name, found, language) for name, found in by_type.items() if not _refused(name)]
    left_out += [sentence for mapping in mappings for sentence in _unnamed(mapping)]
    return Dictionary(tuple(sheets), tuple(left_out))


def _refused(case_type: str) -> str:
    """Return why CommCare's upload has no room for a case type, or ""."""
    if len(case_type) + len(VALUES_SUFFIX) > _LONGEST_SHEET_NAME:
        return f"a sheet's name ends at {_LONGEST_SHEET_NAME} characters; enter this case type in CommCare by hand"
    if not _UPLOADABLE.fullmatch(case_type) or case_type.endswith(VALUES_SUFFIX) or case_type == _OTHER_MEANING:
        return "the upload reads this name as something else; enter this case type in CommCare by hand"
    return ""


def _sheet(case_type: str, mappings: Sequence[CompiledMapping], language: str) -> CaseTypeSheet:
    rows: dict[str, tuple[str, ...]] = {}
    values: dict[str, dict[str, None]] = {}
    for mapping in mappings:
        for name, key in _names(mapping):
            if name not in rows or rows[name][-1] == "True":  # one mapping may retire what another still fills
                rows[name] = _row(name, key, mapping, language)
            values.setdefault(name, {}).update(dict.fromkeys(_values(name, key, mapping)))
    listed = ((name, value, "") for name, found in values.items() for value in found)
    return CaseTypeSheet(case_type, tuple(rows.values()), tuple(listed))


def _names(mapping: CompiledMapping) -> Iterator[tuple[str, str]]:
    """Yield each property that can be named, and its key in the mapping; "" where only a departure sets it."""
    for key, spec in mapping.spec.properties.items():
        if spec.one_property_per is None:
            yield key, key
        else:
            yield from ((name, key) for name in _family(spec.one_property_per, mapping))
    for name in _set_when_gone(mapping):
        if name not in mapping.spec.properties:
            yield name, ""


def _family(elements: ElementsSpec, mapping: CompiledMapping) -> list[str]:
    """Return the names that `one_property_per` makes where its key is translated by a table, else []."""
    last = elements.key.transform[-1] if elements.key.transform else None
    if last is None or last.name not in ("code_list", "lookup"):
        return []
    table = mapping.around.tables(last.name.replace("_", " "))[table_name(last)]
    words = dict.fromkeys(made_legal(word) for word in table.values.values())
    names = [elements.name.replace(KEY_MARK, word) for word in words]
    return [name for name in names if legal_name(name) and name not in RESERVED]


def _unnamed(mapping: CompiledMapping) -> Iterator[str]:
    for key, spec in mapping.spec.properties.items():
        elements = spec.one_property_per
        if elements is not None and not _family(elements, mapping):
            shown = elements.name.replace(KEY_MARK, f"{{{elements.key.source}}}")
            yield (
                f"{mapping.name}: the properties {shown} of '{key}' are not listed, because their names come from "
                "Moodle; a code list for their key would name them"
            )


def _row(name: str, key: str, mapping: CompiledMapping, language: str) -> tuple[str, ...]:
    note = mapping.notes.get(key)
    if note is None:
        return (name, "", "", "", "", "False")
    several = len(list(_values(name, key, mapping))) > 1
    data_type = note.data_type or ("select" if several else "")
    retired = str(key in mapping.retired)
    return (name, note.label_in(language), note.group, data_type, note.description_in(language), retired)


def _values(name: str, key: str, mapping: CompiledMapping) -> Iterator[str]:
    """Yield the values a property can have, where the mapping lists all of them."""
    note, spec = mapping.notes.get(key), mapping.spec.properties.get(key)
    if note is None or spec is None or not note.values or spec.when_invalid == "original":
        return
    yield from note.values
    yield from (value for value in _set_when_gone(mapping).get(name, ()) if value)


def _set_when_gone(mapping: CompiledMapping) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for departure in (mapping.when_left, mapping.when_excluded, mapping.when_course_ends):
        for name, value in departure.set.items() if departure else ():
            found.setdefault(name, []).append(value)
    return found
