"""Courses whose people cannot be read, and for how long: nobody waits for one that fails for good.

Who may have left waits for them, and who is new, where another role or group of his would count.

As long as Moodle's list of courses is not whole, one that nobody knows is among them: 0.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.result import RunState
from flows.steps.planned import SITE_SCOPE
from flows.words import courses_named

if TYPE_CHECKING:
    from flows.run import Run

FAILING = "failing_since"  # fact in the books: course -> when its people could not be read for the first time
PATIENCE_S = 86_400.0
"""How long a course that fails is waited for."""


@dataclass(frozen=True)
class Failing:
    """Courses whose people a run could not read, or not all: those waited for, and those failing for long."""

    waited_for: frozenset[int]
    for_long: frozenset[int]

    def tell(self, run: Run) -> None:
        """Say what follows from it for those who left: that a course was not read is said with its reason."""
        if self.waited_for:
            run.result.worse(
                RunState.DEGRADED,
                f"Until {_named(self.waited_for)} can be read completely, nobody is marked as gone from the site.",
            )
        elif self.for_long:
            run.result.worse(
                RunState.DEGRADED,
                f"For more than a day {_named(self.for_long)} could not be read completely: who was "
                "last seen there stays as before, and of others you are asked before they are marked as gone from "
                "the site.",
            )


def _named(numbers: Collection[int]) -> str:
    courses = {*numbers} - {SITE_SCOPE}
    parts = [courses_named(courses)] * bool(courses) + ["Moodle's list of courses"] * (SITE_SCOPE in numbers)
    return " and ".join(parts)


async def find_failing(run: Run, courses: Collection[int]) -> Failing:
    """Return which of the courses of a run were not read, and write down since when; a preview leaves no trace."""
    store, now = run.world.books.store, run.world.clock.now()
    text = await run.world.books.do(store.get, FAILING)
    before: dict[str, float] = json.loads(text or "{}")
    lacking = {*courses} - run.whole | (set[int]() if run.lists_all else {SITE_SCOPE})
    unread = map(str, sorted(lacking))
    since = {number: min(before.get(number, now), now) for number in unread}  # a clock may have been ahead
    if since != before and not run.preview:
        await run.world.books.do(store.put, FAILING, json.dumps(since))
    for_long = {number for number, first in since.items() if now - first >= PATIENCE_S}
    return Failing(frozenset(map(int, since.keys() - for_long)), frozenset(map(int, for_long)))
