"""External ids that several cases have: a fetch of many shows any one of them, which may be somebody else's.

A list of all cases of a type tells, or a question about each case; whichever takes fewer requests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from math import ceil

from adaptors.commcare.cases import CaseReply
from adaptors.commcare.client import PAGE
from flows.steps.linked import base_key, list_all
from flows.steps.retype import types_of
from flows.world import World
from mappings.engine import CompiledMapping

MANY = 200
"""So many questions are more than any list takes: a type of a million cases is listed with fewer."""


class Doubles:
    """Lists the cases of a mapping once a run, 5,000 to a request; those of other types are not looked at."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._found: dict[str, frozenset[str]] = {}
        self._pages: dict[str, int] = {}

    async def of(self, mapping: CompiledMapping) -> frozenset[str]:
        """Return the keys of a mapping under which several cases have one external id (seconds behind writes)."""
        if mapping.name not in self._found:
            self._found[mapping.name] = frozenset([base_key(one) async for one in self._listed(mapping)])
        return self._found[mapping.name]

    async def among(self, mapping: CompiledMapping, found: Iterable[CaseReply], each: int = 1) -> frozenset[str]:
        """Return the keys of cases that a fetch of many showed, where another case may have the same external id.

        Of one of another type nobody knows: it was made by somebody else, and ours may be there as well. All of
        them where asking for them one by one, at `each` so many requests, takes no more than listing their type.
        """
        cases = [*found]
        if not cases:
            return frozenset()
        if not await self._is_listed_sooner(mapping, len(cases) * each):
            return frozenset(base_key(case.external_id or "") for case in cases)
        others = {case.external_id or "" for case in cases if case.case_type not in await self._types(mapping)}
        return await self.of(mapping) | {base_key(one) for one in others}

    async def _is_listed_sooner(self, mapping: CompiledMapping, questions: int) -> bool:
        """Say whether listing the cases of a mapping takes fewer requests than so many; counting is one too."""
        types = await self._types(mapping)
        if mapping.name in self._found or questions > MANY:
            return True
        if questions <= 2 * len(types):
            return False
        if mapping.name not in self._pages:
            counts = [await self._world.commcare.count_cases(case_type) for case_type in types]
            self._pages[mapping.name] = len(types) + sum(max(1, ceil(count / PAGE)) for count in counts)
        return self._pages[mapping.name] < questions

    async def _types(self, mapping: CompiledMapping) -> tuple[str, ...]:
        return (await types_of(self._world, [mapping]))[mapping.name].follow(mapping.case_type).names

    async def _listed(self, mapping: CompiledMapping) -> AsyncIterator[str]:
        """Yield the external ids of our form that were met before."""
        met, start = set[str](), f"{self._world.project.site}-"
        async for case in list_all(self._world, mapping, "external_id"):
            name = case.external_id or ""
            if name in met:
                yield name
            if name.startswith(start):
                met.add(name)
