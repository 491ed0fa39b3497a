"""Courses in which Moodle shows nobody any more who has a case: a lost right looks like everybody leaving."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flows.needs import LOST_RIGHT
from flows.questions import Parts
from flows.result import Result, RunState
from flows.steps.planned import SITE_SCOPE, Scope
from flows.steps.reach import Place, Reach
from flows.words import courses_named
from flows.world import World
from state import Missing, RowId
from state.statuses import LIVING

if TYPE_CHECKING:
    from flows.run import Run

SHOW_EVERYBODY = frozenset({"users", "enrolments"})
"""Sources that have a record of everybody who is there."""


@dataclass
class Deserted:
    """Collects where a read lacked everybody, and says so before anybody is asked."""

    world: World
    result: Result
    _first: dict[Place, set[RowId]] = field(default_factory=dict)
    """Mapping and course (0: the site) of which all living cases are lacking: those that no read lacked before."""

    async def note(self, scope: Scope, missing: Sequence[Missing], protected: Collection[int]) -> None:
        """Take in what a complete read lacked; while people are in a course, no grades say nothing about it."""
        living = [m for m in missing if m.case.case_id and m.case.status in LIVING]
        source = scope.mapping.source
        if not living or source == "engagement" or (protected and source not in SHOW_EVERYBODY):
            return
        if len(living) >= await self.world.books.do(
            self.world.books.store.count_active, scope.mapping.name, scope.number
        ):
            first = {m.row for m in living if m.case.missing_count < 2}
            self._first[scope.mapping.name, scope.number] = first

    def among(self, asked: Mapping[int, Parts]) -> dict[int, Parts]:
        """Return those of the people asked about who are all that had a case of their mapping there."""
        found = {
            number: {mapping: people for mapping, people in parts.items() if (mapping, number) in self._first}
            for number, parts in asked.items()
        }
        return {number: parts for number, parts in found.items() if parts}

    async def tell(self, noted: Set[Place], reach: Reach, asked: Set[int], going: Set[RowId]) -> None:
        """Say where nobody is any more since this read; of who is asked about, the question says it."""
        places = {number for (_, number), rows in self._first.items() if rows - going} - asked
        courses = {number for number in places if await self._is_deserted(noted, number)}
        courses = courses - {SITE_SCOPE} or courses
        if not courses:
            return
        alone = SITE_SCOPE in courses or (reach.courses is not None and len(reach.courses) == 1)
        tell_deserted(self.result, courses, worrying=alone or len(courses) > 1)

    async def _is_deserted(self, noted: Set[Place], number: int) -> bool:
        """Say whether no mapping has anybody there: the only teacher may go, and the learners stay."""
        books, sources = self.world.books, {one.name: one.source for one in self.world.project.mappings}
        others = [name for name, there in noted - self._first.keys() if there == number]
        others = [name for name in others if sources[name] in SHOW_EVERYBODY]
        counts = [await books.do(books.store.count_active, name, number) for name in others]
        return not any(counts)

    def told(self) -> list[Any]:
        """Return what a shard found, as JSON, for the end of its round."""
        return [[*place, [row.key for row in sorted(rows)]] for place, rows in sorted(self._first.items())]

    def take_over(self, told: Sequence[Any]) -> None:
        """Take in what a shard found."""
        self._first |= {(name, number): {RowId(name, number, key) for key in keys} for name, number, keys in told}


async def look_for_deserted(run: Run) -> None:
    """Say in a preview in which courses nobody is any more who has a case: it takes no note of who is missing."""
    store, courses = run.world.books.store, set[int]()
    names = [mapping.name for mapping in run.mappings if mapping.source == "enrolments"]
    for number, roster in run.rosters.items():
        people = set[int]()
        for name in names:
            people.update((await run.world.books.do(store.active_keys, name, number)).values())
        if people and roster.is_whole and people.isdisjoint(roster.ids):
            courses.add(number)
    if courses:
        alone = run.whole_site and len(run.read) == 1
        tell_deserted(run.result, courses, worrying=alone or len(courses) > 1)


def tell_deserted(result: Result, courses: Collection[int], *, worrying: bool) -> None:
    """Say it: a single one of several courses may be over, of many, or of all there are, somebody should know."""
    where = courses_named(courses) if any(courses) else "any course"
    look = "the course" if len(courses) == 1 and any(courses) else "one of them" if any(courses) else "a course"
    result.worse(
        RunState.DEGRADED if worrying else RunState.COMPLETED,
        f"Moodle shows nobody any more in {where} who has a case. Look at {look} in Moodle: {LOST_RIGHT} Nobody "
        "is marked as left unless a person says so.",
    )
