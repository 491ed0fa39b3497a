"""One unit of reading on its way through the levels: parents are settled before their children are planned."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from flows.steps.plan import Planner
from flows.steps.planned import OTHER_TYPE, Planned, Problem, Scope
from flows.steps.push import Pusher


class Work:
    """The scopes of one course (or of one batch of people), pushed level by level.

    `done` is awaited once every row is settled: pushed, held back, set aside or in doubt.
    """

    def __init__(
        self, planner: Planner, pusher: Pusher, scopes: Sequence[Scope], done: Callable[[Work], Awaitable[None]]
    ) -> None:
        self.scopes = scopes
        self._planner = planner
        self._pusher = pusher
        self._done = done
        self._by_row = {(scope.mapping.name, scope.number): scope for scope in scopes}
        self._levels = sorted({scope.mapping.level for scope in scopes})
        self._pending = 0

    async def advance(self) -> None:
        """Plan and queue the next level that has something to send; finish when there is none."""
        while self._levels:
            level = self._levels.pop(0)
            rows = [
                row for scope in self.scopes if scope.mapping.level == level for row in await self._plan(scope)
            ]
            if rows:
                self._pending = len(rows)
                self._pusher.enqueue(level, rows, self._settled)
                return
        await self._done(self)

    async def _plan(self, scope: Scope) -> list[Planned]:
        rows = await self._planner.plan(scope)
        scope.excluded.clear()
        scope.drafts.clear()  # what is queued is all that is needed from here on
        return rows

    async def _settled(self, row: Planned, outcome: str) -> None:
        scope = self._by_row[row.row.mapping, row.row.scope]
        if outcome == OTHER_TYPE:
            scope.hold_back(Problem(row.row.key, "", outcome, f"type {self._pusher.firsts.type_of(row.row.key)}"))
        elif outcome not in ("", "in_doubt"):
            scope.problems.append(Problem(row.row.key, "", outcome, "CommCare refused the row"))
        self._pending -= 1
        if self._pending == 0:
            await self.advance()
