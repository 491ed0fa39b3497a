"""What waits for a person's word, by course (0 for the site): how many people it is about, and what is agreed.

A word is a number, and holds for one run. What that run may do it writes down by keys before it does it: until
CommCare has answered, nobody is asked about the same cases again, and the word is of no use for others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

from flows.needs import (
    ALLOWED_LEAVERS,
    ALLOWED_WITHDRAWN,
    CONFIRMED_LEAVERS,
    CONFIRMED_WITHDRAWN,
    REFUSED_LEAVERS,
    REFUSED_WITHDRAWN,
    Need,
    leavers,
    withdrawn,
)
from flows.result import Result, RunState
from flows.world import World
from state import RowId
from state.facts import Objects


@dataclass(frozen=True)
class Decided:
    """What a run decided: people that wait, by scope, and rows that may go.

    `given` is what had been agreed to, as this run read it; `looked_at` are the scopes of which it knows.
    """

    refused: Mapping[int, int]
    allowed: Collection[RowId]
    given: Mapping[int, int]
    looked_at: Collection[int]


@dataclass(frozen=True)
class Asked:
    """One kind of question: the facts in the books that hold it, and what makes it of a place and its people."""

    refused: str
    confirmed: str
    allowed: str
    need: Callable[[int, int], Need]

    async def given(self, world: World) -> dict[int, int]:
        """Return what a person agreed to: people by scope."""
        text = await world.books.do(world.books.store.get, self.confirmed)
        return {int(scope): int(people) for scope, people in json.loads(text or "{}").items()}

    async def going(self, world: World) -> set[RowId]:
        """Return the rows that earlier runs allowed to go, and of which CommCare has not answered."""
        text = await world.books.do(world.books.store.get, self.allowed)
        return _rows(json.loads(text or "{}"))

    async def remember(self, world: World, result: Result, decided: Decided) -> None:
        """Write down what waits and what may go, before any of it is sent.

        What was agreed to holds for one run; what was not looked at stays, as does what somebody says meanwhile.
        """
        if not result.preview:
            names = (self.refused, self.confirmed, self.allowed)
            await world.books.do(world.books.store.change_facts, names, partial(_decide, names, decided))
        for scope, people in sorted(decided.refused.items()):
            result.worse(RunState.WAITING, self.need(scope, people).message)

    async def settle(self, world: World, gone: Collection[RowId]) -> None:
        """Forget rows that might go: CommCare has taken it in that they went."""
        if gone:
            change = partial(_let_go, self.allowed, frozenset(gone))
            await world.books.do(world.books.store.change_facts, [self.allowed], change)


def _decide(names: tuple[str, str, str], decided: Decided, facts: Objects) -> None:
    """Take what a run decided into the three facts."""
    asked, given, allowed = (facts[name] for name in names)
    for scope in decided.looked_at:
        asked.pop(str(scope), None)
        if given.get(str(scope)) == decided.given.get(scope):
            given.pop(str(scope), None)
    asked.update({str(scope): people for scope, people in decided.refused.items()})
    others = {row for row in _rows(allowed) if row.scope not in decided.looked_at}
    facts[names[-1]] = _by_scope(others.union(decided.allowed))


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


LEAVERS = Asked(REFUSED_LEAVERS, CONFIRMED_LEAVERS, ALLOWED_LEAVERS, leavers)
WITHDRAWN = Asked(REFUSED_WITHDRAWN, CONFIRMED_WITHDRAWN, ALLOWED_WITHDRAWN, withdrawn)
