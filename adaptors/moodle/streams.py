"""Reading Moodle completely and gently: id lists are the truth, pages may be short, a doubt is an error.

Nothing here decides what is sent. A method either returns a complete read or raises; docs/decisions/0001 and 0002
give the reasons behind the order of the calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Container, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeVar

from adaptors.errors import AccessDenied, AdaptorError, Maintenance, Retriable, Unexpected
from adaptors.moodle.answers import (
    CATEGORIES,
    PEOPLE,
    Category,
    Course,
    Person,
    SiteInfo,
    checked,
)
from adaptors.moodle.assignments import AssignmentReader
from adaptors.moodle.client import BATCH_FUNCTION, MoodleClient, options
from adaptors.moodle.completion import CompletionReader
from adaptors.moodle.course_list import read_courses, read_these
from adaptors.moodle.grades import GRADES as GRADES
from adaptors.moodle.grades import GradeReader
from adaptors.moodle.normalise import Visible, hides_groups, looks_deleted, user_fields
from adaptors.moodle.records import PROFILE_ONLY
from adaptors.moodle.roster import ENROLLED as ENROLLED
from adaptors.moodle.roster import Combinations, Roster, read_list
from adaptors.moodle.sizes import BatchSize, Sizes
from adaptors.moodle.unshowable import ALL, PER_COURSE, Budget, Way, is_unshowable

SITE_INFO = "core_webservice_get_site_info"
CATEGORY_LIST = "core_course_get_categories"
PROFILES = "core_user_get_users_by_field"

EMPTY_PAGES = 3  # pages in a row that bring nobody new before a read counts as not complete
LOST_BATCHES = 3  # batches of profiles in a row that Moodle does not give before it counts as out of order
REFUSALS_AT_FIRST, REFUSALS = 3, 10  # people refused alone in a row, until somebody was given and later
UNSETTLED_PROFILES = 1000  # profiles held back while a wanted field was not seen yet

T = TypeVar("T")


@dataclass(frozen=True)
class Wanted:
    """What the mappings read: fields of `users`, fields of `user.*` in the course sources, and the costly parts.

    `completion`, `due_dates` and `completed_courses` are parts of source `engagement`, `assignments` and
    `submissions` of source `assignments`.
    """

    profile: frozenset[str] = frozenset()
    user: frozenset[str] = frozenset()
    teachers: bool = False
    groups: bool = True
    grades: bool = False
    hidden_grades: bool = False
    completion: bool = False
    due_dates: bool = False
    completed_courses: bool = False
    assignments: bool = False
    submissions: bool = False

    @property
    def row_fields(self) -> frozenset[str]:
        """Return the `user.*` fields that a course's own rows carry."""
        return self.user - PROFILE_ONLY - {"id"}

    @property
    def profile_in_course(self) -> bool:
        """Return whether a course source needs a field that only profiles carry."""
        return bool(self.user & PROFILE_ONLY)


class MoodleReader:
    """Reads the sources of one site for one run."""

    def __init__(self, client: MoodleClient, wanted: Wanted, sizes: Sizes | None = None) -> None:
        self.client = client
        self._wanted = wanted
        self._sizes = sizes or Sizes()
        self._combinations = Combinations()
        self._room_for_rows = self._sizes.kept_rows
        self._grades = GradeReader(client, self._sizes, hidden=wanted.hidden_grades)
        self.completion = CompletionReader(client, self._sizes)
        self.assignments = AssignmentReader(client, self._sizes)
        self._me = 0
        self._release = ""
        self._lost_batches = self._refusals = self._answers = 0
        self._refused: set[int] = set()
        self._budget = Budget()
        self.left_out: Container[int] = frozenset()
        """People who are never read: they were erased."""
        self.refused_courses: Mapping[int, bool] = {}
        """Courses that Moodle did not show, for the name of a teacher, and whether each was asked for alone."""
        self.lists_all = True
        """Whether its list was whole: else only courses that are known were asked for."""
        self.lost_profiles: set[int] = set()
        self.trouble_with_profiles = ""
        self.witnesses: dict[str, int] = {}
        self.unshown: frozenset[str] = frozenset()
        """Wanted fields that no profile has carried so far, though Moodle leaves them out where they are empty."""
        self.hidden: frozenset[str] = frozenset()
        """Fields that everybody has and no profile has carried; the login name counts as wanted."""

    @property
    def refused_profiles(self) -> frozenset[int]:
        """Return whom Moodle refused alone while it gave others: they are not asked for again in this run."""
        return frozenset(self._refused) if self._answers else frozenset()

    @property
    def unsure_profiles(self) -> frozenset[int]:
        """Return whom another read may give: the others of `lost_profiles` wait for a person to mend them."""
        return frozenset(self.lost_profiles - self.refused_profiles)

    async def site(self) -> SiteInfo:
        """Read who we are and what the service can do (`core_webservice_get_site_info`)."""
        site = checked(SiteInfo, SITE_INFO, await self.client.call(SITE_INFO))
        self._me, self._release = site.userid, site.release
        self._grades.batching = self.completion.calls.batching = BATCH_FUNCTION in site.function_names
        return site

    async def courses(self, known: Collection[int] = (), last: Collection[int] = ()) -> list[Course]:
        """Read all courses but the site itself; of those `known`, `refused_courses` are the ones not shown.

        Where Moodle cannot show its list, those in `last` are asked for in the end. Raises Unexpected where it
        shows none.
        """
        found, unshown = await read_courses(self.client, known, self._budget, last)
        self.refused_courses, self.lists_all = unshown or {}, unshown is None
        return found

    async def these_courses(self, ids: Collection[int]) -> list[Course]:
        """Read some courses by their ids, in one request where Moodle shows all of them."""
        found, self.refused_courses = await read_these(self.client, sorted(ids), self._budget)
        return found

    async def categories(self) -> tuple[Category, ...]:
        """Read all course categories (`core_course_get_categories`)."""
        return checked(CATEGORIES, CATEGORY_LIST, await self.client.call(CATEGORY_LIST))

    async def roster(self, course_id: int) -> Roster:
        """Read the people of a course: ids (the truth), suspended ids, then chosen fields page by page.

        Whom Moodle cannot show leaves a place in `places`; raises Unexpected where they are many.
        """
        listed, places = await read_list(self.client, course_id, self._budget)
        ids = [number for number in listed if number not in self.left_out]
        suspended = frozenset[int]()
        if ids:
            found, _ = await read_list(self.client, course_id, self._budget, onlysuspended=1)
            suspended = frozenset(found)
        people = await self._rows(course_id, ids, places) if ids else {}
        roster = Roster.of(
            course_id, people.values(), suspended & set(ids), self._combinations, self._hides_groups
        )
        roster.places = places
        if not self._wanted.teachers:
            roster.teachers = ()  # their names were not asked for
        elif places:
            roster.teachers = None  # somebody who is not shown may be one
        visible = Visible()
        visible.learn(people.values(), self._me)
        roster.unshown = visible.lacking(self._wanted.row_fields)
        roster.hidden = visible.hidden(self._wanted.row_fields) if visible.seen else None
        if self._wanted.row_fields and len(people) <= self._room_for_rows:
            self._room_for_rows -= len(people)
            roster.users = {person.id: user_fields(person, visible) for person in people.values()}
        return roster

    def _hides_groups(self, person: Person) -> bool:
        return self._wanted.groups and hides_groups(person, self._release)

    async def _rows(self, course_id: int, ids: Collection[int], places: list[int]) -> dict[int, Person]:
        """Read the chosen fields of everybody in `ids`, but those who leave meanwhile.

        Moodle pages in SQL and drops people we may not see afterwards, so a short or empty page is not the end.
        `places` are those of people whom Moodle cannot show: no page has them, and those of others are added.
        """
        fields, way = self._row_fields(), Way(places)
        found: dict[int, Person] = {}
        wanted, known, barren = set(ids), len(places), 0
        while not wanted <= found.keys():
            room = way.room()
            try:
                asked, page = await self._page(course_id, fields, way.offset, room)
            except Unexpected as error:
                if not is_unshowable(error) or len(places) >= PER_COURSE or self._budget.left <= 0:
                    raise
                self._budget.left -= 2  # the one refused, and one more for its rows
                way.refused(min(room, self._sizes.page.value))
                continue
            way.offset += asked
            new = {person.id: person for person in page if person.id in wanted and person.id not in found}
            barren = 0 if new else barren + (room == ALL)
            found |= new
            if barren == EMPTY_PAGES:
                wanted &= {*(await read_list(self.client, course_id, self._budget))[0]}
                if len(wanted - found.keys()) <= len(places) - known:
                    break
                raise _incomplete(f"{len(wanted - found.keys())} people of the id list never appeared", ENROLLED)
        return found

    async def _page(self, course_id: int, fields: str, start: int, most: int) -> tuple[int, Sequence[Person]]:
        """Ask for as many rows from a place on as Moodle answers well; returns how many were asked for."""
        asked, answer = await self._sized(
            self._sizes.page,
            ENROLLED,
            lambda size: {
                "courseid": course_id,
                "options": options(userfields=fields, limitfrom=start, limitnumber=min(size, most)),
            },
        )
        return min(asked, most), checked(PEOPLE, ENROLLED, answer)

    def _row_fields(self) -> str:
        """Choose the columns of a course's rows; roles, groups and custom fields are the costly ones."""
        plain = {name for name in self._wanted.row_fields if not name.startswith("profile.")}
        fields = ["id", "fullname", "roles", "lastcourseaccess", *sorted(plain - {"fullname"})]
        if self._wanted.groups:
            fields.append("groups")
        if self._wanted.teachers and "username" not in plain:
            fields.append("username")
        if any(name.startswith("profile.") for name in self._wanted.user):
            fields.append("customfields")
        return ",".join(fields)

    async def profiles(
        self, ids: Collection[int], first: Sequence[int] = (), beside: Sequence[int] = ()
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Read each person's profile once, in batches of `user.*` records (without roles and groups).

        People whose profile Moodle does not give, or who are deleted by now, are noted in `lost_profiles`: the
        read of people then is not complete. A batch that fails loses its own people only, and of one that Moodle
        refuses only those whom it refuses alone (`refused_profiles`). Records wait, up to
        1,000 of them, until each wanted field was seen on somebody: only then is a missing field blank and not
        just hidden. `first` are people known to have such fields; reading them first ends the wait at once
        (afterwards, `witnesses` names such people, and `unshown` the fields that nobody has). Those in `beside`
        are read for that alone: there is no record of them, and none is missed.
        """
        everybody = set(ids) - self.refused_profiles
        self.lost_profiles |= self.refused_profiles.intersection(ids)
        leading = [person_id for person_id in dict.fromkeys(first) if person_id in everybody]
        others = [one for one in dict.fromkeys(beside) if one not in everybody and one not in self.left_out]
        queue = leading + others * bool(everybody) + sorted(everybody.difference(leading))
        del everybody
        visible, waiting = Visible(), list[Person]()
        while queue:
            asked, people = await self._profile_batch(queue)
            self.lost_profiles.difference_update(others)
            del queue[:asked]
            visible.learn(people, self._me)
            waiting += [person for person in people if person.id not in others]
            if self._all_seen(visible) or len(waiting) >= UNSETTLED_PROFILES or not queue:
                self.witnesses = {name: visible.seen[name] for name in self._wanted.profile & visible.seen.keys()}
                self.unshown = visible.lacking(self._wanted.profile)
                self.hidden = visible.hidden(self._wanted.profile | {"username"})
                yield [user_fields(person, visible) for person in waiting]
                waiting = []

    async def _profile_batch(self, queue: Sequence[int]) -> tuple[int, list[Person]]:
        wanted, given = await self._given(queue)
        people = [person for person in given if not looks_deleted(person)]
        self.lost_profiles |= wanted - {person.id for person in people}
        return len(wanted), people

    async def _given(self, queue: Sequence[int]) -> tuple[set[int], list[Person]]:
        """Ask for the first people of a queue; return whom was asked for, and whom Moodle gives."""
        answers = self._answers
        asked, rows, trouble = await self._divided(queue)
        self._lost_batches = self._lost_batches + 1 if trouble and answers == self._answers else 0
        if trouble and not self._answers:
            self.trouble_with_profiles = str(trouble)
        if trouble and self._lost_batches == LOST_BATCHES:
            raise trouble
        wanted = set(queue[:asked])
        return wanted, [*{person.id: person for person in rows if person.id in wanted}.values()]

    async def _divided(self, queue: Sequence[int]) -> tuple[int, list[Person], AdaptorError | None]:
        """Ask for the first people of a queue, and for halves of them as long as Moodle refuses them together.

        It refuses all when what is stored of one of them is broken. Returns for how many it asked, whom Moodle
        gives, and the last trouble. Where it refuses many alone, one after the other, no more is divided.
        """
        asked = self._sizes.profiles.value
        try:
            asked, answer = await self._sized(
                self._sizes.profiles, PROFILES, lambda size: {"field": "id", "values": list(queue[:size])}
            )
            found = checked(PEOPLE, PROFILES, answer)
        except (Maintenance, AccessDenied):
            raise
        except AdaptorError as error:
            trouble = error
        else:
            self._answers, self._refusals = self._answers + 1, 0
            return min(asked, len(queue)), list(found), None
        people = queue[: min(asked, self._sizes.profiles.value)]
        if isinstance(trouble, Retriable) or self._refusals >= (REFUSALS if self._answers else REFUSALS_AT_FIRST):
            self.trouble_with_profiles = str(trouble)
            return len(people), [], trouble
        if len(people) == 1:
            self._refusals += 1
            self._refused.update(people)
            return 1, [], trouble
        rows = list[Person]()
        for half in (people[::2], people[1::2]):  # whose accounts were made together have numbers side by side
            while half:
                done, more, _ = await self._divided(half)
                rows, half = rows + more, half[done:]
        return len(people), rows, trouble

    async def deleted(self, ids: Collection[int]) -> set[int]:
        """Return those of some people whom Moodle gives back as deleted accounts (`core_user_get_users_by_field`).

        Whom it does not give may only be hidden; a batch that fails says nothing of its own people.
        """
        queue, found = sorted({*ids} - self.refused_profiles), set[int]()
        while queue:
            asked, people = await self._given(queue)
            found |= {person.id for person in people if looks_deleted(person)}
            del queue[: len(asked)]
        return found

    def _all_seen(self, visible: Visible) -> bool:
        return not visible.lacking(self._wanted.profile)

    async def enrolments(
        self, course: Mapping[str, Any], roster: Roster, graded: Callable[[Mapping[str, Any]], bool]
    ) -> list[dict[str, Any]]:
        """Return the records of source `enrolments` for one course, grades included when a mapping reads them.

        `graded` says for a record without grades whether anybody wants the grades: they are the costly part.
        """
        users, left = await self._course_users(roster)
        records = [
            {"course": course, "user": users.get(member.id, {"id": member.id})} | roster.record(member)
            for member in roster
            if member.id not in left
        ]
        if self._wanted.grades:
            active = [r["user"]["id"] for r in records if r["status"] == "active" and graded(r)]
            grades = await self._grades.read(roster, active)
            for record in records:
                record |= grades.get(record["user"]["id"], {})
        return records

    async def _course_users(self, roster: Roster) -> tuple[dict[int, dict[str, Any]], Set[int]]:
        """Return the `user.*` records of a course from its rows, read again when there was no room for them.

        With them those who left the course before they were read again: it may be an hour since the first time.
        """
        users, left = dict[int, dict[str, Any]](), set[int]()
        if self._wanted.row_fields and len(roster):
            users, roster.users = roster.users, {}
            if not users:
                rows, visible = await self._rows(roster.course_id, roster.ids, roster.places), Visible()
                if self._wanted.teachers and not roster.is_whole:
                    roster.teachers = None
                visible.learn(rows.values(), self._me)  # a right may be gone since these people were read
                roster.unshown = visible.lacking(self._wanted.row_fields)
                users = {person.id: user_fields(person, visible) for person in rows.values()}
                left = {*roster.ids} - users.keys()
        if self._wanted.profile_in_course:
            async for batch in self.profiles(roster.ids):
                for record in batch:
                    extra = {name: record[name] for name in PROFILE_ONLY if name in record}
                    users[record["id"]] = users.get(record["id"], {"id": record["id"]}) | extra
        return users, left

    async def _sized(
        self, size: BatchSize, function: str, params: Callable[[int], dict[str, Any]]
    ) -> tuple[int, Any]:
        """Call a function with as many rows as Moodle answers well; returns how many were asked for."""

        async def once() -> tuple[int, Any]:
            asked = size.value
            try:
                reply = await self.client.once(function, params(asked))
            except Retriable:
                size.shrink()
                raise
            size.learn(len(reply.data) if isinstance(reply.data, list) else 0, reply.seconds)
            return asked, reply.data

        return await self.client.retried(once, function)


def _incomplete(what: str, function: str) -> Unexpected:
    return Unexpected(
        f"The read is not complete: {what}.",
        system="Moodle",
        operation=function,
        remedy="The account may lack 'moodle/user:viewdetails'; nothing of this course is changed in CommCare.",
    )
