"""Books that were begun anew: what the ones before them sent may be under way still, and nobody knows of it.

A newcomer's books are new as well, and nobody is made to wait for that: see decision 0003.
"""

from __future__ import annotations

from collections.abc import Sequence

from flows.errors import Resting
from flows.steps.clocks import rest_left
from flows.steps.linked import is_ours
from flows.words import numbered
from flows.world import World
from mappings.engine import CompiledMapping
from state.care import AFTER_OTHERS, BEGUN_AT, NEW_BOOKS


async def let_rest(world: World, beside: Sequence[CompiledMapping]) -> None:
    """Raise Resting while new books may be those after others, and were made a short while ago.

    There were others when open_store found a sign of them, or when CommCare has cases with keys of ours; only
    mappings that write `beside` cases which are there can meet those. Once a run may write, the books know what is
    under way, and are new no more.
    """
    store = world.books.store
    kind = await world.books.do(store.get, NEW_BOOKS)
    if not kind:
        return
    begun = await world.books.do(store.get, BEGUN_AT)
    left = rest_left(float(begun or "-inf"), world.in_doubt_rest, world.clock.now())
    if left and (kind == AFTER_OTHERS or await _has_cases_of_ours(world, beside)):
        await world.books.do(store.put, NEW_BOOKS, AFTER_OTHERS)
        raise Resting(
            "These books are new, and others were in use here before them: CommCare may still be at work on what "
            f"those sent. The first run that sends is possible in {numbered(int(left // 60) + 1, 'minute')}; what "
            "was approved stays approved, and nothing is lost. If this comes again and again, the books are not "
            "kept: STATE_URL has to name a place that stays."
        )
    await world.books.do(store.put, NEW_BOOKS, "")


async def _has_cases_of_ours(world: World, mappings: Sequence[CompiledMapping]) -> bool:
    """Say whether CommCare has a case whose external id may be one of this site's."""
    for case_type in sorted({mapping.case_type for mapping in mappings}):
        async for case in world.commcare.list_cases(case_type, fields=("external_id",)):
            if is_ours(world.project, case.external_id or ""):
                return True
    return False
