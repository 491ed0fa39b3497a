"""Cases as CommCare has them while a scope is planned: many are looked up at once, few one by one.

One by one is past any lag of the search, and each costs a request. Many are asked about only when the books know
little, after a restore or a lost key: then CommCare was left alone for a while, and its search has caught up.
"""

from __future__ import annotations

from collections.abc import Collection

from adaptors.commcare.cases import CaseReply
from flows.steps.doubles import Doubles
from flows.steps.linked import base_key, case_there
from flows.steps.planned import external_id
from flows.world import World
from mappings.engine import CompiledMapping
from state import CaseRow

FEW = 5
"""So many are asked for one by one."""


class There:
    """What CommCare has of some cases, asked for once each."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._found: dict[str, CaseReply | None] = {}
        self.doubles = Doubles(world)

    def begin(self) -> None:
        """Forget what was found: another scope is planned."""
        self._found.clear()

    async def look_for(self, mapping: CompiledMapping, cases: Collection[CaseRow]) -> None:
        """Look up cases that will be asked for, where they are many.

        Those that the search lacks are asked for, and so are those whose external id several cases have.
        """
        if len(cases) <= FEW:
            return
        ids = {case.case_id for case in cases if case.case_id}
        names = {_name(case) for case in cases if not case.case_id}
        self._found |= await self._world.commcare.cases_by_id(ids) if ids else {}
        if names:
            found = await self._world.commcare.cases_by_external_id(names)
            doubled = await self.doubles.among(mapping, found.values())
            self._found |= {name: case for name, case in found.items() if base_key(name) not in doubled}

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
        return self._found[name]


def _name(case: CaseRow) -> str:
    return external_id(case.key, case.generation)
