"""First runs of mappings: the plan that a person sees, and whether what he or she approved still holds."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from flows.errors import Waiting
from flows.needs import EXISTING, FIRST_RUNS, first_run
from flows.result import Result, RunState
from flows.steps.approvals import approved, ask, fact, has_grown, planned_before, unwritten
from flows.steps.due import due_streams, streams_of
from flows.steps.gate import ask_what_is_in_the_way, in_the_way
from flows.steps.left_open import TRIES
from flows.world import World
from mappings.engine import CompiledMapping

if TYPE_CHECKING:
    from flows.run import Run

Look = Callable[[Sequence[CompiledMapping]], Awaitable[Result]]
"""Reads what first runs of mappings would send, and returns it with its plan; sends nothing."""


LOOKED = "first_look"
"""Fact in the books: {"at": when the last look at first runs began, "revision" of the mappings, "mappings": names,
"tries": looks in a row that lacked courses or people}."""


async def unapproved(world: World, mappings: Sequence[CompiledMapping]) -> tuple[frozenset[str], str]:
    """Return the mappings whose plan waits for a person and need not be made again yet, and what to tell of them.

    That is so within their intervals, all of them together: they were looked at together. Once somebody has said
    a word about one, edited a file or taken away what stood in its way in CommCare, there are none.
    """
    new = {*await unwritten(world, mappings)}
    waiting = [mapping for mapping in mappings if mapping.name in new]
    last = await fact(world, LOOKED) if waiting else {}
    if not last or last["revision"] != world.project.revision or not new <= {*last["mappings"]}:
        return frozenset(), ""
    if 0 < last["tries"] <= TRIES:  # what could not be read may be there by now; for good nobody waits for it
        return frozenset(), ""
    if any(due_streams(world, one, dict.fromkeys(streams_of(one), last["at"]), {}) for one in waiting):
        return frozenset(), ""
    agreed = await approved(world, waiting)
    asked, existing = await fact(world, FIRST_RUNS), await fact(world, EXISTING)
    stops = {one.name: await in_the_way(world, one) for one in waiting if one.name in existing}
    if not all(stops.get(name, name not in agreed and name in asked) for name in new):
        return frozenset(), ""
    open_still = {name: asked[name] for name in sorted(new & asked.keys() - agreed.keys())}
    return frozenset(new), " ".join([*stops.values(), *([first_run(open_still).message] if open_still else [])])


async def _remember_look(world: World, started: float, mappings: Sequence[CompiledMapping], seen: Result) -> None:
    """Write down that the first runs of these mappings were looked at, and whether all of it was seen."""
    lacks = any(seen.plan["not_read"].values())
    tries = (await fact(world, LOOKED)).get("tries", 0) + 1 if lacks else 0
    looked = {"at": started, "revision": world.project.revision, "tries": tries}
    text = json.dumps(looked | {"mappings": sorted(mapping.name for mapping in mappings)})
    await world.books.do(world.books.store.put, LOOKED, text)


async def ask_before_first_runs(run: Run, look: Look, *, some_courses: bool) -> None:
    """Leave out the mappings whose first run no person has approved.

    Raises Waiting with their plan when none is left. What was approved is looked at again and goes on as long as
    the plan has not grown; the plan of `some_courses` is shown, and cannot be approved for later. Courses that
    could not be looked at are left for the next run: their cases are in no number that was compared.
    """
    new = {*await unwritten(run.world, run.mappings)}
    waiting = [mapping for mapping in run.mappings if mapping.name in new]
    if not waiting:
        return
    agreed = await approved(run.world, waiting)
    going_on = [mapping for mapping in run.mappings if mapping.name not in new]
    if going_on and not agreed and await _told_before(run.world, waiting):
        asked = await fact(run.world, FIRST_RUNS)
        run.mappings = going_on
        message = first_run({mapping.name: asked[mapping.name] for mapping in waiting}).message
        run.result.worse(RunState.WAITING, message)
        return
    started, seen = run.world.clock.now(), await look(waiting)
    creates: dict[str, int] = seen.plan["new_cases"]
    stops = await ask_what_is_in_the_way(run.world, waiting, seen.other_types)
    grown = _grown(run.world, creates, agreed)
    left = [m for m in waiting if m.name not in agreed or m.name in grown or m.name in stops]
    run.mappings = [mapping for mapping in run.mappings if mapping not in left]
    run.unseen = frozenset(seen.plan["not_read"]["courses"]) if len(left) < len(waiting) else frozenset()
    if not left:
        return
    unseen = [
        m for m in left if m.name not in agreed or m.name in grown
    ]  # the others only wait for existing cases
    asked = await ask(run.world, seen.plan, unseen) if unseen and not some_courses else {}
    approve = first_run(asked).message if asked else _OF_SOME
    messages = [*stops.values(), *([" ".join([*grown.values(), approve])] if unseen else [])]
    if not some_courses and left == waiting:
        await _remember_look(run.world, started, waiting, seen)
    if not run.mappings:
        _show(run.result, seen)
        raise Waiting(*messages)
    for message in messages:
        run.result.worse(RunState.WAITING, message)


_OF_SOME = (
    "First run of these mappings, looked at for the chosen courses only: nothing was sent. On the command line "
    "approve it with the same command and --yes. In Prefect start sync without courses: it asks, approve answers."
)


async def _told_before(world: World, waiting: Sequence[CompiledMapping]) -> bool:
    """Say whether the plans of all these mappings are known and wait: then nothing is read for them again."""
    return all([await planned_before(world, mapping) for mapping in waiting])


def _grown(world: World, creates: Mapping[str, int], agreed: Mapping[str, int]) -> dict[str, str]:
    """Return a sentence for each mapping that would make more cases by now than were approved."""
    return {
        name: f"{name} was approved with {count:,} new cases, and it would be {creates.get(name, 0):,} by now."
        for name, count in agreed.items()
        if has_grown(creates.get(name, 0), count, world.project.guards)
    }


def _show(result: Result, seen: Result) -> None:
    """Put what a look found into the result of the run that ends with it."""
    result.preview, result.plan = True, seen.plan
    result.cases, result.courses, result.reasons = seen.cases, seen.courses, seen.reasons
