"""Reading grades, the costly part: everybody of a small course at once, in larger ones person by person."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from adaptors.errors import AdaptorError, Refused, Retriable, Unexpected
from adaptors.moodle.answers import PERSON_IDS, GradeReport, GradeRow, UserGrades, checked, no_warnings
from adaptors.moodle.client import MoodleClient, options
from adaptors.moodle.normalise import grade_record, item_record
from adaptors.moodle.roster import ENROLLED, Roster, read_ids
from adaptors.moodle.sizes import Sizes
from adaptors.moodle.unshowable import is_unshowable

GRADES = "gradereport_user_get_grade_items"
SINGLES = 100  # single reports under way or waiting for a slot

T = TypeVar("T")
Grades = dict[str, Any]
"""What grades add to a person's record: `grade` and `items`."""


class GradeReader:
    """Reads the grades of courses; `batching` says that the service can answer many calls in one request."""

    def __init__(self, client: MoodleClient, sizes: Sizes, *, hidden: bool) -> None:
        self.batching = False
        self._client = client
        self._size = sizes.grades
        self._whole_course = sizes.whole_course
        self._hidden = hidden

    async def read(self, roster: Roster, people: Sequence[int]) -> dict[int, Grades]:
        """Read the grades of active people; whoever has no report, or just left, is absent."""
        parts = GradeParts(hidden=self._hidden)
        if not people:
            return {}
        if len(roster) <= self._whole_course:
            try:
                return _reports(await self._client.call(GRADES, courseid=roster.course_id, userid=0), parts)
            except Unexpected as error:  # somebody's name stops the report of all, and of nobody else
                if not is_unshowable(error):
                    raise
        if self.batching:
            return await self._in_batches(roster.course_id, people, parts)
        return await self._singly(roster.course_id, people, parts)

    async def _in_batches(self, course_id: int, people: Sequence[int], parts: GradeParts) -> dict[int, Grades]:
        """Read single-user reports, many in a request.

        For somebody who is not enrolled Moodle answers an empty grid, not an error. So the last request also asks
        who is in the course: whoever left since the id list was read has no grades, instead of blank ones.
        """
        queue, grades = list(people), dict[int, Grades]()
        still_in: set[int] | None = None
        while queue or still_in is None:
            results, asked = await self._batch(course_id, queue)
            for result in results[:asked]:
                if not isinstance(result, AdaptorError):
                    grades |= _reports(result, parts)
                elif not isinstance(result, Refused):
                    raise result
            if asked == len(queue) and len(results) > asked:
                still_in = await self._still_in(course_id, results[asked])
            del queue[: min(len(results), asked)]
        return {person: part for person, part in grades.items() if person in still_in}

    async def _still_in(self, course_id: int, answer: Any) -> set[int]:
        """Return who is in the course, as the answer says that rode along; else it is asked for in parts."""
        if isinstance(answer, Unexpected) and is_unshowable(answer):
            return {*await read_ids(self._client, course_id)}
        if isinstance(answer, AdaptorError):
            raise answer
        return {row.id for row in checked(PERSON_IDS, ENROLLED, answer)}

    async def _batch(self, course_id: int, queue: Sequence[int]) -> tuple[list[Any], int]:
        """Send one batch for the head of the queue; the id list rides along with the last one."""

        async def once() -> tuple[list[Any], int]:
            size = self._size
            asked = min(size.value, len(queue))
            calls: list[tuple[str, dict[str, Any]]] = [
                (GRADES, {"courseid": course_id, "userid": person}) for person in queue[:asked]
            ]
            if asked == len(queue):
                calls.append((ENROLLED, {"courseid": course_id, "options": options(userfields="id")}))
            try:
                results, seconds = await self._client.batch(calls)
            except Retriable:
                size.shrink()
                raise
            size.learn(min(len(results), asked), seconds)  # a batch ends with its first error
            if isinstance(results[-1], Retriable):
                raise results[-1]
            return results, asked

        return await self._client.retried(once, GRADES)

    async def _singly(self, course_id: int, people: Sequence[int], parts: GradeParts) -> dict[int, Grades]:
        async def one(person: int) -> dict[int, Grades]:
            try:
                return _reports(await self._client.call(GRADES, courseid=course_id, userid=person), parts)
            except Refused:
                return {}

        grades: dict[int, Grades] = {}
        for start in range(0, len(people), SINGLES):
            for found in await _together(one(person) for person in people[start : start + SINGLES]):
                grades |= found
        still_in = set(await read_ids(self._client, course_id))
        return {person: part for person, part in grades.items() if person in still_in}


class GradeParts:
    """Makes the grades of one course's enrolments; an activity is kept once, not once for each person."""

    def __init__(self, *, hidden: bool) -> None:
        self._hidden = hidden
        self._items: dict[int, dict[str, Any]] = {}

    def part(self, report: UserGrades) -> dict[str, Any]:
        """Return `grade` (the course total) and `items` of an enrolment, not to be changed.

        Category totals are no items. Hidden grades are left out, or with `hidden` sent along and marked. What is
        not known is left out, too: a total that Moodle withholds because hidden grades count in it, and a grade
        that it could not work out (the gradebook shows 'Error').
        """
        part: dict[str, Any] = {}
        rows = [row for row in report.gradeitems if self._hidden or not row.gradeishidden]
        for row in rows:
            if row.itemtype == "course" and not is_withheld(row):
                part["grade"] = grade_record(row)
        part["items"] = [
            {"item": self._items.get(row.id) or self._item(row)}
            | ({} if row.gradeneedsupdate else {"grade": grade_record(row)})
            for row in rows
            if row.itemtype in ("mod", "manual")
        ]
        return part

    def _item(self, row: GradeRow) -> dict[str, Any]:
        return self._items.setdefault(row.id, item_record(row))


def is_withheld(row: GradeRow) -> bool:
    """Tell a course total that is there and not shown, or in error, from one that is not graded yet.

    For an account without `moodle/grade:viewhidden`, Moodle blanks a total that a hidden grade counts in, as the
    course's setting 'Hide totals if they contain hidden items' says; the date of the grade stays.
    """
    blank = row.graderaw is None and bool(row.gradedategraded) and not row.feedback
    return row.gradeneedsupdate or blank


def _reports(answer: Any, parts: GradeParts) -> dict[int, Grades]:
    """Return the grades in an answer by person; Moodle's rows, many times larger, are not kept."""
    report = checked(GradeReport, GRADES, answer)
    no_warnings(GRADES, report.warnings)
    return {user.userid: parts.part(user) for user in report.usergrades}


async def _together(reads: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run reads together; when one fails, the others are not sent any more."""
    tasks = [asyncio.create_task(read) for read in reads]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
