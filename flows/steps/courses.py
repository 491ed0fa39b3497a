"""The course level: each course read, mapped, pushed and checked off on its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adaptors.errors import AdaptorError
from adaptors.moodle.answers import Course
from adaptors.moodle.assignments import CourseAssignments
from adaptors.moodle.normalise import course_record
from flows.result import CourseResult
from flows.steps.pull import IN_COURSE, course_records, map_records
from flows.steps.rosters import by_course, failed
from flows.steps.withheld import count_withheld, tell_blind, tell_withheld
from flows.steps.work import Work
from mappings.engine import CompiledMapping

if TYPE_CHECKING:
    from flows.run import Run

OF_ACTIVITIES = frozenset({"grade_items", "assignments"})
"""Sources of which Moodle leaves out, without a word, what a right is lacking for."""


async def sync_courses(run: Run, courses: list[Course]) -> None:
    """Read the courses that have a roster, a few at a time, and push their enrolments and grades."""
    mappings = [mapping for mapping in run.mappings if mapping.source in IN_COURSE]
    todo = [course for course in courses if course.id in run.rosters and course.id not in run.between_terms]
    total, done = len(todo), 0

    async def one(course: Course) -> None:
        nonlocal done
        await run.lease.hold()
        started = run.world.clock.monotonic()
        try:
            await _sync_course(run, course, course_record(course, run.course_fields), mappings)
        except AdaptorError as error:
            if error.system != "Moodle":
                raise
            await failed(run, course.id, error, run.world.clock.monotonic() - started)
        await run.pusher.pump()
        done += 1
        run.progress("courses", done, total)

    await by_course(todo, one)
    tell_withheld(run, run.withheld)
    tell_blind(run.result, run.assignments)


async def _sync_course(
    run: Run, course: Course, record: Mapping[str, Any], mappings: list[CompiledMapping]
) -> None:
    """Read one course, map it and hand it over; its checkpoint follows when every row is settled."""
    started = run.world.clock.monotonic()
    roster = run.rosters[course.id]
    enrolments: list[dict[str, Any]] = []
    assignments = CourseAssignments()
    if mappings:
        enrolments = await run.reader.enrolments(record, roster, lambda found: _wants_grades(mappings, found))
        if count_withheld(mappings, enrolments):
            run.withheld.add(course.id)
    if len(roster) and any(mapping.source == "assignments" for mapping in mappings):
        reader, submissions = run.reader.assignments, run.wanted.submissions
        assignments = await reader.course(course.id, len(roster), submissions=submissions)
        run.assignments[course.id] = len(assignments.assignments), assignments.unseen
    scopes = [
        map_records(
            mapping,
            course.id,
            course_records(mapping.source, enrolments, assignments),
            run.context,
            roster.unshown,
        )
        for mapping in mappings
    ]
    people = len(roster)
    del enrolments  # by far the largest part of a course; drafts are all that is needed from here on

    async def done(work: Work) -> None:
        seconds = run.world.clock.monotonic() - started
        run.result.courses[course.id] = CourseResult("completed", people, seconds)
        for scope in work.scopes:
            run.tell(scope)
        if not run.preview:
            await _check_off(run, course.id, work)

    await Work(run.planner, run.pusher, scopes, done).advance()


def _wants_grades(mappings: list[CompiledMapping], record: Mapping[str, Any]) -> bool:
    """Tell whether any mapping keeps this record: grades of teachers need not be read one by one."""
    return any(mapping.source == "grade_items" or not mapping.excludes(record) for mapping in mappings)


async def _check_off(run: Run, course_id: int, work: Work) -> None:
    """Write a course's checkpoint: every row is settled. Where its read was not complete, there is none."""
    await run.lease.hold()  # who lost it to another worker checks nothing off
    store, now = run.world.books.store, run.world.clock.now()
    members, is_whole = run.rosters[course_id].ids, run.rosters[course_id].is_whole
    for scope in work.scopes:
        found = [(problem.key, problem.property, problem.reason, problem.detail) for problem in scope.problems]
        await run.world.books.do(store.set_problems, scope.mapping.name, scope.number, found, now)
        await run.pusher.aside.settle(scope, whole=is_whole and scope.mapping.source not in OF_ACTIVITIES)
        await run.planner.outsiders.save(scope, complete=is_whole)
        if not is_whole:  # who is there is there
            await run.world.books.do(store.note_seen, scope.mapping.name, course_id, scope.seen)
            continue
        # Grades are missing for many reasons (suspended, hidden, not read), and none of them is leaving.
        protected = set(members) if scope.mapping.source in OF_ACTIVITIES else set()
        await run.sweep.note(scope, protected=protected)
    if is_whole:
        await run.world.books.do(store.checkpoint, course_id, run.result.run_id, now, members)
