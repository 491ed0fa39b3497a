"""What is looked at before anything is written for the first time."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from math import ceil
from typing import TYPE_CHECKING

from adaptors.errors import AccessDenied
from adaptors.moodle.answers import SiteInfo
from adaptors.moodle.assignments import ASSIGNMENTS, SUBMISSIONS
from adaptors.moodle.completion import COMPLETION, CONTENTS, USERS_COURSES
from adaptors.moodle.streams import COURSES, ENROLLED, GRADES, PROFILES, Wanted
from flows.errors import UsageError, Waiting
from flows.steps.compare import closes, keeps
from flows.steps.linked import is_matched
from flows.steps.recover import expect_strangers
from flows.words import numbered
from flows.world import World
from mappings.engine import CompiledMapping

if TYPE_CHECKING:
    from flows.run import Run

MATCHED = "matched:{name}"  # fact: {"listed": cases of the type when they were matched, "own": those made by us}
WRITTEN = "written:{name}"  # fact in the books: the first run of a mapping was approved, with keys of this form
SECONDS_A_WRITE = 2.0  # a bulk of 100 rows, for the estimate of a first run


def needed_functions(wanted: Wanted) -> list[str]:
    """Return the Moodle functions that the mappings need."""
    costly = {
        GRADES: wanted.grades,
        COMPLETION: wanted.completion,
        CONTENTS: wanted.due_dates,
        USERS_COURSES: wanted.completed_courses,
        ASSIGNMENTS: wanted.assignments,
        SUBMISSIONS: wanted.submissions,
    }
    return [COURSES, ENROLLED, PROFILES, *(name for name, is_wanted in costly.items() if is_wanted)]


def require_functions(site: SiteInfo, wanted: Wanted) -> None:
    """Raise AccessDenied naming the functions that the service lacks."""
    missing = [name for name in needed_functions(wanted) if name not in site.function_names]
    if missing:
        raise AccessDenied(
            f"The Moodle service lacks {', '.join(missing)}.",
            system="Moodle",
            operation=missing[0],
            remedy="Add it under Site administration > Server > Web services > External services > Functions.",
        )


async def unwritten(world: World, mappings: Sequence[CompiledMapping]) -> list[str]:
    """Return the mappings that have never been allowed to write."""
    store = world.books.store
    return [m.name for m in mappings if await world.books.do(store.get, WRITTEN.format(name=m.name)) is None]


async def refuse_existing_cases(
    world: World, mappings: Sequence[CompiledMapping], rekey: Collection[str] = ()
) -> None:
    """Stop before a mapping's first write when CommCare has more cases of its type than the books know.

    Raises Waiting naming the case type and the numbers, and also for a mapping whose keys are of another form
    than before, unless it is named in `rekey`; afterwards the mapping counts as allowed to write.
    """
    store = world.books.store
    others = []
    for mapping in mappings:
        keys = await world.books.do(store.get, WRITTEN.format(name=mapping.name))
        if keys is None:
            if sentence := await in_the_way(world, mapping):
                raise Waiting(f"{sentence} Nothing was sent.")
            if await _may_meet_strangers(world, mapping):
                await expect_strangers(world, [mapping])
        elif keys != _keys_of(world, mapping):
            others.append(mapping)
    await _refuse_other_keys(world, others, rekey)
    for mapping in mappings:
        fact = WRITTEN.format(name=mapping.name), _keys_of(world, mapping)
        if mapping in others:
            await world.books.do(store.replace_keys, mapping.name, *fact)
        else:
            await world.books.do(store.put, *fact)


async def in_the_way(world: World, mapping: CompiledMapping) -> str:
    """Say which cases stop the first run of a mapping, and what to do; "" when there are none."""
    if mapping.existing_cases == "ignore":
        return ""
    there, known = await _cases_there(world, mapping)
    if there <= known:
        return ""
    matching = await _to_match(world, mapping, there) if is_matched(mapping) else "If"
    if not matching:
        return ""
    return (
        f"CommCare already has {numbered(there, 'case')} of type '{mapping.case_type}', the books know {known}. "
        f"{matching} new cases may stand beside them, write 'existing_cases: ignore' into {mapping.name}.yaml; "
        "cases with our own external ids are then found again, not doubled."
    )


async def _to_match(world: World, mapping: CompiledMapping, there: int) -> str:
    """Say what is to be done before the existing cases are matched; "" when they are."""
    store = world.books.store
    fact = await world.books.do(store.get, MATCHED.format(name=mapping.name))
    if fact is None:
        return "`moodle-commcare match` finds out which of them are people of Moodle; do that first. Or, if"
    if undecided := len(await world.books.do(store.open_keys, mapping.name)):
        people = "1 person waits" if undecided == 1 else f"{undecided:,} people wait"
        return (
            f"{people} for somebody to say whose they are: `moodle-commcare match list`, then `match approve` or "
            "`match reject`. Or, if"
        )
    then = json.loads(fact)
    news = there - int(then["listed"]) - (await own_cases(world, mapping.case_type) - int(then["own"]))
    if news <= 0:
        return ""
    return f"{numbered(news, 'case')} came since they were matched: `moodle-commcare match` once more. Or, if"


async def own_cases(world: World, case_type: str) -> int:
    """Return how many cases of a type the books know that were made by us, not matched."""
    store, own = world.books.store, 0
    for other in world.project.mappings:
        if other.case_type == case_type:
            own += await world.books.do(store.count_own, other.name)
    return own


async def _cases_there(world: World, mapping: CompiledMapping) -> tuple[int, int]:
    """Return how many cases of a mapping's case type CommCare has, and how many the books know."""
    known = 0
    for other in world.project.mappings:
        if other.case_type == mapping.case_type:
            known += await world.books.do(world.books.store.count_known, other.name)
    return await world.commcare.count_cases(mapping.case_type), known


async def _may_meet_strangers(world: World, mapping: CompiledMapping) -> bool:
    """Say whether a mapping may meet cases of its own that the books lost, with something in them to be kept."""
    if mapping.existing_cases != "ignore" or not (keeps(mapping) or closes(mapping) or is_matched(mapping)):
        return False
    there, known = await _cases_there(world, mapping)
    return there > known


def _keys_of(world: World, mapping: CompiledMapping) -> str:
    """Return what decides which external ids a mapping makes."""
    return f"{world.project.site} {mapping.fingerprints['@key']}"


async def _refuse_other_keys(world: World, others: Sequence[CompiledMapping], rekey: Collection[str]) -> None:
    """Raise Waiting with the plan when mappings would make their cases anew: CommCare cannot delete any.

    Raises UsageError for a name in `rekey` whose keys are as they were.
    """
    if wrong := sorted(set(rekey) - {mapping.name for mapping in others}):
        raise UsageError(f"{wrong[0]} makes the keys that its cases have: there is nothing to make anew.")
    resting = {row.mapping for row in await world.books.do(world.books.store.intents)}
    if doubtful := sorted(resting & set(rekey)):
        raise Waiting(f"Writes of {doubtful[0]} are still waiting to be confirmed. Try again in half an hour.")
    plan = [await _plan_of(world, mapping) for mapping in others if mapping.name not in rekey]
    if plan:
        names = " ".join(f"--rekey {mapping.name}" for mapping in others)
        raise Waiting(
            f"The keys of cases would be others: an external_id, or site in project.yaml, was changed. "
            f"{' '.join(plan)} Nothing was sent. Put the old text back; or, if that is meant, "
            f"`moodle-commcare sync {names}`."
        )


async def under_other_keys(world: World, mappings: Sequence[CompiledMapping]) -> list[str]:
    """Say of each mapping that makes other keys than its cases have what a run would stop for."""
    plan = []
    for mapping in mappings:
        keys = await world.books.do(world.books.store.get, WRITTEN.format(name=mapping.name))
        if keys is not None and keys != _keys_of(world, mapping):
            plan.append(await _plan_of(world, mapping))
    return plan


async def _plan_of(world: World, mapping: CompiledMapping) -> str:
    """Say how many cases new keys would concern, and what would become of the old ones."""
    count = await world.books.do(world.books.store.count_active, mapping.name)
    old = "stay as they are, beside the new ones, because the mapping says nothing about leaving"
    if mapping.when_left is not None:
        old = "be closed" if mapping.when_left.close else "be marked as left"
    return (
        f"{mapping.name}.yaml has {numbered(count, 'case')} under the old keys: as many would be made anew, and "
        f"the old ones would {old}."
    )


async def first_run_plan(run: Run) -> None:
    """Put the plan of a first run into the result: what would be created, what is in the way, how long."""
    existing = {}
    for case_type in dict.fromkeys(mapping.case_type for mapping in run.mappings):
        existing[case_type] = await run.world.commcare.count_cases(case_type)
    requests = run.pusher.batches
    run.result.preview = True
    run.result.plan = {
        "creates": {case_type: counts.created for case_type, counts in run.result.cases.items()},
        "existing_cases": existing,
        "held_back": dict(run.result.reasons),
        **(run.planner.look.as_json() if run.planner.look else {}),
        "commcare_requests": requests,
        "stops": [stop for mapping in run.mappings if (stop := await in_the_way(run.world, mapping))],
        "expected_minutes": ceil(requests * SECONDS_A_WRITE / 60),
    }
