"""Who is gone: missing from two complete reads in a row, and few enough that no person has to be asked."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from adaptors.commcare.cases import CaseWrite
from flows.result import Result, RunState
from flows.steps.planned import Planned, Scope
from flows.world import World
from mappings.engine import CompiledMapping
from state import Ack, Missing, RowId

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


@dataclass
class Sweep:
    """Collects who is missing while courses are read, and decides at the end of the run."""

    world: World
    result: Result
    found: list[Gone] = field(default_factory=list)
    settled: list[Planned] = field(default_factory=list)

    async def note(self, scope: Scope, *, protected: Collection[int] = ()) -> None:
        """Compare a complete read with the books; `protected` are people known to be in a course not read."""
        store = self.world.books.store
        missing = await self.world.books.do(
            store.note_read, scope.mapping.name, scope.number, scope.seen, self.result.run_id
        )
        due = [m for m in missing if m.case.missing_count >= READS and m.case.user_id not in protected]
        due = [m for m in due if m.case.case_id]
        if due and scope.mapping.when_left is not None:
            active = await self.world.books.do(store.count_active, scope.mapping.name, scope.number)
            self.found.append(Gone(scope.mapping, scope.number, due, active, not scope.seen))

    async def decide(self) -> list[Planned]:
        """Return the rows that mark people as left; what the guard refuses waits for a person."""
        if not self.found:
            return []
        allowed, refused = await self._guarded()
        await self._remember(refused)
        resting = await self.world.books.do(self.world.books.store.intents)
        rows = [self._left(gone.mapping, missing) for gone in allowed for missing in gone.rows]
        rows = [row for row in rows if row.row not in resting]
        silent = [row for row in rows if not row.write.properties]
        if silent:
            await self._mark_silently(silent)
        return [row for row in rows if row.write.properties]

    async def _guarded(self) -> tuple[list[Gone], dict[int, int]]:
        """Split what was found into allowed and refused (people by course id, 0 for people of the site)."""
        guards = self.world.project.guards
        store = self.world.books.store
        confirmed = _counts(await self.world.books.do(store.get, CONFIRMED_LEAVERS))
        by_scope: dict[int, list[Gone]] = defaultdict(list)
        for gone in self.found:
            by_scope[gone.scope].append(gone)
        people = {scope: max(gone.people for gone in parts) for scope, parts in by_scope.items()}
        refused = {
            scope: people[scope]
            for scope, parts in by_scope.items()
            if confirmed.get(scope) != people[scope]
            and any(_suspicious(gone, guards.leavers_people, guards.leavers_percent) for gone in parts)
        }
        rest = {scope: parts for scope, parts in by_scope.items() if scope not in refused}
        total = sum(len(gone.rows) for scope, parts in rest.items() if scope not in confirmed for gone in parts)
        everything = 0
        for name in {mapping.name for mapping in self.world.project.mappings}:
            everything += await self.world.books.do(store.count_active, name)
        if total > max(guards.run_cases, everything * guards.run_percent / 100):
            refused |= {scope: people[scope] for scope in rest if scope not in confirmed}
        return [gone for gone in self.found if gone.scope not in refused], refused

    async def _remember(self, refused: Mapping[int, int]) -> None:
        store = self.world.books.store
        await self.world.books.do(store.put, REFUSED_LEAVERS, json.dumps(refused))
        await self.world.books.do(store.put, CONFIRMED_LEAVERS, "{}")
        for scope, people in sorted(refused.items()):
            where = f"course {scope}" if scope else "the people of the site"
            self.result.worse(
                RunState.WAITING,
                f"{people} people are missing from {where}, more than is usual; nobody was marked as left there. "
                f"If that is right: moodle-commcare confirm-leavers {scope} --count {people}",
            )

    def _left(self, mapping: CompiledMapping, missing: Missing) -> Planned:
        """Build the row that marks a case as left; what it holds already is not sent again."""
        digest, case = self.world.books.store.digest, missing.case
        wanted = {name: digest(missing.row.key, name, value) for name, value in (mapping.when_left or {}).items()}
        changed = {name for name, value in wanted.items() if (case.digests or {}).get(name) != value}
        properties = {name: (mapping.when_left or {})[name] for name in changed}
        write = CaseWrite(missing.row.key, case.case_id, mapping.case_type, None, None, properties, ())
        digests = {name: wanted[name] for name in changed}
        return Planned(missing.row, mapping.case_type, case.user_id, write, digests, "left", "left")

    async def _mark_silently(self, rows: Sequence[Planned]) -> None:
        """Note in the books that a case is left which says so already."""
        store = self.world.books.store
        known: dict[RowId, str] = {m.row: m.case.owner_id for gone in self.found for m in gone.rows}
        acks = [Ack(row.row, row.write.case_id, known[row.row], {}, "left", row.user_id) for row in rows]
        await self.world.books.do(store.acknowledge, acks, self.world.clock.now())


def _suspicious(gone: Gone, people: int, percent: float) -> bool:
    many = gone.people >= people and len(gone.rows) > gone.active * percent / 100
    return gone.empty or many


def _counts(text: str | None) -> dict[int, int]:
    return {int(scope): int(people) for scope, people in json.loads(text or "{}").items()}
