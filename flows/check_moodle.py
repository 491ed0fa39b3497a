"""What `check` finds out about the Moodle site: token, functions of the service, courses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Sequence

from adaptors.errors import Unexpected
from adaptors.moodle.answers import Category, Course
from adaptors.moodle.client import BATCH_FUNCTION
from adaptors.moodle.course_list import COURSES
from adaptors.moodle.errors import REPAIR_CONTACT
from adaptors.moodle.functions import ALWAYS, FEEDBACK, GIVING_FEEDBACK
from adaptors.moodle.screens import FUNCTIONS_SCREEN, ROLES
from adaptors.moodle.streams import CATEGORY_LIST
from adaptors.moodle.unshowable import is_unshowable
from flows.docs import used_functions
from flows.errors import UsageError
from flows.probe import Finding, Probe, fail, note, ok
from flows.steps.gate import needed_functions
from flows.steps.select import UNTOLD, Selection, known_courses, select_courses
from flows.words import courses_named, listed, numbered
from mappings.engine import CourseChoice, Project


async def check_moodle(probe: Probe) -> AsyncIterator[Finding]:
    """Look at the site and its service, and choose the courses; raises AdaptorError."""
    site = probe.site = await probe.reader.site()
    release = site.release.partition(" ")[0] or "of an unknown version"
    yield ok("Moodle", f"signed in as '{site.username}' (id {site.userid}), Moodle {release}")
    if site.userissiteadmin:
        what = "the account is a site administrator: it may see and do more than is needed"
        yield note("Moodle", what, f"Make an account with a role of its own ({ROLES}).")
    for finding in _functions(probe):
        yield finding
    if probe.has(COURSES):
        async for finding in _courses(probe):
            yield finding


def _functions(probe: Probe) -> Iterator[Finding]:
    """Name each function that the service lacks."""
    choice = probe.project.courses if probe.project else CourseChoice()
    needed = needed_functions(probe.wanted) + ([CATEGORY_LIST] if choice.categories else [])
    if probe.project and any(mapping.spec.write_back for mapping in probe.project.mappings):
        needed += [name for name in GIVING_FEEDBACK if name not in needed]
    missing = [name for name in needed if not probe.has(name)]
    for name in missing:
        yield fail("Moodle", f"the service lacks the function {name}", f"Add it under {FUNCTIONS_SCREEN}.")
    if not missing:
        told = _checklist(probe.project) if probe.project else {*ALWAYS}
        there = len([name for name in told if probe.has(name)])
        of_all = f"the {there}" if there == len(told) else f"{there} of the {len(told)}"
        yield ok("Moodle", f"the service has {of_all} functions that `setup moodle` names")
    if probe.wanted.completion and not probe.has(BATCH_FUNCTION):
        what = f"the service lacks {BATCH_FUNCTION}: what learners have done takes a request for each of them"
        yield note("Moodle", what, f"Add it under {FUNCTIONS_SCREEN}.")
    elif probe.wanted.grades and not probe.has(BATCH_FUNCTION):
        what = f"the service lacks {BATCH_FUNCTION}: in larger courses, grades take a request per person"
        yield note("Moodle", what, f"Add it under {FUNCTIONS_SCREEN}.")


def _checklist(project: Project) -> set[str]:
    """Return the functions that `setup moodle` names for a project."""
    gives_feedback = any(mapping.spec.write_back for mapping in project.mappings)
    return {*used_functions(project), *(FEEDBACK if gives_feedback else ())}


async def _courses(probe: Probe) -> AsyncIterator[Finding]:
    """Choose the courses as a run does."""
    choice = probe.project.courses if probe.project else CourseChoice()
    known, last = known_courses(probe.store, choice) if probe.store else ({*choice.ids}, set[int]())
    try:
        there = await probe.reader.courses(known, last)
    except Unexpected as error:
        if not is_unshowable(error):
            raise
        yield fail("Courses", error.message.rstrip("."), error.remedy)  # and no course is known that it shows
        return
    unshown = probe.reader.refused_courses
    if not probe.reader.lists_all:
        yield _not_whole(there, unshown)
    if _shows_little(there):
        what = "Moodle shows of the courses only what everybody may see"
        yield fail("Courses", what, f"Give the role of the account 'moodle/course:view' ({ROLES}).")
    if probe.project is None:
        yield ok("Courses", f"{numbered(len(there), 'course')} on the site")
        return
    categories: Sequence[Category] = ()
    if choice.categories and probe.has(CATEGORY_LIST):
        categories = await probe.reader.categories()
        for number in sorted(set(choice.categories) - {category.id for category in categories}):
            remedy = "Correct 'categories:' in project.yaml."
            yield fail("Courses", f"Moodle shows no category {number}, which project.yaml names", remedy)
    try:
        selection = select_courses(there, categories, choice, probe.clock.now())
    except UsageError as error:
        yield fail("Courses", str(error))
        return
    probe.courses = selection.courses
    for finding in of_selection(selection, there, choice, unshown):
        yield finding


def _not_whole(there: Sequence[Course], unshown: Collection[int]) -> Finding:
    """Say that Moodle does not show its list of courses, and which of those that are known are missing."""
    which = f", and of these not {courses_named(unshown)}" if unshown else ""
    known = numbered(len(there) + len(unshown), "course")
    what = f"Moodle cannot show its list of courses: {known} were asked for by id{which}; new ones are not seen"
    return fail("Courses", what, REPAIR_CONTACT)


def _shows_little(there: Sequence[Course]) -> bool:
    """Say whether Moodle shows of all courses only what everybody may see."""
    return bool(there) and all(course.visible is None for course in there)


def of_selection(
    selection: Selection, there: Sequence[Course], choice: CourseChoice, unshown: Collection[int] = ()
) -> Iterator[Finding]:
    """Say what is chosen, what is not found, and what is named and left out all the same.

    Of the `unshown`, which Moodle has and does not list, nothing is said.
    """
    names = [f"{course.id} {course.shortname}" for course in selection.courses]
    if names:
        yield ok("Courses", f"{len(names)} of {len(there)} chosen: {listed(names)}")
    else:
        remedy = "Change 'courses:' in project.yaml, or look whether the courses have ended."
        yield fail("Courses", f"none of the {numbered(len(there), 'course')} on the site is chosen", remedy)
    if selection.untold and not _shows_little(there):
        verb = "is" if len(selection.untold) == 1 else "are"
        yield fail("Courses", f"{courses_named(selection.untold)} {verb} not read", UNTOLD)
    unknown = {*selection.unknown}.difference(unshown)
    for number in sorted(unknown):
        what = f"Moodle shows no course {number}, which project.yaml names"
        remedy = "Correct the id there; if the course is hidden, give the role 'moodle/course:viewhiddencourses'."
        yield fail("Courses", what, remedy)
    for number in sorted({*choice.ids}.difference((course.id for course in selection.courses), unknown, unshown)):
        what = f"course {number} is named in project.yaml and not read: it has ended, or not begun yet"
        yield note("Courses", what, "Change its dates in Moodle, or take it out of project.yaml.")
