"""Cases that CommCare has and the books do not know: of lost books, and of people whom they had to forget."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import replace

from adaptors.commcare.cases import SYSTEM, CaseReply
from adaptors.errors import Refused
from flows.result import Result
from flows.steps.generations import last_of_each, last_of_ours
from flows.steps.kept_out import Unknown, find_unknown
from flows.steps.linked import Links, is_matched
from flows.steps.planned import OTHER_TYPE, Problem, Scope, external_id
from flows.steps.recover import looked_for, remember_looked_for
from flows.steps.retype import types_in
from flows.steps.there import FEW, There
from flows.steps.ways import closes
from flows.world import World
from mappings.engine import CompiledMapping
from state import CaseRow, RowId

QUESTIONS = 8
"""About so many requests take the cases under one key, each by itself."""


def of_another_type() -> Refused:
    """Return the refusal to take over a case that is of another type than those of a mapping."""
    return Refused(
        "CommCare has a case of another type with this external id.",
        system=SYSTEM,
        operation="find a case by external id",
        code=OTHER_TYPE,
    )


class UnknownCases:
    """Finds them by their keys, and has the books know them from then on; a preview tells the books nothing."""

    def __init__(self, world: World, result: Result, links: Links, there: There) -> None:
        self._world = world
        self._result = result
        self._links = links
        self._there = there
        self._newest: dict[str, tuple[CaseReply | None, int]] = {}
        self._others = frozenset[str]()
        self._admitted: frozenset[int] | None = None

    async def may_be_in(self, scope: Scope, known: Collection[str]) -> bool:
        """Say whether a scope has keys that the books do not know, and that nobody looked for."""
        unknown = (scope.drafts.keys() | scope.excluded.keys()).difference(known)
        return not unknown <= (await looked_for(self._world, scope.mapping.name)).keys()

    async def nowhere(self, mapping: CompiledMapping) -> set[str]:
        """Return the keys under which somebody looked and found no case."""
        return {key for key, begin in (await looked_for(self._world, mapping.name)).items() if begin == 1}

    async def remember(self, mapping: CompiledMapping, keys: Collection[str]) -> None:
        """Write down that no case is under keys whose records are held back: nobody looks again meanwhile."""
        if not self._result.preview:
            await remember_looked_for(self._world, mapping.name, dict.fromkeys(keys, 1))

    async def kept_out(
        self, scope: Scope, known: Mapping[str, CaseRow], keys: Collection[str]
    ) -> Mapping[str, CaseRow]:
        """Return the cases under the keys of people who are kept out; nobody is looked for twice."""
        name, store = scope.mapping.name, self._world.books.store
        begin = {key: known[key].generation + 1 if key in known else 1 for key in keys}
        looked = await looked_for(self._world, name)
        wanted = {key for key in keys if looked.get(key) != begin[key]}
        if not wanted:
            return {}
        found = await find_unknown(self._world, scope, known, wanted, await self._taken(scope.mapping))
        if found.cases or found.followed:
            wanted -= self._held_back(scope, found, await self._there.doubles.of(scope.mapping))
        wanted -= await self._hold_back_others(scope, found.others)
        if self._result.preview:
            return found.cases
        for key, case in found.cases.items():
            await self._adopt(RowId(name, scope.number, key), case)
        for row, generation in found.followed.items():
            await self._world.books.do(store.follow, row, generation, self._world.clock.now())
        followed = [row.key for row in found.followed]
        nothing = wanted - found.cases.keys() - {*followed}
        await remember_looked_for(self._world, name, {key: begin[key] for key in nothing})
        return found.cases | await self._world.books.do(store.cases, name, scope.number, followed)

    @staticmethod
    def _held_back(scope: Scope, found: Unknown, doubled: Collection[str]) -> set[str]:
        """Take out what was found under keys that several cases have, and list it: one may be somebody else's."""
        followed = {row.key: row for row in found.followed}
        unclear = (found.cases.keys() | followed.keys()).intersection(doubled)
        for key in sorted(unclear):
            found.cases.pop(key, None)
            found.followed.pop(followed.get(key, RowId("", 0, "")), None)
            scope.hold_back(Problem(key, "", "duplicate_external_id"))
        return unclear

    async def _hold_back_others(self, scope: Scope, others: Mapping[str, int]) -> set[str]:
        """List the keys under which a case of another type was found; of a few we see whether ours is there."""
        for key, generation in sorted(others.items()):
            reason = OTHER_TYPE
            try:
                if len(others) <= FEW:
                    await self._world.commcare.case_by_external_id(external_id(key, generation))
            except Refused as error:
                reason = error.code or reason
            scope.hold_back(Problem(key, "", reason))
        return {*others}

    async def look_for(self, mapping: CompiledMapping, keys: Collection[str], few: int = FEW) -> None:
        """Look up cases under keys that the books do not know, more than a `few`; forgets those from before."""
        self._newest, self._others, begin = {}, frozenset(), dict.fromkeys(keys, 1)
        if len(begin) > few:
            found = await last_of_each(self._world, begin, await self._taken(mapping))
            replies = [case for case, _ in found.values()]  # those with doubles are asked for one by one
            doubled = await self._there.doubles.among(mapping, replies, each=QUESTIONS)
            self._newest = {key: found.get(key, (None, 1)) for key in begin if key not in doubled}
            types = await types_in(self._world, mapping)
            others = {key for key, (case, _) in found.items() if case.case_type not in types}
            if len(others) > FEW:  # else it is seen whether several cases have the external id
                self._others = frozenset(others)

    async def of(self, mapping: CompiledMapping, row: RowId, user_id: int, *, expected: bool) -> CaseRow | None:
        """Return the case of somebody of whom the books know none.

        `expected`: cases of the mapping may be unknown. Writing alone would find the first one of a key, and that
        may be of an old term, or deleted. Raises Refused when two cases have an external id.
        """
        is_let_in = user_id in await self._let_in()
        if not is_let_in and not expected:
            return None
        case = await self._found(mapping, row.key, user_id, await self._taken(mapping))
        if case is not None and not self._result.preview:
            await self._adopt(row, case)
        return case

    async def later(self, mapping: CompiledMapping, row: RowId, case: CaseRow) -> CaseRow | None:
        """Return the last case that followed one which is closed, and of which the books know nothing; else None.

        Raises Refused when two cases have an external id.
        """
        found, generation = await last_of_ours(
            self._world, row.key, await self._taken(mapping), case.generation + 1
        )
        if found is None:
            return None
        generation += found.closed
        if not self._result.preview:
            await self._world.books.do(self._world.books.store.follow, row, generation, self._world.clock.now())
        self._there.take(found)
        case_id, owner_id = ("", "") if found.closed else (found.case_id, found.owner_id)
        case = replace(case, case_id=case_id, owner_id=owner_id, digests=None, status="active", linked=False)
        return replace(case, generation=generation)

    async def _found(
        self, mapping: CompiledMapping, key: str, user_id: int, taken: Collection[str]
    ) -> CaseRow | None:
        """Return the case that CommCare has under a key; the last one as closed where the mapping closes cases.

        External ids that are `taken` are those of cases which were matched with somebody else since. It is the
        last one of all: the books do not know what ended the others, maybe a term. That of somebody who was erased
        and let in again was emptied, also of what is written once.
        """
        is_let_in = user_id in await self._let_in()
        if key in self._others:
            raise of_another_type()
        if key in self._newest and key not in taken and not is_let_in:
            found, generation = self._newest[key]
        else:
            found, generation = await last_of_ours(self._world, key, taken)
        if found is None and generation == 1:
            return None
        if found is not None:
            if found.case_type not in await types_in(self._world, mapping):
                raise of_another_type()
            self._there.take(found)
        case_id, owner_id = (found.case_id, found.owner_id) if found is not None else ("", "")
        status = "returning" if is_let_in else "active"  # of another mapping a person closed it: it takes updates
        status = "closed" if found is not None and found.closed and closes(mapping) else status
        return CaseRow(key, case_id, owner_id, None, status, 0, user_id, generation)

    async def _adopt(self, row: RowId, case: CaseRow) -> None:
        """Have the books know a case."""
        adopt, now = self._world.books.store.adopt, self._world.clock.now()
        await self._world.books.do(adopt, row, case, now, self._result.run_id)

    async def _taken(self, mapping: CompiledMapping) -> Set[str]:
        """Return the external ids of a mapping's cases that are somebody else's by now."""
        return (await self._links.claims(mapping)).taken if is_matched(mapping) else frozenset()

    async def _let_in(self) -> frozenset[int]:
        """Return the people who were erased and let in again: the books know nothing of the cases they had."""
        if self._admitted is None:
            self._admitted = await self._world.books.do(self._world.books.store.admitted)
        return self._admitted
