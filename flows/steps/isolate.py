"""Which rows of a refused request are at fault, found with few requests: named, or by halving, or all alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import ceil

from adaptors.commcare.cases import RowsRefused
from flows.steps.planned import Planned
from state import RowId

MOST = 40
"""Requests that one refused request may cost; the rows that are left are for the next run."""
SAMPLES = 5
"""Rows that are tried one by one before all are taken to be refused for one reason."""
NOT_SORTED_OUT = "not_sorted_out"

Send = Callable[[Sequence[Planned]], Awaitable[dict[RowId, str]]]
"""Sends rows as one request and returns each row's outcome; raises RowsRefused when nothing was changed."""


class Isolation:
    """One refused request. `whole` is the reason that all of its rows share, "" while there is none."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._left = MOST
        self._sampled = False
        self.whole = ""

    async def sort_out(self, rows: Sequence[Planned], refusal: RowsRefused) -> dict[RowId, str]:
        """Set aside the rows at fault, send the others, and return each row's outcome."""
        bad = _named(rows, refusal)
        if len(rows) == 1:
            return {rows[0].row: bad.get(0, refusal.code) or "refused"}
        if not bad:
            return await self._halve(rows, refusal)
        outcomes = {rows[number].row: reason for number, reason in bad.items()}
        return outcomes | await self._part([row for number, row in enumerate(rows) if number not in bad])

    async def _halve(self, rows: Sequence[Planned], refusal: RowsRefused) -> dict[RowId, str]:
        middle = ceil(len(rows) / 2)
        parts = [rows[:middle], rows[middle:]]
        found = [await self._answer(part) for part in parts]
        if len(rows) > len(parts) and self._are_alike(found, refusal):
            return await self._sample(rows, refusal.code)
        outcomes: dict[RowId, str] = {}
        for part, answer in zip(parts, found, strict=True):
            outcomes |= await self.sort_out(part, answer) if isinstance(answer, RowsRefused) else answer
        return outcomes

    def _are_alike(self, found: Sequence[object], refusal: RowsRefused) -> bool:
        """Say whether both halves were refused for the reason of the whole, which names no row."""
        alike = all(isinstance(one, RowsRefused) and not one.rows and one.code == refusal.code for one in found)
        return alike and not self._sampled

    async def _sample(self, rows: Sequence[Planned], code: str) -> dict[RowId, str]:
        """Try a few rows by themselves: when all are refused alike, all rows are, and are not tried each."""
        self._sampled = True
        last = len(rows) - 1
        places = sorted({round(last * number / (SAMPLES - 1)) for number in range(SAMPLES)})
        outcomes: dict[RowId, str] = {}
        for place in places:
            outcomes |= await self._part([rows[place]])
        rest = [row for row in rows if row.row not in outcomes]
        if rest and set(outcomes.values()) == {code}:
            self.whole = code
            return outcomes | {row.row: code for row in rest}
        middle = ceil(len(rest) / 2)
        for part in (rest[:middle], rest[middle:]):
            outcomes |= await self._part(part)
        return outcomes

    async def _part(self, rows: Sequence[Planned]) -> dict[RowId, str]:
        answer = await self._answer(rows) if rows else {}
        return await self.sort_out(rows, answer) if isinstance(answer, RowsRefused) else answer

    async def _answer(self, rows: Sequence[Planned]) -> dict[RowId, str] | RowsRefused:
        """Send some of the rows, as long as it does not cost too much."""
        if not self._left:
            return {row.row: NOT_SORTED_OUT for row in rows}
        self._left -= 1
        try:
            return await self._send(rows)
        except RowsRefused as refusal:
            return refusal


def _named(rows: Sequence[Planned], refusal: RowsRefused) -> Mapping[int, str]:
    """Return the rows that a refusal names, by number or by an id of ours."""
    bad = dict(refusal.rows)
    for number, row in enumerate(rows):
        if number not in bad and {row.write.key, row.write.case_id} & set(refusal.named) - {""}:
            bad[number] = refusal.code
    return bad
