"""What waits for a person's word, by course (0 for the site): how many people it is about, and what is agreed."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from flows.needs import (
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


@dataclass(frozen=True)
class Asked:
    """One kind of question: the facts in the books that hold it, and what makes it of a place and its people."""

    refused: str
    confirmed: str
    need: Callable[[int, int], Need]

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
            result.worse(RunState.WAITING, self.need(scope, people).message)


LEAVERS = Asked(REFUSED_LEAVERS, CONFIRMED_LEAVERS, leavers)
WITHDRAWN = Asked(REFUSED_WITHDRAWN, CONFIRMED_WITHDRAWN, withdrawn)
