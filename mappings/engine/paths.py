"""Dotted paths into a record, telling apart a field that Moodle did not send and one that is blank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mappings.engine.texts import ABSENT

Record = Mapping[str, Any]
Getter = Callable[[Record], object]  # ABSENT, None when blank, or the value


def settled(value: object) -> object:
    """Return None for every kind of blank: "", white space, null, an empty list or block."""
    if isinstance(value, str):
        return value if value and not value.isspace() else None
    return value if value or isinstance(value, int | float) else None


def getter(path: str) -> Getter:
    """Return a function that takes the field at `path` from a record."""
    parts = path.split(".")
    if len(parts) == 1:
        return _field(path)
    return _nested(parts[:-1], parts[-1])


def _field(name: str) -> Getter:
    def get(record: Record) -> object:
        value = record.get(name, ABSENT)
        if value.__class__ is str:  # as `settled` says, without a call: every value of every record comes by here
            return value if value and not value.isspace() else None
        return value if value else settled(value)

    return get


def _nested(blocks: list[str], name: str) -> Getter:
    def get(record: Record) -> object:
        node: Any = record
        for block in blocks:
            node = node.get(block, ABSENT)
            if node.__class__ is not dict and not isinstance(node, dict):
                return None if node is None else ABSENT
        value = node.get(name, ABSENT)
        if value.__class__ is str:
            return value if value and not value.isspace() else None
        return value if value else settled(value)

    return get
