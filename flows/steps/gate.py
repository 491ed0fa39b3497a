"""What is looked at before anything is written for the first time."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from adaptors.errors import AccessDenied
from adaptors.moodle.answers import SiteInfo
from adaptors.moodle.assignments import ASSIGNMENTS, SUBMISSIONS
from adaptors.moodle.completion import COMPLETION, CONTENTS, USERS_COURSES
from adaptors.moodle.course_list import COURSES
from adaptors.moodle.screens import FUNCTIONS_SCREEN
from adaptors.moodle.streams import ENROLLED, GRADES, PROFILES, Wanted
from flows.errors import Waiting
from flows.needs import STAY_BESIDE, existing_cases
from flows.steps.approvals import WRITTEN, ask_about_existing, fact, forget_answered, keys_written
from flows.steps.first_loads import begun
from flows.steps.holders import holder_before, keys_of, remember_holders
from flows.steps.linked import is_matched
from flows.steps.recover import expect_strangers, is_expecting
from flows.steps.rekey import refuse_other_keys, without_other_keys
from flows.steps.retype import follow_types, types_of
from flows.words import numbered
from flows.world import World
from mappings.engine import CompiledMapping

if TYPE_CHECKING:
    from flows.run import Run

OtherTypes = Mapping[str, Mapping[str, int]]
"""Mapping -> case type -> cases of that type with external ids that the mapping makes."""
NONE: OtherTypes = {}
MATCHED = "matched:{name}"  # fact: {"listed": cases of the type when they were matched, "own": those made by us}
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
            remedy=f"Add it under {FUNCTIONS_SCREEN}.",
        )


async def refuse_existing_cases(run: Run, rekey: Collection[str] = ()) -> list[CompiledMapping]:
    """Stop before a mapping's first write when CommCare has more cases of its type than the books know.

    Raises Waiting naming the case type and the numbers, and also for a mapping whose keys are of another form
    than before, unless it is named in `rekey` or was confirmed; such a mapping is left out of the run, with those
    below it, where others can go on. Afterwards the run's mappings count as allowed to write.
    Returns the mappings that may write beside cases which these books did not make.
    """
    world, written = run.world, await keys_written(run.world, run.mappings)
    if not rekey:
        run.mappings = await without_other_keys(run, written)
    mappings, store = run.mappings, world.books.store
    new = [mapping for mapping in mappings if mapping.name not in written]
    others = [one for one in mappings if written.get(one.name, keys_of(world, one)) != keys_of(world, one)]
    if sentences := await ask_what_is_in_the_way(world, new):
        raise Waiting(*_with_nothing_sent(sentences.values()))
    for mapping in new:
        if await _may_meet_strangers(world, mapping):
            await expect_strangers(world, [mapping.name])
    await refuse_other_keys(world, others, rekey)
    await _refuse_taken_types(world, mappings)
    await _expect_of_edited_types(world, mappings)
    for mapping in others:
        keys = WRITTEN.format(name=mapping.name), keys_of(world, mapping)
        await world.books.do(store.put_all, begun([mapping]))
        is_ours = mapping.makes_on(world.project.site)
        await world.books.do(store.replace_keys, mapping.name, *keys, is_ours)
    if new:
        allowed = {WRITTEN.format(name=mapping.name): keys_of(world, mapping) for mapping in new} | begun(new)
        await world.books.do(store.put_all, allowed)
    await remember_holders(world, mappings)
    await follow_types(world, mappings)
    beside = await _beside(world)
    await forget_answered(world, {mapping.name for mapping in mappings})
    return beside


def _with_nothing_sent(messages: Iterable[str]) -> list[str]:
    *others, last = messages
    return [*others, f"{last} Nothing was sent."]


async def ask_what_is_in_the_way(
    world: World, mappings: Sequence[CompiledMapping], others: OtherTypes = NONE
) -> dict[str, str]:
    """Write down which existing cases stop the first run of mappings, and return sentences by mapping.

    `others`: by mapping, cases of other types, by type, that a look found under external ids which it makes.
    """
    there, told = dict[str, dict[str, Any]](), dict[str, str]()
    for mapping in mappings:
        asked, advice = await _unmatched(world, mapping, others.get(mapping.name, {}))
        if asked["cases"]:
            there[mapping.name] = asked
            told[mapping.name] = _in_the_way(mapping, asked, advice)
    await ask_about_existing(world, there)
    return told


async def in_the_way(world: World, mapping: CompiledMapping, others: OtherTypes = NONE) -> str:
    """Say which cases stop the first run of a mapping, and what to do; "" when there are none."""
    asked, advice = await _unmatched(world, mapping, others.get(mapping.name, {}))
    return _in_the_way(mapping, asked, advice) if asked["cases"] else ""


def _in_the_way(mapping: CompiledMapping, asked: Mapping[str, Any], advice: str) -> str:
    others = asked.get("others", {})
    need = existing_cases(mapping.name, asked, advice)
    again = "; cases with our own external ids are then found again, not doubled"
    is_own = asked["cases"] > sum(others.values())
    same = f"It is the same as 'existing_cases: ignore' in {mapping.name}.yaml"
    return f"{need.message} {same}{again if is_own else ''}."


async def _unmatched(
    world: World, mapping: CompiledMapping, others: Mapping[str, int]
) -> tuple[dict[str, Any], str]:
    """Return what is asked about unknown cases, and how to match them; of 0 cases when matched or agreed to."""
    asked: dict[str, Any] = {"case_type": mapping.case_type, "cases": 0}
    if mapping.existing_cases == "ignore":
        return asked, ""
    there, known = await _cases_there(world, mapping)
    agreed, advice = int((await fact(world, STAY_BESIDE)).get(mapping.name, 0)), ""
    own = max(there - known, 0)
    known_as = await _known_as(world, mapping, own)
    if own > sum(known_as.values()) and is_matched(mapping):
        advice = await _to_match(world, mapping, there)
        own = own if advice else 0
    asked |= {"known_as": known_as} if own and known_as else {}
    asked |= {"others": dict(others)} if others else {}
    cases = own + sum(others.values())
    return (asked | {"cases": cases}, advice) if cases > agreed else (asked, "")


async def _known_as(world: World, mapping: CompiledMapping, cases: int) -> dict[str, int]:
    """Return under which other name, that is switched off, the books know some of so many cases; none for none."""
    other = await holder_before(world, mapping) if cases else ""
    if not other or other in {one.name for one in world.project.mappings}:
        return {}
    known = await world.books.do(world.books.store.count_known, other)
    return {other: min(known, cases)} if known else {}


async def _to_match(world: World, mapping: CompiledMapping, there: int) -> str:
    """Say what is to be done before the existing cases are matched; "" when they are."""
    store = world.books.store
    text = await world.books.do(store.get, MATCHED.format(name=mapping.name))
    if text is None:
        return "`moodle-commcare match` finds out which of them are people of Moodle; do that first."
    if undecided := len(await world.books.do(store.open_keys, mapping.name)):
        people = "1 person waits" if undecided == 1 else f"{undecided:,} people wait"
        return (
            f"{people} for somebody to say whose they are: `moodle-commcare match list`, then `match approve` or "
            "`match reject`."
        )
    then = json.loads(text)
    news = there - int(then["listed"]) - (await own_cases(world, mapping.case_type) - int(then["own"]))
    if news <= 0:
        return ""
    return f"{numbered(news, 'case')} came since they were matched: `moodle-commcare match` once more."


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


async def _beside(world: World) -> list[CompiledMapping]:
    """Return the mappings that write beside cases which these books did not make, if there are any."""
    mappings = world.project.mappings
    names = [STAY_BESIDE, *(MATCHED.format(name=mapping.name) for mapping in mappings)]
    facts = await world.books.do(world.books.store.get_all, names)
    agreed = json.loads(facts.get(STAY_BESIDE, "{}"))
    return [
        mapping
        for mapping in mappings
        if MATCHED.format(name=mapping.name) in facts
        or mapping.existing_cases == "ignore"
        or mapping.name in agreed
    ]


async def _is_agreed(world: World, mapping: CompiledMapping) -> bool:
    """Say whether somebody said that cases which are there already are none of a mapping's business."""
    return mapping.existing_cases == "ignore" or mapping.name in await fact(world, STAY_BESIDE)


async def _may_meet_strangers(world: World, mapping: CompiledMapping) -> bool:
    """Say whether a mapping may meet cases of its own that the books lost.

    Written alone, the first case of a key would be found, and that may be one of an old term, or a deleted one.
    """
    if not await _is_agreed(world, mapping):
        return False
    there, known = await _cases_there(world, mapping)
    return there > known


async def _refuse_taken_types(world: World, mappings: Sequence[CompiledMapping]) -> None:
    """Raise Waiting when CommCare has cases of an edited case type of which the books do not know."""
    if taken := await _taken_types(world, mappings):
        await ask_about_existing(
            world, {one.name: {"case_type": one.case_type, "cases": cases} for one, cases in taken}
        )
        raise Waiting(*_with_nothing_sent(_taken(*one) for one in taken))


async def under_taken_types(world: World, mappings: Sequence[CompiledMapping]) -> list[str]:
    """Say of each mapping whose case type was edited which cases of that type a run would stop for."""
    return [_taken(*one) for one in await _taken_types(world, mappings)]


def _taken(mapping: CompiledMapping, cases: int) -> str:
    need = existing_cases(mapping.name, {"case_type": mapping.case_type, "cases": cases})
    return f"The case type of {mapping.name}.yaml was edited. {need.message}"


async def _taken_types(world: World, mappings: Sequence[CompiledMapping]) -> list[tuple[CompiledMapping, int]]:
    """Return the mappings whose case type was edited and is that of others' cases, with the number of those."""
    types = {name: one.names for name, one in (await types_of(world, world.project.mappings)).items()}
    edited = [one for one in mappings if one.case_type not in types[one.name]]
    return [(one, cases) for one in edited if (cases := await _strangers_of_type(world, one, types))]


async def _strangers_of_type(
    world: World, mapping: CompiledMapping, all_types: Mapping[str, Collection[str]]
) -> int:
    """Return how many cases of an edited case type neither the books know nor a person agreed to."""
    case_type, types = mapping.case_type, all_types[mapping.name]
    if mapping.existing_cases == "ignore":
        return 0
    if await is_expecting(world, mapping.name) and await _are_ours(world, mapping, {*types, case_type}):
        return 0
    strangers = await _unknown_of_type(world, case_type, all_types)
    agreed = int((await fact(world, STAY_BESIDE)).get(mapping.name, 0))
    return strangers if strangers > agreed else 0


async def _unknown_of_type(world: World, case_type: str, all_types: Mapping[str, Collection[str]]) -> int:
    """Return how many cases of a type there are that no mapping made which had that type before."""
    known = 0
    for other in world.project.mappings:
        if other.case_type == case_type and case_type in all_types[other.name]:
            known += await world.books.do(world.books.store.count_known, other.name)
    return await world.commcare.count_cases(case_type) - known


async def _expect_of_edited_types(world: World, mappings: Sequence[CompiledMapping]) -> None:
    """Expect unknown cases of a mapping that takes a type of which there are some: with its keys they are its own.

    Written alone they would be found as well, and lose the owner that is written once.
    """
    types = {name: one.names for name, one in (await types_of(world, world.project.mappings)).items()}
    for mapping in mappings:
        if mapping.case_type not in types[mapping.name] and (
            await _unknown_of_type(world, mapping.case_type, types) > 0
        ):
            await expect_strangers(world, [mapping.name])


async def _are_ours(world: World, mapping: CompiledMapping, types: Collection[str]) -> bool:
    """Say whether a mapping whose books were put back has as many cases as there are of its types, old and new.

    Then those of the new type are its own: they took it after the backup.
    """
    known, there = await world.books.do(world.books.store.count_known, mapping.name), 0
    for other in world.project.mappings:
        if other.name != mapping.name and other.case_type in types:
            known += await world.books.do(world.books.store.count_known, other.name)
    for case_type in types:
        there += await world.commcare.count_cases(case_type)
    return there <= known


async def first_run_plan(run: Run) -> None:
    """Put the plan of a first run into the result: what would be created, what is in the way, how long."""
    existing, others = {}, run.result.other_types
    for case_type in dict.fromkeys(mapping.case_type for mapping in run.mappings):
        existing[case_type] = await run.world.commcare.count_cases(case_type)
    requests = run.pusher.batches
    run.result.preview = True
    run.result.plan = {
        "creates": {case_type: counts.created for case_type, counts in run.result.cases.items()},
        "new_cases": dict(run.planner.look.creates) if run.planner.look else {},
        "not_read": _not_read(run),
        "existing_cases": existing,
        "held_back": dict(run.result.reasons),
        **(run.planner.look.as_json() if run.planner.look else {}),
        "commcare_requests": requests,
        "stops": [stop for mapping in run.mappings if (stop := await in_the_way(run.world, mapping, others))],
        "expected_minutes": ceil(requests * SECONDS_A_WRITE / 60),
    }


def _not_read(run: Run) -> dict[str, Any]:
    """Return what a plan could not look at, so that its cases are in none of its counts: courses, and people.

    `new_courses`: Moodle did not show its whole list of courses.
    """
    courses = sorted(number for number, course in run.result.courses.items() if course.state == "failed")
    people = run.reader.lost_profiles | (run.planner.look.left_alone if run.planner.look else set())
    return {"courses": courses, "people": len(people), "new_courses": run.whole_site and not run.lists_all}
