"""What `check` finds out about marking: the functions, the files, and the rights on one assignment.

Looked at when somebody asks for it, or when the service has functions that only marking needs: then what is
missing is a note, since nobody said that it is wanted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator

from adaptors.errors import AdaptorError, Maintenance
from adaptors.moodle.assignment_answers import MarkedAssignment
from adaptors.moodle.assignment_marks import read_grades, read_method, read_states
from adaptors.moodle.assignment_people import read_marked_course, read_participants
from adaptors.moodle.functions import BY_NAME, FEEDBACK, MARKING
from adaptors.moodle.screens import EXTERNAL_SERVICES, FUNCTIONS_SCREEN
from flows.docs import used_functions
from flows.features import features_seen
from flows.probe import Finding, Probe, fail, note, ok
from flows.words import numbered

MOST_COURSES = 8  # looked at for an assignment to try
Say = Callable[[str, str, str], Finding]


async def check_marking(probe: Probe) -> AsyncIterator[Finding]:
    """Compare the service with what marking needs; one assignment is tried only when marking was asked for."""
    names = probe.site.function_names if probe.site else frozenset[str]()
    features = set(probe.asked) or set(features_seen(names))
    if not features or probe.site is None:
        return
    wrong = fail if probe.asked else note
    needed = FEEDBACK if "feedback" in features else MARKING
    found = [*_functions(probe, needed, wrong), *_files(probe, wrong)]
    well = f"the service has the {len(needed)} functions that marking needs, and gives out files"
    for finding in found or [ok("Marking", well)]:
        yield finding
    if probe.asked and not any(finding.level == "fail" for finding in found):
        yield await _rights(probe, feedback="feedback" in features)


def _functions(probe: Probe, needed: Collection[str], wrong: Say) -> Iterator[Finding]:
    """Name the functions that only marking needs; the others were named before."""
    told = used_functions(probe.project) if probe.project else {}
    for name in needed:
        if probe.has(name) or name in told:
            continue
        what = f"the service lacks the function {name}, for {BY_NAME[name].purpose}"
        remedy, lost = f"Add it under {FUNCTIONS_SCREEN}.", BY_NAME[name].lost
        yield note("Marking", what, f"{remedy} Without it: {lost}.") if lost else wrong("Marking", what, remedy)


def _files(probe: Probe, wrong: Say) -> Iterator[Finding]:
    if probe.site is not None and probe.site.downloadfiles is False:
        remedy = f"Tick 'Can download files' in the service, under {EXTERNAL_SERVICES} > Edit."
        yield wrong("Marking", "the service gives out no files: what was handed in cannot be fetched", remedy)


async def _rights(probe: Probe, *, feedback: bool) -> Finding:
    """Read about one assignment as the commands do, the smallest part of it; nothing is saved."""
    try:
        assignment, looked_at = await _an_assignment(probe)
        if assignment is None:
            where = numbered(looked_at, "course")
            remedy = "If there are some, give the role 'mod/assign:view' and 'moodle/course:viewhiddenactivities'."
            return note("Marking", f"no assignment is to be seen in the {where} looked at", remedy)
        people = await read_participants(probe.moodle, assignment)
        if feedback:
            await read_grades(probe.moodle, assignment)
            await read_states(probe.moodle, assignment)
            await read_method(probe.moodle, assignment)
    except Maintenance:
        raise
    except AdaptorError as error:
        return fail("Marking", error.message.rstrip("."), error.remedy)
    who = numbered(len(people), "person may", "people may")
    return ok("Marking", f"assignment {assignment.cmid} can be read: {who} hand something in")


async def _an_assignment(probe: Probe) -> tuple[MarkedAssignment | None, int]:
    """Return the first assignment of the first courses that have one, and how many courses were looked at."""
    courses = probe.courses[:MOST_COURSES]
    for number, course in enumerate(courses, start=1):
        marked = await read_marked_course(probe.moodle, course.id)
        if marked.assignments:
            return marked.assignments[0], number
    return None, len(courses)
