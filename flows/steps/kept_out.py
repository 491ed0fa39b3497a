"""Cases of people who are kept out, where books that were put back or lost know nothing of them.

A draft finds its case by writing it. Of who is kept out nothing is written, and what was sent before would stay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from adaptors.commcare.cases import CaseReply
from flows.steps.planned import Scope, external_id
from flows.steps.ways import closes, holds_personal
from flows.world import World
from state import CaseRow, RowId
from state.statuses import CLOSED


@dataclass
class Unknown:
    """What was found: cases to be known from now on, and rows whose next case CommCare has."""

    cases: dict[str, CaseRow] = field(default_factory=dict)
    followed: list[RowId] = field(default_factory=list)


async def find_unknown(
    world: World, scope: Scope, known: Mapping[str, CaseRow], keys: Collection[str], taken: Collection[str]
) -> Unknown:
    """Find the cases under some keys of a scope that its known cases lack.

    External ids that are `taken` are those of cases which were matched with somebody else since.
    """
    mapping, found = scope.mapping, Unknown()
    if not holds_personal(mapping):
        return found
    begin = {key: 1 if key not in known else known[key].generation + 1 for key in keys if _is_open(known.get(key))}
    for key, (case, generation) in (await _newest(world, begin, taken)).items():
        if key in known:
            found.followed.append(RowId(mapping.name, scope.number, key))
            continue
        status = "closed" if case.closed and closes(mapping) else "active"
        user = scope.users.get(key, 0)
        found.cases[key] = CaseRow(key, case.case_id, case.owner_id, None, status, 0, user, generation)
    return found


def _is_open(case: CaseRow | None) -> bool:
    """Say whether there may be a case that the books do not know."""
    return case is None or case.status in CLOSED


async def _newest(
    world: World, begin: Mapping[str, int], taken: Collection[str]
) -> dict[str, tuple[CaseReply, int]]:
    """Return the newest case under each key and its generation, looked for from a generation on."""
    found, waiting = dict[str, tuple[CaseReply, int]](), dict(begin)
    while waiting:
        names = {external_id(key, generation): key for key, generation in waiting.items()}
        replies = await world.commcare.cases_by_external_id(names.keys() - taken)
        there = {key: reply for name, key in names.items() if (reply := replies.get(name)) is not None}
        found |= {key: (reply, waiting[key]) for key, reply in there.items()}
        passed = {key for name, key in names.items() if name in taken}
        waiting = {key: waiting[key] + 1 for key in passed | {k for k, reply in there.items() if reply.closed}}
    return found
