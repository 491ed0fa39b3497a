"""How new cases are made: CommCare finds or makes them in one request, and where it is too old we look first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adaptors.commcare.cases import RowsRefused
from adaptors.errors import Refused
from flows.result import Result, RunState
from flows.steps.planned import Planned
from flows.world import World
from state import RowId

NO_UPSERT = "no_upsert"


class Creates:
    """Whether this CommCare can create or update in one request: taken for granted until it refuses that.

    Older servers cannot. Then each unknown case is looked for by its external id, past any search lag, and is made
    only when it is not there. That is as safe, since a row of unknown outcome has rested by then.
    """

    def __init__(self, world: World, result: Result) -> None:
        self._world = world
        self._result = result
        self._upserts = True

    async def are_refused(self, rows: Sequence[Planned], refusal: RowsRefused) -> bool:
        """Say whether rows were refused because the server is old; asks it once, and tells the result.

        Other requests may be under way when that is found out. What was looked up is refused for another reason.
        """
        unknown = any(not row.write.case_id and not row.write.create for row in rows)
        if not unknown or NO_UPSERT not in {refusal.code, *refusal.rows.values()}:
            return False
        if self._upserts:
            self._upserts = await self._world.commcare.probe_upsert()
        if not self._upserts:
            self._result.worse(
                RunState.COMPLETED,
                "This CommCare server is older than 2026 and cannot create or update in one request: each new "
                "case was looked for first, which costs one request more.",
            )
        return not self._upserts

    async def looked_up(self, rows: Sequence[Planned]) -> tuple[list[Planned], dict[RowId, str]]:
        """Return rows as this server takes them, and the outcome of those that cannot be sent."""
        if self._upserts:
            return [*rows], {}
        ready, outcomes = list[Planned](), dict[RowId, str]()
        for row in rows:
            try:
                ready.append(row if row.write.case_id else await self._found_or_new(row))
            except Refused as error:  # two cases have this key
                outcomes[row.row] = error.code or "refused"
        return ready, outcomes

    async def _found_or_new(self, row: Planned) -> Planned:
        found = await self._world.commcare.case_by_external_id(row.write.key)
        if found is None:
            return replace(row, write=replace(row.write, create=True))
        return replace(row, write=replace(row.write, case_id=found.case_id))
