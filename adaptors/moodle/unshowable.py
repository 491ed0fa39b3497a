"""Accounts that Moodle cannot show: a value in one, such as a '<' in a name, makes it refuse every list it is in.

It refuses the whole answer and names nobody, and full names are in every row, whatever is asked for. So the list
of a course is asked for in parts, which Moodle cuts in the order of ids, until it refuses a single row: of that
person nothing is known but that somebody is there. Rows shift when somebody comes or goes between two parts, so in
the end the parts are asked for once more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from adaptors.errors import Unexpected
from adaptors.moodle.errors import UNSHOWABLE

PER_COURSE = 10
"""How many such rows are looked for in a course: each takes some twenty requests in a large one."""
PER_RUN = 1_000
"""How many requests of a run go into looking for them; then a course with such rows counts as not read.

Some more where the list of courses takes them all.
"""
ALL = 1 << 30  # rows
_FIRST = 64  # rows of the first part
_FAR = 1 << 20  # no course has so many rows

T = TypeVar("T")
Ask = Callable[[int, int], Awaitable[list[T]]]
"""Asks for rows: from which on, and how many (0: all the rest)."""


@dataclass
class Budget:
    """How many requests may still go into looking for such rows."""

    left: int = PER_RUN


def is_unshowable(error: Unexpected) -> bool:
    """Tell whether Moodle refused an answer for a value in it."""
    return error.code == UNSHOWABLE


async def all_but_unshowable(ask: Ask[T], budget: Budget) -> tuple[list[T], list[int]]:
    """Return the rows of a list that Moodle gives, and the places of those that it does not.

    Raises Unexpected, as Moodle refused, where there are too many, where the budget is used up, or where the list
    changes meanwhile.
    """
    refusals = list[Unexpected]()

    async def given(start: int, size: int) -> list[T] | None:
        budget.left -= bool(refusals)
        try:
            return await ask(start, size)
        except Unexpected as error:
            if not is_unshowable(error) or budget.left <= 0:
                raise
            refusals.append(error)
            return None

    rows, places, start = list[T](), list[int](), 0
    while (rest := await given(start, 0)) is None:
        size = _FIRST
        while (found := await given(start, size)) is not None:
            rows, start, size = rows + found, start + size, size * 2
            if not found or start > _FAR:
                raise refusals[-1]
        while size > 1:
            if (found := await given(start, size // 2)) is None:
                size //= 2
            else:
                rows, start, size = rows + found, start + size // 2, size - size // 2
        places.append(start)
        start += 1
        if len(places) > PER_COURSE:
            raise refusals[-1]
    again = list[T]()
    for before, place in pairwise([-1, *places]):
        if place - before > 1:
            again += await given(before + 1, place - before - 1) or []
    if again != rows:
        raise refusals[-1]
    return rows + rest, places


async def in_halves(
    ask: Callable[[Sequence[int]], Awaitable[list[T]]],
    ids: Sequence[int],
    budget: Budget,
    divides: Callable[[Unexpected], bool] = is_unshowable,
) -> tuple[list[T], list[int], list[int]]:
    """Ask for rows by ids, and for halves of them where Moodle refuses them together, as far as the budget goes.

    Returns with the rows the ids that it refuses alone, and those that were not asked for alone. `divides` tells
    for which refusals of several there are halves; raises Unexpected for the others.
    """
    is_one = len(ids) == 1
    try:
        return await ask(ids), [], []
    except Unexpected as error:
        if not (is_unshowable(error) if is_one else divides(error)):
            raise
    if is_one:
        return [], [*ids], []
    if budget.left <= 0:
        return [], [], [*ids]
    budget.left -= 2
    half = len(ids) // 2
    found, refused, unasked = await in_halves(ask, ids[:half], budget, divides)
    more, others, rest = await in_halves(ask, ids[half:], budget, divides)
    return found + more, refused + others, unasked + rest


class Way:
    """The way through a list in pages, past the `places` of rows that Moodle cannot show; new ones are added."""

    def __init__(self, places: list[int]) -> None:
        self.offset = 0
        self._places = places
        self._refused = 0  # up to where Moodle refused rows: they are asked for in parts
        self._most = ALL

    def room(self) -> int:
        """Step over known places, and return for how many rows to ask at most: up to the next one."""
        while self.offset in self._places:
            self.offset += 1
        if self.offset >= self._refused:
            self._most = ALL
        return min([self._most, *(place - self.offset for place in self._places if place > self.offset)])

    def refused(self, asked: int) -> None:
        """Take in that Moodle refused so many rows: half of them are next, and a single one is such a place."""
        self._refused, self._most = self.offset + asked, max(asked // 2, 1)
        if asked == 1:
            self._places.append(self.offset)
