"""What each learner did over all selected courses, read before the people are mapped: only numbers are kept."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from adaptors.errors import AdaptorError
from adaptors.moodle.answers import Course
from adaptors.moodle.engagement import Engagement
from adaptors.moodle.errors import is_for_all
from adaptors.moodle.normalise import course_record
from adaptors.moodle.roster import Member
from flows.result import RunState
from flows.steps.rosters import by_course
from flows.words import courses_named
from mappings.engine import CompiledMapping

if TYPE_CHECKING:
    from flows.run import Run

ENGAGEMENT = "engagement"


async def read_engagement(run: Run, courses: list[Course]) -> Engagement | None:
    """Read what learners did in the selected courses; None when nothing asks for it, or for some courses only.

    Of people of whom a course could not be read the records would be wrong: they are left alone in this run.
    """
    mappings = [mapping for mapping in run.mappings if mapping.source == ENGAGEMENT]
    if not mappings:
        return None
    if not run.whole_site:
        run.result.worse(
            RunState.COMPLETED,
            "Engagement is made of all selected courses, so a run for some of them leaves it as it is.",
        )
        return None
    wanted = run.wanted
    records = {course.id: course_record(course, run.course_fields) for course in courses}
    engagement = Engagement(records, completion=wanted.completion, dates=wanted.due_dates)
    await _read_courses(run, courses, engagement, mappings)
    if wanted.completed_courses:
        await _read_completed(run, engagement)
    if engagement.left_alone:
        run.unread.update(mapping.name for mapping in mappings)  # read again as soon as possible
        if run.planner.look is not None:
            run.planner.look.left_alone |= engagement.left_alone
    return engagement


async def _read_courses(
    run: Run, courses: list[Course], engagement: Engagement, mappings: list[CompiledMapping]
) -> None:
    """Read the courses a few at a time; the same refusal of several courses is told once."""
    todo = [course for course in courses if course.id in run.rosters]
    refused: defaultdict[str, list[int]] = defaultdict(list)
    done = 0

    async def one(course: Course) -> None:
        nonlocal done
        await run.lease.hold()
        roster = run.rosters[course.id]
        try:
            await _read_course(run, course, engagement, [m for m in roster if _is_learner(run, m, mappings)])
        except AdaptorError as error:
            _raise_if_for_all(error)
            refused[str(error)].append(course.id)
            engagement.leave_alone(roster.ids)
        done += 1
        run.progress("engagement", done, len(todo))

    await by_course(list(todo), one)
    for reason, numbers in refused.items():
        run.result.worse(
            RunState.DEGRADED,
            f"What was done in {courses_named(numbers)} could not be read, so the engagement of the people there "
            f"stays as it is. {reason}",
        )


async def _read_course(run: Run, course: Course, engagement: Engagement, learners: list[Member]) -> None:
    """Add one course to the numbers of its active learners, all of them or (when it fails) none."""
    found = {}
    if run.wanted.completion and course.enablecompletion != 0:
        people = [member.id for member in learners]
        dates, now = run.wanted.due_dates, run.world.clock.now()
        found = await run.reader.completion.course(course.id, people, dates=dates, now=now)
    for member in learners:
        engagement.add(member.id, course.id, member.lastcourseaccess, found.get(member.id))


async def _read_completed(run: Run, engagement: Engagement) -> None:
    """Read who has completed which courses; without an answer nobody's record is made."""
    active = {person: tally.courses for person, tally in engagement.tallies.items()}
    asked = sorted(active.keys() - engagement.left_alone)
    try:
        engagement.completed = await run.reader.completion.completed(asked, active)
    except AdaptorError as error:
        _raise_if_for_all(error)
        engagement.leave_alone(run.person_ids)
        run.result.worse(RunState.DEGRADED, f"Completed courses could not be read: engagement stays. {error}")


def _raise_if_for_all(error: AdaptorError) -> None:
    """Raise again what concerns the whole run."""
    if is_for_all(error):
        raise error


def _is_learner(run: Run, member: Member, mappings: list[CompiledMapping]) -> bool:
    """Tell whether a mapping asks for what this person is in this course, and the enrolment is active."""
    if member.status != "active":
        return False
    here = {"user": {"id": member.id}, "roles": list(member.roles)}
    here |= {} if member.groups is None else {"groups": list(member.groups)}
    everywhere = run.people.record({"id": member.id}) | {"user": {"id": member.id}}
    return any(not mapping.excludes(here) and not mapping.excludes(everywhere) for mapping in mappings)


def is_complete(engagement: Engagement | None) -> bool:
    """Tell whether everybody's record could be made, so that who has none is gone."""
    return engagement is not None and not engagement.left_alone
