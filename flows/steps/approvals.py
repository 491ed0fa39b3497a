"""First runs, existing cases and other keys: what a run asked about them, and what a person answered.

An approved first run carries the number of cases that the plan showed. What is made then cannot be taken back, so
a mapping that was edited since, or whose plan has grown, is asked about again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from flows.needs import APPROVED, CONFIRMED_KEYS, EXISTING, FIRST_RUNS, OTHER_KEYS, STAY_BESIDE
from flows.world import World
from mappings.engine import CompiledMapping, Guards
from state.facts import Objects

WRITTEN = "written:{name}"  # fact in the books: the first run of a mapping was approved, with keys of this form


async def fact(world: World, name: str) -> dict[str, Any]:
    """Return a fact of this module, by mapping."""
    text = await world.books.do(world.books.store.get, name)
    found: dict[str, Any] = json.loads(text or "{}")
    return found


async def keys_written(world: World, mappings: Iterable[CompiledMapping]) -> dict[str, str]:
    """Return by mapping which form of keys it was allowed to write; without those that never were."""
    names = {WRITTEN.format(name=mapping.name): mapping.name for mapping in mappings}
    found = await world.books.do(world.books.store.get_all, [*names])
    return {names[fact]: keys for fact, keys in found.items()}


async def unwritten(world: World, mappings: Sequence[CompiledMapping]) -> list[str]:
    """Return the mappings that have never been allowed to write."""
    written = await keys_written(world, mappings)
    return [mapping.name for mapping in mappings if mapping.name not in written]


def print_of(mapping: CompiledMapping) -> str:
    """Return what says whether a mapping is still the one that was planned with."""
    text = json.dumps(dict(mapping.fingerprints), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


async def approved(world: World, mappings: Iterable[CompiledMapping]) -> dict[str, int]:
    """Return the approved number of new cases by mapping; an approval of another text of it does not count."""
    given = await fact(world, APPROVED)
    return {
        mapping.name: int(given[mapping.name]["creates"])
        for mapping in mappings
        if given.get(mapping.name, {}).get("print") == print_of(mapping)
    }


def has_grown(now: int, agreed: int, guards: Guards) -> bool:
    """Say whether a plan makes more than was agreed to, by more than the guard of a run: 5 cases, or 5 %."""
    return now > agreed + max(guards.run_cases, agreed * guards.run_percent / 100)


async def planned_before(world: World, mapping: CompiledMapping) -> bool:
    """Say whether a plan of this mapping, as it is now, waits for a person already."""
    asked = (await fact(world, FIRST_RUNS)).get(mapping.name, {})
    return bool(asked.get("print") == print_of(mapping))


async def ask(world: World, plan: Mapping[str, Any], mappings: Sequence[CompiledMapping]) -> dict[str, Any]:
    """Write down the plans of first runs that a person has to approve, and return all that wait.

    What was approved before and is asked about again counts as not approved. `plan` is that of a look: its counts
    are without what it could not read, and the question says so.
    """
    unread = {**plan["not_read"], "courses": len(plan["not_read"]["courses"])}
    asked = {
        mapping.name: {
            "case_type": mapping.case_type,
            "creates": plan["new_cases"].get(mapping.name, 0),
            "print": print_of(mapping),
        }
        | ({"unread": unread} if any(unread.values()) else {})
        for mapping in mappings
    }
    await world.books.do(world.books.store.change_facts, [FIRST_RUNS, APPROVED], partial(_ask_first, asked))
    return asked


def _ask_first(asked: Mapping[str, Any], facts: Objects) -> None:
    """Ask about first runs; what was agreed to before about them is agreed to no more."""
    facts[FIRST_RUNS].update(asked)
    facts[APPROVED] = {name: one for name, one in facts[APPROVED].items() if name not in asked}


async def ask_about_existing(world: World, there: Mapping[str, Mapping[str, Any]]) -> None:
    """Write down the mappings whose first run would set new cases beside some: what EXISTING holds of each."""
    await _ask(world, EXISTING, there)


async def ask_about_keys(world: World, cases: Mapping[str, Mapping[str, Any]]) -> None:
    """Write down the mappings that would make their cases anew."""
    await _ask(world, OTHER_KEYS, cases)


async def _ask(world: World, question: str, asked: Mapping[str, Mapping[str, Any]]) -> None:
    """Add what a question is asked about; what is asked already stays."""
    if asked:
        await world.books.do(world.books.store.change_facts, [question], partial(_add, question, dict(asked)))


def _add(question: str, asked: Mapping[str, Any], facts: Objects) -> None:
    facts[question].update(asked)


async def asked_about(world: World) -> set[str]:
    """Return the mappings of whose cases a run asked whether they may be made anew, or beside others.

    Whoever puts the old text back is asked nothing any more, and only a run that looks at the mapping sees that.
    """
    found = await world.books.do(world.books.store.get_all, (EXISTING, OTHER_KEYS))
    return {name for text in found.values() for name in json.loads(text)}


async def forget_answered(world: World, written: Collection[str]) -> None:
    """Let go what was asked and answered about mappings that write now, and about those that are no more."""
    open_still = frozenset(mapping.name for mapping in world.project.mappings) - {*written}
    names = (FIRST_RUNS, APPROVED, EXISTING, STAY_BESIDE, OTHER_KEYS, CONFIRMED_KEYS)
    await world.books.do(world.books.store.change_facts, names, partial(_keep_only, open_still))


def _keep_only(mappings: Collection[str], facts: Objects) -> None:
    """Take everything out of some facts but what is about these mappings."""
    for name, fact in facts.items():
        facts[name] = {mapping: one for mapping, one in fact.items() if mapping in mappings}
