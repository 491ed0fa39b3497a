"""Rows over which CommCare may break down: sent apart, in ever smaller requests, until one alone is to blame.

A request that ended in a 500 is in doubt like any other, and its rows rest. When that happens to them again, the
next run sends them in halves. Nothing here decides whether a row may be sent; it only says with whom.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import ceil

from adaptors.errors import InDoubt
from flows.world import World
from state import RowId

SUSPECTS = "suspects"  # fact in the books: mark of a row -> [how often it ended in a 500, with whom it goes, when]
AGAIN = 2  # times, after which rows are sent in halves
ALONE = 5  # times, after which a row is to blame although CommCare took no other write meanwhile
KEPT = 30 * 86_400.0

POISON = "poison"


class Suspects:
    """The rows whose requests ended in a 500 the last time; a keyed mark stands for each, not its key."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[str, tuple[int, str, float]] | None = None
        self._old = set[str]()
        self.took_others = False
        """Whether CommCare took any write of this run: then it is not broken down as a whole."""

    async def load(self) -> None:
        """Read them from the books, once."""
        if self._known is None:
            books, since = self._world.books, self._world.clock.now() - KEPT
            text = await books.do(books.store.get, SUSPECTS)
            found = json.loads(text or "{}")
            self._old = {mark for mark, (_, _, at) in found.items() if at < since}
            self._known = {mark: (n, group, at) for mark, (n, group, at) in found.items() if at >= since}

    def group(self, row: RowId) -> str:
        """Return with whom a row is to be sent, "" for a row that nothing is held against."""
        return self._known[self._mark(row)][1] if self._known and self._mark(row) in self._known else ""

    async def clear(self, rows: Iterable[RowId]) -> None:
        """Take in that CommCare took rows."""
        if not self._known:
            return
        cleared = {self._mark(row) for row in rows} & self._known.keys()
        if cleared:
            self._known = {mark: found for mark, found in self._known.items() if mark not in cleared}
            await self._keep({}, cleared)

    async def note(self, rows: Sequence[RowId], doubt: InDoubt) -> bool:
        """Take in that rows are in doubt; returns whether a row that was sent alone is to blame for it.

        Only a 500 says something about the rows: timeouts, gateways and lost connections do not.
        """
        if doubt.status != 500:
            return False
        known, now, half = self._known or {}, self._world.clock.now(), ceil(len(rows) / 2)
        marks = [self._mark(row) for row in rows]
        times = [known[mark][0] + 1 if mark in known else 1 for mark in marks]
        most = max(times)
        # No other row bears the mark of the first one of each half: it names the request to come.
        groups = [marks[0]] * half + [marks[half % len(marks)]] * (len(rows) - half)
        entries = zip(times, groups if most >= AGAIN else [""] * len(rows), strict=True)
        changed = {mark: (*entry, now) for mark, entry in zip(marks, entries, strict=True)}
        self._known = known | changed
        await self._keep(changed, set())
        return len(rows) == 1 and (most >= ALONE or (most >= AGAIN and self.took_others))

    async def _keep(self, changed: Mapping[str, tuple[int, str, float]], gone: set[str]) -> None:
        """Write down what became of some rows; other shards write down what became of theirs."""
        books = self._world.books
        await books.do(books.store.change_entries, SUSPECTS, changed, gone | self._old)

    def _mark(self, row: RowId) -> str:
        return self._world.books.store.digest(row.key, SUSPECTS, f"{row.mapping} {row.scope}").hex()
