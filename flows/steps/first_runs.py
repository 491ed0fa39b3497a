"""First runs of mappings: the plan that a person sees, and whether what he or she approved still holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from flows.errors import Waiting
from flows.needs import FIRST_RUNS, first_run
from flows.result import Result, RunState
from flows.steps.approvals import approved, ask, fact, has_grown, planned_before, unwritten
from flows.steps.gate import ask_what_is_in_the_way
from flows.world import World
from mappings.engine import CompiledMapping

if TYPE_CHECKING:
    from flows.run import Run

Look = Callable[[Sequence[CompiledMapping]], Awaitable[Result]]
"""Reads what first runs of mappings would send, and returns it with its plan; sends nothing."""


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
    seen = await look(waiting)
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
    message = " ".join([*stops.values(), *grown.values(), *([approve] if unseen else [])])
    if not run.mappings:
        _show(run.result, seen)
        raise Waiting(message)
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
