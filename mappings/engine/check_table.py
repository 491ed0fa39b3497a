"""Checks what is a lookup table's own: its ID, the names of its fields, and what a row cannot have."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mappings.engine.findings import Findings
from mappings.engine.problems import quoted

KEY: Final = "key"
"""The field that holds a row's key."""
MOST_FIELDS: Final = 50
CASE_WORDS: Final = ("case_name", "owner", "indices")
"""What a test of a mapping looks at, and a row has not."""
WITHOUT_MEANING: Final = ("write", "retire", "one_property_per")
"""Words of a property that a field of a table cannot have."""
_ID: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}")


def check_table(findings: Findings, others: Iterable[str]) -> None:
    """Check a table's ID and fields; `others` are the IDs of the other tables of the project."""
    tag = findings.spec.case_type
    if not _ID.fullmatch(tag):
        remedy = "write letters, digits and _, at most 31, as in moodle_courses"
        findings.tell(("lookup_table",), f"{quoted(tag)} cannot be the ID of a table", remedy)
    if tag in others:
        findings.tell(("lookup_table",), f"another file makes the table {quoted(tag)}", "give it another ID")
    for name, spec in findings.spec.properties.items():
        if name == KEY:
            remedy = "give the field another name"
            findings.tell(("properties", name), "the field key holds the key of the row", remedy, key=True)
        for word in WITHOUT_MEANING:
            if getattr(spec, word) is not None:
                remedy = "take it out: a row has the fields of its table, and they are written each time"
                findings.tell(
                    ("properties", name, word), f"a lookup table has no {quoted(word)}", remedy, key=True
                )
    for number, test in enumerate(findings.spec.tests):
        for word in CASE_WORDS:
            if getattr(test.expect, word):
                remedy = "take it out: a test of a table looks at external_id and properties"
                at = ("tests", number, "expect", word)
                findings.tell(at, f"a row of a lookup table has no {quoted(word)}", remedy, key=True)
    if len(findings.spec.properties) > MOST_FIELDS:
        sentence = f"a table of {len(findings.spec.properties)} fields makes every phone slow"
        findings.tell(("properties",), sentence, f"keep to {MOST_FIELDS}", key=True)
