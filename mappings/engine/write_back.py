"""From a key that a mapping made back to the assignment in it: the books know keys, and nobody can type one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from mappings.engine.spec import MappingSpec
from mappings.engine.templates import parse_template

IN_KEY: Final[Mapping[str, str]] = {"assignments": "assignment.id", "grade_items": "item.id"}
"""Source -> the path in its keys that says which assignment, or which column of the gradebook."""


def number_in_key(spec: MappingSpec, key: str, known: Mapping[str, str]) -> int | None:
    """Return the number in a key of `assignments` or `grade_items`; None for a key of another form.

    `known` is what the books know of the row beside its key, by path: the site, the person, the course.
    """
    path = IN_KEY[spec.source]
    pattern, found = "", False
    for piece in parse_template(spec.external_id):
        if piece.path == path and not found:
            pattern, found = pattern + "([1-9][0-9]{0,17})", True
        elif piece.path == path:
            pattern += r"\1"
        elif piece.path in known:
            pattern += re.escape(known[piece.path])
        else:
            pattern += ".+" if piece.path else re.escape(piece.text)
    match = re.fullmatch(pattern, key) if found else None
    return int(match[1]) if match else None
