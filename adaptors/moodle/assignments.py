"""Source `assignments`: one record per learner and assignment, with what was handed in and how it was graded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adaptors.errors import AccessDenied, Unexpected
from adaptors.moodle.activity_answers import (
    Assignment,
    AssignmentList,
    Submission,
    SubmissionList,
    Warned,
)
from adaptors.moodle.answers import checked
from adaptors.moodle.client import MoodleClient
from adaptors.moodle.errors import policy_error
from adaptors.moodle.sizes import Sizes

ASSIGNMENTS = "mod_assign_get_assignments"
SUBMISSIONS = "mod_assign_get_submissions"

_NO_ACCESS = frozenset({"1", "2"})
NOTHING_THERE = "3"
_TIMES = ("duedate", "cutoffdate", "gradingduedate", "allowsubmissionsfromdate")
_FLAGS = ("nosubmissions", "teamsubmission", "blindmarking")


@dataclass(frozen=True)
class CourseAssignments:
    """The assignments of a course as records, and by assignment what each person handed in.

    An assignment that is not in `submissions` was not asked about, or is handed in by groups: there Moodle keeps
    the work with the group, and nothing of it is told of a single person.
    """

    assignments: Sequence[Mapping[str, Any]] = ()
    submissions: Mapping[int, Mapping[int, Mapping[str, Any]]] = field(default_factory=dict)
    unseen: int = 0
    """How many more there are that Moodle does not show the account."""

    def records(self, enrolments: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the records of a course, made from those of its enrolments."""
        for enrolment in enrolments:
            shared = {name: value for name, value in enrolment.items() if name not in ("grade", "items")}
            grades = _own_grades(enrolment.get("items", ()))
            for assignment in self.assignments:
                record = shared | {"assignment": assignment}
                handed_in = self.submissions.get(assignment["id"])
                if handed_in is not None:
                    submission = handed_in.get(enrolment["user"]["id"])
                    # Moodle says nothing of the work of who is suspended: then none is not known, and not blank.
                    if submission is not None or enrolment["status"] == "active":
                        record["submission"] = submission
                if assignment["cmid"] in grades:
                    record["grade"] = grades[assignment["cmid"]]
                yield record


def _own_grades(items: Iterable[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """Return the grades of activities by cmid; what an activity has for an outcome stands under the same one."""
    grades: dict[int, Mapping[str, Any]] = {}
    for part in items:
        if "grade" in part and part["item"].get("outcomeid") is None:
            grades.setdefault(part["item"]["cmid"], part["grade"])
    return grades


class AssignmentReader:
    """Reads assignments and submissions of one course at a time."""

    def __init__(self, client: MoodleClient, sizes: Sizes) -> None:
        self._client = client
        self._rows = sizes.submissions

    async def course(self, course_id: int, people: int, *, submissions: bool) -> CourseAssignments:
        """Read the assignments of a course of so many people; raises AdaptorError when the answer is not complete.

        An account that is not in the course sees assignments only with `includenotenrolledcourses`. Those that it
        may not see, most of them hidden from learners as well, are left out.
        """
        answer = await self._client.call(ASSIGNMENTS, courseids=[course_id], includenotenrolledcourses=1)
        listed = checked(AssignmentList, ASSIGNMENTS, answer)
        refuse_unseen_course(listed.warnings)
        found = [one for course in listed.courses if course.id == course_id for one in course.assignments]
        alone = [one.id for one in found if not one.teamsubmission] if submissions else []
        handed_in: dict[int, dict[int, dict[str, Any]]] = {}
        size = max(1, self._rows // max(people, 1))
        for start in range(0, len(alone), size):
            handed_in |= await self._submissions(alone[start : start + size])
        unseen = len(unseen_assignments(listed.warnings))
        return CourseAssignments([assignment_record(one) for one in found], handed_in, unseen)

    async def _submissions(self, ids: Sequence[int]) -> dict[int, dict[int, dict[str, Any]]]:
        answer = checked(
            SubmissionList, SUBMISSIONS, await self._client.call(SUBMISSIONS, assignmentids=list(ids))
        )
        empty = {warning.itemid for warning in answer.warnings if warning.warningcode == NOTHING_THERE}
        others = [warning for warning in answer.warnings if warning.warningcode != NOTHING_THERE]
        complete(SUBMISSIONS, others, "'mod/assign:view' and 'mod/assign:viewgrades' (or 'mod/assign:grade')")
        found = {
            one.assignmentid: {row.userid: submission_record(row) for row in one.submissions if row.userid}
            for one in answer.assignments
        }
        if missing := set(ids) - found.keys() - empty:
            # Moodle says nothing at all of an assignment that is gone by now.
            raise Unexpected(
                f"Moodle's answer to {SUBMISSIONS} lacks {len(missing)} of the assignments asked for.",
                system="Moodle",
                operation=SUBMISSIONS,
                status=200,
            )
        return {number: found.get(number, {}) for number in ids}


def assignment_record(row: Assignment) -> dict[str, Any]:
    """Return the record of an assignment; `grademax` is blank when it is not graded in points."""
    record: dict[str, Any] = {"id": row.id, "cmid": row.cmid, "name": row.name}
    record |= {name: getattr(row, name) or None for name in _TIMES}
    record |= {name: bool(getattr(row, name)) for name in _FLAGS}
    record["grademax"] = row.grade if row.grade > 0 else None
    return record if row.maxattempts is None else record | {"maxattempts": row.maxattempts}


def submission_record(row: Submission) -> dict[str, Any]:
    """Return what somebody handed in: the state of the latest attempt."""
    return {
        "id": row.id,
        "status": row.status,
        "gradingstatus": row.gradingstatus,
        "attemptnumber": row.attemptnumber,
        "timecreated": row.timecreated or None,
        "timemodified": row.timemodified or None,
    }


def unseen_assignments(warnings: Iterable[Warned]) -> frozenset[int]:
    """Return the cmids of assignments that Moodle warns of: hidden, not available, or a right is missing."""
    return frozenset(one.itemid for one in warnings if one.item == "module" and one.itemid is not None)


def refuse_unseen_course(warnings: Sequence[Warned]) -> None:
    """Refuse a list of assignments when the course itself is not seen; raises AccessDenied, Unexpected."""
    if unseen := [one for one in warnings if one.item == "course" and one.warningcode in _NO_ACCESS]:
        if waiting := policy_error(ASSIGNMENTS, unseen[0].message):
            raise waiting
        raise AccessDenied(
            f"There is no course {unseen[0].itemid} in Moodle, or the Moodle account may not see it.",
            system="Moodle",
            operation=ASSIGNMENTS,
            status=200,
            remedy="Compare the number with the address of the course's page; if it is there, give the account's "
            "role 'moodle/course:view'.",
        )
    others = [one for one in warnings if one.item != "module" or one.warningcode not in _NO_ACCESS]
    complete(ASSIGNMENTS, others, "'moodle/course:view'")


def complete(function: str, warnings: Sequence[Warned], capabilities: str) -> None:
    """Refuse an answer with warnings: it is not complete; `capabilities` are those that may be missing."""
    if any(warning.warningcode in _NO_ACCESS for warning in warnings):
        raise AccessDenied(
            f"The Moodle account may not see all of what {function} tells.",
            system="Moodle",
            operation=function,
            status=200,
            remedy=f"Give its role {capabilities}.",
        )
    if warnings:
        raise Unexpected(
            f"Moodle's answer to {function} comes with warnings, so it is not complete.",
            system="Moodle",
            operation=function,
            status=200,
        )
