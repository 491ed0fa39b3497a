"""Functions to which Moodle gives no answer while it answers others: too slow for them, most often.

Each question to such a function takes as long as we wait, and Moodle goes on working at it. So after a read
without an answer the next ones are not repeated, and after eight it is not asked any more, until the next run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from adaptors.circuit import Repeats
from adaptors.errors import Maintenance, NotAsked, NotSent, Retriable

GIVEN_UP = 8  # reads in a row without an answer
SLOW: dict[str, str] = {"gradereport_user_get_grade_items": "the grades of large courses"}
"""What a function may be too slow for, in words."""


class Silent:
    """Counts by function the reads in a row that got no answer."""

    def __init__(self) -> None:
        self._reads: Counter[str] = Counter()

    def forget(self) -> None:
        """Begin anew: everything is asked again."""
        self._reads.clear()

    def answered(self, function: str) -> None:
        """Note an answer, be it a refusal."""
        self._reads.pop(function, None)

    def failed(self, function: str, error: Retriable) -> None:
        """Note a read that came to nothing; one that Moodle never saw, or refused for now, does not count."""
        if function and not isinstance(error, Maintenance | NotSent | NotAsked) and error.status != 429:
            self._reads[function] += 1

    def is_doubtful(self, function: str) -> bool:
        """Say whether the last read got no answer: then none is repeated."""
        return self._reads[function] > 0

    def is_given_up(self, function: str) -> bool:
        """Say whether a function is not asked any more."""
        return self._reads[function] >= GIVEN_UP

    def error(self, function: str) -> NotAsked:
        """Return the error in the place of a question."""
        slow = SLOW.get(function)
        return NotAsked(
            f"Moodle answers, but not {function}: after {GIVEN_UP} reads in a row without an answer it was not "
            "asked any more.",
            system="Moodle",
            operation=function,
            remedy=f"The next run tries again. If this stays, let whoever runs Moodle look at its load"
            f"{f' (too slow for {slow}?)' if slow else ''}.",
        )


@dataclass(frozen=True)
class Unrepeated:
    """Repeats of the reads of one function: none while it is doubtful, else what others leave."""

    silent: Silent
    function: str
    others: Repeats

    def take(self) -> bool:
        """Take one repeat."""
        return not self.silent.is_doubtful(self.function) and self.others.take()
