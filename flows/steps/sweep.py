"""Who is gone: missing from two complete reads in a row, and few enough that no person has to be asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from adaptors.commcare.cases import CaseWrite
from adaptors.errors import Refused
from flows.result import Result, RunState
from flows.steps.planned import SITE_SCOPE, Planned, Scope
from flows.steps.pull import IN_COURSE
from flows.world import World
from mappings.engine import CompiledMapping
from state import Ack, CaseRow, Missing

READS = 2
REFUSED_LEAVERS = "refused_leavers"  # fact in the books: {course id: people}
CONFIRMED_LEAVERS = "confirmed_leavers"  # fact in the books: {course id: people}, written by a person


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

    async def note(self, scope: Scope, *, protected: Set[int] = frozenset()) -> None:
        """Compare a complete read with the books; `protected` are people whom nothing of this read is about."""
        store, mapping = self.world.books.store, scope.mapping
        missing = await self.world.books.do(
            store.note_read, mapping.name, scope.number, scope.seen, self.result.run_id, protected
        )
        self.noted.add(scope.number)
        due = [m for m in missing if m.case.missing_count >= READS]
        if due and mapping.when_left is not None:
            active = await self.world.books.do(store.count_active, mapping.name, scope.number)
            # Moodle hides learners from an account that lost a right, and goes on showing the teachers.
            all_gone = active <= sum(1 for m in missing if m.case.case_id)
            nobody = not scope.seen and (scope.number == SITE_SCOPE or not protected)
            self.found.append(Gone(mapping, scope.number, due, active, all_gone or nobody))

    async def decide(self) -> list[Planned]:
        """Return the rows that mark people as left; what the guard refuses waits for a person."""
        confirmed = await self._fact(CONFIRMED_LEAVERS)
        allowed, refused = await self._guarded(confirmed) if self.found else ([], {})
        await self._remember(refused, confirmed)
        if not allowed:
            return []
        resting = await self.world.books.do(self.world.books.store.intents)
        rows, silent = list[Planned](), list[Ack]()
        for mapping, missing in [(gone.mapping, m) for gone in allowed for m in gone.rows if m.row not in resting]:
            case = await self._known(missing)
            row = self._left(mapping, missing, case) if case else None
            if case and row and case.case_id and row.write.properties:
                rows.append(row)
            elif case:  # it says so already, or there is no such case
                silent.append(Ack(missing.row, case.case_id, case.owner_id, {}, "left", case.user_id))
        await self.world.books.do(self.world.books.store.acknowledge, silent, self.world.clock.now())
        return rows

    async def _known(self, missing: Missing) -> CaseRow | None:
        """Return the case; one whose first write was never answered is asked for, None when it is not certain."""
        if missing.case.case_id:
            return missing.case
        try:
            found = await self.world.commcare.case_by_external_id(missing.row.key)
        except Refused:
            return None
        if found is None:
            return missing.case
        return replace(missing.case, case_id=found.case_id, owner_id=found.owner_id)

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
        left = {m.row for gone in leaving for m in gone.rows}
        staying = {person for row, person in cases.items() if row not in left}
        parts = [replace(g, rows=[m for m in g.rows if m.case.user_id not in staying]) for g in site]
        return [gone for gone in parts if gone.rows]

    async def _fact(self, name: str) -> dict[int, int]:
        """Return people by scope as a fact holds them."""
        text = await self.world.books.do(self.world.books.store.get, name)
        return {int(scope): int(people) for scope, people in json.loads(text or "{}").items()}

    async def _remember(self, refused: Mapping[int, int], confirmed: Mapping[int, int]) -> None:
        """Write down what waits for a person; what this run did not compare stays as it was."""
        waiting = await self._fact(REFUSED_LEAVERS)
        for name, before, now in (
            (REFUSED_LEAVERS, waiting, refused),
            (CONFIRMED_LEAVERS, confirmed, {}),
        ):
            kept = {scope: people for scope, people in before.items() if scope not in self.noted}
            if kept | dict(now) != before:
                await self.world.books.do(self.world.books.store.put, name, json.dumps(kept | dict(now)))
        for scope, people in sorted(refused.items()):
            where = f"course {scope}" if scope else "the people of the site"
            self.result.worse(
                RunState.WAITING,
                f"{people} people are missing from {where}, more than is usual; nobody was marked as left there. "
                f"If that is right: moodle-commcare confirm-leavers {scope} --count {people}",
            )

    def _left(self, mapping: CompiledMapping, missing: Missing, case: CaseRow) -> Planned:
        """Build the row that marks a case as left; what it holds already is not sent again."""
        digest = self.world.books.store.digest
        said = mapping.when_left.set if mapping.when_left is not None else {}
        wanted = {name: digest(missing.row.key, name, value) for name, value in said.items()}
        changed = {name for name, value in wanted.items() if (case.digests or {}).get(name) != value}
        properties = {name: said[name] for name in changed}
        write = CaseWrite(missing.row.key, case.case_id, mapping.case_type, None, None, properties, ())
        digests = {name: wanted[name] for name in changed}
        return Planned(missing.row, mapping.case_type, case.user_id, write, digests, "left", "left")


def _people(parts: Sequence[Gone]) -> dict[int, int]:
    """Return how many people each scope lost."""
    people: dict[int, int] = {}
    for gone in parts:
        people[gone.scope] = max(gone.people, people.get(gone.scope, 0))
    return people
