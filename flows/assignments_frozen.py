"""Whose grade of an assignment is frozen in the gradebook: overridden there, or locked."""

from __future__ import annotations

from collections.abc import Sequence

from adaptors.errors import AdaptorError
from adaptors.moodle.answers import GradeReport, checked
from adaptors.moodle.client import MoodleClient
from adaptors.moodle.grades import GRADES
from adaptors.moodle.singles import SingleCalls
from adaptors.moodle.sizes import BatchSize
from flows.assignments import Found


async def frozen_grades(client: MoodleClient, found: Found, people: Sequence[int], *, batching: bool) -> set[int]:
    """Return who of these people has a frozen grade, as far as the gradebook tells."""
    calls = SingleCalls(client, BatchSize(25, ceiling=50, floor=5))
    calls.batching = batching
    asked = [(person, {"courseid": found.course.id, "userid": person}) for person in people]
    frozen: set[int] = set()
    try:
        async for batch in calls.answers(GRADES, asked):
            for person, answer in batch:
                rows = [row for one in checked(GradeReport, GRADES, answer).usergrades for row in one.gradeitems]
                if any(
                    row.cmid == found.assignment.cmid and (row.gradeisoverridden or row.gradeislocked)
                    for row in rows
                ):
                    frozen.add(person)
    except AdaptorError:
        return frozen  # this only explains; what was stored is known already
    return frozen
