"""Mappings of which CommCare has cases of ours that no read has shown since the books were lost, or put back.

Their people are away, or kept in courses that nobody reads. Whoever comes back is to find the case again: written
as somebody new he would get a second one, or go on in one that is closed, or of an old term.
"""

from __future__ import annotations

from adaptors.errors import Retriable
from flows.steps.linked import key_of, list_all
from flows.world import World
from mappings.engine import CompiledMapping

LOST = "lost_cases:{name}"  # fact in the books: whoever is new to them may have a case
AT_ONCE = 5000


async def lost(world: World) -> frozenset[str]:
    """Return the mappings of which whoever is new to the books may have a case."""
    names = {LOST.format(name=mapping.name): mapping.name for mapping in world.project.mappings}
    found = await world.books.do(world.books.store.get_all, [*names])
    return frozenset(names[fact] for fact, text in found.items() if text)


async def note_lost(world: World, name: str) -> None:
    """Write down whether that is so of a mapping, now that all were read; a list is 5,000 cases to a request."""
    mapping = next((one for one in world.project.mappings if one.name == name), None)
    if mapping is not None and await _are_left(world, mapping):
        await world.books.do(world.books.store.put, LOST.format(name=name), "1")


async def _are_left(world: World, mapping: CompiledMapping) -> bool:
    """Say whether CommCare has a case with a key of ours that the books do not know, or does not tell."""
    keys = set[str]()
    try:
        async for case in list_all(world, mapping, "external_id", world.project.moodle_key_property):
            keys.add(key_of(world.project, case))
            if len(keys) >= AT_ONCE and await _unknown(world, keys):
                return True
    except Retriable:
        return True
    return await _unknown(world, keys)


async def _unknown(world: World, keys: set[str]) -> bool:
    """Say whether any of some keys is not in the books, and forget them."""
    ours = keys - {""}
    keys.clear()
    names = [mapping.name for mapping in world.project.mappings]
    return bool(ours - (await world.books.do(world.books.store.generations, names, ours)).keys())
