"""Holds the assignments that `write_back` names against those of the chosen courses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from adaptors.errors import AccessDenied
from adaptors.moodle.assignment_people import read_marked_course
from adaptors.moodle.assignments import ASSIGNMENTS
from flows.probe import Finding, Probe, note
from mappings.engine import CompiledMapping

MOST_COURSES: Final = 100  # one request each, until every number is found
REMEDY: Final = "take the number from the address of its page, as in /mod/assign/view.php?id=14"


class Absent(NamedTuple):
    """An assignment that a mapping names and that no chosen course shows."""

    mapping: CompiledMapping
    number: int

    @property
    def what(self) -> str:
        """Return it in words."""
        return f"no chosen course shows an assignment {self.number}, so no feedback for it reaches Moodle"


async def absent_assignments(probe: Probe) -> list[Absent]:
    """Return what is named and not shown, nothing where not all courses are looked at; raises AdaptorError."""
    mappings = probe.project.mappings if probe.project else ()
    named = [
        Absent(one, entry.assignment) for one in mappings for entry in one.spec.write_back if entry.assignment
    ]
    missing = {one.number for one in named}
    if not missing or not probe.has(ASSIGNMENTS) or len(probe.courses) > MOST_COURSES:
        return []
    for course in probe.courses:
        try:
            missing -= {one.cmid for one in (await read_marked_course(probe.moodle, course.id)).assignments}
        except AccessDenied:
            return []  # whatever is missing may be in there
        if not missing:
            return []
    return [one for one in named if one.number in missing]


async def check_write_back(probe: Probe) -> AsyncIterator[Finding]:
    """Name them for `check`: a note, as one that is hidden from the account looks the same."""
    for one in await absent_assignments(probe):
        yield note("Marking", f"{one.mapping.name}.yaml: {one.what}", f"{REMEDY[0].upper()}{REMEDY[1:]}.")
