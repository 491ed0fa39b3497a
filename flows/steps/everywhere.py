"""Who is gone from every course by a person's word is gone from the site: nobody is asked a second time."""

from __future__ import annotations

from collections.abc import Mapping, Set

from flows.steps.planned import SITE_SCOPE
from flows.steps.pull import IN_COURSE
from flows.steps.rosters import OF_PEOPLE
from flows.world import World
from state import RowId
from state.statuses import LIVING


async def gone_everywhere(world: World, people: Mapping[int, Set[int]], going: Set[RowId]) -> set[RowId]:
    """Return the living cases of the site whose people a person said to be gone from the courses where they were.

    `people` has whom a word of this run is about, with those courses; `going` are cases that earlier words are
    about. Somebody with a case in another course, or last seen in one (be it one that is not read any more), is
    not among them. Two complete reads have to lack a case of the site as well, as ever.
    """
    if not people:
        return set()
    store, mappings = world.books.store, world.project.mappings
    swept = [one.name for one in mappings if one.source in IN_COURSE and one.when_left is not None]
    cases = await world.books.do(store.active_in_courses, swept, {*people})
    staying = {person for row, person in cases.items() if row.scope not in people[person] and row not in going}
    left = people.keys() - staying
    left -= await _members(world, left)
    of_site = [one.name for one in mappings if one.source in OF_PEOPLE and one.when_left is not None]
    found = set[RowId]()
    for name in of_site if left else ():
        rows = await world.books.do(store.cases_of, name, left)
        found |= {row for row, case in rows.items() if case.case_id and case.status in LIVING}
    return found


async def _members(world: World, people: set[int]) -> set[int]:
    """Return those of some people whom the last complete read of any course showed there."""
    store, found = world.books.store, set[int]()
    for course in await world.books.do(store.courses) if people else ():
        if course != SITE_SCOPE:
            found |= people & await world.books.do(store.member_ids, course)
    return found
