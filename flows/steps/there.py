"""Cases as CommCare has them while a scope is planned: many are looked up at once, few one by one.

One by one is past any lag of the search, and each costs a request. Many are asked about only when the books know
little: after a restore, a lost key or lost answers. CommCare was left alone for a while then, and its search has
caught up; what it lacks all the same is asked for, one case of each request that was not answered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from adaptors.commcare.cases import CaseReply
from adaptors.errors import Refused
from flows.steps.doubles import Doubles
from flows.steps.linked import base_key, case_there
from flows.steps.planned import external_id
from flows.world import World
from mappings.engine import CompiledMapping, Draft
from state import CaseRow
from state.statuses import AWAY

FEW = 5
"""So many are asked for one by one; twice as many without an id: a fetch may show somebody else's case."""


class There:
    """What CommCare has of some cases, asked for once each."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._found: dict[str, CaseReply | None] = {}
        self._admitted: frozenset[int] | None = None
        self.doubles = Doubles(world)

    def begin(self) -> None:
        """Forget what was found: another scope is planned."""
        self._found.clear()

    async def look_for(self, mapping: CompiledMapping, scope: int, cases: Collection[CaseRow]) -> None:
        """Look up cases of a scope that will be asked for, where they are many.

        Those that the search lacks are asked for, and so are those whose external id several cases have.
        """
        ids = {case.case_id for case in cases if case.case_id}
        if len(cases) > FEW and ids:
            self._found |= await self._world.commcare.cases_by_id(ids)
        names = {_name(case): case for case in cases if not case.case_id}
        if len(names) > 2 * FEW:  # a list of all cases, to find doubles, takes a while
            found = await self._world.commcare.cases_by_external_id(names)
            doubled = await self.doubles.among(mapping, found.values())
            self._found |= {name: case for name, case in found.items() if base_key(name) not in doubled}
            lacking = {one.key: one.generation for name, one in names.items() if name not in found}
            there = {one.key: one.generation for name, one in names.items() if name in found}
            await self._believe(mapping.name, scope, there, lacking)

    async def _believe(
        self, mapping: str, scope: int, there: Mapping[str, int], lacking: Mapping[str, int]
    ) -> None:
        """Take in that CommCare lacks cases which its search lacks, as it lacks another one of the same request.

        A request is taken in whole or not at all, and all of them have rested; `there` and `lacking` are the keys,
        with their generations, of what the search has and has not. One case of each request is asked for.
        """
        store = self._world.books.store
        requests = await self._world.books.do(store.unheard, mapping, scope, {**there, **lacking})
        taken = {one for key in there for one in requests.get(key, ())}
        not_taken = set[tuple[str, int]]()
        for key, generation in lacking.items():
            mine, name = requests.get(key, frozenset()), external_id(key, generation)
            if not mine or mine & taken:
                continue  # the search is behind, maybe
            if mine <= not_taken:
                self._found[name] = None
            elif await self._is_there(name):
                taken |= mine
            else:
                not_taken |= mine

    async def _is_there(self, name: str) -> bool:
        """Say whether a case has an external id, past any lag of the search."""
        try:
            self._found[name] = await self._world.commcare.case_by_external_id(name)
        except Refused:  # two cases have it: whoever asks for it is told
            return True
        return self._found[name] is not None

    def take(self, case: CaseReply) -> None:
        """Take in a case that was found elsewhere just now."""
        self._found[case.case_id] = case

    async def of(self, case: CaseRow) -> CaseReply | None:
        """Return a case of the books as CommCare has it, None when it has none.

        Raises Refused when two cases have its external id.
        """
        name = case.case_id or _name(case)
        if name not in self._found:
            self._found[name] = await case_there(self._world, case.key, case)
        found = self._found[name]
        if found is not None:
            self.take(found)  # its id is known from now on, and it may be asked for by that
        return found

    async def emptied(self, mapping: CompiledMapping, draft: Draft, case: CaseRow | None) -> frozenset[str]:
        """Return what a case lost with its person, who was away, or erased; raises Refused as `of` does."""
        names = maybe_emptied(mapping, draft, case) if case is not None else set[str]()
        if case is not None and draft.once and await self._was_erased(case):
            names |= draft.once
        found = await self.of(case) if names and case is not None else None
        return frozenset(name for name in names if found is not None and not found.properties.get(name))

    async def _was_erased(self, case: CaseRow) -> bool:
        """Say whether an erasure may have emptied all that a case held: its person was let in again since.

        What was sent since without a name was no more than a mark, or the case type.
        """
        if not case.case_id or "@name" in (case.digests or {}):
            return False
        if self._admitted is None:
            self._admitted = await self._world.books.do(self._world.books.store.admitted)
        return case.user_id in self._admitted


def maybe_emptied(mapping: CompiledMapping, draft: Draft, case: CaseRow) -> set[str]:
    """Return what is personal and written once in a case that was away, where the books know nothing of it."""
    if not case.case_id or case.status not in AWAY:
        return set()
    return {name for name in draft.once - (case.digests or {}).keys() if mapping.is_personal(name)}


def _name(case: CaseRow) -> str:
    return external_id(case.key, case.generation)
