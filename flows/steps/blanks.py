"""When suddenly many people lose the same personal value, a person is asked before it is emptied in CommCare.

A permission taken away in Moodle can look like that; so can a clean-up that somebody really meant.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flows.needs import CONFIRMED_BLANKS, REFUSED_BLANKS, blanks
from flows.result import Result, RunState
from flows.steps.planned import Planned, Scope
from flows.world import World

SHARED_BLANKS = "shared_blanks"  # fact: what is left, for the shards of a round, of what a person agreed to


class BlankGuard:
    """Holds back the emptying of personal properties, and of elements, when it concerns too many read together."""

    def __init__(self, world: World, result: Result) -> None:
        self._world = world
        self._result = result
        self._refused: Counter[str] = Counter()
        self._confirmed: dict[str, int] | None = None
        self._given: dict[str, int] = {}
        self._looked_at: set[str] = set()

    async def passed(self, scope: Scope, people: int, rows: Sequence[Planned]) -> list[Planned]:
        """Return the rows with what they may empty; a row that only empties drops out when that is refused."""
        self._looked_at.add(scope.mapping.name)
        emptied = Counter(name for row in rows for name in _emptied(scope, row))
        guards = self._world.project.guards
        refused = set[str]()
        for name, count in emptied.items():
            if count < guards.leavers_people or count <= people * guards.leavers_percent / 100:
                continue
            what = f"{scope.mapping.name} {name}"
            if not await self._agreed(what, count):
                refused.add(name)
                self._refused[what] += count
        if not refused:
            return [*rows]
        return [kept for row in rows if (kept := _without(row, refused & _emptied(scope, row)))]

    async def _agreed(self, what: str, count: int) -> bool:
        """Say whether a person agreed that so many lose a value, and take them off what he or she agreed to."""
        confirmed = await self.agreed()
        if confirmed.get(what, 0) < count:
            return False
        confirmed[what] -= count
        return True

    async def agreed(self) -> dict[str, int]:
        """Return what is left of what a person agreed to."""
        if self._confirmed is None:
            self._given = await self._fact(CONFIRMED_BLANKS)
            self._confirmed = dict(self._given)
        return self._confirmed

    async def _fact(self, name: str) -> dict[str, int]:
        """Return people by mapping and property as a fact holds them."""
        text = await self._world.books.do(self._world.books.store.get, name)
        return {str(what): int(people) for what, people in json.loads(text or "{}").items()}

    def told(self) -> dict[str, Any]:
        """Return what a shard found, as JSON, for the end of its round."""
        return {"refused": dict(self._refused), "looked_at": sorted(self._looked_at)}

    def take_over(self, told: Mapping[str, Any]) -> None:
        """Take in what a shard found."""
        self._refused.update(told["refused"])
        self._looked_at.update(told["looked_at"])

    async def tell(self) -> None:
        """Name what was refused in the result and in the books; what was agreed to holds for one run.

        What a person agreed to while this run was under way is for the next one.
        """
        for name, now in ((REFUSED_BLANKS, dict(self._refused)), (CONFIRMED_BLANKS, {})):
            before = {} if self._result.preview else await self._fact(name)
            if name == CONFIRMED_BLANKS:
                now = {
                    what: before[what] for what in self._refused if before.get(what, 0) != self._given.get(what, 0)
                }
            kept = {
                what: people for what, people in before.items() if what.split(" ", 1)[0] not in self._looked_at
            }
            if not self._result.preview and kept | now != before:
                await self._world.books.do(self._world.books.store.put, name, json.dumps(kept | now))
        for what, people in sorted(self._refused.items()):
            self._result.worse(RunState.WAITING, blanks(what, people).message)


class SharedBlankGuard(BlankGuard):
    """The guard of a shard: what a person agreed to is taken off a number that all shards share."""

    async def _agreed(self, what: str, count: int) -> bool:
        """Say whether enough of it is left, and take it off."""
        books = self._world.books
        return await books.do(books.store.spend, SHARED_BLANKS, what, count)


def _emptied(scope: Scope, row: Planned) -> set[str]:
    """Return the properties that a row empties and that are personal, or whose elements vanished together."""
    return {name for name in row.emptied if name in row.doubtful or scope.mapping.is_personal(name)}


def _without(row: Planned, names: Collection[str]) -> Planned | None:
    """Return the row without these properties, None when nothing is left to send."""
    if not names:
        return row
    if row.reasons <= set(names):
        return None
    properties = {name: value for name, value in row.write.properties.items() if name not in names}
    digests = {name: digest for name, digest in row.digests.items() if name not in names}
    return replace(row, write=replace(row.write, properties=properties), digests=digests)
