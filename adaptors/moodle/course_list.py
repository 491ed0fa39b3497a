"""The list of courses, whose rows hold names of teachers: Moodle refuses all of it for one that is not valid."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from adaptors.errors import Unexpected
from adaptors.moodle.answers import Course, Courses, checked, no_warnings
from adaptors.moodle.client import MoodleClient
from adaptors.moodle.errors import COURSES as COURSES
from adaptors.moodle.unshowable import Budget, in_halves, is_unshowable

SITE_COURSE = 1
_KEPT = 4  # one part of so many of the budget is left for lists of people, whatever this list takes


async def read_courses(
    client: MoodleClient, known: Collection[int], budget: Budget, last: Collection[int] = ()
) -> tuple[list[Course], dict[int, bool] | None]:
    """Read all courses but the site itself (`core_course_get_courses_by_field` without parameters).

    Where Moodle refuses the list, those `known` are asked for by their ids, the newest first and those in `last`
    in the end. Returns with them those that it did not show, as `read_these` does (None: the list is whole).
    Raises Unexpected where it shows none.
    """
    try:
        return await _asked(client), None
    except Unexpected as error:
        if not is_unshowable(error):
            raise
        queue = sorted({*known} - {SITE_COURSE}, key=lambda number: (number in last, -number))
        found, unshown = await read_these(client, queue, budget)
        if not found:
            raise
        return found, unshown


async def read_these(
    client: MoodleClient, ids: Sequence[int], budget: Budget
) -> tuple[list[Course], dict[int, bool]]:
    """Read courses by their ids, in halves where Moodle refuses them together, in this order.

    Returns with them those that it did not show, and whether each was asked for alone: else the budget was used
    up, and it may not even be there any more. One that is no more is in neither.
    """
    if not ids:
        return [], {}
    kept = budget.left // _KEPT

    async def some(part: Sequence[int]) -> list[Course]:
        if len(part) == 1:
            return await _asked(client, field="id", value=part[0])
        return await _asked(client, field="ids", value=",".join(map(str, part)))

    # Moodle also breaks off where one of many is no more, without a code.
    found, refused, unasked = await in_halves(some, ids, budget, divides=lambda _: True)
    budget.left = max(budget.left, kept)
    unshown = dict.fromkeys(refused, True) | dict.fromkeys(unasked, False)
    return sorted(found, key=lambda course: course.id), unshown


async def _asked(client: MoodleClient, **which: object) -> list[Course]:
    answer = checked(Courses, COURSES, await client.call(COURSES, **which))
    no_warnings(COURSES, answer.warnings)
    return [course for course in answer.courses if course.id != SITE_COURSE]
