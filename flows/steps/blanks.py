"""When suddenly many people lose the same personal value, a person is asked before it is emptied in CommCare.

A permission taken away in Moodle can look like that; so can a clean-up that somebody really meant.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from flows.result import Result, RunState
from flows.steps.planned import Planned, Scope
from flows.world import World

REFUSED_BLANKS = "refused_blanks"  # fact in the books: {"mapping property": people}
CONFIRMED_BLANKS = "confirmed_blanks"  # fact in the books: {"mapping property": people}, written by a person


class BlankGuard:
    """Holds back the emptying of a personal property when it concerns too many of those read together."""

    def __init__(self, world: World, result: Result) -> None:
        self._world = world
        self._result = result
        self._refused: Counter[str] = Counter()
        self._confirmed: Collection[str] | None = None

    async def passed(self, scope: Scope, people: int, rows: Sequence[Planned]) -> list[Planned]:
        """Return the rows with what they may empty; a row that only empties drops out when that is refused."""
        emptied = Counter(name for row in rows for name in _emptied(scope, row))
        guards = self._world.project.guards
        suspicious = {
            name
            for name, count in emptied.items()
            if count >= guards.leavers_people and count > people * guards.leavers_percent / 100
        }
        refused = {name for name in suspicious if f"{scope.mapping.name} {name}" not in await self._allowed()}
        for name in refused:
            self._refused[f"{scope.mapping.name} {name}"] += emptied[name]
        return (
            [kept for row in rows if (kept := _without(row, refused & _emptied(scope, row)))]
            if refused
            else [*rows]
        )

    async def _allowed(self) -> Collection[str]:
        if self._confirmed is None:
            found = await self._world.books.do(self._world.books.store.get, CONFIRMED_BLANKS)
            self._confirmed = json.loads(found or "{}").keys()
        return self._confirmed

    async def tell(self) -> None:
        """Name what was refused in the result and in the books."""
        books, store = self._world.books, self._world.books.store
        if (self._refused or self._confirmed) and not self._result.preview:
            await books.do(store.put, REFUSED_BLANKS, json.dumps(self._refused))
            await books.do(store.put, CONFIRMED_BLANKS, "{}")
        for what, people in sorted(self._refused.items()):
            mapping, name = what.split(" ", 1)
            self._result.worse(
                RunState.WAITING,
                f"{people} people would lose their {name} (mapping {mapping}), more than is usual; nothing was "
                f"emptied. If that is right: moodle-commcare confirm-blanks {mapping} {name} --count {people}",
            )


def _emptied(scope: Scope, row: Planned) -> set[str]:
    """Return the personal properties that a row empties."""
    return {name for name in row.emptied if scope.mapping.is_personal(name)}


def _without(row: Planned, names: Collection[str]) -> Planned | None:
    """Return the row without these properties, None when nothing is left to send."""
    if not names:
        return row
    if row.reasons <= set(names):
        return None
    properties = {name: value for name, value in row.write.properties.items() if name not in names}
    digests = {name: digest for name, digest in row.digests.items() if name not in names}
    return replace(row, write=replace(row.write, properties=properties), digests=digests)
