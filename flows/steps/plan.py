"""From drafts to changes: what differs from what CommCare is known to hold, and nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from adaptors.commcare.cases import IndexWrite
from adaptors.errors import Refused
from flows.result import Result
from flows.steps.blanks import BlankGuard
from flows.steps.compare import Comparison, Ready
from flows.steps.firsts import FirstLook
from flows.steps.held import Reading
from flows.steps.linked import Links, Look, is_matched
from flows.steps.merged import parted
from flows.steps.old_keys import OldKeys
from flows.steps.outsiders import Outsiders
from flows.steps.owners import Owners, is_parked
from flows.steps.planned import PARENT, UNDECIDED, WAITS, Planned, Problem, Scope, scope_number
from flows.steps.reach import Place
from flows.steps.recover import is_closing_unheard
from flows.steps.seen_again import parents_seen_again, seen_again
from flows.steps.there import FEW, There, maybe_emptied
from flows.steps.unknown import UnknownCases
from flows.steps.vanished import NOTHING, Vanished
from flows.steps.ways import closed_by_us, closes, keeps, parks
from flows.steps.withdraw import Withdrawals
from flows.world import World
from mappings.engine import CompiledMapping, Draft, IndexReference
from state import CaseRow, RowId
from state.statuses import AWAY, CLOSED, KEPT_OUT, MAYBE_CLOSED, PASSING, TO_BE_EMPTIED


class Planner:
    """Compares drafts with the books; resolves owners and parents on the way."""

    def __init__(self, world: World, result: Result, mappings: Mapping[str, CompiledMapping]) -> None:
        self._world = world
        self._result = result
        self._mappings = mappings
        self._digest = world.books.store.digest
        self.blanks = BlankGuard(world, result)
        self.withdrawals = Withdrawals(world, result)
        self.outsiders = Outsiders(world)
        self._old_keys = OldKeys(world)
        self._links = Links(world, preview=result.preview)
        self._there = There(world)
        self._unknown = UnknownCases(world, result, self._links, self._there)
        self._vanished = Vanished(world, result, self._there)
        self._owners = Owners(world, self._there)
        self.removed: dict[str, frozenset[str]] = {}
        """By mapping: properties that were taken out of it once; none of them is an element that vanished."""
        self.strangers: frozenset[str] = frozenset()
        """Mappings of which CommCare may hold cases that the books do not know."""
        self.lost: frozenset[str] = frozenset()
        """Those of which it may be so of people who have been away since."""
        self._have_children = {rule.mapping for mapping in mappings.values() for rule in mapping.parents}
        self._parted: frozenset[int] | None = None
        self._one = asyncio.Lock()
        self.look: FirstLook | None = None
        """In the plan of a first run: is shown each scope."""
        self.assumed: dict[RowId, str] = {}
        """In a preview: rows that would have been created by now, and their owner."""
        self.moved: dict[RowId, str] = {}
        """In a preview: rows that would have another owner by now."""
        self.begun: set[int] = set()
        """In a preview: courses whose new term would have begun by now, so that the cases there are over."""
        self.held_up = set[str]()
        """Mappings with records that wait, since a write under their key rests of a mapping that is no more."""

    async def plan(self, scope: Scope) -> list[Planned]:
        """Return the rows of a scope that have to be sent; counts the others.

        One scope after the other: what was looked up for one, many cases at once, is forgotten with the next.
        """
        async with self._one:
            return await self._plan(scope)

    async def _plan(self, scope: Scope) -> list[Planned]:
        books, store, name = self._world.books, self._world.books.store, scope.mapping.name
        keys = scope.drafts.keys() | scope.excluded.keys()
        known = await books.do(store.cases, name, scope.number, keys)
        if scope.number in self.begun:
            known = {key: _over(case) for key, case in known.items()}
        is_strange, removed = name in self.strangers | self.lost, self.removed.get(name, frozenset())
        if is_strange and is_matched(scope.mapping) and await self._unknown.may_be_in(scope, known):
            known = await self._links.found_again(scope, known, self._result.run_id, closes=closes(scope.mapping))
        look = await self._links.look(scope, known)
        reading = _Reading(scope, known, await books.do(store.intents), await self._parents(scope), look)
        # A file that was given another name makes the same keys: CommCare may still be at work on the first one's.
        reading.under_way = {one.key for one in reading.resting if one.mapping not in self._mappings}
        if is_strange:
            reading.nowhere = await self._unknown.nowhere(scope.mapping)
            found = await self._unknown.kept_out(scope, known, self._keys_kept_out(reading))
            reading.known = known = {**known, **found}
        self.withdrawals.note(scope, known, has_children=name in self._have_children)
        await self._look_outside(reading)
        await self._look_there(reading)
        reading.vanished = await self._vanished.of(scope, known, removed)
        reading.undecided = await self._links.undecided(scope.mapping)
        changes = [change for key in scope.drafts if (change := await self._planned(reading, key)) is not None]
        self.withdrawals.take_in(await self._old_keys.kept_out(scope, self.withdrawals.rows))
        if not self._result.preview:
            await books.do(store.renew, [*reading.renewed], self._world.clock.now())
            await books.do(store.settle, {r: s for r, s in reading.back.items() if r not in reading.renewed})
        await self._links.remember(scope.mapping, look)
        if is_strange:
            await self._unknown.remember(scope.mapping, reading.missed - reading.nowhere)
        passed = await self.blanks.passed(Reading(scope, known, is_strange), changes)
        if scope.unshown is not None:
            scope.unshown.forget()
        self._result.of(scope.mapping.case_type).unchanged += reading.compared - len(passed)
        self._count_retired(scope.mapping, passed)
        if self.look is not None:
            self.look.see(scope)
        return passed

    async def _planned(self, reading: _Reading, key: str) -> Planned | None:
        """Return the row of one draft when it has to be sent; otherwise count why not."""
        scope, draft = reading.scope, reading.scope.drafts[key]
        removed = self.removed.get(scope.mapping.name, frozenset())
        row, user_id = RowId(scope.mapping.name, scope.number, key), scope.users.get(key, 0)
        parent = self._kept_out(reading, draft)
        if parent is None and key in reading.known:  # now: CommCare may take nothing of it today
            reading.back |= seen_again(row, reading.known[key])
        above = (self._parent_row(scope, reference) for reference in draft.indices)
        reading.back |= parents_seen_again(reading.parents, above, user_id)
        if self._rests(reading, row):
            self._result.count(scope.mapping.case_type, scope.number, "in_doubt")
            return None
        if parent is not None:
            self.withdrawals.follow(scope.mapping, row, reading.known.get(key), parent)
            return None
        if key in reading.undecided and not reading.has_case(key):
            self._result.undecided += 1
            scope.hold_back(Problem(key, "", UNDECIDED))
            return None
        try:
            case = await self._adopt(reading, row, draft)
            case = await self._alive(reading, row, case)
            linked = self._links.of(draft, case, reading.look)
            is_theirs = linked is not None and linked.first
            is_empty = is_theirs or self._is_new(reading, row)
            kept = NOTHING if is_empty else await self._vanished.kept(scope.mapping, draft, case, removed)
            emptied = await self._there.emptied(scope.mapping, draft, case)
            await self._owners.look(scope.mapping, draft, case)
        except Refused as error:  # two cases have this key: a person has to settle that, for this record only
            scope.hold_back(Problem(key, "", error.code or "refused"))
            return None
        ready = await self._ready(reading, draft, case)
        if ready is None:
            reading.missed |= {key} if case is None else set()
            return None
        if case is None and key in reading.nowhere:  # to be sent now: once more, as it may be long since
            reading.nowhere.discard(key)
            return await self._planned(reading, key)
        is_parted = user_id in await self._taken_back()
        ready = replace(ready, kept=kept.texts, elements=kept.names, linked=linked, removed=removed)
        unshown = scope.unshown.kept(draft, case, self._digest) if scope.unshown is not None else frozenset[str]()
        ready = replace(ready, parted=is_parted, unshown=unshown, emptied=emptied)
        reading.compared += 1
        change = Comparison(scope.mapping, row, user_id, draft, case, ready, self._digest).planned()
        if change is not None and (is_theirs or _is_another(reading.known.get(key), case)):
            change = replace(change, another=True)
        if change is None and case is not None and case.status in AWAY:
            reading.back[row] = "active"
        if change is not None and self._has_next_host(reading, draft, case, change):
            reading.back[row] = "closing"  # now: the answer that says so may be lost
            return replace(change, ours_if_closed=True)
        # A case of which the books know nothing was closed by us, maybe: they may be older, or were lost once.
        is_strange = case is None or (case.digests is None and scope.mapping.name in self.strangers)
        if change is not None and is_strange and closes(scope.mapping):
            return replace(change, ours_if_closed=True)
        return change

    def _has_next_host(self, reading: _Reading, draft: Draft, case: CaseRow | None, change: Planned) -> bool:
        """Say whether a case goes over to the next host: some spaces close extensions with the one before."""
        # Of a dirty case it is not known which host it has; one that was away had the one before.
        if case is None or not case.case_id or (case.digests is None and case.status not in AWAY):
            return False
        hosts = (
            reading.parents.get(self._parent_row(reading.scope, reference))
            for reference in draft.indices
            if reference.relationship == "extension" and f"@index:{reference.name}" in change.reasons
        )
        return any(host is not None and host.generation > 1 and not host.linked for host in hosts)

    def _is_new(self, reading: _Reading, row: RowId) -> bool:
        """Say whether a row has a new case whose number was given just now: nothing of it was ever sent.

        Books that were lost or put back may give a number that was used before.
        """
        return reading.renewed.get(row, False) and row.mapping not in self.strangers | self.lost

    def _rests(self, reading: _Reading, row: RowId) -> bool:
        """Say whether a write of a row is in doubt, or one that a mapping of another name made under its key."""
        if row not in reading.resting and row.key in reading.under_way:
            self.held_up.add(row.mapping)
        return row in reading.resting or row.key in reading.under_way

    def _kept_out(self, reading: _Reading, draft: Draft) -> RowId | None:
        """Return the parent that is kept out, by this run or an earlier one, if there is one.

        Of a parent that is closed the child tells whether it was closed because its person is kept out.
        """
        child = reading.known.get(draft.key)
        away = KEPT_OUT | (CLOSED if child is not None and child.status in KEPT_OUT else set())
        for reference in draft.indices:
            row = self._parent_row(reading.scope, reference)
            known = reading.parents.get(row)
            if row in self.withdrawals.rows or (known is not None and known.status in away):
                return row
            is_alive = known is not None and known.status not in CLOSED
            if child is None and not is_alive and row.key in reading.outside.get(row[:2], ()):
                return row
        return None

    async def _look_there(self, reading: _Reading) -> None:
        """Look up the cases of which the books know too little, and of which something is left as it is."""
        scope, mapping = reading.scope, reading.scope.mapping
        at_rest = {row.key for row in reading.resting if row[:2] == (mapping.name, scope.number)}
        keys = scope.drafts.keys() - at_rest - self._keys_kept_out(reading)
        self._there.begin()
        is_strange = mapping.name in self.strangers | self.lost
        few = FEW if mapping.name in self.strangers else 0  # of who was away the search has long known
        new = keys - reading.known.keys() - reading.nowhere
        await self._unknown.look_for(mapping, new if is_strange else (), few)
        known = [reading.known[key] for key in keys & reading.known.keys()]
        dirty = [one for one in known if one.digests is None and one.status not in CLOSED and not one.linked]
        asks_for_all = mapping.has_elements or closes(mapping) or parks(mapping)
        asked = [one for one in dirty if asks_for_all or (keeps(mapping) and not one.case_id)]
        drafts, parked = scope.drafts, [one for one in known if self._owners.may_be_asked_for(mapping, one)]
        asked += [one for one in parked if drafts[one.key].owner.write_once or drafts[one.key].owner.not_sent]
        asked += [one for one in known if maybe_emptied(mapping, drafts[one.key], one)]
        await self._there.look_for(mapping, scope.number, [*{one.key: one for one in asked}.values()])

    async def _look_outside(self, reading: _Reading) -> None:
        """Take in which records of a scope are kept out, and which of its parents were when last read."""
        scope, name, number = reading.scope, reading.scope.mapping.name, reading.scope.number
        for rule in scope.mapping.parents:
            place = rule.mapping, scope_number(self._mappings[rule.mapping], number)
            reading.outside[place] = await self.outsiders.of(place)
        if name in self._have_children:
            await self.outsiders.note(scope, self._keys_kept_out(reading))

    def _keys_kept_out(self, reading: _Reading) -> set[str]:
        """Return the keys of a scope that are kept out, by what the mapping says or with a parent."""
        scope = reading.scope
        out = {key for key, draft in scope.drafts.items() if self._kept_out(reading, draft) is not None}
        return out | (scope.excluded.keys() - scope.drafts.keys())

    async def _alive(self, reading: _Reading, row: RowId, case: CaseRow | None) -> CaseRow | None:
        """Return the case, or a new generation of it when we closed it: no API can open a case again."""
        if case is None or case.status not in CLOSED | MAYBE_CLOSED:
            return case
        is_known = case.status in CLOSED
        if not is_known:  # maybe sent, without an answer: CommCare knows whether it is closed
            is_closing, mapping = await is_closing_unheard(self._world, row, case), reading.scope.mapping
            if not is_closing and (case.digests is not None or not closes(mapping)):
                return case
            found = await self._there.of(case)
            if found is None or not (found.closed if is_closing else closed_by_us(mapping, found)):
                return case
            if is_closing and (later := await self._unknown.later(mapping, row, case)) is not None:
                return later
            is_known = is_closing  # nothing that followed it is there
        reading.renewed[row] = is_known and not case.linked
        generation = case.generation + 1
        return replace(case, case_id="", digests=None, status="active", generation=generation, linked=False)

    def _count_retired(self, mapping: CompiledMapping, rows: Sequence[Planned]) -> None:
        """Count the cases whose retired properties are emptied."""
        emptied = Counter(name for row in rows for name in row.write.properties.keys() & mapping.retired)
        if emptied:
            edits = self._result.edits.setdefault(mapping.name, {})
            edits["retired"] = dict(Counter(edits.get("retired", {})) + emptied)

    async def _parents(self, scope: Scope) -> dict[RowId, CaseRow]:
        """Look up the cases that the drafts' indices point to."""
        books, found = self._world.books, dict[RowId, CaseRow]()
        for rule in scope.mapping.parents:
            number = scope_number(self._mappings[rule.mapping], scope.number)
            keys = {i.key for draft in scope.drafts.values() for i in draft.indices if i.name == rule.name}
            rows = await books.do(books.store.cases, rule.mapping, number, keys)
            found |= {RowId(rule.mapping, number, key): row for key, row in rows.items() if row.case_id}
        return found

    async def _ready(self, reading: _Reading, draft: Draft, known: CaseRow | None) -> Ready | None:
        """Resolve parents and owner, or hold the record back."""
        indices, by_type = [], dict[str, str]()
        for reference in draft.indices:
            found = self._parent(reading, reference)
            if found is not None:
                by_type[reference.case_type] = found.owner_id
                indices.append(
                    IndexWrite(reference.name, reference.case_type, found.case_id, reference.relationship)
                )
            elif reference.when_parent_unknown != "skip":
                reason = WAITS if reference.when_parent_unknown == "wait" else "parent_unknown"
                detail = f"{PARENT}{reference.key}"
                reading.scope.hold_back(Problem(draft.key, f"@index:{reference.name}", reason, detail))
                return None
        owner = await self._owners.of(reading.scope, draft, known, by_type)
        vanished = reading.vanished.get(draft.key, frozenset())
        return None if owner is None else Ready(tuple(indices), owner, vanished)

    def _parent_row(self, scope: Scope, reference: IndexReference) -> RowId:
        rule = next(rule for rule in scope.mapping.parents if rule.name == reference.name)
        return RowId(rule.mapping, scope_number(self._mappings[rule.mapping], scope.number), reference.key)

    def _parent(self, reading: _Reading, reference: IndexReference) -> _Parent | None:
        row = self._parent_row(reading.scope, reference)
        if row in self.assumed:
            return _Parent("assumed", self.assumed[row])
        if row not in reading.parents or row in reading.resting:
            return None
        if reading.parents[row].status in CLOSED:  # its person is away, or is to have the next case
            return None
        return _Parent(reading.parents[row].case_id, self.moved.get(row, reading.parents[row].owner_id))

    async def _adopt(self, reading: _Reading, row: RowId, draft: Draft) -> CaseRow | None:
        """Ask CommCare for a case that it may have and the books do not know, before its owner is overwritten."""
        known, mapping = reading.known.get(row.key), reading.scope.mapping
        keeps = draft.owner.write_once or draft.once
        if known is None:
            is_strange = mapping.name in self.strangers | self.lost and row.key not in reading.nowhere
            user = reading.scope.users.get(row.key, 0)
            return await self._unknown.of(mapping, row, user, expected=is_strange)
        if known.case_id or not keeps:
            return known
        found = await self._there.of(known)
        if found is None:
            return known
        owner = found.owner_id
        if known.owner_id and parks(mapping) and await is_parked(self._world, owner):
            owner = known.owner_id  # noted when it was parked, and parking it was never answered
        return replace(known, case_id=found.case_id, owner_id=owner, digests=None)

    async def _taken_back(self) -> frozenset[int]:
        """Return the people whose merge was taken back."""
        if self._parted is None:
            self._parted = await self._world.books.do(parted, self._world.books.store)
        return self._parted


def _is_another(before: CaseRow | None, case: CaseRow | None) -> bool:
    """Say whether a case is a later one of its key, of which the books know nothing yet."""
    is_known = before is not None and before.case_id and case is not None and case.case_id
    return case is not None and case.generation > 1 and not is_known


def _over(case: CaseRow) -> CaseRow:
    """Return a case as the beginning of a new term leaves it."""
    if not case.case_id or case.status in PASSING | CLOSED:
        return case
    return replace(case, status="emptying" if case.status in TO_BE_EMPTIED else "closed")


@dataclass(frozen=True)
class _Parent:
    case_id: str
    owner_id: str


@dataclass
class _Reading:
    """A scope while it is planned: what the books know about it, and what follows for them."""

    scope: Scope
    known: Mapping[str, CaseRow]
    resting: Collection[RowId]
    parents: Mapping[RowId, CaseRow]
    look: Look
    outside: dict[Place, Set[str]] = field(default_factory=dict)
    """Keys of parents that were kept out when they were last read."""
    vanished: Mapping[str, frozenset[str]] = field(default_factory=dict)
    undecided: Collection[str] = ()
    """Keys that get no case until a person has said whether there is one already."""
    under_way: Set[str] = frozenset()
    """Keys of writes in doubt that a mapping made which is switched off by now, or gone."""
    nowhere: set[str] = field(default_factory=set)
    """Keys under which an earlier run found no case: while their records are held back nobody looks again."""
    missed: set[str] = field(default_factory=set)
    """Keys of records that are held back, and of which there is no case."""
    compared: int = 0
    renewed: dict[RowId, bool] = field(default_factory=dict)
    """Cases that are followed by a new one from now on, and whether CommCare can have nothing of that."""
    back: dict[RowId, str] = field(default_factory=dict)
    """Cases that came back: active when they hold all they should, returning while they are to be sent."""

    def has_case(self, key: str) -> bool:
        """Say whether the books know a case of a key."""
        return key in self.known and bool(self.known[key].case_id)
