"""Checks `write_back`: properties that are the coach's alone, and an assignment that is certain."""

from __future__ import annotations

from typing import Final

from mappings.engine.findings import Findings
from mappings.engine.names import RESERVED
from mappings.engine.problems import one_of, quoted
from mappings.engine.reading import Loc
from mappings.engine.write_back import IN_KEY

NAMED: Final = "enrolments"  # one case for all assignments of a course: each entry names its own


def check_write_back(findings: Findings) -> None:
    """Check what goes back to Moodle; only a mapping whose cases are about a person in a course can say so."""
    spec = findings.spec
    if not spec.write_back:
        return
    if spec.source not in (NAMED, *IN_KEY):
        sentence = f"feedback is about a person in a course, and this mapping is of {quoted(spec.source)}"
        remedy = f"take it out here; it belongs into a mapping whose source is {one_of((NAMED, *IN_KEY))}"
        findings.tell(("write_back",), sentence, remedy, key=True)
        return
    for number, one in enumerate(spec.write_back):
        for word in ("feedback", "grade"):
            _check_property(findings, ("write_back", number, word), getattr(one, word))
    _check_twice(findings)
    _check_assignments(findings)


def _check_property(findings: Findings, loc: Loc, name: str | None) -> None:
    """Check that a property is one, and that the mapping does not fill it itself."""
    if name is None:
        return
    if name in RESERVED:
        sentence = f"{quoted(name)} belongs to CommCare and is no property"
        findings.tell(loc, sentence, "name the property that the form fills, as in coach_feedback")
    elif name in findings.spec.properties:
        sentence = f"this mapping fills {quoted(name)} itself, so a coach's text would not stay there"
        findings.tell(loc, sentence, "let the form fill a property of its own, as in coach_feedback")
    else:
        findings.name(loc, "property", name)


def _check_twice(findings: Findings) -> None:
    seen = set[str]()
    for number, one in enumerate(findings.spec.write_back):
        for word in ("feedback", "grade"):
            name = getattr(one, word)
            if name is not None and name in seen:
                sentence = f"{quoted(name)} stands under 'write_back' twice"
                findings.tell(
                    ("write_back", number, word), sentence, "give each text and each grade its own property"
                )
            seen |= {name} if name is not None else set()


def _check_assignments(findings: Findings) -> None:
    """Check that each entry is about one assignment: of the key where the case is about one, else named."""
    spec, numbers = findings.spec, set[int]()
    in_key = IN_KEY.get(spec.source)
    for number, one in enumerate(spec.write_back):
        loc: Loc = ("write_back", number)
        if in_key and one.assignment is not None:
            sentence = f"each case of {quoted(spec.source)} is about one assignment already"
            findings.tell((*loc, "assignment"), sentence, "take 'assignment' out", key=True)
        elif in_key and number:
            sentence = "each case is about one assignment, which takes one feedback"
            findings.tell(loc, sentence, "keep one entry")
        elif not in_key and one.assignment is None:
            remedy = "add the number in the address of its page, as in assignment: 14"
            findings.tell(loc, "nothing says which assignment this feedback is for", remedy)
        elif one.assignment is not None and one.assignment in numbers:
            sentence = f"two entries are for assignment {one.assignment}"
            findings.tell((*loc, "assignment"), sentence, "keep one of them")
        numbers |= {one.assignment} if one.assignment is not None else set()
