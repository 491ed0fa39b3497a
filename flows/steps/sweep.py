"""Who is gone: missing from two complete reads in a row, and few enough that no person has to be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from flows.result import Result
from flows.steps.asked import LEAVERS, Decided
from flows.steps.depart import EMPTIES, Leaving, again
from flows.steps.planned import SITE_SCOPE, Scope
from flows.steps.pull import IN_COURSE
from flows.world import World
from mappings.engine import CompiledMapping
from state import Missing, RowId
from state.cases import UNSETTLED

READS = 2
UNSURE = EMPTIES | {"leaving", "closing"}
"""What a case is that was allowed to go, and nobody knows whether it did."""


@dataclass
class Gone:
    """Rows of one scope that two complete reads lacked."""

    mapping: CompiledMapping
    scope: int
    rows: list[Missing]
    active: int
    empty: bool

    @property
    def people(self) -> int:
        """Return how many people the rows are about."""
        return len({missing.case.user_id or missing.row.key for missing in self.rows})

    def is_suspicious(self, people: int, percent: float) -> bool:
        """Say whether a person has to be asked: nobody is there any more, or too many are gone at once."""
        return self.empty or (self.people >= people and len(self.rows) > self.active * percent / 100)


@dataclass
class Sweep:
    """Collects who is missing while courses are read, and decides at the end of the run."""

    world: World
    result: Result
    found: list[Gone] = field(default_factory=list)
    noted: set[int] = field(default_factory=set)
    """Scopes that this run compared."""
    replaced: list[tuple[CompiledMapping, Missing]] = field(default_factory=list)
    """Cases that nobody is asked about: those under keys that their mapping makes no more (`sync --rekey` was the
    word of a person), and those that were allowed to go before: CommCare refused to mark them, or did not say."""

    async def note(self, scope: Scope, *, protected: Set[int] = frozenset()) -> None:
        """Compare a complete read with the books; `protected` are people whom nothing of this read is about."""
        store, mapping = self.world.books.store, scope.mapping
        missing = await self.world.books.do(
            store.note_read, mapping.name, scope.number, scope.seen, self.result.run_id, protected
        )
        self.noted.add(scope.number)
        replaced = [m for m in missing if m.case.status == "replaced"]
        missing = [m for m in missing if m.case.status != "replaced"]
        self.replaced += [(mapping, m) for m in replaced if mapping.when_left is not None]
        due = [m for m in missing if m.case.missing_count >= READS]
        stuck = await self._stuck()
        unsure = {m.row for m in due if m.case.status in UNSURE and m.row not in stuck}
        self.replaced += [(mapping, m) for m in due if m.row in unsure]
        due = [m for m in due if m.row not in unsure]
        if due and mapping.when_left is not None:
            refused = {row.row for row in await self.world.books.do(store.refusals) if row.op == "left"}
            self.replaced += [(mapping, m) for m in due if m.row in refused]
            due = [m for m in due if m.row not in refused]
        if due and mapping.when_left is not None:
            active = await self.world.books.do(store.count_active, mapping.name, scope.number)
            # Moodle hides learners from an account that lost a right, and goes on showing the teachers.
            all_gone = active <= sum(1 for m in missing if m.case.case_id and m.case.status not in UNSETTLED)
            nobody = not scope.seen and (scope.number == SITE_SCOPE or not protected)
            self.found.append(Gone(mapping, scope.number, due, active, all_gone or nobody))

    def told(self) -> dict[str, Any]:
        """Return what a shard found, as JSON, for the end of its round."""
        found = [
            [gone.mapping.name, gone.scope, [missing.row.key for missing in gone.rows], gone.active, gone.empty]
            for gone in self.found
        ]
        replaced = [[mapping.name, missing.row.scope, missing.row.key] for mapping, missing in self.replaced]
        return {"noted": sorted(self.noted), "found": found, "replaced": replaced}

    async def take_over(self, told: Mapping[str, Any]) -> None:
        """Take in what a shard found; the rows are read anew."""
        mappings = {mapping.name: mapping for mapping in self.world.project.mappings}
        self.noted.update(told["noted"])
        for name, scope, keys, active, empty in told["found"]:
            rows = await self._rows(name, scope, keys)
            self.found.append(Gone(mappings[name], scope, rows, active, empty))
        for name, scope, key in told["replaced"]:
            self.replaced += [(mappings[name], missing) for missing in await self._rows(name, scope, [key])]

    async def _rows(self, name: str, scope: int, keys: Sequence[str]) -> list[Missing]:
        known = await self.world.books.do(self.world.books.store.cases, name, scope, keys)
        return [Missing(RowId(name, scope, key), known[key]) for key in keys if key in known]

    async def decide(self) -> list[Leaving]:
        """Return who left; what the guard refuses waits for a person."""
        confirmed, going = await LEAVERS.given(self.world), await LEAVERS.going(self.world)
        self.replaced += [(gone.mapping, m) for gone in self.found for m in gone.rows if m.row in going]
        parts = [replace(gone, rows=[m for m in gone.rows if m.row not in going]) for gone in self.found]
        self.found = [gone for gone in parts if gone.rows]
        allowed, refused = await self._guarded(confirmed) if self.found else ([], {})
        gone = [(gone.mapping, missing) for gone in allowed for missing in gone.rows]
        rows = {m.row for _, m in gone} | {m.row for _, m in self.replaced if m.row in going}
        await LEAVERS.remember(
            self.world, self.result, Decided(refused, sorted(rows), confirmed, sorted(self.noted))
        )
        # Where so many are missing that a person is asked, nothing that is not certain is said either.
        gone += [
            (mapping, m)
            for mapping, m in self.replaced
            if m.case.status not in UNSURE or m.row in going or m.row.scope not in refused
        ]
        stuck = await self._stuck()
        return [_leaving(mapping, m, is_stuck=m.row in stuck) for mapping, m in gone]

    async def _stuck(self) -> set[RowId]:
        """Return the cases that CommCare refuses to empty as the mapping says: that keeps nobody from leaving."""
        refusals = await self.world.books.do(self.world.books.store.refusals)
        return {one.row for one in refusals if one.op == "withdrawn"}

    async def _guarded(self, confirmed: Mapping[int, int]) -> tuple[list[Gone], dict[int, int]]:
        """Split what was found into allowed and refused (people by course id, 0 for people of the site)."""
        guards, store = self.world.project.guards, self.world.books.store
        parts = [gone for gone in self.found if gone.scope != SITE_SCOPE]
        refused = self._suspicious(parts, confirmed)
        parts += await self._gone_from_courses_too([gone for gone in parts if gone.scope not in refused])
        refused |= self._suspicious([gone for gone in parts if gone.scope == SITE_SCOPE], confirmed)
        people = _people(parts)
        asked = {scope for scope in people if scope not in refused and confirmed.get(scope) != people[scope]}
        everything = 0
        for name in {mapping.name for mapping in self.world.project.mappings}:
            everything += await self.world.books.do(store.count_active, name)
        total = sum(len(gone.rows) for gone in parts if gone.scope in asked)
        if total > max(guards.run_cases, everything * guards.run_percent / 100):
            refused |= {scope: people[scope] for scope in asked}
        return [gone for gone in parts if gone.scope not in refused], refused

    def _suspicious(self, parts: Sequence[Gone], confirmed: Mapping[int, int]) -> dict[int, int]:
        """Return the scopes that nobody confirmed and that lost too many, with their people."""
        guards, people = self.world.project.guards, _people(parts)
        return {
            gone.scope: people[gone.scope]
            for gone in parts
            if confirmed.get(gone.scope) != people[gone.scope]
            and gone.is_suspicious(guards.leavers_people, guards.leavers_percent)
        }

    async def _gone_from_courses_too(self, leaving: Sequence[Gone]) -> list[Gone]:
        """Return who is gone from the site: nobody has left it who has not left every course, guard included."""
        site = [gone for gone in self.found if gone.scope == SITE_SCOPE]
        swept = [m.name for m in self.world.project.mappings if m.source in IN_COURSE and m.when_left is not None]
        people = {m.case.user_id for gone in site for m in gone.rows}
        if not people or not swept:
            return site
        cases = await self.world.books.do(self.world.books.store.active_in_courses, swept, people)
        left = {m.row for gone in leaving for m in gone.rows} | {m.row for _, m in self.replaced}
        staying = {person for row, person in cases.items() if row not in left}
        parts = [replace(g, rows=[m for m in g.rows if m.case.user_id not in staying]) for g in site]
        return [gone for gone in parts if gone.rows]


def _leaving(mapping: CompiledMapping, missing: Missing, *, is_stuck: bool) -> Leaving:
    """Return how a case goes away: as it was decided before, else as one whose person left."""
    row, case = missing.row, missing.case
    left = Leaving(mapping, row, case, mapping.when_left, "left", private=case.status in EMPTIES)
    return left if is_stuck else again(mapping, row, case) or left


def _people(parts: Sequence[Gone]) -> dict[int, int]:
    """Return how many people each scope lost."""
    people: dict[int, int] = {}
    for gone in parts:
        people[gone.scope] = max(gone.people, people.get(gone.scope, 0))
    return people
