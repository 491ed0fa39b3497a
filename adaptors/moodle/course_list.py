"""The list of courses, whose rows hold names of teachers: Moodle refuses all of it for one that is not valid."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from adaptors.errors import Unexpected
from adaptors.moodle.answers import Course, Courses, checked, no_warnings
from adaptors.moodle.client import MoodleClient
from adaptors.moodle.unshowable import Budget, is_unshowable

COURSES = "core_course_get_courses_by_field"
SITE_COURSE = 1


async def read_courses(
    client: MoodleClient, known: Collection[int], budget: Budget
) -> tuple[list[Course], frozenset[int] | None]:
    """Read all courses but the site itself (`core_course_get_courses_by_field` without parameters).

    Where Moodle refuses the list, those `known` are asked for by their ids, in halves. Returns with them those
    that it refuses alone, by id (None: the list is whole); raises Unexpected where it shows none.
    """
    try:
        return await _asked(client), None
    except Unexpected as error:
        if not is_unshowable(error) or not known:
            raise
        found, refused = await _among(client, sorted({*known} - {SITE_COURSE}), budget)
        if not found:
            raise
        return found, frozenset(refused)


async def _asked(client: MoodleClient, **which: object) -> list[Course]:
    answer = checked(Courses, COURSES, await client.call(COURSES, **which))
    no_warnings(COURSES, answer.warnings)
    return [course for course in answer.courses if course.id != SITE_COURSE]


async def _among(client: MoodleClient, ids: Sequence[int], budget: Budget) -> tuple[list[Course], list[int]]:
    """Read courses by their ids, and those of them that Moodle refuses; one that is no more is in neither."""
    if not ids or budget.left <= 0:
        return [], [*ids]
    budget.left -= 1
    is_one = len(ids) == 1
    try:
        if is_one:
            return await _asked(client, field="id", value=ids[0]), []
        return await _asked(client, field="ids", value=",".join(map(str, ids))), []
    except Unexpected as error:  # also where one of many is no more
        if is_one:
            if not is_unshowable(error):
                raise
            return [], [*ids]
    half = len(ids) // 2
    found, refused = await _among(client, ids[:half], budget)
    more, others = await _among(client, ids[half:], budget)
    return found + more, refused + others
