"""What is looked at before anything is written for the first time."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

from adaptors.errors import AccessDenied
from adaptors.moodle.answers import SiteInfo
from adaptors.moodle.assignments import ASSIGNMENTS, SUBMISSIONS
from adaptors.moodle.completion import COMPLETION, CONTENTS, USERS_COURSES
from adaptors.moodle.streams import COURSES, ENROLLED, GRADES, PROFILES, Wanted
from flows.errors import Waiting
from flows.world import World
from mappings.engine import CompiledMapping

if TYPE_CHECKING:
    from flows.run import Run

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


async def refuse_existing_cases(world: World, mappings: Sequence[CompiledMapping]) -> None:
    """Stop before a mapping's first write when CommCare has more cases of its type than the books know.

    Raises Waiting naming the case type and the numbers, and also for a mapping whose keys are of another form
    than before; afterwards the mapping counts as allowed to write.
    """
    store = world.books.store
    for mapping in mappings:
        keys = await world.books.do(store.get, WRITTEN.format(name=mapping.name))
        if keys is not None:
            _refuse_other_keys(keys, _keys_of(world, mapping), mapping)
            continue
        if sentence := await in_the_way(world, mapping):
            raise Waiting(f"{sentence} Nothing was sent.")
    for mapping in mappings:
        await world.books.do(store.put, WRITTEN.format(name=mapping.name), _keys_of(world, mapping))


async def in_the_way(world: World, mapping: CompiledMapping) -> str:
    """Say which cases stop the first run of a mapping, and what to do; "" when there are none."""
    if mapping.existing_cases == "ignore":
        return ""
    known = 0
    for other in world.project.mappings:
        if other.case_type == mapping.case_type:
            known += await world.books.do(world.books.store.count_known, other.name)
    there = await world.commcare.count_cases(mapping.case_type)
    if there <= known:
        return ""
    cases = "case" if there == 1 else "cases"
    return (
        f"CommCare already has {there} {cases} of type '{mapping.case_type}', the books know {known}. "
        f"If new cases may stand beside them, write 'existing_cases: ignore' into {mapping.name}.yaml; "
        "cases with our own external ids are then found again, not doubled."
    )


def _keys_of(world: World, mapping: CompiledMapping) -> str:
    """Return what decides which external ids a mapping makes."""
    return f"{world.project.site} {mapping.fingerprints['@key']}"


def _refuse_other_keys(before: str, now: str, mapping: CompiledMapping) -> None:
    """Raise Waiting when a mapping would make its cases anew under other keys: CommCare cannot delete any."""
    if before != now:
        raise Waiting(
            f"{mapping.name}.yaml makes other keys than those of the cases it has: its external_id, or site in "
            "project.yaml, was changed. Nothing was sent: every case would be made a second time. Put the old "
            "text back; if new cases for everybody are meant, give the mapping file another name."
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
        "commcare_requests": requests,
        "stops": [stop for mapping in run.mappings if (stop := await in_the_way(run.world, mapping))],
        "expected_minutes": ceil(requests * SECONDS_A_WRITE / 60),
    }
