"""Which mapping wrote last under keys of a form: a file that was given another name makes the same keys.

What the books say of cases under the one name is not true any more once they were written under the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from flows.steps.recover import expect_strangers
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
    """Write down that mappings may write from now on."""
    facts = {HOLDER.format(keys=keys_of(world, mapping)): mapping.name for mapping in mappings}
    found = await world.books.do(world.books.store.get_all, [*facts])
    if differing := {fact: name for fact, name in facts.items() if found.get(fact) != name}:
        await world.books.do(world.books.store.put_all, differing)
