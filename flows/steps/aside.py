"""Rows that CommCare refused are sent again when they changed, or when a person says so, and not each hour.

A row that is only blamed for CommCare's breakdowns is tried again by itself after a day, then ever more rarely (at
last every four weeks): an outage may have put the blame on the wrong one.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import inf

from flows.result import Result
from flows.steps.isolate import NOT_SORTED_OUT
from flows.steps.planned import Planned, Scope
from flows.steps.suspects import POISON
from flows.world import World
from state import Refusal, RefusalRow, RowId

DROPPED = "dropped"
IN_DOUBT = "in_doubt"
DAY = 86_400.0
RARER, RARELY = 5, 28  # tries between which the days double; days between two tries from then on
SIZE = 16  # bytes of a digest; what a refusal holds are those of all that was refused of its row


class Aside:
    """The refused rows as the books know them, and what this run adds."""

    def __init__(self, world: World, result: Result) -> None:
        self._world = world
        self._result = result
        self._known: dict[RowId, RefusalRow] | None = None
        self._met = defaultdict[RowId, set[bytes]](set)
        """What was refused of each row, as this run met it: its case, and cases that came before that one."""
        self._prints = {
            mapping.name: " ".join(map("=".join, sorted(mapping.fingerprints.items())))
            for mapping in world.project.mappings
        }

    async def refused(self, rows: Sequence[Planned]) -> dict[RowId, str]:
        """Return those that were refused as they are, with the reason, or `dropped` for what a person gave up."""
        known, now = await self._load(), self._world.clock.now()
        found = {
            row.row: DROPPED if known[row.row].dropped else known[row.row].reason
            for row in rows
            if row.row in known and self._content(row) in _parts(known[row.row].content)
            if known[row.row].dropped or now < retried_at(known[row.row])
        }
        self._meet(row for row in rows if row.row in found)
        if found and not self._result.preview:
            books = self._world.books
            await books.do(books.store.meet_refusals, list(found), now)
        return found

    async def note(self, rows: Sequence[Planned], outcomes: Mapping[RowId, str]) -> None:
        """Remember which rows of a request CommCare refused."""
        rows = [row for row in rows if outcomes[row.row] not in ("", IN_DOUBT, NOT_SORTED_OUT)]
        self._meet(rows)
        refused = [
            Refusal(
                row.row,
                row.op,
                outcomes[row.row],
                self._all_of(row.row),
                row.user_id,
                row.names,
                anew=outcomes[row.row] == POISON and await self._is_another(row),
            )
            for row in rows
        ]
        if refused and not self._result.preview:
            books = self._world.books
            run, now = self._result.run_id, self._world.clock.now()
            await books.do(books.store.note_refusals, refused, now, run)

    async def settle(self, scope: Scope, *, whole: bool = False) -> None:
        """Forget refusals of records that a complete read showed, and of which nothing has to be sent any more.

        What was to say that somebody is gone is not: he is there, whatever holds his record back. After a read of
        the `whole` scope, what CommCare refused to make of people who have left is forgotten as well, but not
        where it is only blamed (it may have been made), or a person gave it up: that holds until it changes.
        """
        name, number = scope.mapping.name, scope.number
        held = {problem.key for problem in scope.problems if problem.holds}
        gone = [
            row.key
            for row, one in (await self._load()).items()
            if (row.mapping, row.scope) == (name, number) and row not in self._met
            if (row.key not in held or one.op == "left")
            if row.key in scope.seen or (whole and one.op == "create" and one.reason != POISON and not one.dropped)
        ]
        if gone and not self._result.preview:
            books = self._world.books
            resting = await books.do(books.store.intents)  # of these nothing can be said yet
            gone = [key for key in gone if RowId(name, number, key) not in resting]
            await books.do(books.store.settle_refusals, name, number, gone)

    async def _load(self) -> dict[RowId, RefusalRow]:
        if self._known is None:
            refusals = await self._world.books.do(self._world.books.store.refusals)
            self._known = {one.row: one for one in refusals}
        return self._known

    async def _is_another(self, row: Planned) -> bool:
        """Say whether a row was refused before, with another content: the days until it is tried begin anew."""
        known = (await self._load()).get(row.row)
        return known is not None and self._content(row) not in _parts(known.content)

    def _meet(self, rows: Iterable[Planned]) -> None:
        """Take in that rows were refused: each one's case, or one that came before it."""
        for row in rows:
            self._met[row.row].add(self._content(row))

    def _all_of(self, row: RowId) -> bytes:
        """Return the digests of all that was refused of a row."""
        return b"".join(sorted(self._met[row]))

    def _content(self, row: Planned) -> bytes:
        """Return a digest of all that a row sends and of the mapping that made it."""
        whole = hashlib.sha256()
        for part in (self._prints.get(row.row.mapping, ""), row.op, row.write.case_id, str(row.write.close)):
            whole.update(f"{len(part)} {part}".encode())
        for name in sorted(row.digests):
            whole.update(f"{len(name)} {name}".encode() + row.digests[name])
        return whole.digest()[:SIZE]


def _parts(content: bytes) -> set[bytes]:
    """Return the digests that a refusal holds."""
    return {content[start : start + SIZE] for start in range(0, len(content), SIZE)}


def retried_at(refusal: RefusalRow) -> float:
    """Return when a refused row is tried again as it is (epoch): after 1, 3, 7 days; never if it is certain."""
    doubled = min(refusal.attempts, RARER)
    days = 2**doubled - 1 + (refusal.attempts - doubled) * RARELY
    return refusal.first_at + days * DAY if refusal.reason == POISON else inf
