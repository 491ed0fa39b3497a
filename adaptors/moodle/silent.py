"""Functions to which Moodle gives no answer while it answers others: too slow for them, most often.

Each question to such a function takes as long as we wait, and Moodle goes on working at it. So after a read
without an answer, when Moodle has answered something else since, the next ones are not repeated; and after eight
in a row it is not asked any more, until the next run.
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
        self._alone = set[str]()
        """Those of them during or after which Moodle answered something else: it is not down."""
        self.heard_of = 0
        """How many answers there were in all."""

    def forget(self) -> None:
        """Begin anew: everything is asked again."""
        self._reads.clear()
        self._alone.clear()

    def heard(self, function: str) -> None:
        """Note that Moodle is up: it answered something."""
        self.heard_of += 1
        self._alone |= self._reads.keys() - {function}

    def answered(self, function: str) -> None:
        """Note an answer, be it a refusal."""
        self._reads.pop(function, None)
        self._alone.discard(function)

    def failed(self, function: str, error: Retriable, heard_of: int) -> None:
        """Note a read that came to nothing; `heard_of` is how many answers there had been when it began.

        One that Moodle never saw, or refused for now, does not count.
        """
        if not function or isinstance(error, Maintenance | NotSent | NotAsked) or error.status == 429:
            return
        self._reads[function] += 1
        if self.heard_of > heard_of:
            self._alone.add(function)

    def is_doubtful(self, function: str) -> bool:
        """Say whether the last read got no answer, though Moodle is up: then none is repeated."""
        return function in self._alone

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

    def wait(self, seconds: float) -> bool:
        """Take one repeat after a wait that Moodle asked for."""
        return not self.silent.is_doubtful(self.function) and self.others.wait(seconds)
