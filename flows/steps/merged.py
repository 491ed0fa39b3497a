"""People whom Moodle merged: the cases of the old number are marked as left, and it is read no more."""

from __future__ import annotations

import json
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from flows.steps.compare import MERGED_INTO
from flows.steps.leaving import NOTHING, Leaving
from state import Held, Store
from state.facts import Objects
from state.statuses import CLOSED, LIVING, PASSING, TO_BE_EMPTIED

if TYPE_CHECKING:
    from flows.run import Run
    from mappings.engine import CompiledMapping

MERGED = "merged"  # fact in the books: number of a person -> the one that he or she goes by now
UNMARKED = "merged_unmarked"  # fact: those of them whose cases do not all say so yet
PARTED = "unmerged"  # fact: people who were taken for somebody else once, and are themselves again
STAYS = CLOSED | PASSING


@dataclass(frozen=True)
class LeftOut:
    """People whom a run does not read, for one reason or another."""

    parts: tuple[Container[int], ...]

    def __contains__(self, number: object) -> bool:
        return any(number in part for part in self.parts)


def merged(store: Store) -> dict[int, int]:
    """Return who was merged into whom."""
    return {int(old): int(new) for old, new in json.loads(store.get(MERGED) or "{}").items()}


def who_became(people: Mapping[int, int], number: int) -> list[int]:
    """Return who goes on as a person by now, over however many merges: all of them are that person."""
    found, waiting = set[int](), [number]
    while waiting:
        now = waiting.pop()
        before = {old for old, new in people.items() if new == now} - found - {number}
        found |= before
        waiting += before
    return sorted(found)


def unmarked(store: Store) -> set[int]:
    """Return the merged people whose cases do not all say so yet."""
    return set(json.loads(store.get(UNMARKED) or "[]"))


def parted(store: Store) -> frozenset[int]:
    """Return the people whose merge was taken back: their cases may say so still, whatever the books know."""
    return frozenset(json.loads(store.get(PARTED) or "[]"))


def forget(store: Store, number: int) -> None:
    """Forget that a person was merged, in either part."""
    store.change_facts((MERGED, UNMARKED, PARTED), partial(_forget, number))


def _forget(number: int, facts: Objects) -> None:
    """Take a person out of who was merged, whoever else says something meanwhile."""
    gone = {old for old, new in facts[MERGED].items() if number in (int(old), new)}
    if gone:
        facts[MERGED] = {old: new for old, new in facts[MERGED].items() if old not in gone}
        facts[UNMARKED] = sorted({*facts[UNMARKED]}.difference(map(int, gone)))
    if number in facts[PARTED]:
        facts[PARTED] = sorted({*facts[PARTED]} - {number})


def take_over(before: Store, store: Store) -> None:
    """Take over who is merged from the books that give way to older ones: what they say was said since.

    Who is merged, or somebody of his or her own, otherwise than the older books say is marked, or parted, anew.
    """
    then, now, erased = merged(store), merged(before), before.erased()
    differ = {old for old, new in now.items() if then.get(old) != new}
    alone = (parted(before) | parted(store) | (then.keys() - now.keys())) - now.keys()
    if then != now or not alone <= parted(store):
        told = {
            MERGED: {str(old): new for old, new in now.items()},
            UNMARKED: sorted((unmarked(store) & now.keys()) | differ),
            PARTED: sorted(number for number in alone if number not in erased),
        }
        store.put_all({name: json.dumps(fact, sort_keys=True) for name, fact in told.items()})


async def left_out(run: Run) -> LeftOut:
    """Return whom a run leaves out: people who were erased, and numbers that were merged into others."""
    books = run.world.books
    people = await books.do(merged, books.store)
    return LeftOut((await books.do(books.store.erased), people.keys()))


async def leaving_merged(run: Run) -> list[Leaving]:
    """Return the cases of merged people that do not say so yet; when all do, a run remembers that."""
    books = run.world.books
    waiting = await books.do(unmarked, books.store)
    if not waiting:
        return []
    people, found, done = await books.do(merged, books.store), list[Leaving](), set[int]()
    mappings = {mapping.name: mapping for mapping in run.world.project.mappings}
    for old in sorted(waiting):
        person = await books.do(books.store.person, old)
        there = [held for held in person.cases if held.case.status not in STAYS]
        cases = [held for held in there if held.row.mapping in mappings]
        mine = [_leaving(mappings[held.row.mapping], held, people[old]) for held in cases]
        mine = [one for one in mine if not _says_so(run, one)]
        found += mine
        is_off = len(cases) < len(there)  # on again, the mapping of such a case marks it as well
        done |= set() if mine or person.unanswered or is_off else {old}
    if done and not run.preview:
        await books.do(books.store.change_facts, [UNMARKED], partial(_take_out, frozenset(done)))
    return found


def _take_out(done: Collection[int], facts: Objects) -> None:
    """Take people out of those who are to be marked: somebody may have been merged a moment ago."""
    facts[UNMARKED] = sorted({*facts[UNMARKED]}.difference(done))


def _leaving(mapping: CompiledMapping, held: Held, new: int) -> Leaving:
    departure = mapping.when_left or NOTHING
    said = {**departure.set, MERGED_INTO: str(new)}
    is_private = held.case.status in TO_BE_EMPTIED  # it was to be emptied, and may not have been
    return Leaving(mapping, held.row, held.case, replace(departure, set=said), "left", is_private)


def _says_so(run: Run, one: Leaving) -> bool:
    """Say whether CommCare is known to hold the mark, or to hold no such case."""
    if one.case.status in LIVING:
        return False
    said = one.departure.set[MERGED_INTO] if one.departure else ""
    mark = run.world.books.store.digest(one.row.key, MERGED_INTO, said)
    return not one.case.case_id or (one.case.digests or {}).get(MERGED_INTO) == mark
