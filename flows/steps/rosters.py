"""Who is in which course, read before anybody is pushed: a person's roles are a union over the courses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from adaptors.errors import AdaptorError
from adaptors.moodle.answers import Course
from adaptors.moodle.errors import is_for_all
from flows.steps.groups import tell_hidden
from flows.steps.hiding import tell_hiding_in_courses
from flows.steps.merged import left_out
from flows.steps.pull import People
from flows.steps.unshowable import tell_unshowable

if TYPE_CHECKING:
    from flows.run import Run

COURSES_AT_ONCE = 2
UNSEEN = "It could not be read for the plan of a first run, so it is left for the next run."
OF_PEOPLE = ("users", "engagement")
"""Sources of which a record is made of all courses of a person."""


async def read_people(run: Run, courses: list[Course], selected: list[Course]) -> None:
    """Read the people of `courses` into the run; `selected` are all courses that project.yaml chooses.

    A person's roles and groups are a union over the selected courses. So for some courses only, the others in
    which these people were last seen are read as well, where a mapping is about people; and people last seen in
    a course that failed are left alone in this run, as are those whom a course that was not read whole does not
    show any more. Where only the list of courses is due, nobody is read.
    """
    run.reader.left_out = await left_out(run)
    run.whole_site = len(courses) == len(selected)
    if run.whole_site and all(mapping.source == "courses" for mapping in run.mappings):
        return
    await read_rosters(run, courses)
    people = {person for course in courses if course.id in run.rosters for person in run.rosters[course.id].ids}
    rosters = dict(run.rosters)
    store, wanted = run.world.books.store, {course.id for course in courses}
    others = []
    for course in selected if any(mapping.source in OF_PEOPLE for mapping in run.mappings) else ():
        if course.id not in wanted and people & await run.world.books.do(store.member_ids, course.id):
            others.append(course)
    if others:
        await read_rosters(run, others)
        rosters |= run.rosters
        run.rosters = {number: roster for number, roster in rosters.items() if number in wanted}
    whole = {number for number, roster in rosters.items() if roster.is_whole}
    run.every_course = run.lists_all and len(whole) == len(selected)
    for course in (*courses, *others):
        if course.id not in whole:
            shown = rosters[course.id].ids if course.id in rosters else ()
            people -= (await run.world.books.do(store.member_ids, course.id)).difference(shown)
    run.person_ids = sorted(people)
    run.people = People(rosters.values())
    tell_hidden(run, rosters)
    tell_unshowable(run.result, rosters)
    tell_hiding_in_courses(run.result, run.mappings, rosters)
    if not run.preview:
        await _remember(run)


async def _remember(run: Run) -> None:
    """Write down who is in each course, now: the rest may fail in every run, until nobody reads the course.

    Its people have cases then, and have not left.
    """
    store = run.world.books.store
    for number, roster in sorted(run.rosters.items()):
        people = {*roster.ids}
        if not roster.is_whole:
            people |= await run.world.books.do(store.member_ids, number)
        await run.world.books.do(store.saw_people, number, sorted(people))


async def read_rosters(run: Run, courses: list[Course]) -> None:
    """Read each course's people, a few courses at a time; a course that fails is named and left out."""
    done = 0

    async def one(course: Course) -> None:
        nonlocal done
        await run.lease.hold()
        started = run.world.clock.monotonic()
        if course.id in run.untold or course.id in run.unseen:
            await _note_failure(run, course.id, run.untold.get(course.id, UNSEEN), 0.0)
        else:
            try:
                run.rosters[course.id] = await run.reader.roster(course.id)
            except AdaptorError as error:
                await failed(run, course.id, error, run.world.clock.monotonic() - started)
        done += 1
        run.progress("people", done, len(courses))

    await by_course(list(courses), one)


async def failed(run: Run, course_id: int, error: AdaptorError, seconds: float) -> None:
    """Note a course's failure, or raise again what concerns the whole run."""
    if is_for_all(error):
        raise error
    await _note_failure(run, course_id, str(error), seconds)


async def _note_failure(run: Run, course_id: int, reason: str, seconds: float) -> None:
    run.course_failed(course_id, reason, seconds)
    if not run.preview:
        await run.world.books.do(run.world.books.store.course_failed, course_id)


async def by_course(todo: list[Course], work: Callable[[Course], Awaitable[None]]) -> None:
    """Work through courses a few at a time; after an error the others under way are finished, none is begun."""

    async def worker() -> None:
        while todo:
            try:
                await work(todo.pop(0))
            except BaseException:
                todo.clear()
                raise

    results = await asyncio.gather(*(worker() for _ in range(COURSES_AT_ONCE)), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
