"""Cases of people who are kept out, where books that were put back or lost know nothing of them.

A draft finds its case by writing it. Of who is kept out nothing is written, and what was sent before would stay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flows.steps.generations import last_of_each, newest_of_each
from flows.steps.planned import Scope
from flows.steps.retype import types_in
from flows.steps.ways import closes, holds_personal
from flows.world import World
from mappings.engine import CompiledMapping
from state import CaseRow, RowId
from state.statuses import CLOSED

if TYPE_CHECKING:
    from flows.run import Run


@dataclass
class Unknown:
    """What was found: cases to be known from now on, and rows with the generation of a later case of theirs."""

    cases: dict[str, CaseRow] = field(default_factory=dict)
    followed: dict[RowId, int] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)
    """Keys, with a generation, under which there is a case of another type: whose it is nobody can tell."""


async def find_unknown(
    world: World, scope: Scope, known: Mapping[str, CaseRow], keys: Collection[str], taken: Collection[str]
) -> Unknown:
    """Find the cases under some keys of a scope that its known cases lack.

    External ids that are `taken` are those of cases which were matched with somebody else since.
    """
    mapping, found = scope.mapping, Unknown()
    if not holds_personal(mapping):
        return found
    looked_for = {key: known.get(key) for key in keys}
    begin = {
        key: case.generation + 1 if case is not None else 1
        for key, case in looked_for.items()
        if _is_open(mapping, case)
    }
    types = await types_in(world, mapping) if begin else ()
    for key, (case, generation) in (await last_of_each(world, begin, taken)).items():
        if case.case_type not in types:
            found.others[key] = generation
            continue
        if key in known:
            found.followed[RowId(mapping.name, scope.number, key)] = generation
            continue
        status = "closed" if case.closed and closes(mapping) else "active"
        user = scope.users.get(key, 0)
        found.cases[key] = CaseRow(key, case.case_id, case.owner_id, None, status, 0, user, generation)
    return found


def _is_open(mapping: CompiledMapping, case: CaseRow | None) -> bool:
    """Say whether there may be a case that the books do not know: the one they know may be closed since."""
    return case is None or case.status in CLOSED or (case.digests is None and closes(mapping))


async def follow_closed(run: Run) -> None:
    """Let rows that we closed be about the later cases of their keys, which books that were put back do not know.

    Whoever is seen again finds such a case by writing it; who came back after the backup, and is gone, does not.
    """
    store, world = run.world.books.store, run.world
    name = world.project.moodle_key_property
    for mapping in run.mappings:
        if mapping.name not in run.planner.strangers or not closes(mapping):
            continue
        noted = {number for one, number in run.sweep.noted if one == mapping.name}
        for scope in sorted(noted & await world.books.do(store.scopes, mapping.name, {"closed"})):
            cases = await world.books.do(store.cases, mapping.name, scope)
            closed = {key: one for key, one in cases.items() if one.status == "closed" and one.digests is None}
            begin = {key: one.generation + 1 for key, one in closed.items()}
            for key, (case, generation) in (await newest_of_each(world, begin, ())).items():
                if case.properties.get(name, "") in ("", key):
                    row = RowId(mapping.name, scope, key)
                    await world.books.do(store.follow, row, generation, world.clock.now())
