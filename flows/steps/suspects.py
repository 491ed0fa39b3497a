"""Rows over which CommCare may break down: sent apart, in ever smaller requests, until one alone is to blame.

A request that is not answered is in doubt, and its rows rest. A 500 says something about its rows: when that
happens to them again, the next run sends them in halves. Any other silence may be an outage, a request that is too
large, or one row all the same. The third time in a row its rows go by themselves: in halves while they are many,
or where CommCare took others meanwhile; else one of them goes ahead alone, another one each time, to learn whether
it takes anything at all. Nothing here decides whether a row may be sent; it only says with whom.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import NamedTuple

from adaptors.errors import InDoubt
from flows.world import World
from state import RowId

SUSPECTS = "suspect_rows"  # fact in the books: mark of a row -> a Suspicion; "" -> when CommCare took others
AGAIN = 2  # times that a request ended in a 500, after which its rows are sent in halves
UNHEARD = 3  # times in a row that a request was not answered otherwise, after which its rows go by themselves
FEW = 12  # rows that stay together in an outage, however long it is: to send each alone would cost a request each
ALONE = 5  # times, after which a row is to blame for a 500 although CommCare took no other write meanwhile
PROVED = 3  # times that CommCare took others and a row was not answered, after which it is to blame for silence
KEPT = 30 * 86_400.0
TOGETHER = "+"  # ends the name of rows that stay together, and of which one goes ahead
AHEAD = "!"  # with whom that one goes: alone, and before all others, whose names are marks
TAKEN = ""  # stands in the place of a mark for when CommCare took a write while something was held against others

POISON = "poison"


class Suspicion(NamedTuple):
    """What is held against a row: how often it ended in a 500, with whom it goes, and when that was noted.

    `unheard`: times in a row that it was not answered; `proved`: those of them in which CommCare took others.
    """

    broke: int
    group: str
    at: float
    unheard: int = 0
    proved: int = 0


class Suspects:
    """The rows whose requests were not answered the last time; a keyed mark stands for each, not its key."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[str, Suspicion] | None = None
        self._old = set[str]()
        self._ahead = ""
        """The mark of the row that goes ahead of those that stay together."""
        self._taken_at = float("-inf")
        """When CommCare took another write."""
        self.took_others = False
        """Whether CommCare took any write of this run: then it is not broken down as a whole."""

    async def load(self) -> None:
        """Read them from the books, once."""
        if self._known is None:
            books, now = self._world.books, self._world.clock.now()
            text = await books.do(books.store.get, SUSPECTS)
            found = {mark: Suspicion(*held) for mark, held in json.loads(text or "{}").items()}
            taken_at = found.pop(TAKEN, Suspicion(0, "", self._taken_at)).at
            self._taken_at = taken_at if taken_at <= now else self._taken_at  # of a clock that was ahead
            self._old = {mark for mark, held in found.items() if held.at < now - KEPT}
            self._known = {mark: held for mark, held in found.items() if mark not in self._old}
            if waiting := sorted(mark for mark, held in self._known.items() if held.group.endswith(TOGETHER)):
                # One more each time, of those who were sent last: others may be sent by nobody any more.
                turn = max((self._known[mark].at, self._known[mark].unheard) for mark in waiting)[1]
                self._ahead = waiting[turn % len(waiting)]

    def group(self, row: RowId) -> str:
        """Return with whom a row is to be sent, "" for a row that nothing is held against."""
        mark = self._mark(row) if self._known else ""
        if not self._known or mark not in self._known:
            return ""
        return AHEAD if mark == self._ahead else self._known[mark].group

    def are_proved(self, rows: Iterable[RowId]) -> bool:
        """Say whether rows are known to break requests while CommCare takes others: it may well be in order.

        Rows that an outage alone set apart are not, also where CommCare has taken others in this run by now.
        """
        held = [(self._known or {}).get(self._mark(row)) for row in rows]
        needed = 1 if self.took_others else PROVED
        return all(one and one.group and one.proved >= needed for one in held)

    async def clear(self, rows: Iterable[RowId]) -> None:
        """Take in that CommCare took rows."""
        if not self._known:
            return
        cleared = {self._mark(row) for row in rows} & self._known.keys()
        self._known = {mark: found for mark, found in self._known.items() if mark not in cleared}
        changed = dict[str, Suspicion]()
        if self._known and max(held.at for held in self._known.values()) >= self._taken_at:
            self._taken_at = self._world.clock.now()
            changed[TAKEN] = Suspicion(0, "", self._taken_at)
        if cleared or changed:
            await self._keep(changed, cleared)

    async def note(self, rows: Sequence[RowId], doubt: InDoubt) -> bool:
        """Take in that rows are in doubt; returns whether a row that was sent alone is to blame for it."""
        known, now, broke = self._known or {}, self._world.clock.now(), doubt.status == 500
        marks = [self._mark(row) for row in rows]
        before = [known.get(mark, Suspicion(0, "", now)) for mark in marks]
        heard = self.took_others or any(held.at <= self._taken_at for held in before)
        times = max(held.broke for held in before) + 1 if broke else 0
        silent = max(held.unheard for held in before) + 1
        groups = [held.group for held in before]
        # A group bears the mark of its first row, as no other group does: it names the request to come.
        if times >= AGAIN or (silent >= UNHEARD and (heard or len(rows) > FEW)):
            half = ceil(len(rows) / 2)
            groups = [marks[0]] * half + [marks[half % len(marks)]] * (len(marks) - half)
        elif silent >= UNHEARD and len(rows) > 1:
            groups = groups if groups[0].endswith(TOGETHER) else [marks[0] + TOGETHER] * len(marks)
        changed = {
            mark: Suspicion(held.broke + broke, group, now, held.unheard + 1, held.proved + heard)
            for mark, held, group in zip(marks, before, groups, strict=True)
        }
        self._known = known | changed
        await self._keep(changed, set())
        if len(rows) > 1:
            return False
        proved = max(held.proved for held in changed.values())
        return (
            times >= ALONE or (self.took_others and times >= AGAIN) or (heard and not broke and proved >= PROVED)
        )

    async def _keep(self, changed: Mapping[str, Suspicion], gone: set[str]) -> None:
        """Write down what became of some rows; other shards write down what became of theirs."""
        books = self._world.books
        await books.do(books.store.change_entries, SUSPECTS, changed, gone | self._old)

    def _mark(self, row: RowId) -> str:
        return self._world.books.store.digest(row.key, SUSPECTS, f"{row.mapping} {row.scope}").hex()
