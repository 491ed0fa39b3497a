"""Which mapping wrote last under keys of a form: a file that was given another name makes the same keys.

What the books say of cases under the one name is not true any more once they were written under the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from flows.steps.recover import expect_strangers
from flows.steps.retype import inherited_types, types_in, types_told
from flows.world import World
from mappings.engine import CompiledMapping, Project

HOLDER = "holder:{keys}"  # fact in the books: the name of the mapping that was allowed to write last


def keys_of(world: World, mapping: CompiledMapping) -> str:
    """Return what decides which external ids a mapping makes."""
    return form_of(world.project, mapping)


def form_of(project: Project, mapping: CompiledMapping) -> str:
    """Return the same of a mapping of some project."""
    return f"{project.site} {mapping.fingerprints['@key']}"


async def heed_other_names(world: World, mappings: Sequence[CompiledMapping]) -> None:
    """Doubt what the books say of mappings to whose cases another one wrote since, and expect unknown ones."""
    facts = {mapping.name: HOLDER.format(keys=keys_of(world, mapping)) for mapping in mappings}
    found = await world.books.do(world.books.store.get_all, [*facts.values()])
    for name, fact in facts.items():
        if found.get(fact, name) != name:
            await expect_strangers(world, [name])
            await world.books.do(world.books.store.doubt, name)


async def remember_holders(world: World, mappings: Sequence[CompiledMapping]) -> None:
    """Write down that mappings may write from now on; the cases of those before them have the types of those."""
    facts = {HOLDER.format(keys=keys_of(world, mapping)): mapping.name for mapping in mappings}
    found = await world.books.do(world.books.store.get_all, [*facts])
    if differing := {fact: name for fact, name in facts.items() if found.get(fact) != name}:
        before = {name: found[fact] for fact, name in differing.items() if fact in found}
        types = await inherited_types(world, before)
        await world.books.do(world.books.store.put_all, differing | types)


async def holder_before(world: World, mapping: CompiledMapping) -> str:
    """Return which other mapping wrote last under the keys of one, "" for none."""
    found = await world.books.do(world.books.store.get, HOLDER.format(keys=keys_of(world, mapping)))
    return "" if found in (None, mapping.name) else str(found)


async def types_under(world: World, mapping: CompiledMapping) -> frozenset[str]:
    """Return the types of the cases under a mapping's keys, also of those that another one wrote last."""
    before = await holder_before(world, mapping)
    texts = await inherited_types(world, {mapping.name: before}) if before else {}
    return frozenset(
        {*await types_in(world, mapping), *(one for text in texts.values() for one in types_told(text))}
    )
