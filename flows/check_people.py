"""What `check` finds out about people: a sample of the courses is read as a run reads it.

Moodle leaves out what an account may not see without a word, so some rights can only be told from what is missing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from adaptors.errors import AdaptorError, Maintenance
from adaptors.moodle.answers import Course, GradeReport, checked
from adaptors.moodle.errors import REPAIR
from adaptors.moodle.normalise import course_record
from adaptors.moodle.roster import Roster
from adaptors.moodle.screens import ROLES
from adaptors.moodle.streams import ENROLLED, GRADES, PROFILES
from flows.check_activities import check_activities
from flows.probe import Finding, Probe, fail, note, ok
from flows.steps.groups import DETAILS, RIGHT, hidden_in, without_teachers
from flows.steps.pull import People
from flows.steps.unshowable import unshowable_in
from flows.steps.withheld import REMEDY, count_withheld
from flows.words import courses_named, numbered, spread

SAMPLE_COURSES = 8
SAMPLE_PEOPLE = 100  # profiles in one request


async def check_people(probe: Probe) -> AsyncIterator[Finding]:
    """Read the people, profiles and grades of a sample into the probe; raises AdaptorError."""
    if not probe.courses or not probe.has(ENROLLED):
        return
    async for finding in _rosters(probe):
        yield finding
    async for finding in _hidden_people(probe):
        yield finding
    if probe.hidden_people:
        return
    if probe.has(PROFILES):
        await _read_profiles(probe)
    async for finding in _enrolments(probe):
        yield finding
    async for finding in check_activities(probe):
        yield finding


async def _rosters(probe: Probe) -> AsyncIterator[Finding]:
    """Read who is in some courses; the same refusal for several of them is one line."""
    errors: dict[tuple[str, str], list[int]] = defaultdict(list)

    async def read(course: Course) -> None:
        try:
            probe.rosters[course.id] = await probe.reader.roster(course.id)
        except Maintenance:
            raise
        except AdaptorError as error:
            errors[error.message, error.remedy].append(course.id)

    reads = [read(course) for course in spread(probe.courses, SAMPLE_COURSES)]
    for problem in await asyncio.gather(*reads, return_exceptions=True):
        if isinstance(problem, BaseException):
            raise problem
    for (message, remedy), numbers in errors.items():
        yield fail("People", f"{courses_named(numbers)}: {message}", remedy)
    if where := unshowable_in(probe.rosters):
        yield fail("People", f"Moodle itself cannot show accounts of {where}, for a value in them", REPAIR)
    if hidden := hidden_in(probe.rosters):
        yield fail(
            "People", f"the groups of {courses_named(hidden)} are not shown", f"Give its role '{RIGHT}' ({ROLES})."
        )
    if hidden := without_teachers(probe.rosters):
        what = f"the login names of the teachers of {courses_named(hidden)} are not shown"
        yield fail("People", what, f"Give its role '{DETAILS}' ({ROLES}).")
    people = {person for roster in probe.rosters.values() for person in roster.ids}
    if people:
        yield ok("People", f"{numbered(len(people), 'person', 'people')} in {probe.where}")


async def _hidden_people(probe: Probe) -> AsyncIterator[Finding]:
    """Compare a course that looks empty, or without students, with its grade report, which hides nobody."""
    empty = [roster for _, roster in sorted(probe.rosters.items()) if not len(roster)]
    teachers_only = [roster for _, roster in sorted(probe.rosters.items()) if _only_teachers(roster)]
    doubtful = (empty or teachers_only)[:1]
    for roster in doubtful if probe.has(GRADES) else ():
        course = roster.course_id
        try:
            answer = await probe.moodle.call(GRADES, courseid=course, userid=0)
        except Maintenance:
            raise
        except AdaptorError as error:
            yield fail("People", f"course {course}: {error.message}", error.remedy)
            return
        graded = {user.userid for user in checked(GradeReport, GRADES, answer).usergrades}
        if not graded <= set(roster.ids):
            probe.hidden_people = True
            what = f"course {course} has students, and Moodle shows the account none of them"
            yield fail("People", what, f"Give its role 'moodle/user:viewdetails' ({ROLES}).")
            return
    if empty:
        yield note("People", f"nobody is in {courses_named(roster.course_id for roster in empty)}")


def _only_teachers(roster: Roster) -> bool:
    return len(roster) > 0 and all(any("teacher" in role for role in member.roles) for member in roster)


async def _read_profiles(probe: Probe) -> None:
    """Keep the profiles of some people as records of source `users`."""
    own = probe.site.userid if probe.site else 0  # everybody is shown all of himself
    ids = sorted({person for roster in probe.rosters.values() for person in roster.ids} - {own})
    people = People(probe.rosters.values())
    async for batch in probe.reader.profiles(spread(ids, SAMPLE_PEOPLE)):
        probe.people += [people.record(profile) for profile in batch]


async def _enrolments(probe: Probe) -> AsyncIterator[Finding]:
    """Keep the enrolments of the sample; one course is read with its grades."""
    courses = {course.id: course_record(course) for course in probe.courses}
    graded = _graded_course(probe)
    for number, roster in probe.rosters.items():
        try:
            found = await probe.reader.enrolments(courses[number], roster, _yes if number == graded else _no)
        except Maintenance:
            raise
        except AdaptorError as error:
            area = "Grades" if number == graded else "People"
            yield fail(area, f"course {number}: {error.message}", error.remedy)
            continue
        probe.enrolments += found
        if number == graded:
            yield _grades(number, found)
            for finding in _totals(probe, number, found):
                yield finding


def _graded_course(probe: Probe) -> int:
    """Return the smallest course with learners, 0 when grades are not needed or cannot be read."""
    if not probe.wanted.grades or not probe.has(GRADES):
        return 0
    with_learners = [roster for roster in probe.rosters.values() if len(roster) and not _only_teachers(roster)]
    return min(with_learners, key=len).course_id if with_learners else 0


def _yes(_: Mapping[str, Any]) -> bool:
    return True


def _no(_: Mapping[str, Any]) -> bool:
    return False


def _grades(course: int, records: Sequence[Mapping[str, Any]]) -> Finding:
    """Say what was read of a course's grades."""
    read = [record["items"] for record in records if "items" in record]
    activities = max(map(len, read), default=0)
    if read and not activities:
        remedy = "If it has some, give the role the view right of each kind: 'mod/assign:view', 'mod/quiz:view'."
        return note("Grades", f"no graded activity is to be seen in course {course}", remedy)
    shown = f"{numbered(len(read), 'person', 'people')}, {numbered(activities, 'activity', 'activities')}"
    return ok("Grades", f"readable in course {course}: {shown}")


def _totals(probe: Probe, course: int, records: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Note course totals that Moodle does not show, where a mapping sends them."""
    withheld = count_withheld(probe.project.mappings if probe.project else (), records)
    if withheld:
        people = numbered(withheld, "person", "people")
        what = f"course {course} does not show the course total of {people}: a hidden grade counts in it, "
        yield note("Grades", f"{what}it is hidden, or in error, so it is not sent", REMEDY)
