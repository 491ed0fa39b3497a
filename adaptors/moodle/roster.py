"""Who is in a course, kept small: all rosters are held while people are pushed, before any enrolment is."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from adaptors.moodle.answers import PERSON_IDS, Person, checked
from adaptors.moodle.client import MoodleClient, options
from adaptors.moodle.normalise import TEACHERS, group_names, role_names
from adaptors.moodle.unshowable import Budget, all_but_unshowable

ENROLLED = "core_enrol_get_enrolled_users"

Names = tuple[str, ...]
NOT_SHOWN = -1
"""The last access to a course where Moodle hides it."""


async def read_ids(client: MoodleClient, course_id: int) -> list[int]:
    """Read the ids of everybody in a course whom Moodle can show, in order."""
    ids, _ = await read_list(client, course_id)
    return ids


async def read_list(
    client: MoodleClient, course_id: int, budget: Budget | None = None, **chosen: int
) -> tuple[list[int], list[int]]:
    """Read these ids, or those of some (`onlysuspended=1`), and the places of people whom Moodle cannot show.

    Raises Unexpected where these are too many.
    """

    async def part(start: int, size: int) -> list[int]:
        limits = {"limitfrom": start, "limitnumber": size} if start or size else {}
        asked = options(userfields="id", **chosen, **limits)
        answer = await client.call(ENROLLED, courseid=course_id, options=asked)
        return [row.id for row in checked(PERSON_IDS, ENROLLED, answer)]

    ids, places = await all_but_unshowable(part, budget or Budget())
    return sorted({*ids}), places


class Combinations:
    """Each distinct pair of roles and groups once, so that a person in a course costs a few bytes."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[Names, Names | None], int] = {}
        self._pairs: list[tuple[Names, Names | None]] = []

    def number(self, roles: Names, groups: Names | None) -> int:
        """Return the number of a pair, making one when it is new."""
        number = self._numbers.setdefault((roles, groups), len(self._pairs))
        if number == len(self._pairs):
            self._pairs.append((roles, groups))
        return number

    def pair(self, number: int) -> tuple[Names, Names | None]:
        """Return roles and groups, None for groups that Moodle does not show."""
        return self._pairs[number]


@dataclass(frozen=True)
class Member:
    """One person in one course; `groups` and `lastcourseaccess` are None when Moodle does not show them.

    Who never was in the course has the last access 0.
    """

    id: int
    roles: Names
    groups: Names | None
    status: str
    lastcourseaccess: int | None


@dataclass
class Roster:
    """The people of one course, all of them if it `is_whole`; `users` are records while there is room for them."""

    course_id: int
    combinations: Combinations = field(repr=False)
    suspended: frozenset[int] = frozenset()
    teachers: tuple[str, ...] | None = ()
    """Login names; None when Moodle does not show that of one of them, or may not show one of them at all."""
    users: dict[int, dict[str, Any]] = field(default_factory=dict, repr=False)
    unshown: frozenset[str] = frozenset()
    """Fields of people that nobody's row carried, though Moodle leaves them out where they are empty."""
    hidden: frozenset[str] | None = frozenset()
    """Fields that everybody has and nobody's row carried; None when nobody's row was there to carry any."""
    places: list[int] = field(default_factory=list)
    """Places in Moodle's list of people of whom it shows nothing at all, for a value in their account."""
    _ids: array[int] = field(default_factory=lambda: array("q"), repr=False)
    _pairs: array[int] = field(default_factory=lambda: array("l"), repr=False)
    _access: array[int] = field(default_factory=lambda: array("q"), repr=False)

    @classmethod
    def of(
        cls,
        course_id: int,
        people: Iterable[Person],
        suspended: frozenset[int],
        combinations: Combinations,
        hides: Callable[[Person], bool] = lambda _: False,
    ) -> Roster:
        """Build a roster from the rows of a course, in order of their ids; `hides`: whose groups are kept back."""
        roster = cls(course_id, combinations, suspended)
        teachers: list[str | None] = []
        for person in sorted(people, key=lambda person: person.id):
            roles = role_names(person)
            roster._ids.append(person.id)
            groups = None if hides(person) else group_names(person)
            roster._pairs.append(combinations.number(roles, groups))
            access = (person.lastcourseaccess or 0) if "lastcourseaccess" in person.model_fields_set else NOT_SHOWN
            roster._access.append(access)
            if TEACHERS.intersection(roles):
                teachers.append(person.username)
        shown = tuple(name for name in teachers if name is not None)
        roster.teachers = shown if len(shown) == len(teachers) else None
        return roster

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Member]:
        for person_id, pair, access in zip(self._ids, self._pairs, self._access, strict=True):
            roles, groups = self.combinations.pair(pair)
            status = "suspended" if person_id in self.suspended else "active"
            yield Member(person_id, roles, groups, status, None if access == NOT_SHOWN else access)

    @property
    def is_whole(self) -> bool:
        """Whether everybody in the course was read: else nobody who is not here is missing."""
        return not self.places

    @property
    def ids(self) -> list[int]:
        """Return the ids of everybody in the course, in order."""
        return list(self._ids)

    @property
    def hides_groups(self) -> bool:
        """Whether Moodle keeps back the groups of anybody here."""
        return any(self.combinations.pair(pair)[1] is None for pair in {*self._pairs})

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Yield each person's id with the number of his or her roles and groups."""
        return zip(self._ids, self._pairs, strict=True)

    def record(self, member: Member) -> dict[str, Any]:
        """Return the parts of a source record that the roster itself knows."""
        return {
            "roles": list(member.roles),
            **({} if member.groups is None else {"groups": list(member.groups)}),
            **({} if self.teachers is None else {"teachers": list(self.teachers)}),
            "status": member.status,
            **({} if member.lastcourseaccess is None else {"lastcourseaccess": member.lastcourseaccess or None}),
        }
