"""Cases of a person that the books lost, or that are younger than the backup they were put back from.

Whoever is erased is read by no run any more, so that no run finds them: CommCare's list is looked through instead,
and what belongs to the cases that are found.
"""

from __future__ import annotations

from collections.abc import Collection

from adaptors.commcare.cases import CaseReply
from flows.steps.linked import base_key, generation_of, key_of, list_all
from flows.steps.lost import lost
from flows.steps.planned import SITE_SCOPE
from flows.steps.recover import strangers
from flows.world import World
from mappings.engine import CompiledMapping
from mappings.engine.templates import ids_in
from state import CaseRow, RowId
from state.people import ERASING


async def take_in_unfound(world: World, people: Collection[int], known: Collection[RowId], run_id: str) -> None:
    """Take the cases of people that are being erased into the books, where these may lack some.

    A list is 5,000 cases to a request, seconds behind writes: nothing may be under way any more. Raises Retriable
    when CommCare says that there are more cases than it gave.
    """
    names = await strangers(world) | await lost(world)
    lacking = [mapping for mapping in world.project.mappings if mapping.name in names]
    keys = {row.key for row in known}
    for look in (_listed, _children):  # a child is known by its parent
        for mapping in lacking:
            for key, (user_id, case) in (await look(world, mapping, people)).items():
                if key not in keys:
                    await _adopt(world, mapping, key, user_id, case, run_id)


async def _listed(
    world: World, mapping: CompiledMapping, people: Collection[int]
) -> dict[str, tuple[int, CaseReply]]:
    """Return by key the last case of ours that people have in a mapping; without one, a case that was linked.

    Not one of which a person said that it is somebody else's: it may hold our key still.
    """
    project, refused = world.project, await _refused(world, mapping, people)
    found = dict[str, tuple[int, CaseReply]]()
    async for case in list_all(world, mapping, "external_id", project.moodle_key_property):
        key = key_of(project, case)
        user_id = mapping.person_of(key, project.site)
        if user_id is None or user_id not in people or case.case_id in refused:
            continue
        if key not in found or _rank(key, case) > _rank(key, found[key][1]):
            found[key] = user_id, case
    return found


async def _children(
    world: World, mapping: CompiledMapping, people: Collection[int]
) -> dict[str, tuple[int, CaseReply]]:
    """Return by key the last case that belongs to one of these people's cases, under a key that nothing makes now.

    The books that knew the keys of before an edit are lost; who a case belongs to, CommCare knows.
    """
    project, found = world.project, dict[str, tuple[int, CaseReply]]()
    for user_id, name, case_id in await _parents(world, mapping, people):
        async for case in list_all(world, mapping, "external_id", child_of=(name, case_id)):
            key = key_of(project, case)
            if not key or any(one.person_of(key, project.site) is not None for one in project.mappings):
                continue
            if key not in found or _rank(key, case) > _rank(key, found[key][1]):
                found[key] = user_id, case
    return found


async def _parents(world: World, mapping: CompiledMapping, people: Collection[int]) -> list[tuple[int, str, str]]:
    """Return whose cases the cases of a mapping may belong to: person, the name of the index, case id."""
    types, store = {one.name: one.case_type for one in world.project.mappings}, world.books.store
    held = [(number, one) for number in people for one in (await world.books.do(store.person, number)).cases]
    return [
        (number, name, one.case.case_id)
        for name, index in mapping.spec.indices.items()
        for number, one in held
        if one.case.case_id and types.get(one.row.mapping) == index.case_type
    ]


async def _refused(world: World, mapping: CompiledMapping, people: Collection[int]) -> set[str]:
    """Return the cases of which a person said that they are none of these people's."""
    store = world.books.store
    matches = [one for number in people for one in await world.books.do(store.matches_of, number)]
    return {one.case_id for one in matches if one.mapping == mapping.name and one.decision == "rejected"}


def _rank(key: str, case: CaseReply) -> tuple[bool, int]:
    """Return what puts our own cases before others, and later ones before earlier ones."""
    name = case.external_id or ""
    return base_key(name) == key, generation_of(name)


async def _adopt(
    world: World, mapping: CompiledMapping, key: str, user_id: int, case: CaseReply, run_id: str
) -> None:
    ids = ids_in(mapping.spec.external_id, world.project.site, key) or {}
    row = RowId(mapping.name, ids.get("course.id", SITE_SCOPE), key)
    is_own, number = _rank(key, case)
    is_linked = not is_own
    known = CaseRow(key, case.case_id, case.owner_id, None, ERASING, 0, user_id, number, is_linked)
    await world.books.do(world.books.store.adopt, row, known, world.clock.now(), run_id)
