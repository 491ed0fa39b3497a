"""Records that a mapping keeps out, as they were last read: nothing waits for a case that they will not have.

A run reads children without their parents where those have an interval, or where a webhook told of a grade.
"""

from __future__ import annotations

import json
from collections.abc import Set

from flows.steps.planned import Scope
from flows.steps.reach import Place
from flows.world import World
from state.facts import KEYS_KEPT_OUT


class Outsiders:
    """Loads each place once a run; a run that reads it brings it up to date."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._keys: dict[Place, set[str]] = {}
        self._saved: dict[Place, str] = {}

    async def of(self, place: Place) -> Set[str]:
        """Return the keys that were kept out of a place when it was last read."""
        if place not in self._keys:
            text = await self._world.books.do(self._world.books.store.get, _fact(place)) or "[]"
            if place not in self._keys:  # somebody else may have asked meanwhile
                self._saved[place] = text
                self._keys[place] = set(json.loads(text))
        return self._keys[place]

    async def note(self, scope: Scope, kept_out: Set[str]) -> None:
        """Take in which of the keys of a scope, or of a part of it, are kept out now."""
        place = scope.mapping.name, scope.number
        await self.of(place)
        self._keys[place] -= scope.seen
        self._keys[place] |= kept_out

    async def save(self, scope: Scope, *, complete: bool) -> None:
        """Write down what was noted of a scope; after a `complete` read who was not seen is forgotten."""
        place = scope.mapping.name, scope.number
        if place not in self._keys:
            return
        if complete:
            self._keys[place] &= scope.seen
        text = json.dumps(sorted(self._keys[place]))
        if text != self._saved[place]:
            await self._world.books.do(self._world.books.store.put, _fact(place), text)
            self._saved[place] = text


def _fact(place: Place) -> str:
    name, scope = place
    return KEYS_KEPT_OUT.format(name=name, scope=scope)
