"""Mappings whose keys are of another form than those of their cases: what is asked, and who waits meanwhile."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from flows.errors import UsageError, Waiting
from flows.needs import CONFIRMED_KEYS, other_keys
from flows.result import RunState
from flows.steps.approvals import ask_about_keys, fact, keys_written
from flows.steps.holders import keys_of
from flows.steps.ways import below
from flows.words import listed
from flows.world import World
from mappings.engine import CompiledMapping
from mappings.engine.templates import key_form
from state.rows import Ours
from state.statuses import LIVING

if TYPE_CHECKING:
    from flows.run import Run


async def without_other_keys(run: Run, written: Mapping[str, str]) -> Sequence[CompiledMapping]:
    """Return the mappings that can go on while it is asked about the keys of others; all when none can."""
    world, mappings = run.world, run.mappings
    forms = {one.name: keys_of(world, one) for one in mappings}
    others = [one for one in mappings if written.get(one.name, forms[one.name]) != forms[one.name]]
    agreed, alike = await _agreed(world, others), await _alike(world, others)
    asked = {one.name: one for one in others if one.name not in agreed or one.name in alike}
    held, level = {*asked}, {*asked}
    while level:
        level = below(world.project.mappings, level) - held
        held |= level
    going_on = [one for one in mappings if one.name not in held]
    if not asked or not going_on:
        return mappings
    plan = {name: await _asked_about(world, one) for name, one in asked.items() if name not in alike}
    await ask_about_keys(world, plan)
    sent = f"Nothing of {listed([one.name for one in mappings if one.name in held])} was sent."
    if plan:
        run.result.worse(RunState.WAITING, _would_be_others(plan, [*plan], sent))
    if alike:
        run.result.worse(RunState.WAITING, _look_like_others(alike, sent))
    return going_on


async def refuse_other_keys(world: World, others: Sequence[CompiledMapping], rekey: Collection[str]) -> None:
    """Raise Waiting with the plan when mappings would make their cases anew: CommCare cannot delete any.

    Raises UsageError for a name in `rekey` whose keys are as they were, unless that was begun: the run that took
    the word may have been stopped, and the same command is given again. No word helps where CommCare could take
    the cases of some for those of others.
    """
    same = set(rekey) - {mapping.name for mapping in others}
    store = world.books.store
    begun = {name for name in same if await world.books.do(store.scopes, name, ("replaced",))}
    if wrong := sorted(same - begun):
        raise UsageError(f"{wrong[0]} makes the keys that its cases have: there is nothing to make anew.")
    if not others:
        return
    if alike := await _alike(world, others):
        raise Waiting(_look_like_others(alike, "Nothing was sent."))
    agreed = {*rekey, *await _agreed(world, others)} - begun
    resting = {row.mapping for row in await world.books.do(store.intents)}
    if doubtful := sorted(resting & agreed):
        raise Waiting(f"Writes of {doubtful[0]} are still waiting to be confirmed. Try again in half an hour.")
    asked = {mapping.name: await _asked_about(world, mapping) for mapping in others if mapping.name not in agreed}
    if asked:
        await ask_about_keys(world, asked)
        raise Waiting(_would_be_others(asked, [mapping.name for mapping in others], "Nothing was sent."))


def _would_be_others(asked: Mapping[str, Mapping[str, Any]], names: Sequence[str], sent: str) -> str:
    """Say whose keys would be others, what was `sent`, and the ways on; the command is about all `names`."""
    plan = [other_keys(name, one) for name, one in asked.items()]
    forms = " or ".join(one.form_in_words for one in plan)
    command = " ".join(f"--rekey {name}" for name in names)
    return (
        "The keys of cases would be others: an external_id, or site in project.yaml, was changed. "
        f"{' '.join(one.sentence for one in plan)} {sent} Put the old text back; or, if that is meant, "
        f"`moodle-commcare sync {command}`, or in Prefect `approve`: {forms}."
    )


def _look_like_others(names: Iterable[str], sent: str) -> str:
    """Say whose new keys look like old ones that are about others, what was `sent`, and the ways on."""
    return (
        f"The new keys of {listed([*names])} look like the old ones, with the ids in other places: CommCare would "
        f"take the cases of some people for those of others. {sent} Put the old text back, or put another word "
        "into the external_id, as in '{site}-new-...', and then run `moodle-commcare preview`."
    )


async def under_other_keys(world: World, mappings: Sequence[CompiledMapping]) -> list[str]:
    """Say of each mapping that makes other keys than its cases have what a run would stop for."""
    plan, written = [], await keys_written(world, mappings)
    for mapping in mappings:
        keys = keys_of(world, mapping)
        if written.get(mapping.name, keys) == keys:
            continue
        if await _is_alike(world, mapping):
            plan.append(_look_like_others([mapping.name], "Nothing of it would be sent."))
        elif not await _is_back(world, mapping):
            plan.append(other_keys(mapping.name, await _asked_about(world, mapping)).sentence)
    return plan


async def _agreed(world: World, others: Sequence[CompiledMapping]) -> set[str]:
    """Return which may make other keys: a person said so, or the old text of a rekey that was stopped is back."""
    given = await fact(world, CONFIRMED_KEYS) if others else {}
    agreed = {one.name for one in others if given.get(one.name) == keys_of(world, one)}
    return agreed | {one.name for one in others if one.name not in agreed and await _is_back(world, one)}


async def _is_back(world: World, mapping: CompiledMapping) -> bool:
    """Say whether cases that were set aside have the keys of now, and no other ones live, or may."""
    store, is_ours = world.books.store, mapping.makes_on(world.project.site)
    ours, others = await world.books.do(store.count_by_key, mapping.name, is_ours)
    if not ours["replaced"] or any(others[status] for status in LIVING):
        return False
    return mapping.name not in {row.mapping for row in await world.books.do(store.intents)}


async def _alike(world: World, others: Iterable[CompiledMapping]) -> list[str]:
    """Return the mappings whose new keys have the form of old ones that are about others."""
    return [one.name for one in others if await _is_alike(world, one)]


async def _is_alike(world: World, mapping: CompiledMapping) -> bool:
    """Say whether a case has a key of the new form with the ids in other places: one day it is somebody else's."""
    site = world.project.site
    is_alike = partial(_is_of_others, key_form(mapping.spec.external_id, site), mapping.makes_on(site))
    alike, _ = await world.books.do(world.books.store.count_by_key, mapping.name, is_alike)
    return alike.total() > 0


def _is_of_others(form: re.Pattern[str], is_ours: Ours, course: int, key: str, person: int) -> bool:
    """Say whether a key has the form of a mapping's, and is about another course, or person."""
    return bool(form.fullmatch(key)) and not is_ours(course, key, person)


async def _asked_about(world: World, mapping: CompiledMapping) -> dict[str, Any]:
    """Return how many cases new keys would concern, how many of them are over, and what would become of all."""
    then = "stay" if mapping.when_left is None else "closed" if mapping.when_left.close else "left"
    is_ours = mapping.makes_on(world.project.site)
    _, old = await world.books.do(world.books.store.count_by_key, mapping.name, is_ours)
    cases, over = sum(old[status] for status in LIVING), old["ended"]
    return {"cases": cases, "then": then, "keys": keys_of(world, mapping)} | ({"over": over} if over else {})
