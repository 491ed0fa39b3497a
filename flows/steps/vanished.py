"""Elements that are in their list no more, like a deleted activity: what cases still hold for them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from flows.result import Result
from flows.steps.planned import Scope
from flows.steps.there import There
from flows.world import World
from mappings.engine import CompiledMapping, Draft
from state import CaseRow


@dataclass(frozen=True)
class Kept:
    """What a dirty case holds for elements: `texts` of those in its lists no more, and the `names` of others."""

    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    names: frozenset[str] = frozenset()


NOTHING = Kept()


class Vanished:
    """Finds them by what the books know of a case, and in CommCare where they know nothing.

    Properties that were `removed` from a mapping are none of them.
    """

    def __init__(self, world: World, result: Result, there: There) -> None:
        self._world = world
        self._result = result
        self._there = there
        self._sent: frozenset[str] | None = None
        self._digest = world.books.store.digest

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

    async def kept(self, mapping: CompiledMapping, draft: Draft, case: CaseRow | None, removed: Set[str]) -> Kept:
        """Return what a dirty case holds for elements, as CommCare has it; what an app wrote is none of them.

        Raises Refused when two cases have its external id.
        """
        if not mapping.has_elements or case is None or case.digests is not None:
            return NOTHING
        found, sent = await self._there.of(case), await self._ever_sent()
        held = {
            name: value
            for name, value in (found.properties if found is not None else {}).items()
            if value and name not in removed | mapping.retired
            if mapping.definition_of(name) not in ("", name) and (name in sent or mapping.makes(name))
        }
        texts = {
            name: value
            for name, value in held.items()
            if name not in draft.properties and mapping.definition_of(name) in draft.listed
        }
        return Kept(texts, frozenset(held.keys() - texts.keys()))

    async def _ever_sent(self) -> frozenset[str]:
        """Return the names of all properties that were ever sent, whichever case they stand in."""
        if self._sent is None:
            self._sent = frozenset(await self._world.books.do(self._world.books.store.property_names))
        return self._sent
