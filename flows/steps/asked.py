"""What waits for a person's word, by course (0 for the site): how many people it is about, and what is agreed."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from flows.result import Result, RunState
from flows.world import World


@dataclass(frozen=True)
class Asked:
    """One kind of question: the facts in the books that hold it, and the sentence that puts it."""

    refused: str
    confirmed: str
    sentence: Callable[[str, int, int], str]
    """Makes a sentence of the place in words, its number, and the people."""

    async def people(self, world: World, name: str) -> dict[int, int]:
        """Return people by scope as a fact holds them."""
        text = await world.books.do(world.books.store.get, name)
        return {int(scope): int(people) for scope, people in json.loads(text or "{}").items()}

    async def remember(
        self, world: World, result: Result, refused: Mapping[int, int], looked_at: Collection[int]
    ) -> None:
        """Write down what waits; what was agreed to holds for one run, what was not looked at stays as it was."""
        for name, now in ((self.refused, dict(refused)), (self.confirmed, {})):
            before = {} if result.preview else await self.people(world, name)
            kept = {scope: people for scope, people in before.items() if scope not in looked_at}
            if not result.preview and kept | now != before:
                await world.books.do(world.books.store.put, name, json.dumps(kept | now))
        for scope, people in sorted(refused.items()):
            where = f"course {scope}" if scope else "the people of the site"
            result.worse(RunState.WAITING, self.sentence(where, scope, people))


def _missing(where: str, scope: int, people: int) -> str:
    return (
        f"{people} people are missing from {where}, more than is usual; nobody was marked as left there. "
        f"If that is right: moodle-commcare confirm-leavers {scope} --count {people}"
    )


def _kept_out(where: str, scope: int, people: int) -> str:
    of_course = f" of {where}" if scope else ""
    return (
        f"{people} people{of_course} have a case and are kept out by the mappings now, more than is usual; "
        "nothing of theirs was emptied. If that is right: "
        f"moodle-commcare confirm-withdrawn {scope} --count {people}"
    )


LEAVERS = Asked("refused_leavers", "confirmed_leavers", _missing)
WITHDRAWN = Asked("refused_withdrawn", "confirmed_withdrawn", _kept_out)
