"""What learners have done: Moodle tells it for one person in one course at a time, so it is costly."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from adaptors.moodle.activity_answers import COURSES_OF_PERSON, SECTIONS, ActivityStatus, ActivityStatuses
from adaptors.moodle.answers import checked, no_warnings
from adaptors.moodle.client import MoodleClient
from adaptors.moodle.singles import SingleCalls
from adaptors.moodle.sizes import Sizes

COMPLETION = "core_completion_get_activities_completion_status"
CONTENTS = "core_course_get_contents"
USERS_COURSES = "core_enrol_get_users_courses"


@dataclass(frozen=True, slots=True)
class Done:
    """One learner in one course, in numbers; `next_due` is epoch seconds, 0 when nothing is due any more."""

    done: int
    left: int
    overdue: int = 0
    next_due: int = 0


class CompletionReader:
    """Reads activity completion; `calls` decides whether many people fit into a request."""

    def __init__(self, client: MoodleClient, sizes: Sizes) -> None:
        self.calls = SingleCalls(client, sizes.calls)
        self._client = client

    async def course(self, course_id: int, people: Sequence[int], *, dates: bool, now: float) -> dict[int, Done]:
        """Read what these people have done in a course; who is not tracked there is left out.

        One call for the course when `dates` are wanted, and one for each person. A course that tracks nothing is
        noticed at the first answer, and the rest is not asked. Raises AdaptorError.
        """
        due: Mapping[int, int] = {}
        if dates and people:
            due, tracks = await self._due_dates(course_id)
            if not tracks:
                return {}
        found: dict[int, Done] = {}
        asked = [(person, {"courseid": course_id, "userid": person}) for person in people]
        async for answers in self.calls.answers(COMPLETION, asked):
            for person, answer in answers:
                report = checked(ActivityStatuses, COMPLETION, answer)
                no_warnings(COMPLETION, report.warnings)
                if not report.statuses:
                    return {}
                if any(status.istrackeduser for status in report.statuses):
                    found[person] = _summed(report.statuses, due, now)
        return found

    async def _due_dates(self, course_id: int) -> tuple[dict[int, int], bool]:
        """Read when each activity is due (`core_course_get_contents`), and whether any is tracked at all.

        The dates are those of the course; one that a teacher moved for a single person is not to be seen.
        """
        sections = checked(SECTIONS, CONTENTS, await self._client.call(CONTENTS, courseid=course_id))
        modules = [module for section in sections for module in section.modules]
        due = {module.id: time for module in modules if (time := module.due())}
        return due, any(module.completion for module in modules)

    async def completed(
        self, people: Sequence[int], courses: Mapping[int, Collection[int]]
    ) -> dict[int, tuple[int, int]]:
        """Read for each person how many of his or her `courses` have criteria, and how many are completed.

        Moodle leaves out courses without a word (`core_enrol_get_users_courses`): a person of whom one is missing
        is left out here. Completed courses move only when Moodle's cron has run.
        """
        found: dict[int, tuple[int, int]] = {}
        asked = [(person, {"userid": person, "returnusercount": 0}) for person in people]
        async for answers in self.calls.answers(USERS_COURSES, asked):
            for person, answer in answers:
                rows = {row.id: row for row in checked(COURSES_OF_PERSON, USERS_COURSES, answer)}
                if set(courses[person]) <= rows.keys():
                    judged = [rows[course] for course in courses[person] if rows[course].completionhascriteria]
                    found[person] = len(judged), sum(bool(row.completed) for row in judged)
        return found


def _summed(statuses: Sequence[ActivityStatus], due: Mapping[int, int], now: float) -> Done:
    """Count what is done and left; what is not tracked counts for nothing."""
    tracked = [status for status in statuses if status.tracking]
    left = [due.get(status.cmid, 0) for status in tracked if not status.is_done]
    return Done(
        done=len(tracked) - len(left),
        left=len(left),
        overdue=sum(0 < time < now for time in left),
        next_due=min((time for time in left if time >= now), default=0),
    )
