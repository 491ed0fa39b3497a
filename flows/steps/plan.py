"""From drafts to changes: what differs from what CommCare is known to hold, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from adaptors.commcare.cases import CaseWrite, IndexWrite
from adaptors.errors import Refused
from flows.result import Result
from flows.steps.blanks import BlankGuard
from flows.steps.planned import WAITS, Planned, Problem, Scope, scope_number
from flows.world import World
from mappings.engine import CompiledMapping, Departure, Draft, IndexReference
from state import CaseRow, RowId


class Planner:
    """Compares drafts with the books; resolves owners and parents on the way."""

    def __init__(self, world: World, result: Result, mappings: Mapping[str, CompiledMapping]) -> None:
        self._world = world
        self._result = result
        self._mappings = mappings
        self._digest = world.books.store.digest
        self.blanks = BlankGuard(world, result)
        self.assumed: dict[RowId, str] = {}
        """In a preview: rows that would have been created by now, and their owner."""

    async def plan(self, scope: Scope) -> list[Planned]:
        """Return the rows of a scope that have to be sent; counts the others."""
        books, store = self._world.books, self._world.books.store
        keys = scope.drafts.keys()
        known = await books.do(store.cases, scope.mapping.name, scope.number, keys)
        resting = await books.do(store.intents)
        parents = await self._parents(scope)
        counts = self._result.of(scope.mapping.case_type)
        changes, compared = [], 0
        for key, draft in scope.drafts.items():
            row = RowId(scope.mapping.name, scope.number, key)
            if row in resting:
                counts.in_doubt += 1
                continue
            try:
                case = await self._adopt(draft, known.get(key))
            except Refused as error:  # two cases have this key: a person has to settle that, for this record only
                scope.hold_back(Problem(key, "", error.code or "refused"))
                continue
            ready = await self._ready(scope, draft, case, parents, resting.keys())
            if ready is None:
                continue
            compared += 1
            change = self._compare(row, scope, draft, case, ready)
            if change is not None:
                changes.append(change)
        passed = await self.blanks.passed(scope, len(scope.drafts), changes)
        counts.unchanged += compared - len(passed)
        return passed

    async def _parents(self, scope: Scope) -> dict[RowId, CaseRow]:
        """Look up the cases that the drafts' indices point to."""
        books, found = self._world.books, dict[RowId, CaseRow]()
        for rule in scope.mapping.parents:
            number = scope_number(self._mappings[rule.mapping], scope.number)
            keys = {i.key for draft in scope.drafts.values() for i in draft.indices if i.name == rule.name}
            rows = await books.do(books.store.cases, rule.mapping, number, keys)
            found |= {RowId(rule.mapping, number, key): row for key, row in rows.items() if row.case_id}
        return found

    async def _ready(
        self,
        scope: Scope,
        draft: Draft,
        known: CaseRow | None,
        parents: Mapping[RowId, CaseRow],
        resting: object,
    ) -> _Ready | None:
        """Resolve parents and owner, or hold the record back."""
        indices, by_type = [], dict[str, str]()
        for reference in draft.indices:
            found = self._parent(scope, reference, parents, resting)
            if found is not None:
                by_type[reference.case_type] = found.owner_id
                indices.append(
                    IndexWrite(reference.name, reference.case_type, found.case_id, reference.relationship)
                )
            elif reference.when_parent_unknown != "skip":
                reason = WAITS if reference.when_parent_unknown == "wait" else "parent_unknown"
                scope.hold_back(Problem(draft.key, f"@index:{reference.name}", reason))
                return None
        owner = await self._owner(scope, draft, known, by_type)
        return None if owner is None else _Ready(tuple(indices), owner)

    def _parent(
        self, scope: Scope, reference: IndexReference, parents: Mapping[RowId, CaseRow], resting: object
    ) -> _Parent | None:
        rule = next(rule for rule in scope.mapping.parents if rule.name == reference.name)
        row = RowId(rule.mapping, scope_number(self._mappings[rule.mapping], scope.number), reference.key)
        if row in self.assumed:
            return _Parent("assumed", self.assumed[row])
        if row not in parents or row in resting:  # type: ignore[operator]
            return None
        return _Parent(parents[row].case_id, parents[row].owner_id)

    async def _owner(
        self, scope: Scope, draft: Draft, known: CaseRow | None, by_type: Mapping[str, str]
    ) -> str | None:
        """Return the owner's id, "" to leave the owner as it is, None when nobody can own the case."""
        rule = draft.owner
        # Also when Moodle does not show what the owner goes by: else a lost permission would move everybody.
        if known is not None and known.case_id and (rule.write_once or rule.not_sent):
            return ""
        if rule.same_as:
            owner = by_type.get(rule.same_as)
            if owner:
                return owner
            scope.hold_back(Problem(draft.key, "@owner", "owner_unknown", f"same_as {rule.same_as}"))
            return None
        states = []
        for candidate in rule.candidates:
            owner_found = await self._world.commcare.owners.resolve(candidate.kind, candidate.value)
            if owner_found.state == "ok":
                return owner_found.owner_id
            states.append(f"{candidate.kind} {owner_found.state}")
        scope.hold_back(Problem(draft.key, "@owner", "owner_unresolved", ", ".join(states) or "no rule applies"))
        return None

    def _compare(
        self, row: RowId, scope: Scope, draft: Draft, known: CaseRow | None, ready: _Ready
    ) -> Planned | None:
        """Build the write for a row, or None when CommCare already holds all of it."""
        properties = dict(draft.properties)
        if known is not None and (known.status == "left" or (known.case_id and known.digests is None)):
            # Somebody came back (for a dirty row that is not certain): what only leaving sets is emptied again.
            properties |= {name: "" for name in _set_by(scope.mapping.when_left) if name not in properties}
        values = self._values(draft, properties, ready)
        digests = {name: self._digest(draft.key, name, value) for name, value in values.items()}
        user_id = scope.users.get(draft.key, 0)
        if known is None or not known.case_id:
            write = CaseWrite(draft.key, "", draft.case_type, draft.name, ready.owner, properties, ready.indices)
            return Planned(row, draft.case_type, user_id, write, digests, "create")
        changed = self._changed(draft, digests, known)
        reasons = frozenset(changed - draft.ignored - self._never_filled(values, known))
        if not reasons:
            return None
        write = CaseWrite(
            draft.key,
            known.case_id,
            draft.case_type,
            draft.name if "@name" in changed else None,
            ready.owner if "@owner" in changed else None,
            {name: value for name, value in properties.items() if name in changed},
            tuple(index for index in ready.indices if f"@index:{index.name}" in changed),
        )
        emptied = frozenset(name for name in changed & (known.digests or {}).keys() if not values[name])
        sent = {name: digests[name] for name in changed}
        return Planned(row, draft.case_type, user_id, write, sent, "update", reasons=reasons, emptied=emptied)

    @staticmethod
    def _values(draft: Draft, properties: Mapping[str, str], ready: _Ready) -> dict[str, str]:
        """Return everything that is compared, by name; what is not a property starts with '@'."""
        values = {**properties, "@name": draft.name, "@type": draft.case_type}
        if ready.owner:
            values["@owner"] = ready.owner
        for index in ready.indices:
            values[f"@index:{index.name}"] = f"{index.relationship} {index.case_id}"
        return values

    @staticmethod
    def _changed(draft: Draft, digests: Mapping[str, bytes], known: CaseRow) -> set[str]:
        """Return the names that differ; a dirty row differs in everything that is not written once."""
        held = known.digests or {}
        return {
            name
            for name, digest in digests.items()
            if held.get(name) != digest and name not in draft.once and name != "@type"
        }

    @staticmethod
    def _never_filled(values: Mapping[str, str], known: CaseRow) -> set[str]:
        """Return what is blank and was never sent: there is nothing to empty, so alone it is no reason to send."""
        return (
            set() if known.digests is None else {n for n, v in values.items() if not v and n not in known.digests}
        )

    async def _adopt(self, draft: Draft, known: CaseRow | None) -> CaseRow | None:
        """Ask CommCare for a case that was sent once without an answer, before its owner could be overwritten."""
        if known is None or known.case_id or not (draft.owner.write_once or draft.once):
            return known
        found = await self._world.commcare.case_by_external_id(draft.key)
        if found is None:
            return known
        return CaseRow(
            key=known.key,
            case_id=found.case_id,
            owner_id=found.owner_id,
            digests=None,
            status=known.status,
            missing_count=known.missing_count,
            user_id=known.user_id,
        )


def _set_by(departure: Departure | None) -> Iterable[str]:
    return departure.set if departure is not None else ()


@dataclass(frozen=True)
class _Parent:
    case_id: str
    owner_id: str


@dataclass(frozen=True)
class _Ready:
    """A draft whose parents and owner are known; `owner` "" leaves the owner as it is."""

    indices: tuple[IndexWrite, ...]
    owner: str
