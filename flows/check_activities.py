"""What `check` finds out about activities: one course is asked, about one learner, as a run would ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from adaptors.errors import AdaptorError, Maintenance
from adaptors.moodle.assignments import ASSIGNMENTS, SUBMISSIONS
from adaptors.moodle.completion import COMPLETION, CONTENTS
from flows.needs import REFUSED_BLANKS
from flows.probe import Finding, Probe, fail, note, ok
from flows.steps.withheld import BLIND_REMEDY, blind_in
from flows.words import courses_named, numbered


async def check_activities(probe: Probe) -> AsyncIterator[Finding]:
    """Ask what a learner of the smallest course with learners has done, and for assignments there or elsewhere."""
    learners = {course: found for course in sorted(probe.rosters) if (found := _learners(probe, course))}
    if not learners:
        return
    course = min(learners, key=lambda number: len(learners[number]))
    wanted = probe.wanted
    try:
        if wanted.completion and probe.has(COMPLETION) and (probe.has(CONTENTS) or not wanted.due_dates):
            yield await _completion(probe, course, learners[course][0])
        if wanted.assignments and probe.has(ASSIGNMENTS) and (probe.has(SUBMISSIONS) or not wanted.submissions):
            yield await _assignments(probe, [course, *sorted(learners.keys() - {course})])
        elif wanted.grades and probe.has(ASSIGNMENTS) and probe.store and probe.store.get(REFUSED_BLANKS):
            yield await _assignments(probe, sorted(learners), graded_only=True)
    except Maintenance:
        raise
    except AdaptorError as error:
        yield fail("Activity", f"course {course}: {error.message}", error.remedy)


def _learners(probe: Probe, course: int) -> list[int]:
    """Return the active people of a course who do not teach it."""
    members = probe.rosters[course]
    return [m.id for m in members if m.status == "active" and not any("teacher" in role for role in m.roles)]


async def _completion(probe: Probe, course: int, learner: int) -> Finding:
    reader, dates = probe.reader.completion, probe.wanted.due_dates
    found = await reader.course(course, [learner], dates=dates, now=probe.clock.now())
    if learner in found:
        total = found[learner].done + found[learner].left
        tracked = numbered(total, "activity with completion tracking", "activities with completion tracking")
        return ok("Activity", f"readable in course {course}: {tracked}")
    what = f"course {course} tracks no activity: nothing is told of what its learners have done"
    remedy = "Switch on completion tracking in the settings of the course and of its activities."
    return note("Activity", what, remedy)


async def _assignments(probe: Probe, courses: Sequence[int], *, graded_only: bool = False) -> Finding:
    """Ask for the assignments of one course after the other until one shows some; whose work it is only there.

    `graded_only`: of assignments nothing but grades is wanted, and a run asks whether values are gone.
    """
    submissions = probe.wanted.submissions and not graded_only
    blind = dict[int, int]()
    for course in courses:
        found = await probe.reader.assignments.course(course, len(probe.rosters[course]), submissions=submissions)
        if found.assignments:
            return ok("Activity", f"readable in course {course}: {numbered(len(found.assignments), 'assignment')}")
        if found.unseen:
            blind[course] = found.unseen
    if blind:
        return note("Activity", blind_in(blind), BLIND_REMEDY)
    remedy = "If there are some, give the role 'mod/assign:view' and 'moodle/course:viewhiddenactivities'."
    return note("Activity", f"no assignment is to be seen in {courses_named(courses)}", remedy)
