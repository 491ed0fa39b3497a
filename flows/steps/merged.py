"""People whom Moodle merged: the cases of the old number are marked as left, and it is read no more.

When that is taken back a read brings the cases to life again; of those that no read shows the mark is taken away.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from flows.steps.compare import MERGED_INTO
from flows.steps.leaving import NOTHING, Leaving
from flows.steps.planned import SITE_SCOPE
from state import Held, PersonRows, Store
from state.facts import Objects
from state.statuses import CLOSED, LEAVING, LIVING, PASSING, TO_BE_EMPTIED, UNSETTLED

if TYPE_CHECKING:
    from flows.run import Run
    from mappings.engine import CompiledMapping

MERGED = "merged"  # fact in the books: number of a person -> the one that he or she goes by now
UNMARKED = "merged_unmarked"  # fact: those whose cases do not all say so yet, or do still when that was taken back
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
    """Return the merged people whose cases do not all say so yet, and the parted ones whose cases still may."""
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
        facts[UNMARKED] = sorted({*facts[UNMARKED]} - {number})


def take_over(before: Store, store: Store) -> None:
    """Take over who is merged from the books that give way to older ones: what they say was said since.

    Who is merged, or somebody of his or her own, otherwise than the older books say is marked, or parted, anew.
    """
    then, now, erased = merged(store), merged(before), before.erased()
    differ = {old for old, new in now.items() if then.get(old) != new}
    alone = (parted(before) | parted(store) | (then.keys() - now.keys())) - now.keys()
    alone = frozenset(number for number in alone if number not in erased)
    if then != now or not alone <= parted(store):
        waiting = unmarked(store) | unmarked(before) | (alone - parted(store))
        told = {
            MERGED: {str(old): new for old, new in now.items()},
            UNMARKED: sorted((waiting & (now.keys() | alone)) | differ),
            PARTED: sorted(alone),
        }
        store.put_all({name: json.dumps(fact, sort_keys=True) for name, fact in told.items()})


async def left_out(run: Run) -> LeftOut:
    """Return whom a run leaves out: people who were erased, and numbers that were merged into others."""
    books = run.world.books
    people = await books.do(merged, books.store)
    return LeftOut((await books.do(books.store.erased), people.keys()))


async def leaving_merged(run: Run) -> list[Leaving]:
    """Return the cases of merged people that do not say so, and those that still do where it was taken back.

    When all are as they should be, a run remembers that.
    """
    books = run.world.books
    waiting = await books.do(unmarked, books.store)
    if not waiting:
        return []
    people, found, done = await books.do(merged, books.store), list[Leaving](), set[int]()
    for old in sorted(waiting):
        person = await books.do(books.store.person, old)
        new = people.get(old)
        mine, is_open = _cleared(run, person) if new is None else _marked(run, person, new)
        found += mine
        done |= set() if mine or is_open or person.unanswered else {old}
    if done and not run.preview:
        await books.do(books.store.change_facts, [UNMARKED], partial(_take_out, frozenset(done)))
    return found


def _marked(run: Run, person: PersonRows, new: int) -> tuple[list[Leaving], bool]:
    """Return the cases to be marked, and whether others are, whose mapping is off: on again, it marks them."""
    mappings = {mapping.name: mapping for mapping in run.world.project.mappings}
    there = [held for held in person.cases if held.case.status not in STAYS]
    cases = [held for held in there if held.row.mapping in mappings]
    leaving = [_leaving(mappings[held.row.mapping], held, new) for held in cases]
    return [one for one in leaving if not _says_so(run, one)], len(cases) < len(there)


def _cleared(run: Run, person: PersonRows) -> tuple[list[Leaving], bool]:
    """Return the cases that name somebody and were not brought back by this run, and whether others may do so."""
    mappings = {mapping.name: mapping for mapping in run.mappings}
    named = [held for held in person.cases if _may_name_somebody(run, held)]
    gone = [held for held in named if held.row.mapping in mappings and _is_gone(run, held)]
    clearing = [_clearing(run, mappings[held.row.mapping], held, person) for held in gone]
    return clearing, len(gone) < len(named)


def _may_name_somebody(run: Run, held: Held) -> bool:
    """Say whether a case may hold the mark, as far as the books know: also one of which no answer told the id."""
    if held.case.status in PASSING or not (held.case.case_id or held.case.status == LEAVING):
        return False
    blank = run.world.books.store.digest(held.row.key, MERGED_INTO, "")
    return held.case.digests is None or held.case.digests.get(MERGED_INTO) not in (None, blank)


def _is_gone(run: Run, held: Held) -> bool:
    """Say whether a case is away for all that this run knows: it looked for its person, or nobody does there."""
    scope, status = held.row.scope, held.case.status
    is_read = scope == SITE_SCOPE or scope in run.read
    if not run.whole_site or (scope in run.read and (scope not in run.whole or scope in run.between_terms)):
        return False
    return status == "left" or status in CLOSED - TO_BE_EMPTIED or (status == LEAVING and not is_read)


def _clearing(run: Run, mapping: CompiledMapping, held: Held, person: PersonRows) -> Leaving:
    """Return how a case is without the mark: as before, or over where its person was in the course to the end."""
    departure, op = mapping.when_left or NOTHING, "left"
    if held.case.status in CLOSED:
        departure = NOTHING
    elif mapping.when_course_ends is not None and held.row.scope in run.ended.intersection(person.courses):
        departure, op = mapping.when_course_ends, "ended"
    departure = replace(departure, set={**departure.set, MERGED_INTO: ""})
    return Leaving(mapping, held.row, held.case, departure, op)


def _take_out(done: Collection[int], facts: Objects) -> None:
    """Take people out of those who wait: somebody may have been merged a moment ago."""
    facts[UNMARKED] = sorted({*facts[UNMARKED]}.difference(done))


def _leaving(mapping: CompiledMapping, held: Held, new: int) -> Leaving:
    departure = mapping.when_left or NOTHING
    said = {**departure.set, MERGED_INTO: str(new)}
    is_private = held.case.status in TO_BE_EMPTIED  # it was to be emptied, and may not have been
    return Leaving(mapping, held.row, held.case, replace(departure, set=said), "left", is_private)


def _says_so(run: Run, one: Leaving) -> bool:
    """Say whether CommCare is known to hold the mark, or to hold no such case.

    There may be one of which no answer told the id, neither that of its first write nor that of its last.
    """
    if one.case.status in LIVING or (one.case.status in UNSETTLED and not one.case.case_id):
        return False
    said = one.departure.set[MERGED_INTO] if one.departure else ""
    mark = run.world.books.store.digest(one.row.key, MERGED_INTO, said)
    return not one.case.case_id or (one.case.digests or {}).get(MERGED_INTO) == mark
