"""What `check` finds out about activities: one course is asked, about one learner, as a run would ask."""

from __future__ import annotations

from collections.abc import AsyncIterator

from adaptors.errors import AdaptorError, Maintenance
from adaptors.moodle.assignments import ASSIGNMENTS, SUBMISSIONS
from adaptors.moodle.completion import COMPLETION, CONTENTS
from flows.probe import Finding, Probe, fail, note, ok
from flows.words import numbered


async def check_activities(probe: Probe) -> AsyncIterator[Finding]:
    """Ask what one learner has done, and for the assignments, in the smallest course with learners."""
    learners = {course: found for course in sorted(probe.rosters) if (found := _learners(probe, course))}
    if not learners:
        return
    course = min(learners, key=lambda number: len(learners[number]))
    wanted = probe.wanted
    try:
        if wanted.completion and probe.has(COMPLETION) and (probe.has(CONTENTS) or not wanted.due_dates):
            yield await _completion(probe, course, learners[course][0])
        if wanted.assignments and probe.has(ASSIGNMENTS) and (probe.has(SUBMISSIONS) or not wanted.submissions):
            yield await _assignments(probe, course, len(probe.rosters[course]))
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


async def _assignments(probe: Probe, course: int, people: int) -> Finding:
    submissions = probe.wanted.submissions
    found = await probe.reader.assignments.course(course, people, submissions=submissions)
    if found.assignments:
        return ok("Activity", f"readable in course {course}: {numbered(len(found.assignments), 'assignment')}")
    remedy = "If there are some, give the role 'mod/assign:view' and 'moodle/course:viewhiddenactivities'."
    return note("Activity", f"no assignment is to be seen in course {course}", remedy)
