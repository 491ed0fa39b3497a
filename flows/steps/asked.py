"""What waits for a person's word, by course (0 for the site): how many people it is about, and what is agreed.

A word is a number by mapping, and holds for the next run that looks at that mapping there. What that run may do it
writes down by keys before it does it: until CommCare has answered, nobody is asked about the same cases again, and
the word is of no use for others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flows.need import Need
from flows.needs import (
    ALLOWED_LEAVERS,
    ALLOWED_WITHDRAWN,
    CONFIRMED_LEAVERS,
    CONFIRMED_WITHDRAWN,
    COUNTED,
    EMPTY_LISTS,
    REFUSED_LEAVERS,
    REFUSED_WITHDRAWN,
    all_leavers,
    all_withdrawn,
)
from flows.questions import UNKNOWN, Parts, Questions, agreed, ask, end, parted, unanswered
from flows.result import Result, RunState
from flows.steps.reach import Place, Reach
from flows.summed import MOST, in_short
from flows.world import World
from state import RowId
from state.facts import Objects

Found = Mapping[int, Parts]
"""People by scope and mapping."""


@dataclass(frozen=True)
class Decided:
    """What a run decided: people that wait, by scope and mapping, and rows that may go.

    `given` is what had been agreed to, as this run read it; `looked_at` are the mappings and scopes that it read,
    `used` those of which a word let rows go, be it that only a part of them was read.
    """

    refused: Found
    allowed: Collection[RowId]
    given: Found
    looked_at: Set[Place]
    reach: Reach
    used: Set[Place] = frozenset()
    empty: Found = field(default_factory=dict)
    """Of those that wait the ones who are all that had a case of their mapping there."""
    back: Collection[RowId] = ()
    """Rows that were allowed to go, and whose people are there again."""

    def is_over(self, scope: str, mapping: str) -> bool:
        """Say whether a word about a mapping in a scope is over."""
        if mapping == UNKNOWN:
            return any(self.reach.saw(place, self.looked_at) for place in self.looked_at if place[1] == int(scope))
        place = mapping, int(scope)
        return place in self.used or self.reach.is_over(place, self.looked_at)

    def is_settled(self, scope: str, mapping: str) -> bool:
        """Say whether a question about a mapping in a scope is over."""
        return self.is_over(scope, mapping) or self.reach.is_settled((mapping, int(scope)), self.looked_at)

    def is_looked_at(self, row: RowId) -> bool:
        """Say whether a row that may go would be among those that this run allows."""
        return row.mapping not in self.reach.mappings or self.reach.saw((row.mapping, row.scope), self.looked_at)


@dataclass(frozen=True)
class Asked:
    """One kind of question: the facts in the books that hold it, and what makes questions of people by place.

    `empty` names the fact with those of the people who are all that had a case there, "" where there is none.
    """

    refused: str
    confirmed: str
    allowed: str
    needs: Callable[[Questions, Questions], list[Need]]
    empty: str = ""

    def people(self, found: Parts) -> int:
        """Return the number of people that a question about some mappings names."""
        return COUNTED[self.refused](found.values())

    async def given(self, world: World) -> tuple[dict[int, Parts], set[RowId]]:
        """Return what a person agreed to, people by scope and mapping, and the rows that may go already.

        Those are the ones that earlier runs allowed to, and of which CommCare has not answered.
        """
        texts = await world.books.do(world.books.store.get_all, (self.confirmed, self.allowed))
        agreed = parted(json.loads(texts.get(self.confirmed, "{}")))
        return {int(scope): found for scope, found in agreed.items()}, _rows(
            json.loads(texts.get(self.allowed, "{}"))
        )

    def agreed(self, given: Found, found: Found) -> set[Place]:
        """Return where a person agreed to the number that was found."""
        total = COUNTED[self.refused]
        return {
            (mapping, scope)
            for scope, people in found.items()
            for mapping in agreed(given.get(scope, {}), people, total)
        }

    async def remember(self, world: World, result: Result, decided: Decided) -> None:
        """Write down what waits and what may go, before any of it is sent.

        What was agreed to holds for one run; what was not looked at stays, as does what somebody says meanwhile.
        """
        told, empty = _by_name(decided.refused), _by_name(decided.empty)
        if not result.preview:
            names = [name for name in (self.refused, self.confirmed, self.allowed, self.empty) if name]
            change = partial(_decide, self, decided)
            told, empty = await world.books.do(world.books.store.change_facts, names, change)
        for need in in_short(self.needs(told, empty)):
            result.worse(RunState.WAITING, need.message)

    async def settle(self, world: World, gone: Collection[RowId]) -> None:
        """Forget rows that might go: CommCare has taken it in that they went."""
        if gone:
            change = partial(_let_go, self.allowed, frozenset(gone))
            await world.books.do(world.books.store.change_facts, [self.allowed], change)


def _decide(names: Asked, decided: Decided, facts: Objects) -> tuple[Questions, Questions]:
    """Take what a run decided into the facts; return the questions that it has to tell, and the empty ones.

    Where it has many to tell, they are told in one sentence, whose number is that of all which wait.
    """
    asked, given, allowed = (facts[name] for name in (names.refused, names.confirmed, names.allowed))
    empty: dict[str, Any] = facts[names.empty] if names.empty else {}
    end(asked, decided.is_settled)
    end(empty, decided.is_settled)
    end(given, decided.is_over, only=_by_name(decided.given))
    others = {row for row in _rows(allowed) if not decided.is_looked_at(row)}
    facts[names.allowed] = _by_scope(others.union(decided.allowed).difference(decided.back))
    in_part = partial(_is_in_part, decided.reach)
    told = ask(asked, given, _by_name(decided.refused), in_part)
    ask(empty, {}, _by_name(decided.empty), in_part)
    return (told if len(told) <= MOST else unanswered(parted(asked), parted(given))), parted(empty)


def _is_in_part(reach: Reach, scope: str, _: str) -> bool:
    """Say whether a run read a part of a place only."""
    return reach.is_in_part(int(scope))


def _by_name(found: Found) -> Questions:
    """Return people as a fact names their scopes."""
    return {str(scope): {**people} for scope, people in found.items()}


def _let_go(name: str, gone: Collection[RowId], facts: Objects) -> None:
    """Take rows out of a fact."""
    facts[name] = _by_scope(_rows(facts[name]).difference(gone))


def _rows(allowed: Mapping[str, Mapping[str, Collection[str]]]) -> set[RowId]:
    """Return the rows that a fact names."""
    return {
        RowId(mapping, int(scope), key)
        for scope, mappings in allowed.items()
        for mapping, keys in mappings.items()
        for key in keys
    }


def _by_scope(rows: Collection[RowId]) -> dict[str, dict[str, list[str]]]:
    """Return rows as a fact names them."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in sorted(rows):
        found.setdefault(str(row.scope), {}).setdefault(row.mapping, []).append(row.key)
    return found


LEAVERS = Asked(REFUSED_LEAVERS, CONFIRMED_LEAVERS, ALLOWED_LEAVERS, all_leavers, EMPTY_LISTS)
WITHDRAWN = Asked(REFUSED_WITHDRAWN, CONFIRMED_WITHDRAWN, ALLOWED_WITHDRAWN, all_withdrawn)
