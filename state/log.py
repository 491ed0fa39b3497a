"""The log: what was written to each case, when, and what CommCare answered; names of properties, never values.

It is written in the transaction of what it tells, so that the two cannot disagree. A row costs some 60 bytes: what
a request has in common stands once, words are numbers, and names are those of the digests.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, insert

from state.books import Books
from state.rows import RowId
from state.tables import change, occasion

# Numbers in the books stand for the places in these lists: add at the end, take nothing away.
OPS = (
    *("create", "update", "left", "withdrawn", "ended", "closed", "erase"),
    *("adopt", "merge", "unmerge", "renew", "retry", "recreate", "drop", "doubt"),
    *("link", "unlink", "reject"),
    "retype",
)
ANSWERS = ("taken", "closed", "refused", "unknown", "found", "noted")
WRITTEN = frozenset({"taken", "closed"})
"""Answers after which CommCare holds what was sent; "closed" says that the case is closed there."""
REASON = "@reason:"  # begins the names that are reasons of refusals


class Entry(NamedTuple):
    """One change as it happened; `op` and `answer` as listed above, `names` the properties that were sent.

    `reason` says why a write was refused, and who decided about a match: "rule" or "person".
    """

    row: RowId
    user_id: int
    op: str
    answer: str
    generation: int = 1
    names: Collection[str] = ()
    reason: str = ""


class Origin(NamedTuple):
    """Where changes come from: the run, the number of its request, and the form that CommCare made of it."""

    run: str = ""
    batch: int = 0
    form_id: str = ""


NOBODY = Origin()
"""A person's word, or the books' own: of no run."""


def origin(batch: str, form_id: str = "") -> Origin:
    """Return where a batch comes from: its name is that of the run and a number."""
    run, _, number = batch.rpartition("-")
    return Origin(run, int(number), form_id) if run and number.isdecimal() else Origin(batch, 0, form_id)


OCCASION = insert(occasion).returning(occasion.c.id)
CHANGES = insert(change)


class Log(Books):
    """Writes the log inside the transactions of the others."""

    def _note(self, connection: Connection, entries: Sequence[Entry], now: float, source: Origin = NOBODY) -> None:
        """Write what happened; of two entries of one row the later one counts, with the names of both."""
        if not entries:
            return
        numbers = self._names.numbers(connection, set(_words(entries)))
        made = connection.execute(OCCASION, {"at": now, **source._asdict()})
        number = made.scalar_one()
        packed: dict[frozenset[str], bytes] = {}
        values = []
        for one in _each_once(entries):
            names = frozenset(one.names)
            if names not in packed:  # most rows of a request have the same ones
                packed[names] = pack(numbers[name] for name in names)
            values.append(
                {
                    **one.row._asdict(),
                    "occasion": number,
                    "user_id": one.user_id,
                    "op": OPS.index(one.op),
                    "answer": ANSWERS.index(one.answer),
                    "reason": numbers[REASON + one.reason] if one.reason else 0,
                    "generation": one.generation,
                    "names": packed[names],
                }
            )
        connection.execute(CHANGES, values)


def _words(entries: Iterable[Entry]) -> Iterable[str]:
    """Yield all names that entries need a number for."""
    for one in entries:
        yield from one.names
        if one.reason:
            yield REASON + one.reason


def _each_once(entries: Iterable[Entry]) -> Iterable[Entry]:
    """Return one entry a row, in their order."""
    found: dict[RowId, Entry] = {}
    for one in entries:
        before = found.pop(one.row, None)
        found[one.row] = one if before is None else one._replace(names={*before.names, *one.names})
    return found.values()


def pack(numbers: Iterable[int]) -> bytes:
    """Return numbers from 1 as bytes: sorted, as their distances, seven bits a byte; mostly one byte each."""
    packed, last = bytearray(), 0
    for number in sorted(numbers):
        distance, last = number - last, number
        while distance > 0x7F:
            packed.append(distance & 0x7F | 0x80)
            distance >>= 7
        packed.append(distance)
    return bytes(packed)


def unpack(packed: bytes) -> list[int]:
    """Return the numbers again; what is cut off in the middle is left out."""
    found, last, distance, shift = [], 0, 0, 0
    for byte in packed:
        distance |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            last += distance
            found.append(last)
            distance = shift = 0
    return found


def words(numbers: Mapping[int, str], packed: bytes) -> tuple[str, ...]:
    """Return the names that packed numbers stand for, sorted; those that cannot be read are left out."""
    return tuple(sorted(numbers[number] for number in unpack(packed) if number in numbers))
