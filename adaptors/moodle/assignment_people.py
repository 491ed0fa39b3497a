"""The people of a course and of an assignment, as far as Moodle lets those who mark know them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from adaptors.errors import AccessDenied, Refused
from adaptors.moodle.answers import PEOPLE, Person, checked
from adaptors.moodle.assignment_answers import (
    PARTICIPANTS,
    MappingList,
    MarkedAssignment,
    MarkedCourse,
    MarkedCourses,
    Participant,
)
from adaptors.moodle.assignments import ASSIGNMENTS, NOTHING_THERE, refuse_unseen_course, unseen_assignments
from adaptors.moodle.client import MoodleClient
from adaptors.moodle.normalise import looks_deleted
from adaptors.moodle.roster import Roster
from adaptors.moodle.sizes import BatchSize, Sizes
from adaptors.moodle.streams import PROFILES, MoodleReader, Wanted
from adaptors.moodle.unshowable import Budget, all_but_unshowable, in_halves

LIST_PARTICIPANTS: Final = "mod_assign_list_participants"
USER_MAPPINGS: Final = "mod_assign_get_user_mappings"
_NAMES: Final = ("username", "firstname", "lastname", "fullname", "email")
_PROFILES: Final = 100  # ids in one call
_PARTS: Final = 200  # requests that go into looking for accounts that Moodle cannot show


@dataclass(frozen=True)
class CoursePerson:
    """Somebody, with roles by short name; what Moodle does not show is None.

    `status` is active or suspended (this enrolment), "not enrolled" for who handed something in and has left, and
    "" where that is unknown, since Moodle cannot show the account.
    """

    id: int
    username: str | None = field(default=None, repr=False)
    firstname: str | None = field(default=None, repr=False)
    lastname: str | None = field(default=None, repr=False)
    fullname: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)
    roles: tuple[str, ...] = ()
    status: str = "active"


@dataclass(frozen=True)
class AssignmentPerson:
    """Somebody who may submit, also before the first submission.

    In blind marking `participant` is the number that stands for the person, `person` holds nothing but the id,
    and is None when the account may not know whose work it is. `group` is the group that hands in together, 0 for
    the one of those who are in no group or in several; None where everybody hands in alone. `submission` is
    Moodle's word for the state of the work, "" before the first.
    """

    person: CoursePerson | None
    participant: int | None = None
    group: int | None = None
    submission: str = ""


def marking_sizes() -> Sizes:
    """Return batch sizes for few, cheap fields, and room for all people of one course."""
    return Sizes(page=BatchSize(500, ceiling=500), kept_rows=10**9)


async def read_marked_course(client: MoodleClient, course_id: int) -> MarkedCourse:
    """Read the assignments of a course (`mod_assign_get_assignments`); raises AccessDenied when it is not seen.

    Assignments that the account may not see are only counted, in `unseen`.
    """
    answer = await client.call(ASSIGNMENTS, courseids=[course_id], includenotenrolledcourses=1)
    listed = checked(MarkedCourses, ASSIGNMENTS, answer)
    refuse_unseen_course(listed.warnings)
    found = next((course for course in listed.courses if course.id == course_id), None)
    if found is None:
        raise Refused(f"Moodle has no course {course_id}.", system="Moodle", operation=ASSIGNMENTS, status=200)
    return found.model_copy(update={"unseen": len(unseen_assignments(listed.warnings))})


async def read_people(
    client: MoodleClient, course_id: int, sizes: Sizes | None = None
) -> tuple[dict[int, CoursePerson], Roster]:
    """Read everybody in a course by id: two id lists, then pages (`core_enrol_get_enrolled_users`).

    The roster tells whether that is everybody: whom Moodle cannot show is not there.
    """
    reader = MoodleReader(client, Wanted(user=frozenset(_NAMES), groups=False), sizes or marking_sizes())
    roster = await reader.roster(course_id)
    people = {
        member.id: _person(roster.users.get(member.id, {"id": member.id}), member.roles, member.status)
        for member in roster
    }
    return people, roster


async def read_strangers(
    client: MoodleClient, ids: Collection[int], *, is_whole: bool
) -> tuple[dict[int, CoursePerson], list[int]]:
    """Read people who are not in the list of the course (`core_user_get_users_by_field`).

    Who is deleted, or not shown to the account, has an id only. So has whom Moodle cannot show: these are returned
    by id as well, and they may be in the course unless its list `is_whole`.
    """

    async def some(part: Sequence[int]) -> list[Person]:
        return [*checked(PEOPLE, PROFILES, await client.call(PROFILES, field="id", values=[*part]))]

    found, refused = dict[int, Person](), list[int]()
    queue, budget = sorted(ids), Budget(_PARTS)
    for start in range(0, len(queue), _PROFILES):
        profiles, alone, together = await in_halves(some, queue[start : start + _PROFILES], budget)
        found |= {one.id: one for one in profiles if not looks_deleted(one)}
        refused += alone + together
    rows = {one.id: one.model_dump(include={"id", *_NAMES}) for one in found.values()}
    untold = set() if is_whole else {*refused}
    people = {
        number: _person(rows.get(number, {"id": number}), (), "" if number in untold else "not enrolled")
        for number in queue
    }
    return people, refused


def _person(row: Mapping[str, Any], roles: Sequence[str], status: str) -> CoursePerson:
    names = {name: row.get(name) or None for name in _NAMES}
    return CoursePerson(row["id"], **names, roles=tuple(roles), status=status)


async def read_participants(client: MoodleClient, assignment: MarkedAssignment) -> tuple[Participant, ...]:
    """Read who may submit (`mod_assign_list_participants`, names left out), as far as Moodle can show them."""
    participants, _ = await read_participant_list(client, assignment)
    return participants


async def read_participant_list(
    client: MoodleClient, assignment: MarkedAssignment, budget: Budget | None = None
) -> tuple[tuple[Participant, ...], int]:
    """Read who may submit, and how many more there are whom Moodle cannot show.

    Raises Unexpected where these are too many. Moodle formats the names of a part only, and sorts by them: by
    last name, in blind marking by number.
    """

    async def part(start: int, size: int) -> list[Participant]:
        limits = {"skip": start, "limit": size} if start or size else {}
        asked = {"assignid": assignment.id, "groupid": 0, "filter": "", "onlyids": 1, **limits}
        rows = checked(PARTICIPANTS, LIST_PARTICIPANTS, await client.call(LIST_PARTICIPANTS, **asked))
        return list(rows)

    found, places = await all_but_unshowable(part, budget or Budget())
    return tuple(found), len(places)


async def may_know_people(client: MoodleClient, assignment: MarkedAssignment) -> bool:
    """Tell whether the account may know whose work is whose (`mod_assign_get_user_mappings`).

    Moodle gives the real ids to everybody who marks; only this function asks for the right to reveal them.
    """
    if not assignment.hides_people:
        return True
    try:
        answer = checked(
            MappingList, USER_MAPPINGS, await client.call(USER_MAPPINGS, assignmentids=[assignment.id])
        )
    except AccessDenied as error:
        if error.code == "accessexception":  # not in the service
            return False
        raise
    return all(warning.warningcode == NOTHING_THERE for warning in answer.warnings)


def assignment_people(
    assignment: MarkedAssignment,
    participants: Sequence[Participant],
    people: Mapping[int, CoursePerson],
    *,
    known: bool,
) -> list[AssignmentPerson]:
    """Return the people of an assignment; `known`: whether the account may know them, see `may_know_people`."""
    found = []
    for one in participants:
        person: CoursePerson | None = people.get(one.id) or CoursePerson(one.id, fullname=one.fullname or None)
        if assignment.hides_people:
            person = CoursePerson(one.id) if known else None
        found.append(
            AssignmentPerson(
                person,
                one.recordid if one.recordid > 0 else None,
                one.groupid if assignment.teamsubmission else None,
                one.submissionstatus,
            )
        )
    return found
