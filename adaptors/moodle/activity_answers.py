"""The shapes of Moodle's answers about activities: what a course holds, what is done, what was handed in."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic_core import from_json

from adaptors.lists import TupleOf

# The dates by which something has to be done, as each kind of activity calls them.
_DUE = ("duedate", "timeclose", "deadline", "submissionend", "timeavailableto")
_DIGITS = 12  # of a time in seconds; one more is no date


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class ActivityDate(_Answer):
    """A date of an activity; `dataid` tells which, `label` is in the account's language."""

    timestamp: int
    dataid: str = ""


class Module(_Answer):
    """An activity in `core_course_get_contents`; `completion` is 0 when nobody's completion is tracked.

    `customdata` is JSON in a text; older sites tell dates by their names only there.
    """

    id: int
    completion: int = 0
    dates: TupleOf[ActivityDate] = ()
    customdata: str | None = None

    def due(self) -> int:
        """Return by when the activity has to be done, as it is for the course; 0 when there is no such date."""
        times = [date.timestamp for date in self.dates if date.dataid in _DUE]
        if not times and not any(date.dataid for date in self.dates):
            times = self._custom_times()
        return min(filter(None, times), default=0)

    def _custom_times(self) -> list[int]:
        try:
            found = from_json(self.customdata or "{}")
        except ValueError:
            return []
        times = [_seconds(found.get(name)) for name in _DUE] if isinstance(found, dict) else []
        return [time for time in times if time is not None]


def _seconds(time: object) -> int | None:
    """Return a time of an activity; some come as a text, as the database gave them."""
    if isinstance(time, str) and time.isascii() and time.isdigit() and len(time) <= _DIGITS:
        return int(time)
    return time if isinstance(time, int) else None


class Section(_Answer):
    """A section of a course."""

    modules: TupleOf[Module] = ()


class ActivityStatus(_Answer):
    """One activity and one person in `core_completion_get_activities_completion_status`.

    `state`: 0 not done, 1 done, 2 passed, 3 failed; `isoverallcomplete` says what 3 means, where Moodle has it.
    """

    cmid: int
    state: int
    tracking: int
    istrackeduser: bool = True
    isoverallcomplete: bool | None = None

    @property
    def is_done(self) -> bool:
        """Return whether Moodle counts the activity as done."""
        return self.state > 0 if self.isoverallcomplete is None else self.isoverallcomplete


class ActivityStatuses(_Answer):
    """The answer of `core_completion_get_activities_completion_status`."""

    statuses: TupleOf[ActivityStatus]
    warnings: tuple[Any, ...] = ()


class UsersCourse(_Answer):
    """A row of `core_enrol_get_users_courses`."""

    id: int
    completed: bool | None = None
    completionhascriteria: bool | None = None


class Warned(_Answer):
    """A warning about an `item`; code "3" of submissions is no trouble: nobody has handed anything in."""

    item: str = ""
    itemid: int | None = None
    warningcode: str = ""
    message: str = Field(default="", repr=False)


class Assignment(_Answer):
    """An assignment; `grade` is the highest points, or minus the id of a scale, or 0 when it is not graded."""

    id: int
    cmid: int
    name: str
    duedate: int = 0
    cutoffdate: int = 0
    gradingduedate: int = 0
    allowsubmissionsfromdate: int = 0
    grade: int = 0
    maxattempts: int | None = None
    nosubmissions: int = 0
    teamsubmission: int = 0
    blindmarking: int = 0


class AssignmentsOfCourse(_Answer):
    """The assignments of one course."""

    id: int
    assignments: TupleOf[Assignment] = ()


class AssignmentList(_Answer):
    """The answer of `mod_assign_get_assignments`."""

    courses: TupleOf[AssignmentsOfCourse]
    warnings: TupleOf[Warned] = ()


class Submission(_Answer):
    """The latest attempt of a person, or with `userid` 0 of a group; its files and texts are not read here."""

    id: int
    userid: int
    groupid: int = 0
    attemptnumber: int = 0
    timecreated: int = 0
    timemodified: int = 0
    status: str = ""
    gradingstatus: str = ""


class SubmissionsOfAssignment(_Answer):
    """What was handed in for one assignment."""

    assignmentid: int
    submissions: TupleOf[Submission] = ()


class SubmissionList(_Answer):
    """The answer of `mod_assign_get_submissions`."""

    assignments: TupleOf[SubmissionsOfAssignment]
    warnings: TupleOf[Warned] = Field(default=())


SECTIONS = TypeAdapter(TupleOf[Section])
COURSES_OF_PERSON = TypeAdapter(TupleOf[UsersCourse])
