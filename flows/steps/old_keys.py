"""Cases of people who are kept out, under keys that their mapping made before: they are emptied with the others.

A record that is kept out names its new key. What stands under the old one is asked for by its person.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from flows.steps.planned import Scope
from flows.steps.withdraw import KeptOut
from flows.world import World
from mappings.engine import CompiledMapping
from state import RowId
from state.rows import Ours


class OldKeys:
    """Looks each scope up once a run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._found: dict[tuple[str, int], Mapping[int, Sequence[str]]] = {}

    async def kept_out(self, scope: Scope, rows: Collection[RowId]) -> list[KeptOut]:
        """Return what those have of whom all records of a scope are kept out; `rows` are those kept out so far.

        What had left is among it: whoever says no after the keys were changed means that as well.
        """
        people = _people(scope, rows)
        keys = {key: people[person] for person, key in await self._under(scope, people)}
        store, name = self._world.books.store, scope.mapping.name
        known = await self._world.books.do(store.cases, name, scope.number, keys) if keys else {}
        return [
            KeptOut(scope.mapping, RowId(name, scope.number, key), case, keys[key]) for key, case in known.items()
        ]

    async def _under(self, scope: Scope, people: Collection[int]) -> list[tuple[int, str]]:
        """Return the people with their old keys."""
        place = scope.mapping.name, scope.number
        if people and place not in self._found:
            store = self._world.books.store
            is_old = self._is_old(scope.mapping)
            self._found[place] = await self._world.books.do(store.under_other_keys, *place, is_old)
        there = self._found.get(place, {})
        return [(person, key) for person in there.keys() & set(people) for key in there[person]]

    def _is_old(self, mapping: CompiledMapping) -> Ours:
        is_ours = mapping.makes_on(self._world.project.site)
        return lambda *row: not is_ours(*row)


def _people(scope: Scope, rows: Collection[RowId]) -> dict[int, bool]:
    """Return who is kept out in a scope, and whether that is so whatever courses the person is in."""
    found, there = dict[int, bool](), {0}
    for key, person in scope.users.items():
        if key in scope.drafts and RowId(scope.mapping.name, scope.number, key) not in rows:
            there.add(person)
        else:
            found[person] = scope.excluded.get(key, True) and found.get(person, True)
    return {person: firm for person, firm in found.items() if person not in there}
