"""The end of a run: who left, who is kept out, whose course is over. Until here nothing of it was sent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from adaptors.moodle.answers import Course
from flows.steps.asked import LEAVERS, WITHDRAWN
from flows.steps.deserted import look_for_deserted
from flows.steps.kept_out import follow_closed
from flows.steps.leaving import Leaving
from flows.steps.merged import leaving_merged
from flows.steps.people import members_elsewhere
from flows.steps.planned import Planned
from flows.steps.pull import IN_COURSE
from flows.steps.unheard import never_told
from flows.steps.unlisted import ask_about_unlisted
from flows.steps.unread import never_emptied
from flows.steps.ways import holds_personal
from state import RowId

if TYPE_CHECKING:
    from flows.run import Run

HEARS = frozenset({"active", "returning", "rejoining", "closing", "replaced"})
"""What a case is that is told of the end of its course."""


async def leave(run: Run, courses: list[Course], ended: Collection[int]) -> list[Planned]:
    """Return the rows of all cases that go away; a preview does not know who left, that takes two reads.

    Who was merged into somebody else it knows.
    """
    withdrawals = run.planner.withdrawals
    if run.whole_site:  # nobody is asked any more about a course that is over: nobody is in it
        places = {(mapping.name, number) for mapping in run.world.project.mappings for number in ended}
        run.sweep.noted.update(places)
        withdrawals.looked_at.update(places)
    if not run.preview and run.whole_site:
        await follow_closed(run)
    if run.preview:
        await look_for_deserted(run)
    deleted = [] if run.preview or not run.whole_site else await ask_about_unlisted(run)
    left = await leaving_merged(run) if run.preview else await _left(run)
    complete = run.lists_all and run.whole_site and run.whole.issuperset(course.id for course in courses)
    elsewhere = await _unseen(run, courses, left) if complete and withdrawals.by_courses else set()
    over = await _over(run, ended) if run.whole_site else []
    bare = {one.row for one in [*left, *over] if not holds_personal(one.mapping)}
    withdrawn = await withdrawals.decide(run.reach, complete=complete, elsewhere=elsewhere, left=bare)
    left = [one for one in left if one.row not in withdrawals.set_aside]  # first they are emptied
    late = [] if run.preview or not run.whole_site else await never_emptied(run, ended, complete=complete)
    late = [one for one in late if one.row not in {*withdrawals.found, *withdrawals.held_back}]
    over = [one for one in over if one.row not in withdrawals.set_aside]
    unheard = await never_told(run, ended) if run.whole_site else []
    return await run.departures.rows(_each_once(withdrawn, left, over, late, deleted, unheard))


async def settle(run: Run) -> None:
    """Take in which cases CommCare has let go: the word that allowed it is used up."""
    for asked in () if run.preview else (LEAVERS, WITHDRAWN):
        await asked.settle(run.world, run.went)
    await run.earlier.empty(run.pusher, run.went)


async def _left(run: Run) -> list[Leaving]:
    """Return who left, and the cases of people who were merged into others."""
    merged = await leaving_merged(run)
    run.sweep.rosters = run.rosters
    await _note_members(run)
    return _each_once(merged, await run.sweep.decide(run.reach))


async def _note_members(run: Run) -> None:
    """Have the books know who is in courses of which no enrolments were compared: grades fail, or none are due."""
    books, site = run.world.books, run.world.project.site
    for mapping in run.world.project.mappings:
        for number, roster in run.rosters.items() if mapping.source == "enrolments" else ():
            if (mapping.name, number) not in run.sweep.noted and number not in run.between_terms:
                is_ours = mapping.makes_on(site)
                await books.do(books.store.note_members, mapping.name, number, {*roster.ids}, is_ours)


def _each_once(*parts: Sequence[Leaving]) -> list[Leaving]:
    """Return each case as the first part has it that holds it; what another one says of it, the next run hears.

    Somebody may have been merged a moment ago, and in a course that is over.
    """
    found: dict[RowId, Leaving] = {}
    for one in chain(*parts):
        found.setdefault(one.row, one)
    return [*found.values()]


async def _unseen(run: Run, courses: list[Course], leaving: Collection[Leaving]) -> set[int]:
    """Return people who may be in a course where this run did not see them: it is not read, or they are missing.

    Whoever is missing from a course is in it until he or she is marked as left, the guard's question included.
    """
    store = run.world.books.store
    swept = [m.name for m in run.world.project.mappings if m.source in IN_COURSE and m.when_left is not None]
    rows = await run.world.books.do(store.active_in_courses, swept, run.planner.withdrawals.by_courses)
    left, there = {one.row for one in leaving}, {number: set(r.ids) for number, r in run.rosters.items()}
    missing = {
        person
        for row, person in rows.items()
        if row not in left and row.scope in there and person not in there[row.scope]
    }
    return missing | await members_elsewhere(run, courses)


async def _over(run: Run, ended: Collection[int]) -> list[Leaving]:
    """Return the active cases of courses past their end date; they come back when the course runs again.

    Nobody reads such a course, so what is not certain of the others is said again as well, and the cases under
    keys that their mapping makes no more are told here, which would wait for a read for ever.
    """
    store, found = run.world.books.store, list[Leaving]()
    for mapping in run.mappings if ended else ():
        if mapping.source not in IN_COURSE:
            continue
        over = HEARS if mapping.when_course_ends is not None else frozenset[str]()
        scopes = await run.world.books.do(store.scopes, mapping.name, over | {"leaving", "closing"})
        for scope in sorted(scopes.intersection(ended)):
            for key, case in (await run.world.books.do(store.cases, mapping.name, scope)).items():
                row = RowId(mapping.name, scope, key)
                if case.status in over:
                    found.append(Leaving(mapping, row, case, mapping.when_course_ends, "ended"))
                elif case.status == "leaving" or (case.status == "closing" and case.missing_count):
                    found.append(Leaving(mapping, row, case, mapping.when_left, "left"))
    return found
