"""Courses that were reset for a new term: the same id, a later start. Whether cases begin anew is asked.

Until there is an answer nothing of such a course is read: its cases stay as the old term left them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from adaptors.errors import Refused
from adaptors.moodle.answers import Course
from flows.needs import ANSWERED_TERMS, NEW_TERMS, new_term
from flows.result import CourseResult, RunState
from flows.steps.generations import last_of_each
from flows.steps.isolate import NOT_SORTED_OUT
from flows.steps.leaving import Leaving, again
from flows.steps.linked import case_there
from flows.steps.planned import Planned
from flows.steps.pull import IN_COURSE
from flows.steps.recover import strangers
from flows.words import listed, numbered
from mappings.engine import CompiledMapping
from state import CaseRow, RowId
from state.facts import Objects
from state.statuses import PASSING, TO_BE_EMPTIED

if TYPE_CHECKING:
    from flows.run import Run

STARTS = "course_starts"
"""Fact in the books: course -> the start of the term that its cases are of; with the name of a mapping behind it,
that of the cases of one which was switched off when a later term began."""
FACTS = (STARTS, NEW_TERMS, ANSWERED_TERMS)
NEW, SAME = "new", "same"
LATER = 28 * 86_400
"""Seconds by which a start has to move before it means another term: teachers correct it by days."""
STAYS = PASSING | {"closed"}
ENDS = frozenset({"active", "returning", "rejoining", "closing", "withdrawn"})
"""What a case is that hears of the end of its term; of closing ones nobody knows whether they did. Who is kept out
may be let in again, and has a case in the new term then."""

UNSURE = "What became of some cases of the old term is not known yet; the next run goes on."

_Case = tuple[CompiledMapping, RowId, CaseRow]


async def new_terms(run: Run, courses: Iterable[Course], selected: Iterable[Course]) -> set[int]:
    """Begin the new terms that a person has confirmed; return the courses that wait and are not to be read.

    Of those that are not `selected` any more nobody is asked whether a new term began.
    """
    facts = await run.world.books.do(run.world.books.store.change_facts, FACTS, dict)
    starts, asked, answers = (facts[name] for name in FACTS)
    used, waiting = dict[str, Any](), set[int]()
    read = {str(course.id) for course in selected}  # what is hidden, over, or not chosen any more is read no more
    asked = {number: start for number, start in asked.items() if number in read}
    for course in courses:
        number, start = str(course.id), course.startdate or 0
        asked.pop(number, None)
        older = [one for one in _of_courses(run) if _is_later(start, _start_of(starts, number, one.name))]
        answer = ""
        if older and await _cases(run, course.id, older):
            asked_about, answer = answers.get(number, (0, ""))
            if asked_about != start:
                asked[number] = start
            if asked_about != start or (answer == NEW and not await _begin(run, course.id, older)):
                waiting.add(course.id)
                continue
            if answer == SAME and not run.preview:
                await _go_on_in_later(run, course.id, older)
        await _note_start(run, course, starts, is_same=answer == SAME)
        if number in answers:
            used[number] = answers[number]
    if not run.preview:
        change = partial(_take_in, starts, asked, used)
        await run.world.books.do(run.world.books.store.change_facts, FACTS, change)
    _tell(run, waiting, asked)
    return waiting


async def of_a_term_before(run: Run) -> set[tuple[str, int]]:
    """Return the mappings and courses whose cases are of a term before the one of Moodle's list.

    A person is asked about such a course, or will be once it is read (again).
    """
    books = run.world.books
    text = await books.do(books.store.get, STARTS)
    starts: dict[str, int] = json.loads(text or "{}")
    return {
        (mapping.name, number)
        for mapping in _of_courses(run)
        for number, start in run.starts.items()
        if _is_later(start, _start_of(starts, str(number), mapping.name))
    }


def _of_courses(run: Run) -> list[CompiledMapping]:
    return [mapping for mapping in run.world.project.mappings if mapping.source in IN_COURSE]


def _start_of(starts: Mapping[str, int], number: str, mapping: str) -> int:
    """Return the start of the term that a mapping's cases in a course are of, 0 when that is not known."""
    return starts.get(f"{number} {mapping}", starts.get(number, 0))


def _is_later(start: int, known: int) -> bool:
    """Say whether a start is that of another term."""
    return bool(known) and start - known >= LATER


async def _note_start(run: Run, course: Course, starts: dict[str, int], *, is_same: bool) -> None:
    """Take in the start of a present term; cases of mappings that are switched off are of the one before."""
    number, start = str(course.id), course.startdate or 0
    before, on = starts.get(number, 0), {mapping.name for mapping in run.world.project.mappings}
    if _is_later(start, before) and not is_same:
        off = await run.world.books.do(run.world.books.store.mappings_in, [course.id]) - on
        starts |= {f"{number} {name}": _start_of(starts, number, name) for name in off}
    for name in on:
        starts.pop(f"{number} {name}", None)
    starts[number] = start or before


async def _begin(run: Run, course_id: int, mappings: Collection[CompiledMapping]) -> bool:
    """Let go the cases of the old term; False while it is not known what became of some of them.

    They get what the mapping says for the end of a course, and count as closed: who is in the new term gets the
    next generation. In a preview only the planner is told so.
    """
    if await _is_resting(run, course_id):
        return False
    if run.preview:
        endings = [_ending(*case) for case in await _cases(run, course_id, mappings) if case[2].case_id]
        await _say(run, await run.departures.rows(one for one in endings if one is not None))
        run.planner.begun.add(course_id)
        return True
    cases = await _there(run, await _cases(run, course_id, mappings))
    ending = [one for one in (_ending(*case) for case in cases) if one is not None]
    outcomes = await _say(run, await run.departures.rows(ending))
    await run.earlier.empty(run.pusher, run.went)
    if NOT_SORTED_OUT in outcomes.values() or await _is_resting(run, course_id):
        return False
    there = {row for _, row, _ in cases}
    over = [(row, case) for _, row, case in await _cases(run, course_id, mappings) if row in there]
    # Who is to be emptied, and is not, is not forgotten with the old term.
    settled = {row: "emptying" if case.status in TO_BE_EMPTIED else "closed" for row, case in over}
    await run.world.books.do(run.world.books.store.settle, settled)
    _tell_refused(run, course_id, sorted(row.key for row, outcome in outcomes.items() if outcome))
    return True


async def _go_on_in_later(run: Run, course_id: int, mappings: Collection[CompiledMapping]) -> None:
    """Have cases be followed by later ones that CommCare has, of a term that began after the books' backup."""
    world, store = run.world, run.world.books.store
    strange = await strangers(world)
    for mapping in mappings:
        if mapping.name not in strange:
            continue
        cases = {row.key: (row, case) for _, row, case in await _cases(run, course_id, [mapping])}
        found = await last_of_each(world, {key: case.generation + 1 for key, (_, case) in cases.items()}, ())
        for key, (reply, generation) in found.items():
            await world.books.do(store.follow, cases[key][0], generation + reply.closed, world.clock.now())


async def _say(run: Run, rows: Iterable[Planned]) -> dict[RowId, str]:
    """Send rows and return what became of each: "" when CommCare has it, or somebody gave it up."""
    outcomes = dict[RowId, str]()

    async def settled(row: Planned, outcome: str) -> None:
        outcomes[row.row] = outcome
        await run.swept(row, outcome)

    run.pusher.enqueue(0, rows, settled)
    await run.pusher.drain()
    return outcomes


def _ending(mapping: CompiledMapping, row: RowId, case: CaseRow) -> Leaving | None:
    """Return how a case of the old term goes away, None for one that went before, or has nothing to say."""
    open_still = again(mapping, row, case)
    if open_still is not None:
        return open_still
    if mapping.when_course_ends is not None and case.status in ENDS:
        return Leaving(mapping, row, case, mapping.when_course_ends, "ended")
    return Leaving(mapping, row, case, mapping.when_left, "left") if case.status == "closing" else None


async def _there(run: Run, cases: Iterable[_Case]) -> list[_Case]:
    """Return the cases that CommCare has: those of which no answer told the id are asked for, and known then.

    Else the case of the old term would be found under its key, and go on in the new one.
    """
    found, ids = list[_Case](), dict[RowId, str]()
    for mapping, row, case in cases:
        if not case.case_id:
            try:
                reply = await case_there(run.world, row.key, case)
            except Refused:  # two cases have its key: none of them is the new term's
                found.append((mapping, row, case))
                continue
            if reply is None:
                continue
            ids[row] = reply.case_id
            case = replace(case, case_id=reply.case_id, owner_id=reply.owner_id)
        found.append((mapping, row, case))
    await run.world.books.do(run.world.books.store.keep_case_ids, ids)
    return found


async def _cases(run: Run, course_id: int, mappings: Iterable[CompiledMapping]) -> list[_Case]:
    """Return the cases of a course that are of its present term; one without a case id may never have arrived."""
    store, found = run.world.books.store, list[_Case]()
    for mapping in mappings:
        cases = await run.world.books.do(store.cases, mapping.name, course_id)
        found += [
            (mapping, RowId(mapping.name, course_id, key), case)
            for key, case in cases.items()
            if case.status not in STAYS
        ]
    return found


async def _is_resting(run: Run, course_id: int) -> bool:
    return any(row.scope == course_id for row in await run.world.books.do(run.world.books.store.intents))


def _tell_refused(run: Run, course_id: int, keys: Sequence[str]) -> None:
    """Say which cases of the old term say nothing of its end: the next answer about their keys is of new cases."""
    if keys:
        run.result.worse(
            RunState.DEGRADED,
            f"Course {course_id}: CommCare refused to end {numbered(len(keys), 'case')} of the old term, "
            f"{listed(keys)}: what they say there stays. The new term has begun all the same.",
        )


def _tell(run: Run, waiting: Iterable[int], asked: Mapping[str, Any]) -> None:
    """Name the courses that wait, and the commands that answer."""
    for number in sorted(waiting):
        if str(number) not in asked:
            reason = UNSURE
            run.unsettled |= {mapping.name for mapping in run.mappings if mapping.source in IN_COURSE}
        else:
            run.asked_terms.add(number)
            reason = new_term(number).message
            run.result.worse(RunState.WAITING, reason)
        run.result.courses[number] = CourseResult("waiting", reason=reason)


def _take_in(starts: Mapping[str, int], asked: Mapping[str, int], used: Mapping[str, Any], facts: Objects) -> None:
    """Take what a run found into the facts; an answer that was given meanwhile is for the next one."""
    answers = facts[ANSWERED_TERMS]
    left = {number: answer for number, answer in answers.items() if used.get(number) != answer}
    facts.update({STARTS: dict(starts), NEW_TERMS: dict(asked), ANSWERED_TERMS: left})
