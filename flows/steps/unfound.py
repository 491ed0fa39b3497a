"""Cases of a person that the books lost, or that are younger than the backup they were put back from.

Whoever is erased is read by no run any more, so that no run finds them: CommCare's list is looked through instead.
"""

from __future__ import annotations

from collections.abc import Collection

from adaptors.commcare.cases import CaseReply
from flows.steps.linked import base_key, generation_of
from flows.steps.lost import lost
from flows.steps.planned import SITE_SCOPE
from flows.steps.recover import strangers
from flows.steps.retype import types_of
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
    keys = {row.key for row in known}
    for mapping in world.project.mappings:
        if mapping.name not in names:
            continue
        for key, (user_id, case) in (await _listed(world, mapping, people)).items():
            if key not in keys:
                await _adopt(world, mapping, key, user_id, case, run_id)


async def _listed(
    world: World, mapping: CompiledMapping, people: Collection[int]
) -> dict[str, tuple[int, CaseReply]]:
    """Return by key the last case of each that people have in a mapping, also in one that was linked."""
    site, name = world.project.site, world.project.moodle_key_property
    found = dict[str, tuple[int, CaseReply]]()
    for case_type in (await types_of(world, [mapping]))[mapping.name].follow(mapping.case_type).names:
        async for case in world.commcare.list_cases(case_type, fields=("external_id", name)):
            key = base_key(case.external_id or "")
            key = key if key.startswith(f"{site}-") else case.properties.get(name, "")
            user_id = mapping.person_of(key, site)
            if (
                user_id is not None
                and user_id in people
                and (key not in found or _number(case) > _number(found[key][1]))
            ):
                found[key] = user_id, case
    return found


def _number(case: CaseReply) -> int:
    return generation_of(case.external_id or "")


async def _adopt(
    world: World, mapping: CompiledMapping, key: str, user_id: int, case: CaseReply, run_id: str
) -> None:
    ids = ids_in(mapping.spec.external_id, world.project.site, key) or {}
    row = RowId(mapping.name, ids.get("course.id", SITE_SCOPE), key)
    is_linked = base_key(case.external_id or "") != key
    known = CaseRow(key, case.case_id, case.owner_id, None, ERASING, 0, user_id, _number(case), is_linked)
    await world.books.do(world.books.store.adopt, row, known, world.clock.now(), run_id)
