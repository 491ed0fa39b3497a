"""Courses that were reset for a new term: the same id, a later start. Whether cases begin anew is asked.

Until there is an answer nothing of such a course is read: its cases stay as the old term left them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from adaptors.moodle.answers import Course
from flows.needs import ANSWERED_TERMS, NEW_TERMS, new_term
from flows.result import CourseResult, RunState
from flows.steps.depart import EMPTIES, Departures, Leaving, again
from flows.steps.pull import IN_COURSE
from state import CaseRow, RowId

if TYPE_CHECKING:
    from flows.run import Run
    from mappings.engine import CompiledMapping

STARTS = "course_starts"  # fact in the books: course -> the start of the term that its cases are of
NEW, SAME = "new", "same"
LATER = 28 * 86_400
"""Seconds by which a start has to move before it means another term: teachers correct it by days."""
STAYS = frozenset({"closed", "replaced", "erasing"})


async def new_terms(run: Run, courses: Iterable[Course]) -> set[int]:
    """Begin the new terms that a person has confirmed; return the courses that wait and are not to be read."""
    starts, answers = await _fact(run, STARTS), await _fact(run, ANSWERED_TERMS)
    asked, waiting = await _fact(run, NEW_TERMS), set[int]()
    for course in courses:
        number, start = str(course.id), course.startdate or 0
        asked.pop(number, None)
        if start and await _is_another_term(run, course, starts.get(number, 0)):
            asked_about, answer = answers.get(number, (0, ""))
            if asked_about != start:
                asked[number] = start
            if asked_about != start or (answer == NEW and not await _begin(run, course.id)):
                waiting.add(course.id)
                continue
        starts[number] = start or starts.get(number, 0)
        answers.pop(number, None)
    for fact, value in ((STARTS, starts), (NEW_TERMS, asked), (ANSWERED_TERMS, answers)):
        await _put(run, fact, value)
    _tell(run, waiting, asked)
    return waiting


async def _is_another_term(run: Run, course: Course, known: int) -> bool:
    """Say whether the start moved far, in a course of which there are cases."""
    if not known or (course.startdate or 0) - known < LATER:
        return False
    return bool(await _cases(run, course.id))


async def _begin(run: Run, course_id: int) -> bool:
    """Let go the cases of the old term; False while it is not known what became of some of them.

    They get what the mapping says for the end of a course, and count as closed: who is in the new term gets the
    next generation.
    """
    if run.preview or await _is_resting(run, course_id):
        return False
    ending = list[Leaving]()
    for mapping, row, case in await _cases(run, course_id):
        open_still = again(mapping, row, case)
        if open_still is not None:
            ending.append(open_still)
        elif mapping.when_course_ends is not None and case.status == "active":
            ending.append(Leaving(mapping, row, case, mapping.when_course_ends, "ended"))
    run.pusher.enqueue(0, await Departures(run.world, run.result, run.earlier).rows(ending), run.swept)
    await run.pusher.drain()
    await run.earlier.empty(run.pusher, run.went)
    if await _is_resting(run, course_id):
        return False
    cases = await _cases(run, course_id)
    rows = {row: "emptying" if case.status in EMPTIES else "closed" for _, row, case in cases}
    await run.world.books.do(run.world.books.store.settle, rows)
    return True


async def _cases(run: Run, course_id: int) -> list[tuple[CompiledMapping, RowId, CaseRow]]:
    """Return the cases of a course that are of its present term, over all mappings."""
    store, found = run.world.books.store, list[tuple["CompiledMapping", RowId, CaseRow]]()
    for mapping in run.world.project.mappings:
        if mapping.source in IN_COURSE:
            cases = await run.world.books.do(store.cases, mapping.name, course_id)
            found += [
                (mapping, RowId(mapping.name, course_id, key), case)
                for key, case in cases.items()
                if case.case_id and case.status not in STAYS
            ]
    return found


async def _is_resting(run: Run, course_id: int) -> bool:
    return any(row.scope == course_id for row in await run.world.books.do(run.world.books.store.intents))


def _tell(run: Run, waiting: Iterable[int], asked: Mapping[str, Any]) -> None:
    """Name the courses that wait, and the commands that answer."""
    for number in sorted(waiting):
        if str(number) not in asked:
            reason = "What became of some cases of the old term is not known yet; the next run goes on."
        else:
            reason = new_term(number).message
            run.result.worse(RunState.WAITING, reason)
        run.result.courses[number] = CourseResult("waiting", reason=reason)
    if waiting:
        run.unsettled |= {mapping.name for mapping in run.mappings if mapping.source in IN_COURSE}


async def _fact(run: Run, name: str) -> dict[str, Any]:
    text = await run.world.books.do(run.world.books.store.get, name)
    found: dict[str, Any] = json.loads(text or "{}")
    return found


async def _put(run: Run, name: str, value: Mapping[str, Any]) -> None:
    """Write a fact when it is another one; a preview writes nothing."""
    if not run.preview and value != await _fact(run, name):
        await run.world.books.do(run.world.books.store.put, name, json.dumps(value, sort_keys=True))
