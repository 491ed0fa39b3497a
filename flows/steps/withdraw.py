"""People with a case whom `include` or `exclude` keeps out now: what is personal is emptied, few at a time.

An edit of a mapping can keep out thousands at once, so more than the guards allow waits for a person's word.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from flows.questions import Parts
from flows.result import Result, RunState
from flows.steps.asked import WITHDRAWN, Decided
from flows.steps.leaving import Leaving, holds_any, withdrawn
from flows.steps.long_out import Look, holds_value
from flows.steps.planned import SITE_SCOPE, Scope
from flows.steps.reach import Place, Reach
from flows.steps.unread import children_of
from flows.words import numbered
from flows.world import World
from mappings.engine import CompiledMapping
from state import CaseRow, RowId
from state.statuses import CLOSED, KEPT_OUT, TO_BE_EMPTIED

LACKING = "{name} kept out"  # stands for a mapping where the books remember what one read lacked


@dataclass(frozen=True)
class KeptOut:
    """A case that is kept out, by the mapping or since `parent` is; `firm`: whatever courses its person is in."""

    mapping: CompiledMapping
    row: RowId
    case: CaseRow
    firm: bool = True
    parent: RowId | None = None


@dataclass
class Withdrawals:
    """Collects who is kept out while records are planned, and decides at the end of the run."""

    world: World
    result: Result
    rows: set[RowId] = field(default_factory=set)
    """Every record that this run found kept out, with a case or without: their children are kept out too."""
    looked_at: set[Place] = field(default_factory=set)
    """Where this run planned which mapping."""
    held_back: set[RowId] = field(default_factory=set)
    """Records that this run saw and the mapping does not keep out, but of which it cannot make a case."""
    let_in: set[RowId] = field(default_factory=set)
    """Records of cases that are kept out by the books, and that the mapping lets in."""
    _mappings: set[str] = field(default_factory=set)
    _found: list[KeptOut] = field(default_factory=list)

    def note(self, scope: Scope, known: Mapping[str, CaseRow], *, has_children: bool) -> None:
        """Take in what a scope's mapping keeps out."""
        self.looked_at.add((scope.mapping.name, scope.number))
        if scope.number == SITE_SCOPE:
            self._mappings.add(scope.mapping.name)
        unmade = scope.seen - scope.drafts.keys() - scope.excluded.keys()
        self.held_back.update(RowId(scope.mapping.name, scope.number, key) for key in unmade)
        back = {key for key, case in known.items() if case.status in KEPT_OUT and key in scope.drafts}
        self.let_in.update(RowId(scope.mapping.name, scope.number, key) for key in back)
        for key, firm in scope.excluded.items():
            if key in scope.drafts:
                continue
            row = RowId(scope.mapping.name, scope.number, key)
            if has_children:
                self.rows.add(row)
            if key in known:
                self._add(KeptOut(scope.mapping, row, known[key], firm))

    def follow(self, mapping: CompiledMapping, row: RowId, case: CaseRow | None, parent: RowId) -> None:
        """Take in a record that is kept out because its parent is."""
        self.rows.add(row)
        if case is not None:
            self._add(KeptOut(mapping, row, case, parent=parent))

    def take_in(self, cases: Iterable[KeptOut]) -> None:
        """Take in cases under keys of before; of those that left only what holds anything personal."""
        for one in cases:
            if one.case.status == "replaced" or self._holds_any(one):
                self._add(one)

    @property
    def set_aside(self) -> set[RowId]:
        """Return the replaced cases that are to be emptied, or wait for a word: until then they do not go."""
        return {one.row for one in self._found if one.case.status == "replaced"}

    def _add(self, one: KeptOut) -> None:
        if one.case.status == "withdrawn" and not holds_value(self._leaving(one), self.world.books.store.digest):
            return
        if one.case.status == "closed" and not self._holds_any(one):
            return
        self._found.append(one)

    def _holds_any(self, one: KeptOut) -> bool:
        """Say whether a closed case still holds something personal: only that is of any use then."""
        return holds_any(self._leaving(one), self.world.books.store.digest)

    @staticmethod
    def _leaving(one: KeptOut) -> Leaving:
        return withdrawn(one.mapping, one.row, one.case)

    @property
    def found(self) -> Collection[RowId]:
        """Return the cases that this run found kept out."""
        return {one.row for one in self._found}

    def told(self) -> dict[str, Any]:
        """Return what a shard found, as JSON, for the end of its round."""
        found = [[*one.row, one.firm, list(one.parent) if one.parent else None] for one in self._found]
        held_back = [[*row] for row in sorted(self.held_back)]
        return {"looked_at": sorted(self.looked_at), "found": found, "held_back": held_back}

    async def take_over(self, told: Mapping[str, Any]) -> None:
        """Take in what a shard found; the cases are read anew."""
        mappings = {mapping.name: mapping for mapping in self.world.project.mappings}
        self.looked_at.update((name, scope) for name, scope in told["looked_at"])
        self.held_back.update(RowId(*row) for row in told["held_back"])
        places = defaultdict(list)
        for name, scope, key, firm, parent in told["found"]:
            places[name, scope].append((key, firm, RowId(*parent) if parent else None))
        for (name, scope), found in places.items():
            keys = [key for key, _, _ in found]
            known = await self.world.books.do(self.world.books.store.cases, name, scope, keys)
            for key, firm, parent in found:
                if key in known:
                    row = RowId(name, scope, key)
                    self._found.append(KeptOut(mappings[name], row, known[key], firm, parent))

    @property
    def by_courses(self) -> set[int]:
        """Return the people who are kept out only by what they are in the courses."""
        return {one.case.user_id for one in self._found if not one.firm}

    async def decide(
        self, reach: Reach, *, complete: bool, elsewhere: Collection[int], left: Collection[RowId]
    ) -> list[Leaving]:
        """Return whose cases are withdrawn.

        `complete`: every selected course was read; `elsewhere` are people of whom a course may not have been seen.
        Without the first, and for the second, roles and groups say nothing: those people may have others there.
        `left`: cases that leave in this run, or whose course is over, and that hold nothing to be emptied.
        """
        sure = await self._sure([one for one in self._found if not one.firm]) if complete else set()
        found = [one for one in self._found if one.firm or (one.row in sure and one.case.user_id not in elsewhere)]
        candidates = {one.row for one in self._found}
        own = [one for one in found if one.parent is None or one.parent not in candidates]
        given, going = await WITHDRAWN.given(self.world)
        # Of those that were allowed already, or sent, and of which CommCare did not answer, nobody is asked again.
        going |= {one.row for one in own if _was_allowed(one.case)} | await self._following(own)
        unasked = [one for one in own if one.row not in going]
        agreed = WITHDRAWN.agreed(given, _people(unasked))
        refused = await self._refused([one for one in unasked if one.row[:2] not in agreed])
        allowed = {
            one.row: one
            for one in own
            if one.row in going or one.row.mapping not in refused.get(one.row.scope, {})
        }
        for one in sorted(found, key=lambda one: one.mapping.level):
            if one.parent in allowed:  # a child goes the way of its parent, and nobody is asked twice
                allowed[one.row] = one
        resting = await self.world.books.do(self.world.books.store.intents) if going else {}
        rows = allowed.keys() | (going & resting.keys())  # a child whose write rests is not looked at
        decided = Decided(refused, sorted(rows), given, self.looked_at, reach, used=agreed)
        await WITHDRAWN.remember(self.world, self.result, decided)
        leaving = [self._leaving(one) for one in allowed.values()]
        leaving += await children_of(self.world, leaving, {*self.found, *left})
        asked = {one.row for one in self._found} - allowed.keys()
        return leaving + await self._left_behind({*left, *asked, *(one.row for one in leaving)}, asked, reach)

    async def _left_behind(self, decided: Set[RowId], asked: Set[RowId], reach: Reach) -> list[Leaving]:
        """Return what an edit adds of those kept out before; who waits for what a person is `asked` is not."""
        passed = {*self.held_back, *asked, *(self.let_in - self.rows)}
        look = Look(self.world, decided, passed, self.rows, self.looked_at)
        whole = reach.everybody or reach.courses is not None
        return await look.left_behind(whole=whole, preview=self.result.preview)

    async def _sure(self, loose: Sequence[KeptOut]) -> set[RowId]:
        """Return whom an earlier run found kept out as well: a right that is lost hides people and their roles.

        A preview counts all of them, since it is of an edit, and says that it takes two runs.
        """
        if self.result.preview:
            people = {one.case.user_id or one.row.key for one in loose}
            if people:
                who = numbered(len(people), "person", "people")
                self.result.worse(
                    RunState.COMPLETED,
                    f"{who} kept out only by roles or groups: withdrawn once two complete runs have found that.",
                )
            return {one.row for one in loose}
        sure, store = set[RowId](), self.world.books.store
        for name in self._mappings:
            lacked = {one.row.key: ["@include"] for one in loose if one.mapping.name == name}
            place = (LACKING.format(name=name), SITE_SCOPE)
            due = await self.world.books.do(store.note_lacking, *place, None, lacked, self.result.run_id)
            sure |= {RowId(name, SITE_SCOPE, key) for key in due}
        return sure

    async def _following(self, own: Sequence[KeptOut]) -> set[RowId]:
        """Return the rows whose parent was withdrawn before: they were allowed with it."""
        places, found = defaultdict[Place, dict[str, list[RowId]]](lambda: defaultdict(list)), set[RowId]()
        for one in own:
            if one.parent is not None:
                places[one.parent[:2]][one.parent.key].append(one.row)
        for place, children in places.items():
            parents = await self.world.books.do(self.world.books.store.cases, *place, children.keys())
            found.update(*(children[key] for key, parent in parents.items() if parent.status in KEPT_OUT))
        return found

    async def _refused(self, own: Sequence[KeptOut]) -> dict[int, Parts]:
        """Return the scopes of which a person has to be asked, with their people by mapping."""
        guards, store = self.world.project.guards, self.world.books.store
        rows = Counter((one.row.mapping, one.row.scope) for one in own)
        asked, refused = _people(own), dict[int, Parts]()
        for (name, scope), count in rows.items():
            living = await self.world.books.do(store.count_active, name, scope)
            many = WITHDRAWN.people(asked[scope]) >= guards.leavers_people
            if many and count > living * guards.leavers_percent / 100:
                refused[scope] = asked[scope]
        total = sum(count for (_, scope), count in rows.items() if scope not in refused)
        everything = 0
        for mapping in self.world.project.mappings if total else ():
            everything += await self.world.books.do(store.count_active, mapping.name)
        over = total > max(guards.run_cases, everything * guards.run_percent / 100)
        return asked if over else refused


def _was_allowed(case: CaseRow) -> bool:
    """Say whether a case was to be emptied before, or may have been: a dirty one that we closed lives no more."""
    return (
        case.status in TO_BE_EMPTIED
        or case.status == "withdrawn"
        or (case.status in CLOSED and case.digests is None)
    )


def _people(own: Sequence[KeptOut]) -> dict[int, Parts]:
    """Return how many people are kept out in each scope, each of them counted with one mapping only."""
    people, counted = defaultdict[int, Parts](dict), set[tuple[int, int | str]]()
    for one in sorted(own, key=lambda one: (one.mapping.level, one.row)):
        person = one.row.scope, one.case.user_id or one.row.key
        there = people[one.row.scope]
        there[one.row.mapping] = there.get(one.row.mapping, 0) + (person not in counted)
        counted.add(person)
    return dict(people)
