"""Who is to own a case: by the mapping's rule, as its parent has it, or who had it before it was parked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

from adaptors.commcare.owners import Owner
from flows.steps.groups import waits_for_owner
from flows.steps.planned import PARENT, Problem, Scope
from flows.steps.there import There
from flows.steps.ways import parks
from flows.world import World
from mappings.engine import CompiledMapping, Draft, OwnerReference
from state import CaseRow
from state.statuses import AWAY

STAYS = "owner_stays"  # why the owner of a case was not sent
PARKED = "parked_owners"  # fact in the books: {id of each owner that cases were ever parked with: 1}


class Owners:
    """The owners of cases; CommCare is asked for a case only where it may have been parked."""

    def __init__(self, world: World, there: There) -> None:
        self._world = world
        self._there = there
        self._digest = world.books.store.digest

    async def of(
        self, scope: Scope, draft: Draft, known: CaseRow | None, by_type: Mapping[str, str]
    ) -> str | None:
        """Return the owner's id, "" to leave the owner as it is, None when nobody can own a new case."""
        rule = draft.owner
        if known is not None and _stays(draft, known):
            before = await self._before(scope.mapping, known)
            if before is not None or rule.not_sent:
                return before or ""
        if rule.same_as:
            owner = by_type.get(rule.same_as)
            if owner:
                return owner
            parent = next((index.key for index in draft.indices if index.case_type == rule.same_as), "")
            detail = f"{PARENT}{parent}" if parent else f"same_as {rule.same_as}"
            return await self._unresolved(scope, Problem(draft.key, "@owner", "owner_unknown", detail), known)
        states = list[str]()
        owner_id = await self._first(rule.candidates[: rule.certain], states)
        if not owner_id and (hidden := scope.owner_hidden.get(draft.key)):
            if known is not None and known.case_id:
                return await self._before(scope.mapping, known) or ""
            if waits_for_owner(draft, hidden):
                scope.hold_back(Problem(draft.key, "@owner", hidden))
                return None
        if not owner_id and rule.certain is not None:
            owner_id = await self._first(rule.candidates[rule.certain :], states)
        if owner_id:
            return owner_id
        problem = Problem(draft.key, "@owner", "owner_unresolved", ", ".join(states) or "no rule applies")
        return await self._unresolved(scope, problem, known)

    async def _first(self, candidates: Iterable[OwnerReference], states: list[str]) -> str:
        """Return the id of the first owner that CommCare knows, "" for none; `states` tells what each lacks."""
        for candidate in candidates:
            found = await self._world.commcare.owners.resolve(candidate.kind, candidate.value)
            if found.state == "ok":
                return found.owner_id
            states.append(f"{candidate.kind} {found.state}")
        return ""

    async def look(self, mapping: CompiledMapping, draft: Draft, known: CaseRow | None) -> None:
        """Ask for a case whose owner stays; raises Refused when two cases have its external id."""
        if known is not None and _stays(draft, known):
            await self._before(mapping, known)

    async def _unresolved(self, scope: Scope, problem: Problem, known: CaseRow | None) -> str | None:
        """Leave a case that is there with the owner it has, and list that; a new one is held back."""
        if known is None or not await self._can_stay(scope.mapping, known):
            scope.hold_back(problem)
            return None
        scope.problems.append(replace(problem, reason=STAYS))
        return ""

    async def _can_stay(self, mapping: CompiledMapping, known: CaseRow) -> bool:
        """Say whether a case has an owner that it can keep: it is there, and was not parked with one."""
        if not known.case_id:
            return False
        if known.digests is None:
            return not await self._may_be_parked(mapping, known)
        return not self.seems_parked(known)

    async def _before(self, mapping: CompiledMapping, known: CaseRow) -> str | None:
        """Return the owner that a case had before we parked it, "" when nobody but we should touch its owner.

        None when it is parked and the books do not know who had it: it gets an owner as a new case does.
        """
        sent = (known.digests or {}).get("@owner")
        if _tells_owner(known):
            if not self.seems_parked(known):
                return ""
        elif not await self._may_be_parked(mapping, known):  # asks CommCare, so only for those
            return ""
        found = await self._there.of(known)  # a supervisor may have given it to somebody since
        if found is None:
            return ""
        if sent is not None and sent != self._digest(known.key, "@owner", found.owner_id):
            return ""
        if sent is None and not await is_parked(self._world, found.owner_id):
            return ""
        return known.owner_id if known.owner_id not in ("", found.owner_id) else None

    def seems_parked(self, known: CaseRow) -> bool:
        """Say whether a case that went away was given to somebody else than the books have it from."""
        sent = (known.digests or {}).get("@owner")
        return known.status in AWAY and sent not in (None, self._digest(known.key, "@owner", known.owner_id))

    def may_be_asked_for(self, mapping: CompiledMapping, known: CaseRow) -> bool:
        """Say whether it is to be seen who has a case that the books know something of."""
        is_open = parks(mapping) and known.digests is not None and not _tells_owner(known)
        return is_open or self.seems_parked(known)

    async def _may_be_parked(self, mapping: CompiledMapping, known: CaseRow) -> bool:
        """Say whether a case may be parked: its mapping parks cases, or it was away and cases were parked once."""
        has_parked = known.status in AWAY and bool(await self._world.books.do(self._world.books.store.get, PARKED))
        return has_parked or bool(await self.parked(mapping))

    async def parked(self, mapping: CompiledMapping) -> str:
        """Return the owner of parked cases, "" for a mapping that parks none."""
        owner = await find_parked(self._world) if parks(mapping) else None
        return "" if owner is None else owner.owner_id


def _stays(draft: Draft, known: CaseRow) -> bool:
    """Say whether a case keeps its owner, or gets back the one it had.

    Also when Moodle does not show what the owner goes by: else a lost permission would move everybody.
    """
    return bool(known.case_id) and (draft.owner.write_once or draft.owner.not_sent)


def _tells_owner(known: CaseRow) -> bool:
    """Say whether the books know which owner a case was given last; of one that is not away it does not matter."""
    return known.digests is not None and ("@owner" in known.digests or known.status not in AWAY)


async def find_parked(world: World) -> Owner | None:
    """Return the owner of parked cases; one that may own none has no id, None when project.yaml names none."""
    owner = world.project.parked_owner
    return None if owner is None else await world.commcare.owners.resolve(owner.kind, owner.value)


async def remember_parked(world: World, owner_id: str) -> None:
    """Write down that cases are parked with an owner: project.yaml may name another one later."""
    books = world.books
    text = await books.do(books.store.get, PARKED)
    if owner_id not in json.loads(text or "{}"):
        await books.do(books.store.change_entries, PARKED, {owner_id: 1})


async def is_parked(world: World, owner_id: str) -> bool:
    """Say whether an owner is that of parked cases, or was."""
    now, text = await find_parked(world), await world.books.do(world.books.store.get, PARKED)
    return bool(owner_id) and (
        owner_id in json.loads(text or "{}") or (now is not None and owner_id == now.owner_id)
    )
