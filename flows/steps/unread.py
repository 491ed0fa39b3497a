"""Cases of people who are kept out that no read of a run shows: of a course that is over, say.

Nobody finds them kept out then, and what is personal in them has to go all the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Set
from typing import TYPE_CHECKING

from flows.steps.leaving import Leaving, emptied, holds_any
from flows.steps.planned import SITE_SCOPE
from flows.world import World
from mappings.engine import CompiledMapping
from state import CaseRow, RowId
from state.statuses import CLEARING, GONE, PASSING, TO_BE_EMPTIED

if TYPE_CHECKING:
    from flows.run import Run

Seat = tuple[str, int, int]
"""A mapping, a scope and a person."""
PEOPLE = 5000
"""How many people's cases are looked up at once: each time is a walk through all rows of the mapping."""
STAYS = PASSING - {"replaced"} | TO_BE_EMPTIED | {"withdrawn"}
LET_IN = ("active", "returning", "rejoining")
SHELLS = frozenset(GONE)
"""What a case is that says already that somebody is gone: only what is personal in it matters, and it stays so."""


async def children_of(world: World, going: Iterable[Leaving], found: Collection[RowId]) -> list[Leaving]:
    """Return the cases under cases that are withdrawn, but for those that were `found` kept out themselves."""
    gone = {seat(one.row, one.case) for one in going if one.case.user_id}
    children = list[Leaving]()
    for mapping in sorted(world.project.mappings, key=lambda mapping: mapping.level):
        async for row, case in below(world, mapping, gone):
            if case.status in STAYS:
                continue
            gone.add(seat(row, case))
            child = emptied(mapping, row, case)
            if row not in found and (case.status not in SHELLS or holds_any(child, world.books.store.digest)):
                children.append(child)
    return children


async def below(
    world: World, mapping: CompiledMapping, gone: Set[Seat], *, own: bool = False
) -> AsyncIterator[tuple[RowId, CaseRow]]:
    """Yield the cases of a mapping whose parents have one of these seats, or that have one of their `own`."""
    names = {rule.mapping for rule in mapping.parents} | ({mapping.name} if own else set())
    people = sorted({person for name, _, person in gone if name in names})
    for start in range(0, len(people), PEOPLE):
        rows = await world.books.do(world.books.store.cases_of, mapping.name, people[start : start + PEOPLE])
        for row, case in rows.items():
            seats = _parents(mapping, row, case) | ({seat(row, case)} if own else set())
            if not seats.isdisjoint(gone):
                yield row, case


def seat(row: RowId, case: CaseRow) -> Seat:
    """Return whose a case is, and where."""
    return row.mapping, row.scope, case.user_id


def _parents(mapping: CompiledMapping, row: RowId, case: CaseRow) -> set[Seat]:
    """Return where the parents of a case may be; also of the whole site."""
    return {(rule.mapping, scope, case.user_id) for rule in mapping.parents for scope in (SITE_SCOPE, row.scope)}


async def never_emptied(run: Run, ended: Collection[int], *, complete: bool) -> list[Leaving]:
    """Return the cases that an earlier run decided to empty, and that this one did not let in.

    `complete`: every selected course was read. Without that only of courses that are over nobody can be read.
    """
    store, found = run.world.books.store, list[Leaving]()
    failed = {number for number, course in run.result.courses.items() if course.state == "failed"}
    complete = complete and not run.reader.unsure_profiles
    for mapping in run.mappings:
        scopes = await run.world.books.do(store.scopes, mapping.name, TO_BE_EMPTIED)
        for scope in scopes if complete else scopes.intersection(ended):
            cases = await run.world.books.do(store.cases, mapping.name, scope) if scope not in failed else {}
            # Whose profile was not given may have been let in.
            waiting = {key: one for key, one in cases.items() if one.user_id not in run.reader.lost_profiles}
            rows = {RowId(mapping.name, scope, key): case for key, case in waiting.items()}
            found += [emptied(mapping, row, case) for row, case in rows.items() if case.status in TO_BE_EMPTIED]
    return found if not found else await _but_let_in(run, found, ended)


async def _but_let_in(run: Run, found: list[Leaving], ended: Collection[int]) -> list[Leaving]:
    """Leave out the cases of people who are let in again, as the cases above them tell; a course may be over."""
    children = [one for one in found if one.mapping.parents]
    people = {one.case.user_id for one in children if one.case.user_id}
    let_in = set[Seat]()
    for name in {rule.mapping for one in children for rule in one.mapping.parents} if people else ():
        rows = await run.world.books.do(run.world.books.store.cases_of, name, people)
        let_in |= {(name, row.scope, case.user_id) for row, case in rows.items() if case.status in LET_IN}
    staying = list[Leaving]()
    for one in found:
        if _parents(one.mapping, one.row, one.case).isdisjoint(let_in):
            staying.append(one)
        elif one.case.status == CLEARING:
            staying.append(Leaving(one.mapping, one.row, one.case, one.mapping.when_left, "left"))
        elif one.row.scope in ended and one.mapping.when_course_ends is not None:
            staying.append(Leaving(one.mapping, one.row, one.case, one.mapping.when_course_ends, "ended"))
    return staying
