"""Publishes text feedback: in batches, for the latest attempts, grades kept, each person read back.

Moodle answers a save with nothing, whether it stored anything or not; so what it holds afterwards decides. A save
whose outcome is unknown is not repeated, but read back too. To be run again at any time: what is there already is
not sent again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from adaptors.errors import AccessDenied, AdaptorError, Maintenance, NotSent
from adaptors.moodle.assignment_answers import GivenGrade
from adaptors.moodle.assignment_marks import (
    DEFINITIONS,
    NO_GRADE,
    Mark,
    Told,
    read_grades,
    read_method,
    read_states,
    read_told,
    save_marks,
)
from adaptors.moodle.assignment_people import may_know_people, read_participant_list
from adaptors.moodle.grades import GRADES
from adaptors.moodle.roster import read_ids
from adaptors.moodle.sizes import BatchSize
from flows.assignments import Desk, Found, unshown_sentence
from flows.assignments_frozen import frozen_grades
from flows.assignments_list import Entry, same_text
from flows.assignments_plan import GROUP, IN_WORDS, REASONS, Outcome, Planner, Ways, Wish, counted
from flows.result import RunState
from flows.unbroken import unbroken
from flows.words import listed as listed_ids
from flows.words import numbered
from flows.world import Progress, silent

RELEASED: Final = "released"
NOT_RELEASED: Final = "not_released"
EARLIER_GRADE: Final = "earlier_grade"
MOST_LETTERS: Final = 1_000_000  # of HTML in one request
MOST_IDS: Final = 12  # of a reason, in a sentence
EXACT: Final = 0.00001  # Moodle keeps five decimals


class Keeper(Protocol):
    """Somebody who keeps books of what is published; without one, what Moodle holds is written over."""

    def objection(self, wish: Wish, told: Told, grade: GivenGrade | None, *, hidden: bool) -> str:
        """Return why somebody's feedback in Moodle must stay as it is, "" when nothing is against it.

        `hidden`: Moodle does not tell what there is before it is released.
        """
        ...

    async def sending(self, wishes: Sequence[Wish]) -> None:
        """Take note of what is sent next; called immediately before each save."""
        ...

    async def saved(self, outcomes: Sequence[Outcome]) -> None:
        """Take note of what became of it; called after each save, also when the work is stopped meanwhile."""
        ...


def save_size() -> BatchSize:
    """Return how many people are saved in one request: seven form fields each, of the 1,000 that PHP takes."""
    return BatchSize(50, ceiling=100, floor=5)


@dataclass
class Published:
    """What came of a list; `outcomes` has one for each person, and for each entry that names nobody."""

    assignment: dict[str, object]
    dry_run: bool = False
    state: RunState = RunState.COMPLETED
    outcomes: list[Outcome] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Whom Moodle could not show, where that concerns the list."""

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`: ids and reasons, no texts and no grades."""
        return {
            "state": str(self.state),
            "dry_run": self.dry_run,
            "assignment": self.assignment,
            "counts": counted(self.outcomes),
            "people": [one.as_json() for one in self.outcomes],
            "requests": self.requests,
            "messages": [*self.notes, *self.messages],
        }


async def publish(
    desk: Desk,
    found: Found,
    listed: Sequence[Entry],
    ways: Ways | None = None,
    *,
    keeper: Keeper | None = None,
    size: BatchSize | None = None,
    progress: Progress = silent,
) -> Published:
    """Publish a list of feedback, or with `ways.dry_run` tell what would be; a keeper may object.

    Raises AdaptorError while Moodle is asked who may be told; afterwards everybody has an outcome. When Moodle is
    in maintenance by then, or its quiet hours begin, the state is postponed.
    """
    ways = ways or Ways()
    done = Published(found.as_json(), ways.dry_run)
    publisher = Publisher(desk, found, ways, size or save_size(), keeper)
    await publisher.prepare(listed)
    wishes, done.outcomes, done.notes = publisher.wishes, publisher.outcomes, publisher.notes
    settled, gave_out = 0, False
    while wishes:
        chunk = publisher.next_chunk(wishes)
        del wishes[: len(chunk)]
        try:
            done.outcomes += await publisher.settle(chunk)
        except AdaptorError as error:
            done.messages.append(str(error))
            gave_out = isinstance(error, Maintenance)
            left = [*chunk, *wishes]
            done.outcomes += [publisher.outcome(wish, "not_stored", "not_sent") for wish in left]
            break
        settled += len(chunk)
        progress("feedback", settled, settled + len(wishes))
    await publisher.explain_grades(done.outcomes)
    if done.notes or not all(one.is_done for one in done.outcomes):
        done.state = RunState.POSTPONED if gave_out else RunState.DEGRADED
    done.requests = dict(desk.client.requests)
    return done


class Publisher:
    """Settles wishes, a batch at a time."""

    def __init__(
        self, desk: Desk, found: Found, ways: Ways, size: BatchSize, keeper: Keeper | None = None
    ) -> None:
        self.wishes: list[Wish] = []
        self.outcomes: list[Outcome] = []
        self.notes: list[str] = []
        self._desk, self._client, self._found = desk, desk.client, found
        self._assignment, self._ways, self._size = found.assignment, ways, size
        self._keeper = keeper
        self._reading = BatchSize(25, ceiling=50, floor=5)
        self._grades: dict[int, GivenGrade] = {}
        self._states: dict[int, str] = {}
        self._batching, self._me = False, 0
        self._person_of: dict[str, int] = {}

    async def prepare(self, listed: Sequence[Entry]) -> None:
        """Read who may be marked and how, and sort the list."""
        assignment = self._assignment
        site = await self._desk.site()
        self._me, self._batching = site.userid, await self._desk.batching()
        participants, unshown = await read_participant_list(self._client, assignment, self._desk.budget)
        known = await may_know_people(self._client, assignment)
        in_course = [] if assignment.hides_people else await read_ids(self._client, self._found.course.id)
        self._planner = Planner(assignment, participants, in_course, self._ways, known=known, unshown=unshown > 0)
        self.wishes, self.outcomes = self._planner.plan(listed)
        if unshown and (self._is_for_groups(listed) or any(one.reason == "not_shown" for one in self.outcomes)):
            group = ", also where the others of its group do" if assignment.teamsubmission else ""
            nothing = f"An account like that gets no feedback{group}."
            self.notes.append(unshown_sentence(self._found, unshown, nothing))
        if self.wishes and (reason := await self._obstacle()):
            self.outcomes += [self.outcome(wish, "refused", reason) for wish in self.wishes]
            self.wishes = []
        if self.wishes:
            self._grades = await read_grades(self._client, assignment)
            if assignment.markingworkflow:
                self._states = await read_states(self._client, assignment)

    def _is_for_groups(self, listed: Sequence[Entry]) -> bool:
        """Tell whether an entry is for all members of a group, which some may be in whom Moodle cannot show."""
        whole = self._ways.whole_groups or any(GROUP.fullmatch(one.ext_id) for one in listed)
        return whole and bool(self._assignment.teamsubmission)

    async def _obstacle(self) -> str:
        """Return why nobody of this assignment can be given text feedback this way, "" when they can."""
        if not self._assignment.takes_comments:
            return "no_comments"
        if self._ways.plain_points or self._assignment.grade == 0:
            return ""
        if DEFINITIONS not in (await self._desk.site()).function_names:
            return "method_unknown"
        return "advanced_grading" if await read_method(self._client, self._assignment) else ""

    def next_chunk(self, wishes: Sequence[Wish]) -> list[Wish]:
        """Return the people of the next request: not too many, and not too much text."""
        chunk, letters = list[Wish](), 0
        for wish in wishes[: self._size.value]:
            letters += len(wish.text)
            if chunk and letters > MOST_LETTERS:
                break
            chunk.append(wish)
        return chunk

    async def settle(self, chunk: Sequence[Wish]) -> list[Outcome]:
        """Save what differs for these people, and return what Moodle holds of it afterwards."""
        before = await self._told([one.person for one in chunk if self._may_have(one.person)])
        outcomes, marks, wishes = list[Outcome](), list[Mark](), list[Wish]()
        for wish in chunk:
            told = before.get(wish.person, Told())
            if self._is_there(wish, told, self._grade(wish.person, told)):
                outcomes.append(self.outcome(wish, "unchanged"))
            elif (mark := self._mark(wish, told)) is None:
                outcomes.append(self.outcome(wish, "refused", "grade_unreadable"))
            elif reason := self._objection(wish, told):
                outcomes.append(self.outcome(wish, "refused", reason))
            elif self._ways.dry_run:
                outcomes.append(self.outcome(wish, "would_store"))
            else:
                marks.append(mark)
                wishes.append(wish)
        if marks:
            outcomes += await unbroken(self._stored(wishes, marks))
        return outcomes

    async def _stored(self, wishes: Sequence[Wish], marks: Sequence[Mark]) -> list[Outcome]:
        """Save marks, read back what Moodle holds, and let the keeper know before and after."""
        if self._keeper is not None:
            await self._keeper.sending(wishes)
        certain = await self._save(marks)
        outcomes = await self._read_back(wishes, marks, certain)
        if self._keeper is not None:
            await self._keeper.saved(outcomes)
        return outcomes

    def _objection(self, wish: Wish, told: Told) -> str:
        if self._keeper is None:
            return ""
        hidden = told.text is None and not self._is_released(wish.person)
        return self._keeper.objection(wish, told, self._grade(wish.person, told), hidden=hidden)

    def _may_have(self, person: int) -> bool:
        """Tell whether somebody may have feedback already; of groups the list of grades does not tell."""
        return person in self._grades or bool(self._assignment.teamsubmission)

    def _is_there(self, wish: Wish, told: Told, grade: GivenGrade | None) -> bool:
        if told.text is None or not same_text(told.text, wish.text):
            return False
        return wish.points is None or (grade is not None and _equal(grade.points, wish.points))

    def _grade(self, person: int, told: Told) -> GivenGrade | None:
        return told.grade or self._grades.get(person)

    def _mark(self, wish: Wish, told: Told) -> Mark | None:
        """Return what is to be saved; None when the present grade cannot be known and would be lost."""
        grade = self._grade(wish.person, told)
        points = wish.points
        if points is None:
            if grade is None and self._assignment.teamsubmission and not self._is_released(wish.person):
                return None
            kept = grade.points if grade is not None else None
            points = NO_GRADE if kept is None else kept
        return Mark(wish.person, wish.text, points, self._states.get(wish.person, ""))

    def _is_released(self, person: int) -> bool:
        return not self._assignment.markingworkflow or self._states.get(person) == RELEASED

    async def _save(self, marks: Sequence[Mark]) -> bool:
        """Save once; returns False when the outcome is unknown. Raises what is certain: nothing was sent."""
        try:
            seconds = await save_marks(self._client, self._assignment, marks)
        except (NotSent, Maintenance, AccessDenied):
            raise
        except AdaptorError:
            self._size.shrink()
            return False
        self._size.learn(len(marks), seconds)
        return True

    async def _read_back(self, wishes: Sequence[Wish], marks: Sequence[Mark], certain: bool) -> list[Outcome]:
        """Return what Moodle holds for people who were just saved."""
        try:
            before = dict(self._grades)
            since = max((one.timemodified for one in before.values()), default=0)
            self._grades |= await read_grades(self._client, self._assignment, since)
            told = await self._told([one.person for one in wishes])
        except AdaptorError:
            return [self.outcome(wish, "not_stored", "not_confirmed") for wish in wishes]
        return [
            self._judged(wish, mark, told.get(wish.person), before.get(wish.person), certain)
            for wish, mark in zip(wishes, marks, strict=True)
        ]

    def _judged(
        self, wish: Wish, mark: Mark, told: Told | None, before: GivenGrade | None, certain: bool
    ) -> Outcome:
        """Tell from what was read back what became of a person's feedback."""
        grade = self._grade(wish.person, told or Told())
        released = self._is_released(wish.person)
        if told is not None and (released or told.text is not None):
            is_text_there = told.text is not None and same_text(told.text, wish.text)
            reason = "not_stored" if certain else "no_answer"
        else:  # Moodle does not tell: then our own later mark on the row tells that the save went through
            is_text_there = grade is not None and grade.grader == self._me and _is_later(grade, before)
            reason = "not_confirmed"
        if not is_text_there:
            return self.outcome(wish, "not_stored", reason)
        if wish.points is not None and not (grade is not None and _equal(grade.points, mark.points)):
            return self.outcome(wish, "partly", "grade_not_stored")
        if not released:
            return self.outcome(wish, "stored", note=NOT_RELEASED)
        is_graded = grade is not None and grade.points is not None
        only_before = told is not None and told.graded_before and not is_graded
        return self.outcome(wish, "stored", note=EARLIER_GRADE if only_before else "")

    async def _told(self, people: Sequence[int]) -> Mapping[int, Told]:
        if not people:
            return {}
        return await read_told(self._client, self._assignment, people, self._reading, batching=self._batching)

    def outcome(self, wish: Wish, state: str, reason: str = "", note: str = "") -> Outcome:
        """Return the outcome of a wish."""
        self._person_of[wish.ext_id] = wish.person
        return Outcome(wish.ext_id, self._planner.show(wish.person), state, reason, note)

    async def explain_grades(self, outcomes: Sequence[Outcome]) -> None:
        """Find out, where the service has the gradebook, whose grade was not stored because it is frozen there."""
        asked = [one for one in outcomes if one.reason == "grade_not_stored"]
        if not asked or GRADES not in (await self._desk.site()).function_names:
            return
        people = [self._person_of[one.ext_id] for one in asked]
        frozen = await frozen_grades(self._client, self._found, people, batching=self._batching)
        for one in asked:
            if self._person_of[one.ext_id] in frozen:
                one.reason = "frozen_grade"


def _equal(one: float | None, other: float) -> bool:
    return one is not None and abs(one - other) < EXACT


def _is_later(grade: GivenGrade, before: GivenGrade | None) -> bool:
    return before is None or grade.id != before.id or grade.timemodified > before.timemodified


def told(done: Published) -> list[str]:
    """Return sentences about a published list: counts and reasons, with the ids that they concern."""
    counts = counted(done.outcomes)
    parts = [f"{count:,} {IN_WORDS[state]}" for state, count in counts.items()]
    lines = [
        f"{'Nothing was sent. ' if done.dry_run else ''}Feedback: {', '.join(parts) or 'nothing in the list'}."
    ]
    if waiting := sum(one.note == NOT_RELEASED for one in done.outcomes):
        people = numbered(waiting, "person", "people")
        lines.append(f"{people} will see it when the marking workflow releases it.")
    if earlier := [one.shown_id for one in done.outcomes if one.note == EARLIER_GRADE]:
        lines.append(
            f"{len(earlier):,} × {EARLIER_GRADE}: this attempt has no grade and an earlier one has, so Moodle's "
            f"gradebook shows none until it is graded. Ids: {listed_ids(earlier, MOST_IDS)}."
        )
    for reason, text in REASONS.items():
        ids = [one.shown_id for one in done.outcomes if one.reason == reason]
        if ids:
            lines.append(f"{len(ids):,} × {reason}: {text}. Ids: {listed_ids(ids, MOST_IDS)}.")
    return [*lines, *done.notes, *done.messages]
