"""Elements that are in their list no more, like a deleted activity: what cases still hold for them."""

from __future__ import annotations

from collections.abc import Mapping, Set

from flows.result import Result
from flows.steps.linked import case_there
from flows.steps.planned import Scope
from flows.world import World
from mappings.engine import CompiledMapping, Draft
from state import CaseRow


class Vanished:
    """Finds them by what the books know of a case, and in CommCare where they know nothing.

    Properties that were `removed` from a mapping are none of them.
    """

    def __init__(self, world: World, result: Result) -> None:
        self._world = world
        self._result = result
        self._digest = world.books.store.digest
        self._sent: dict[str, frozenset[str]] = {}

    async def of(
        self, scope: Scope, known: Mapping[str, CaseRow], removed: Set[str]
    ) -> Mapping[str, frozenset[str]]:
        """Return, by key, the properties whose elements two complete reads of their list lacked."""
        lacked, read = dict[str, set[str]](), set[str]()
        for key, draft in scope.drafts.items():
            case = known.get(key)
            if draft.listed and case is not None and case.case_id and case.digests is not None:
                read.add(key)
                names = self._lacked(scope.mapping, draft, case.digests) - removed
                lacked |= {key: names} if names else {}
        if not read or self._result.preview:
            return {}
        store, name, run = self._world.books.store, scope.mapping.name, self._result.run_id
        return await self._world.books.do(store.note_lacking, name, scope.number, read, lacked, run)

    def _lacked(self, mapping: CompiledMapping, draft: Draft, held: Mapping[str, bytes]) -> set[str]:
        """Return the properties that a case holds for elements which are in no list any more."""
        there = draft.properties.keys() | frozenset[str]().union(*draft.listed.values())
        once = {name for name in draft.listed if mapping.spec.properties[name].write == "once"}
        return {
            name
            for name in held.keys() - there - mapping.retired
            if (family := mapping.definition_of(name)) in draft.listed
            and family != name
            and family not in once
            and held[name] != self._digest(draft.key, name, "")
        }

    async def kept(
        self, mapping: CompiledMapping, draft: Draft, case: CaseRow | None, removed: Set[str]
    ) -> Mapping[str, str]:
        """Return what a dirty case holds for elements that are in its lists no more, as CommCare has it.

        Raises Refused when two cases have its external id.
        """
        if not draft.listed or case is None or case.digests is not None:
            return {}
        found = await case_there(self._world, case.key, case)
        names = await self.sent(mapping) - draft.properties.keys() - removed - mapping.retired
        return {
            name: value
            for name, value in (found.properties if found is not None else {}).items()
            if value and name in names and mapping.definition_of(name) in draft.listed
        }

    async def sent(self, mapping: CompiledMapping) -> frozenset[str]:
        """Return the properties of elements of a mapping that were ever sent, in whichever case.

        An app may have properties whose names fit the pattern: those are none.
        """
        if mapping.name not in self._sent:
            names = await self._world.books.do(self._world.books.store.property_names)
            made = frozenset(name for name in names if mapping.definition_of(name) not in ("", name))
            self._sent[mapping.name] = made
        return self._sent[mapping.name]
