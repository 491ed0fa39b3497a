"""Moodle assignments for programs: which there are, whose they are, what was handed in.

`Desk` is where somebody sits who marks: one Moodle, one account. Its answers are the dataclasses of the modules
assignment_people and assignment_work in adaptors/moodle, values of people whole; docs/assignments.md shows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, urlsplit

from adaptors.moodle.answers import SiteInfo, checked
from adaptors.moodle.assignment_answers import MarkedAssignment, MarkedCourse, Participant, Work
from adaptors.moodle.assignment_people import (
    AssignmentPerson,
    CoursePerson,
    assignment_people,
    marking_sizes,
    may_know_people,
    read_marked_course,
    read_participant_list,
    read_people,
    read_strangers,
)
from adaptors.moodle.assignment_work import (
    STATUSES,
    Filter,
    Handed,
    WorkBook,
    is_work,
    of_people,
    read_earlier,
    read_work,
    strangers,
)
from adaptors.moodle.client import BATCH_FUNCTION, MoodleClient
from adaptors.moodle.errors import REPAIR
from adaptors.moodle.roster import Roster
from adaptors.moodle.sizes import Sizes
from adaptors.moodle.streams import SITE_INFO
from adaptors.moodle.unshowable import Budget
from flows.errors import UsageError
from flows.steps.unshowable import unshowable_in
from flows.words import listed, numbered

_NUMBER = re.compile(r"(?:(cmid|id):)?([1-9][0-9]{0,17})")
_COURSE_PAGE, _ASSIGNMENT_PAGE = "/course/view.php", "/mod/assign/view.php"
_WAYS = {"cmid": "the number in the address of its page (cmid)", "id": "Moodle's own number for it (id)"}


@dataclass(frozen=True)
class Found:
    """An assignment, its course, and what the number was taken for: cmid, id, or both when they are equal."""

    course: MarkedCourse
    assignment: MarkedAssignment
    taken_as: str

    @property
    def sentence(self) -> str:
        """Return which assignment it is and how it was found, in a sentence."""
        one = self.assignment
        way = _WAYS.get(self.taken_as, "both its cmid and its id")
        return (
            f"Assignment '{one.name}' (cmid {one.cmid}, id {one.id}) of course {self.course.id}; taken as {way}."
        )

    def as_json(self) -> dict[str, object]:
        """Return what says which assignment it is."""
        one = self.assignment
        numbers = {"id": one.id, "cmid": one.cmid, "course": self.course.id}
        return {**numbers, "name": one.name, "taken_as": self.taken_as}


@dataclass
class Desk:
    """Reads assignments with a client; `sizes` are those of the reads."""

    client: MoodleClient
    sizes: Sizes = field(default_factory=marking_sizes)
    messages: list[str] = field(default_factory=list)
    """What of the last read of people or submissions Moodle could not show, in sentences."""
    budget: Budget = field(default_factory=Budget)
    """What may still go into looking for participants whom Moodle cannot show."""
    shown: frozenset[int] | None = None
    """Who may submit, where the last read of submissions told members and Moodle could not show everybody."""
    _site: SiteInfo | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    async def site(self) -> SiteInfo:
        """Return who we are in Moodle and what the service can do, asked once."""
        if self._site is None:
            self._site = checked(SiteInfo, SITE_INFO, await self.client.call(SITE_INFO))
        return self._site

    async def batching(self) -> bool:
        """Return whether many calls about single people fit into one request."""
        return BATCH_FUNCTION in (await self.site()).function_names

    async def course(self, course: str | int) -> MarkedCourse:
        """Return a course with its assignments; `course` is its id or the address of its page."""
        return await read_marked_course(self.client, course_number(self.client.url, str(course)))

    async def find(self, course: str | int, assignment: str | int) -> Found:
        """Return an assignment of a course by its cmid, its id or the address of its page.

        `cmid:14` and `id:14` say which is meant. Raises UsageError when there is none, or when a number is the
        cmid of one and the id of another.
        """
        return find_assignment(await self.course(course), self.client.url, str(assignment))

    async def course_people(self, course: str | int) -> list[CoursePerson]:
        """Return everybody in a course whom Moodle can show, by id; two id lists, then pages of 500."""
        number = course_number(self.client.url, str(course))
        people, roster = await read_people(self.client, number, self.sizes)
        self.messages = [] if roster.is_whole else [_not_whole(roster)]
        return [people[one] for one in sorted(people)]

    async def people(self, found: Found) -> list[AssignmentPerson]:
        """Return who may submit to an assignment, also before the first submission.

        In blind marking without names, and without ids unless the account may reveal identities.
        """
        assignment = found.assignment
        participants, unshown = await read_participant_list(self.client, assignment, self.budget)
        known = await may_know_people(self.client, assignment)
        people, self.messages = dict[int, CoursePerson](), []
        self.tell_unshown(found, unshown)
        if not assignment.hides_people and participants:
            people, roster = await read_people(self.client, found.course.id, self.sizes)
            if not roster.is_whole and any(one.id not in people for one in participants):
                self.messages.append(_not_whole(roster))
        return assignment_people(assignment, participants, people, known=known)

    async def submissions(self, found: Found, wanted: Filter | None = None) -> list[Handed]:
        """Return what was handed in, as wanted (default: the latest attempt of everybody, whatever its state).

        Raises UsageError for user ids in blind marking that the account may not know, and for participant numbers
        elsewhere.
        """
        assignment, wanted = found.assignment, wanted or Filter()
        known = await may_know_people(self.client, assignment)
        check_numbers(assignment, wanted, known=known)
        # Of an attempt that was begun anew the earlier one may be wanted, whatever the state of the latest.
        asked = replace(wanted, statuses=frozenset()) if wanted.attempts else wanted
        rows = await read_work(self.client, assignment, asked)
        needs_people = assignment.teamsubmission or assignment.hides_people
        participants, unshown = tuple[Participant, ...](), 0
        if needs_people and rows:
            participants, unshown = await read_participant_list(self.client, assignment, self.budget)
        self.shown = frozenset(one.id for one in participants) if unshown and known else None
        rows = of_people(rows, participants, wanted)
        people, self.messages = dict[int, CoursePerson](), []
        self.tell_unshown(found, unshown)
        of_one = [row for row in rows if row.userid and is_work(assignment, row)]
        if of_one and not assignment.hides_people:
            people = await self._people_of(of_one, found.course.id)
        book = WorkBook(assignment, people, participants, known=known)
        if not wanted.attempts:
            return book.handed(rows, wanted)
        whom = book.asked_for(rows)
        batching = await self.batching() if whom else False
        earlier = await read_earlier(self.client, assignment, whom, batching)
        answer: list[Handed] = []
        for latest in book.handed(rows, Filter()):
            if not wanted.statuses or latest.status in wanted.statuses:
                answer.append(latest)
            answer += book.earlier(latest, earlier.get(latest.id, ()), wanted)
        return answer

    async def _people_of(self, rows: Sequence[Work], course: int) -> dict[int, CoursePerson]:
        """Return the people of a course, and who else handed something in; note whom Moodle cannot show."""
        people, roster = await read_people(self.client, course, self.sizes)
        if others := strangers(rows, people):
            more, nameless = await read_strangers(self.client, others, is_whole=roster.is_whole)
            people |= more
            self.messages += [_no_names(nameless)] if nameless else []
        return people

    async def without_work(self, found: Found, wanted: Filter, handed: Sequence[Handed]) -> list[str]:
        """Return a sentence about each person who is wanted and of whom nothing was found.

        Raises UsageError for a number that nobody has who may submit; where Moodle cannot show some of those, it
        may be theirs.
        """
        missing = _missing(wanted, handed)
        if not any(missing):
            return []
        participants, unshown = await read_participant_list(self.client, found.assignment, self.budget)
        groups = {one.group for one in handed if one.group is not None}
        there = {one.id for one in participants if one.groupid in groups}  # a group's members are not always told
        numbers = {one.recordid: one.id for one in participants if one.recordid > 0}
        everybody = {one.id for one in participants}
        wrong = [*sorted(missing[0] - everybody), *sorted(missing[1] - numbers.keys())]
        if wrong and not unshown:
            which = listed([str(one) for one in wrong])
            raise UsageError(
                f"Nobody with the number {which} may submit to this assignment. Who may: "
                f"`moodle-commcare assignments users {found.course.id} {found.assignment.cmid}`."
            )
        what = f"nothing that is {' or '.join(sorted(wanted.statuses))}" if wanted.statuses else "nothing"
        people = [f"Person {one}" for one in sorted(missing[0] & everybody - there)]
        others = sorted(missing[1] & numbers.keys())
        people += [f"Participant {one}" for one in others if numbers[one] not in there]
        if wrong:
            self.tell_unshown(found, unshown)
        return [f"{who} has handed in {what}." for who in people] + [
            f"Of number {one} nothing was found: Moodle cannot show the account, or nobody with this number may "
            "submit to this assignment."
            for one in wrong
        ]

    def tell_unshown(self, found: Found, count: int) -> None:
        """Note, once, how many of those who may submit Moodle cannot show."""
        if count and (sentence := unshown_sentence(found, count)) not in self.messages:
            self.messages.append(sentence)


def check_numbers(assignment: MarkedAssignment, wanted: Filter, *, known: bool) -> None:
    """Refuse numbers that this assignment does not go by; raises UsageError."""
    if wanted.people and assignment.hides_people and not known:
        raise UsageError(
            "This assignment is marked blindly, and the account may not know whose work is whose. Give "
            "participant numbers (--participant) in place of user ids."
        )
    if wanted.participants and not assignment.hides_people:
        raise UsageError("This assignment is not marked blindly: give user ids (--user), not participant numbers.")


def _missing(wanted: Filter, handed: Iterable[Handed]) -> tuple[set[int], set[int]]:
    """Return the people, and the participants, of whom nothing was found."""
    people, participants = set(wanted.people), set(wanted.participants)
    for one in handed:
        people -= {member.id for member in one.members} | ({one.person.id} if one.person is not None else set())
        participants -= {one.participant}
    return people, participants


def checked_statuses(statuses: Iterable[str]) -> frozenset[str]:
    """Return states of submissions; raises UsageError for one that Moodle does not have."""
    found = frozenset(statuses)
    if unknown := sorted(found - set(STATUSES)):
        raise UsageError(f"There is no status {listed(unknown)}; there are {', '.join(STATUSES)}.")
    return found


def course_number(site_url: str, text: str) -> int:
    """Return the id of a course from its number or the address of its page; raises UsageError."""
    text = text.strip()
    if "://" in text:
        return _from_address(site_url, text, _COURSE_PAGE, "course")
    if not _NUMBER.fullmatch(text) or ":" in text:
        raise UsageError(f"{text!r} is no course: give its number, or the address of its page.")
    return int(text)


def find_assignment(course: MarkedCourse, site_url: str, text: str) -> Found:
    """Return an assignment of a course; see `Desk.find`."""
    text, way = text.strip(), ""
    if "://" in text:
        number, way = _from_address(site_url, text, _ASSIGNMENT_PAGE, "assignment"), "cmid"
    else:
        match = _NUMBER.fullmatch(text)
        if match is None:
            raise UsageError(f"{text!r} is no assignment: give its number, or the address of its page.")
        number, way = int(match[2]), match[1] or ""
    by_cmid = next((one for one in course.assignments if one.cmid == number and way != "id"), None)
    by_id = next((one for one in course.assignments if one.id == number and way != "cmid"), None)
    if by_cmid is not None and by_id is not None:
        if by_cmid is by_id:
            return Found(course, by_cmid, "both")
        raise UsageError(
            f"{number} is the cmid of '{by_cmid.name}' and the id of '{by_id.name}'. Give cmid:{number} for the "
            f"first (the number in the address of its page), id:{number} for the second."
        )
    if by_cmid is not None:
        return Found(course, by_cmid, "cmid")
    if by_id is not None:
        return Found(course, by_id, "id")
    there = listed([f"{one.cmid} ('{one.name}')" for one in course.assignments]) or "none that the account sees"
    more = f" {unseen_sentence(course)}" if course.unseen else ""
    raise UsageError(f"Course {course.id} has no assignment {text}. By cmid there are: {there}.{more}")


def unseen_sentence(course: MarkedCourse) -> str:
    """Say that a course has assignments that the account may not see, and which rights would show them."""
    return (
        f"{numbered(course.unseen, 'more assignment')} of course {course.id} the account may not see: hidden ones "
        "need 'moodle/course:viewhiddenactivities', those with conditions "
        "'moodle/course:ignoreavailabilityrestrictions', and all of them 'mod/assign:view'."
    )


def unshown_sentence(found: Found, count: int, then: str = "Everybody else there was read.") -> str:
    """Say how many of those who may submit Moodle cannot show, what comes of it, and what is to be done."""
    team = " It may also be the name of a group." if found.assignment.teamsubmission else ""
    return (
        f"Moodle itself cannot show {numbered(count, 'account')} of those who may submit to assignment "
        f"{found.assignment.cmid} of course {found.course.id}, for a value in {'it' if count == 1 else 'them'}. "
        f"{then} {REPAIR}{team}"
    )


def _not_whole(roster: Roster) -> str:
    return (
        f"Moodle itself cannot show accounts of {unshowable_in({roster.course_id: roster})}, for a value in them. "
        f"Everybody else there was read. {REPAIR}"
    )


def _no_names(people: Sequence[int]) -> str:
    whose = listed([str(one) for one in people])
    if len(people) == 1:
        what = f"the name of person {whose}, for a value in the account; only the number is here"
    else:
        what = f"the names of people {whose}, for a value in their accounts; only the numbers are here"
    return f"Moodle itself cannot show {what}. {REPAIR}"


def _from_address(site_url: str, text: str, page: str, what: str) -> int:
    """Return the number in the address of a page of the configured Moodle."""
    parts, site = urlsplit(text), urlsplit(site_url)
    if (parts.hostname, parts.path) != (site.hostname, f"{site.path.rstrip('/')}{page}"):
        raise UsageError(
            f"That is no address of {what} pages of {site_url}: they look like {site_url}{page}?id=14."
        )
    number = parse_qs(parts.query).get("id", [""])[0]
    if not _NUMBER.fullmatch(number) or ":" in number:
        raise UsageError(f"The address of the {what} has no number: it ends like {page}?id=14.")
    return int(number)
