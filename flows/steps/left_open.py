"""Records that a read had to hold back: how often they are read again at once, and what puts them right unread.

The cause may never go away (a learner without a last name), and must not have Moodle asked each hour for what is
read once a day. What is put right in the books or in CommCare is found without Moodle, and read for at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from adaptors.errors import AdaptorError, Refused
from flows.steps.doubles import Doubles
from flows.steps.failing import FAILING, PATIENCE_S
from flows.steps.linked import case_there
from flows.steps.planned import IN_PART, OTHER_TYPE, PARENT, UNDECIDED, WAITS, Scope, scope_number
from flows.steps.there import FEW
from flows.world import World
from mappings.engine import CompiledMapping
from state import CaseRow, ProblemRow, RowId
from state.statuses import CLOSED

if TYPE_CHECKING:
    from flows.run import Run

TRIES = 3
"""Runs in a row that read again at once for the same; from then on the interval counts again."""
PATIENT = frozenset({"engagement"})
"""Sources too costly to be read again each hour because the parent of one record is held back."""
NO_OWNER, OWNER_TO_COME, DOUBLED = "owner_unresolved", "owner_unknown", "duplicate_external_id"
OPEN = frozenset({WAITS, UNDECIDED, IN_PART, OTHER_TYPE, NO_OWNER, OWNER_TO_COME, DOUBLED})
"""Why a record is held back that waits for something else than for its own values in Moodle."""
OWNERS = "owners_seen"
"""Fact in the books: mapping -> {kind of owner: digest of CommCare's list when its records found none}."""


def left_open(scope: Scope) -> set[RowId]:
    """Return the records of a scope that wait for something else than for their own values."""
    name, number = scope.mapping.name, scope.number
    if scope.mapping.source in PATIENT:
        return set()
    return {RowId(name, number, one.key) for one in scope.problems if one.holds and one.reason in OPEN}


async def newly_open(run: Run) -> set[str]:
    """Return the mappings with a record that was held back in a few reads only: they are read again at once."""
    if not run.open:
        return set()
    store, names = run.world.books.store, {row.mapping for row in run.open}
    found = await run.world.books.do(store.problems_for, names, OPEN)
    return {row.mapping for row in run.open - {one.row for one in found if one.runs > TRIES}}


async def remember_owners(run: Run, names: Collection[str]) -> None:
    """Write down which owners CommCare had when records of these mappings found none."""
    if not names or not run.result.reasons[NO_OWNER]:
        return
    books, store = run.world.books, run.world.books.store
    seen: dict[str, dict[str, str]] = {}
    for one in await books.do(store.problems_for, names, [NO_OWNER]):
        for kind in _kinds(one) - seen.setdefault(one.row.mapping, {}).keys():
            with suppress(AdaptorError):  # a list that nobody may read; the next run without it reads all again
                seen[one.row.mapping][kind] = await _owners(run.world, kind)
    text = await books.do(store.get, OWNERS)
    known = json.loads(text or "{}")
    if any(known.get(name) != of for name, of in seen.items()):
        await books.do(store.change_entries, OWNERS, seen)


async def put_right(
    world: World, mappings: Sequence[CompiledMapping], read_at: Callable[[str], float]
) -> set[str]:
    """Return the names of mappings with a record whose cause is gone since it was read; Moodle is not asked.

    What the last complete read, begun at `read_at` of the mapping, did not show counts no more. Where CommCare
    does not answer nothing is known, and the next run asks again.
    """
    by_name = {mapping.name: mapping for mapping in mappings}
    rows = await world.books.do(world.books.store.problems_for, by_name, OPEN) if by_name else []
    rows = [one for one in rows if one.last_at >= read_at(one.row.mapping)]
    found = await _with_parent(world, by_name, rows) | await _waited_enough(world, rows)
    try:
        found |= await _with_owner(world, [one for one in rows if one.row.mapping not in found])
        found |= await _alone(world, by_name, [one for one in rows if one.row.mapping not in found])
    except AdaptorError:
        return found
    for one in sorted(rows, key=lambda one: by_name[one.row.mapping].level):
        if {rule.mapping for rule in by_name[one.row.mapping].parents if _is_about(one, rule.name)} & found:
            found.add(one.row.mapping)  # its parent comes in the run that is about to begin
    return found


def _is_about(one: ProblemRow, index: str) -> bool:
    """Say whether a record waits for the parent of an index, or for the owner of one."""
    return one.reason == OWNER_TO_COME or (one.reason == WAITS and one.property == f"@index:{index}")


async def _waited_enough(world: World, rows: Iterable[ProblemRow]) -> set[str]:
    """Return the mappings with newcomers for whom a course was waited for, which is over since: a day, or read."""
    waiting, now = [one for one in rows if one.reason == IN_PART], world.clock.now()
    text = await world.books.do(world.books.store.get, FAILING) if waiting else None
    since = json.loads(text or "{}").values()
    over = max(since) + PATIENCE_S if since else now
    return {one.row.mapping for one in waiting if one.last_at < over <= now}


async def _with_parent(
    world: World, mappings: Mapping[str, CompiledMapping], rows: Iterable[ProblemRow]
) -> set[str]:
    """Return the mappings with records that waited for a parent, or for its owner, and have it by now."""
    waiting = [one for one in rows if one.reason in (WAITS, OWNER_TO_COME) and one.detail.startswith(PARENT)]
    store, parents = world.books.store, {mapping.name: mapping for mapping in world.project.mappings}
    resting = await world.books.do(store.intents) if waiting else {}
    found = set[str]()
    wanted: dict[tuple[str, str, int], set[str]] = {}
    for one in waiting:
        for rule in mappings[one.row.mapping].parents:
            if _is_about(one, rule.name):
                place = one.row.mapping, rule.mapping, scope_number(parents[rule.mapping], one.row.scope)
                wanted.setdefault(place, set()).add(one.detail.removeprefix(PARENT))
    for (name, parent, scope), keys in wanted.items():
        cases = await world.books.do(store.cases, parent, scope, keys) if name not in found else {}
        if any(_is_there(case) and RowId(parent, scope, key) not in resting for key, case in cases.items()):
            found.add(name)
    return found


def _is_there(case: CaseRow) -> bool:
    """Say whether a case can have others below it, and tells them its owner."""
    return bool(case.case_id and case.owner_id) and case.status not in CLOSED


async def _with_owner(world: World, rows: Iterable[ProblemRow]) -> set[str]:
    """Return the mappings with records without an owner, of which CommCare lists other ones than then."""
    without = [one for one in rows if one.reason == NO_OWNER]
    if not without:
        return set()
    text, found = await world.books.do(world.books.store.get, OWNERS), set[str]()
    seen = json.loads(text or "{}")
    for name, kind in sorted({(one.row.mapping, kind) for one in without for kind in _kinds(one)}):
        if name not in found and seen.get(name, {}).get(kind) != await _owners(world, kind):
            found.add(name)
    return found


def _kinds(one: ProblemRow) -> set[str]:
    """Return the kinds of owners that a record was looked up among, as its detail says: 'user unknown, ...'."""
    return {part.split()[0] for part in one.detail.split(", ") if len(part.split()) == 2}


async def _owners(world: World, kind: str) -> str:
    """Return a digest of all owners of a kind that CommCare lists."""
    content = await world.commcare.owners.content(kind)
    return world.books.store.digest(OWNERS, kind, content).hex()


async def _alone(world: World, mappings: Mapping[str, CompiledMapping], rows: Iterable[ProblemRow]) -> set[str]:
    """Return the mappings with a record of whose key CommCare had several cases, and has no more."""
    doubles, found = Doubles(world), set[str]()
    held: dict[tuple[str, int], list[str]] = {}
    for one in rows:
        if one.reason == DOUBLED and not one.detail:  # else CommCare refused the row: that needs a person's word
            held.setdefault(one.row[:2], []).append(one.row.key)
    for (name, scope), keys in sorted(held.items()):
        cases = await world.books.do(world.books.store.cases, name, scope, keys)
        blank = CaseRow("", "", "", None, "active", 0, 0)
        some = keys if len(keys) <= FEW else sorted({*keys} - await doubles.of(mappings[name]))[:FEW]
        alone = {key for key in some if not await _is_doubled(world, key, cases.get(key, blank))}
        if alone and alone - await doubles.of(mappings[name]):  # the list has later cases of a key as well
            found.add(name)
    return found


async def _is_doubled(world: World, key: str, case: CaseRow) -> bool:
    """Say whether several cases have the key of a record."""
    try:
        await case_there(world, key, case)
    except Refused:
        return True
    return False
