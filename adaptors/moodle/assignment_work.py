"""What was handed in for an assignment: files, texts, attempts, and the people behind a group's work."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from adaptors.errors import Unexpected
from adaptors.moodle.answers import checked
from adaptors.moodle.assignment_answers import (
    MarkedAssignment,
    Participant,
    SubmissionStatus,
    Work,
    WorkList,
)
from adaptors.moodle.assignment_people import CoursePerson
from adaptors.moodle.assignments import NOTHING_THERE, SUBMISSIONS, complete
from adaptors.moodle.client import MoodleClient
from adaptors.moodle.singles import SingleCalls
from adaptors.moodle.sizes import BatchSize

STATUS: Final = "mod_assign_get_submission_status"
STATUSES: Final = ("new", "draft", "submitted", "reopened")
"""Moodle's words for the state of a submission."""


@dataclass(frozen=True)
class WorkFile:
    """A file that was handed in; `path` is the folder inside the submission, "/" at the top; `type` is MIME.

    `area` is submission_files, or submissions_onlinetext for a picture inside a text. `url` has no token.
    """

    name: str = field(repr=False)
    path: str = field(repr=False)
    size: int
    type: str
    time: int
    area: str
    url: str = field(repr=False)
    external: bool = False


@dataclass(frozen=True)
class Member:
    """A member of a group that hands in together; `status` is that of the member's own agreement, "" for none."""

    id: int
    status: str = ""


@dataclass(frozen=True)
class Filter:
    """Which submissions are wanted: of any status and of anybody when none is named, of any time when that is 0.

    Times are epoch seconds, both included. `people` are Moodle's numbers, `participants` those of blind marking; a
    group's work is that of each of its members.

    Moodle does not move the time of a submission that a teacher takes back or returns to draft.
    """

    statuses: frozenset[str] = frozenset()
    since: int = 0
    before: int = 0
    attempts: bool = False
    """With the earlier attempts: one call more for each person who has any."""
    people: frozenset[int] = frozenset()
    participants: frozenset[int] = frozenset()

    @property
    def names_people(self) -> bool:
        """Return whether only the work of some people is wanted."""
        return bool(self.people or self.participants)


@dataclass(frozen=True)
class Handed:
    """One submission; `attempt` counts from 1, `latest` is False for earlier ones; `text` is HTML, None for none.

    `person` is None for a group's work (then `group` and `members` tell whose), and in blind marking when the
    account may not know; `participant` is the number that blind marking shows instead. `group` 0 is the group of
    those who are in no group.
    """

    id: int
    person: CoursePerson | None
    participant: int | None
    group: int | None
    members: tuple[Member, ...]
    attempt: int
    latest: bool
    status: str
    gradingstatus: str
    timecreated: int | None
    timemodified: int | None
    files: tuple[WorkFile, ...]
    text: str | None = field(default=None, repr=False)


async def read_work(client: MoodleClient, assignment: MarkedAssignment, wanted: Filter) -> list[Work]:
    """Read the latest attempts (`mod_assign_get_submissions`), those of group members without work left in."""
    alone = wanted.statuses if len(wanted.statuses) == 1 and not assignment.teamsubmission else frozenset[str]()
    times = {name: time for name, time in (("since", wanted.since), ("before", wanted.before)) if time}
    answer = await client.call(SUBMISSIONS, assignmentids=[assignment.id], status=next(iter(alone), ""), **times)
    listed = checked(WorkList, SUBMISSIONS, answer)
    others = [warning for warning in listed.warnings if warning.warningcode != NOTHING_THERE]
    complete(SUBMISSIONS, others, "'mod/assign:view' and 'mod/assign:grade'")
    found = [one for one in listed.assignments if one.assignmentid == assignment.id]
    if not found and len(others) == len(listed.warnings):  # Moodle does not mention what is gone
        raise Unexpected("The assignment is gone from Moodle.", system="Moodle", operation=SUBMISSIONS, status=200)
    return [row for one in found for row in one.submissions]


async def read_earlier(
    client: MoodleClient, assignment: MarkedAssignment, people: Mapping[int, int], batching: bool
) -> dict[int, list[Work]]:
    """Read earlier attempts (`mod_assign_get_submission_status`) by submission; `people`: whom to ask."""
    calls = SingleCalls(client, BatchSize(25, ceiling=50, floor=5))
    calls.batching = batching
    asked = [(number, {"assignid": assignment.id, "userid": person}) for number, person in people.items()]
    found: dict[int, list[Work]] = {}
    async for answers in calls.answers(STATUS, asked):
        for number, answer in answers:
            status = checked(SubmissionStatus, STATUS, answer)
            found[number] = [one.submission for one in status.previousattempts if one.submission is not None]
    return found


class WorkBook:
    """Turns Moodle's rows into submissions with the people behind them."""

    def __init__(
        self,
        assignment: MarkedAssignment,
        people: Mapping[int, CoursePerson],
        participants: Iterable[Participant],
        *,
        known: bool,
    ) -> None:
        self._assignment = assignment
        self._people = people
        self._known = known
        self._numbers: dict[int, int] = {}
        self._groups: dict[int, list[int]] = {}
        for one in participants:
            self._numbers[one.id] = one.recordid
            self._groups.setdefault(one.groupid, []).append(one.id)

    def handed(self, rows: Sequence[Work], wanted: Filter) -> list[Handed]:
        """Return the submissions that are wanted; a group member's own row counts only with content."""
        own = {row.userid: row.status for row in rows if row.userid}
        found = (self._one(row, own) for row in rows if self._is_work(row))
        return [one for one in found if not wanted.statuses or one.status in wanted.statuses]

    def earlier(self, latest: Handed, rows: Iterable[Work], wanted: Filter) -> Iterator[Handed]:
        """Yield earlier attempts of a submission, the last one first, as far as they are wanted."""
        for row in sorted(rows, key=lambda row: -row.attemptnumber):
            one = replace(
                self._one(row, {}),
                person=latest.person,
                participant=latest.participant,
                group=latest.group,
                members=latest.members,
                latest=False,
            )
            if not wanted.statuses or one.status in wanted.statuses:
                yield one

    def asked_for(self, rows: Iterable[Work]) -> dict[int, int]:
        """Return whom to ask about the earlier attempts of each submission that has any."""
        asked = {}
        for row in rows:
            whom = row.userid or next(iter(self._groups.get(row.groupid, ())), 0)
            if row.attemptnumber and whom and self._is_work(row):
                asked[row.id] = whom
        return asked

    def _is_work(self, row: Work) -> bool:
        return is_work(self._assignment, row)

    def _one(self, row: Work, own: Mapping[int, str]) -> Handed:
        team = not row.userid
        number = self._numbers.get(row.userid, -1)
        members = self._groups.get(row.groupid, ()) if team and self._known else ()
        return Handed(
            id=row.id,
            person=None if team else self._whose(row.userid),
            participant=number if number > 0 else None,
            group=row.groupid if team else None,
            members=tuple(Member(one, own.get(one, "")) for one in sorted(members)),
            attempt=row.attemptnumber + 1,
            latest=True,
            status=row.status,
            gradingstatus=row.gradingstatus,
            timecreated=row.timecreated or None,
            timemodified=row.timemodified or None,
            files=_files(row),
            text=_text(row),
        )

    def _whose(self, user: int) -> CoursePerson | None:
        if self._assignment.hides_people:
            return CoursePerson(user) if self._known else None
        return self._people.get(user) or CoursePerson(user, status="not enrolled")


def is_work(assignment: MarkedAssignment, row: Work) -> bool:
    """Tell whether a row is a submission; a group member's own row, mostly empty, is one only with content."""
    return not (assignment.teamsubmission and row.userid) or bool(_files(row) or _text(row))


def of_people(rows: Sequence[Work], participants: Iterable[Participant], wanted: Filter) -> list[Work]:
    """Return the rows of the people who are wanted, those of their groups among them; all when none is named."""
    if not wanted.names_people:
        return list(rows)
    chosen, groups = set(wanted.people), set[int]()
    for one in participants:
        if one.id in wanted.people or one.recordid in wanted.participants:
            chosen.add(one.id)
            groups.add(one.groupid)
    return [row for row in rows if (row.userid in chosen if row.userid else row.groupid in groups)]


def strangers(rows: Iterable[Work], people: Collection[int]) -> set[int]:
    """Return who handed something in and is not in the course any more."""
    return {row.userid for row in rows if row.userid} - set(people)


def _files(row: Work) -> tuple[WorkFile, ...]:
    return tuple(
        WorkFile(
            one.filename, one.filepath, one.filesize, one.mimetype or "", one.timemodified, area.area, one.fileurl,
            one.isexternalfile,
        )
        for plugin in row.plugins
        for area in plugin.fileareas
        for one in area.files
    )  # fmt: skip


def _text(row: Work) -> str | None:
    texts = [one.text for plugin in row.plugins if plugin.type == "onlinetext" for one in plugin.editorfields]
    return next((text for text in texts if text.strip()), None)
