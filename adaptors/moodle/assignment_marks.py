"""Grades and text feedback of an assignment: what is there, saving, and reading back what was saved."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from adaptors.errors import AccessDenied
from adaptors.moodle.answers import checked
from adaptors.moodle.assignment_answers import (
    FlagList,
    GivenGrade,
    GradeList,
    GradingAreas,
    MarkedAssignment,
    SubmissionStatus,
)
from adaptors.moodle.assignment_work import STATUS
from adaptors.moodle.assignments import NOTHING_THERE, complete
from adaptors.moodle.client import MoodleClient
from adaptors.moodle.singles import SingleCalls
from adaptors.moodle.sizes import BatchSize

GRADES: Final = "mod_assign_get_grades"
FLAGS: Final = "mod_assign_get_user_flags"
SAVE: Final = "mod_assign_save_grades"
DEFINITIONS: Final = "core_grading_get_definitions"
NO_GRADE: Final = -1.0
LATEST: Final = -1
_HTML: Final = 1
_RIGHTS: Final = "'mod/assign:grade'"


@dataclass(frozen=True)
class Mark:
    """What is to be saved for a person: HTML, points (-1 for none), and the state in the marking workflow."""

    person: int
    text: str = field(repr=False)
    points: float
    state: str = ""


@dataclass(frozen=True)
class Told:
    """What Moodle tells of somebody's feedback for the latest attempt; both are None when it tells nothing.

    Before the release of a marking workflow it tells nothing, although there may be something. `graded_before`
    says that an earlier attempt has a grade.
    """

    text: str | None = field(default=None, repr=False)
    grade: GivenGrade | None = None
    graded_before: bool = False


async def read_grades(client: MoodleClient, assignment: MarkedAssignment, since: int = 0) -> dict[int, GivenGrade]:
    """Read the grades of the latest attempts by person (`mod_assign_get_grades`), or those saved since a time.

    In group assignments Moodle tells only of members who have a submission of their own.
    """
    asked = {"since": since} if since else {}
    listed = checked(GradeList, GRADES, await client.call(GRADES, assignmentids=[assignment.id], **asked))
    complete(GRADES, [one for one in listed.warnings if one.warningcode != NOTHING_THERE], _RIGHTS)
    return {row.userid: row for one in listed.assignments for row in one.grades}


async def read_states(client: MoodleClient, assignment: MarkedAssignment) -> dict[int, str]:
    """Read where people stand in the marking workflow (`mod_assign_get_user_flags`)."""
    listed = checked(FlagList, FLAGS, await client.call(FLAGS, assignmentids=[assignment.id]))
    complete(FLAGS, [one for one in listed.warnings if one.warningcode != NOTHING_THERE], _RIGHTS)
    return {row.userid: row.workflowstate for one in listed.assignments for row in one.userflags}


async def read_method(client: MoodleClient, assignment: MarkedAssignment) -> str:
    """Return how the assignment is marked: "" in plain points, else rubric, guide or another form.

    Asked for the active form only, Moodle 4.5 answers with an error where there is none.
    """
    answer = await client.call(DEFINITIONS, cmids=[assignment.cmid], areaname="submissions", activeonly=0)
    areas = checked(GradingAreas, DEFINITIONS, answer).areas
    area = next((one for one in areas if one.cmid == assignment.cmid), None)
    if area is None:
        raise AccessDenied(
            "Moodle does not tell how the assignment is marked.",
            system="Moodle",
            operation=DEFINITIONS,
            status=200,
            remedy=f"Give the account's role {_RIGHTS} and 'mod/assign:view'.",
        )
    return area.activemethod or ""


async def read_told(
    client: MoodleClient, assignment: MarkedAssignment, people: Sequence[int], size: BatchSize, *, batching: bool
) -> dict[int, Told]:
    """Read the feedback of people one by one (`mod_assign_get_submission_status`), many in a request if possible.

    Whom Moodle refuses (deleted, suspended) is left out. Moodle makes an empty submission for who has none.
    """
    calls = SingleCalls(client, size)
    calls.batching = batching
    asked = [(person, {"assignid": assignment.id, "userid": person}) for person in people]
    return {
        person: _told(checked(SubmissionStatus, STATUS, answer))
        async for batch in _batches(calls, asked)
        for person, answer in batch
    }


async def _batches(
    calls: SingleCalls, asked: Sequence[tuple[int, dict[str, int]]]
) -> AsyncIterator[list[tuple[int, object]]]:
    async for batch in calls.answers(STATUS, asked):
        yield batch


def _told(status: SubmissionStatus) -> Told:
    feedback = status.feedback
    before = any(one.grade is not None and one.grade.points is not None for one in status.previousattempts)
    text, grade = (feedback.comment, feedback.grade) if feedback is not None else (None, None)
    return Told(text, grade, before)


async def save_marks(client: MoodleClient, assignment: MarkedAssignment, marks: Sequence[Mark]) -> float:
    """Save marks for the latest attempts, each for its own person (`mod_assign_save_grades`); returns the seconds.

    Sent once. Moodle answers nothing, whether it stored anything or not, and may have stored a part when it
    answers with an error: only reading back tells.
    """
    grades = [
        {
            "userid": mark.person,
            "grade": mark.points,
            "attemptnumber": LATEST,
            "addattempt": 0,
            "workflowstate": mark.state,
            "plugindata": {"assignfeedbackcomments_editor": {"text": mark.text, "format": _HTML}},
        }
        for mark in marks
    ]
    params = {"assignmentid": assignment.id, "applytoall": 0, "grades": grades}
    return (await client.once(SAVE, params)).seconds
