"""Who of a list can be told, and what exactly is to be saved for them; everybody else gets a reason."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from adaptors.moodle.assignment_answers import MarkedAssignment, Participant
from flows.assignments_list import Entry, as_html, is_blank
from flows.errors import UsageError
from flows.masked import masked
from flows.words import listed

LONGEST: Final = 500_000  # letters of HTML
REASONS: Final = {
    "duplicate": "the list has several entries for this person that differ",
    "no_number": "the id is no number; the list takes Moodle's numbers, not names",
    "unknown_person": "nobody in this course has this number",
    "not_shown": "Moodle cannot show whom it is for, or nobody with this number may submit; nothing was sent",
    "unknown_participant": "no participant of this assignment has this number",
    "no_groups": "the entry names a group, and in this assignment everybody hands in alone",
    "unknown_group": "no group that hands in together here has this number (0 is none)",
    "may_not_submit": "in the course, and may not submit here: a teacher, or suspended",
    "blind_marking": "marked blindly: the list has to give participant numbers (`--as participants`)",
    "no_participants": "not marked blindly: the list has to give user ids, not participant numbers",
    "blank_text": "the text is blank; feedback is never emptied",
    "too_long": "the text is too long",
    "bad_grade": "the grade is no number like 72.5",
    "grade_out_of_range": "the grade is below 0 or above the highest one of the assignment",
    "grade_not_on_scale": "the assignment is graded by a scale: 1 for its first word, 2 for the second, ...",
    "not_graded": "the assignment is not graded; leave the grade out",
    "no_comments": "text feedback ('Feedback comments') is switched off in the assignment",
    "advanced_grading": "marked with a rubric or a guide: Moodle would lose the marks, so mark in Moodle",
    "method_unknown": "whether it is marked with a rubric cannot be told (see `--as plain-points`)",
    "grade_unreadable": "Moodle does not tell the present grade before its release; give the grade, or release it",
    "group_conflict": "the list has entries for members of one group that differ",
    "conflict": "somebody else has written other feedback, which is not written over",
    "frozen_grade": "the text is stored; the grade is not: it is overridden or locked in the gradebook",
    "grade_not_stored": "the text is stored; the grade is not",
    "not_stored": "Moodle took it and holds something else",
    "not_confirmed": "whether Moodle stored it cannot be told; run the same command again",
    "no_answer": "Moodle did not answer and does not hold it; run the same command again",
    "not_sent": "not sent: Moodle gave out before its turn; run the same command again",
}
"""Why somebody's feedback is not in Moodle as the list has it."""
IN_WORDS: Final = {
    "stored": "stored",
    "unchanged": "there already",
    "would_store": "would be stored",
    "partly": "stored without the grade",
    "not_stored": "not stored",
    "refused": "refused",
}
"""The states of an outcome, in words, in the order in which they are told."""


@dataclass
class Outcome:
    """What came of one person; `ext_id` as in the list, `person` Moodle's number (None when it must not be told).

    Of an entry for a group each member has an outcome, under the member's own number.

    `state`: stored (and read back), unchanged (was there already), would_store (dry run), partly (text without
    grade), not_stored, refused (never sent). `note` says what else is worth knowing.
    """

    ext_id: str = field(repr=False)
    person: int | None
    state: str
    reason: str = ""
    note: str = ""

    @property
    def is_done(self) -> bool:
        """Return whether Moodle has what the list says (or would have)."""
        return self.state in ("stored", "unchanged", "would_store")

    @property
    def shown_id(self) -> str:
        """Return the id of the list; one that is no number, nor that of a group, may be a name and is masked."""
        return self.ext_id if re.fullmatch(r"(?:group:)?[0-9]{1,18}", self.ext_id) else masked(self.ext_id)

    def as_json(self) -> dict[str, Any]:
        """Return it for `--json`: no text, no grade."""
        found: dict[str, Any] = {"extId": self.shown_id, "person": self.person, "state": self.state}
        return found | {name: value for name, value in (("reason", self.reason), ("note", self.note)) if value}


@dataclass(frozen=True)
class Wish:
    """What is to be saved for one person: HTML, and points only when the list gives them."""

    ext_id: str = field(repr=False)
    person: int
    text: str = field(repr=False)
    points: float | None = None


@dataclass(frozen=True)
class Ways:
    """How a list is to be understood.

    `ids`: users or participants. `is_html`: the texts are HTML, else they are escaped. `whole_groups`: an entry
    counts for everybody of the person's group. `plain_points`: the assignment is known to be marked in points.
    """

    ids: str = "users"
    is_html: bool = False
    whole_groups: bool = False
    plain_points: bool = False
    dry_run: bool = False


GROUP: Final = re.compile(r"group:([0-9]{1,18})")
"""How a list names a group that hands in together; each of its members gets the feedback."""
WAYS: Final = ("participants", "html", "whole-groups", "plain-points")


def understood_ways(words: Iterable[str], dry_run: bool) -> Ways:
    """Return how a list is to be understood, from words of WAYS; raises UsageError for another word."""
    given = set(words)
    if unknown := sorted(given - set(WAYS)):
        raise UsageError(f"A list can be meant as {', '.join(WAYS)}, not as {listed(unknown)}.")
    return Ways(
        ids="participants" if "participants" in given else "users",
        is_html="html" in given,
        whole_groups="whole-groups" in given,
        plain_points="plain-points" in given,
        dry_run=dry_run,
    )


class Planner:
    """Sorts a list into wishes and refusals; `known` says whether the account may know people marked blindly.

    `unshown`: there are more participants, whom Moodle cannot show, and nobody knows who they are.
    """

    def __init__(
        self,
        assignment: MarkedAssignment,
        participants: Iterable[Participant],
        in_course: Iterable[int],
        ways: Ways,
        *,
        known: bool,
        unshown: bool = False,
    ) -> None:
        self._assignment, self._ways, self._known = assignment, ways, known
        self._unshown = unshown
        self._participants = {one.id: one for one in participants}
        self._numbers = {one.recordid: one.id for one in self._participants.values() if one.recordid > 0}
        self._in_course = frozenset(in_course)

    def plan(self, entries: Sequence[Entry]) -> tuple[list[Wish], list[Outcome]]:
        """Return what is to be saved, one wish a person, and who is refused."""
        refused: list[Outcome] = []
        by_person: dict[int, list[Entry]] = defaultdict(list)
        for entry in self._spread(entries, refused):
            person, reason = self._whose(entry.ext_id)
            if reason:
                refused.append(Outcome(entry.ext_id, self._shown(person), "refused", reason))
            else:
                by_person[person].append(entry)
        wishes = []
        for person, group in by_person.items():
            made, reason = self._wish(person, group)
            if reason:
                refused.append(Outcome(group[0].ext_id, self._shown(person), "refused", reason))
            else:
                wishes.append(made)
        if self._ways.whole_groups and self._assignment.teamsubmission:
            wishes, conflicts = self._for_groups(wishes)
            refused += conflicts
        return wishes, refused

    def show(self, person: int) -> int | None:
        """Return a person's number where it may be told."""
        return self._shown(person)

    def number(self, person: int) -> str:
        """Return what the list calls a person whom it does not name itself."""
        return str(self._participants[person].recordid if self._ways.ids == "participants" else person)

    def _shown(self, person: int) -> int | None:
        return person or None if self._known or not self._assignment.hides_people else None

    def _spread(self, entries: Iterable[Entry], refused: list[Outcome]) -> Iterator[Entry]:
        """Yield the entries; one for a group becomes one for each member, or is refused with the reason."""
        for entry in entries:
            if (named := GROUP.fullmatch(entry.ext_id)) is None:
                yield entry
            elif reason := self._no_group(int(named[1])):
                refused.append(Outcome(entry.ext_id, None, "refused", reason))
            else:
                members = [one.id for one in self._participants.values() if one.groupid == int(named[1])]
                yield from (replace(entry, ext_id=self.number(member)) for member in members)

    def _no_group(self, group: int) -> str:
        """Return why a list cannot name a group here, "" when it can."""
        if not self._assignment.teamsubmission:
            return "no_groups"
        if self._ways.ids == "participants" and not self._assignment.hides_people:
            return "no_participants"
        if self._ways.ids == "users" and self._assignment.hides_people and not self._known:
            return "blind_marking"
        there = group and any(one.groupid == group for one in self._participants.values())
        return "" if there else "not_shown" if group and self._unshown else "unknown_group"

    def _whose(self, ext_id: str) -> tuple[int, str]:
        """Return the person behind an id, and why there is none."""
        if not re.fullmatch(r"[1-9][0-9]{0,17}", ext_id):
            return 0, "no_number"
        number, blind = int(ext_id), self._assignment.hides_people
        if self._ways.ids == "participants":
            if not blind:
                return 0, "no_participants"
            unknown = "not_shown" if self._unshown else "unknown_participant"
            return (self._numbers[number], "") if number in self._numbers else (0, unknown)
        if blind and not self._known:
            return 0, "blind_marking"
        if number in self._participants:
            return number, ""
        if self._unshown:  # who is in the course may be kept back too: for the name of a group
            return number, "not_shown"
        return number, "may_not_submit" if number in self._in_course else "unknown_person"

    def _wish(self, person: int, group: Sequence[Entry]) -> tuple[Wish, str]:
        first = group[0]
        text = first.text if self._ways.is_html else as_html(first.text)
        points, reason = self._points(first.grade)
        wish = Wish(first.ext_id, person, text, points)
        if any((one.text, one.grade) != (first.text, first.grade) for one in group):
            return wish, "duplicate"
        if is_blank(first.text, is_html=self._ways.is_html):
            return wish, "blank_text"
        return wish, "too_long" if len(text) > LONGEST else reason

    def _points(self, grade: str) -> tuple[float | None, str]:
        """Return the points of a list, None for none, and why they cannot be."""
        if not grade:
            return None, ""
        highest = self._assignment.grade
        if not re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,9})?", grade):
            return None, "bad_grade"
        points = float(grade)
        if highest == 0:
            return None, "not_graded"
        if highest < 0:
            return points, "" if points >= 1 and math.floor(points) == points else "grade_not_on_scale"
        return points, "" if 0 <= points <= highest else "grade_out_of_range"

    def _for_groups(self, wishes: Sequence[Wish]) -> tuple[list[Wish], list[Outcome]]:
        """Return a wish for each member of the groups; each keeps a grade of his or her own."""
        found, conflicts = [], []
        by_group: dict[int, list[Wish]] = defaultdict(list)
        for wish in wishes:
            by_group[self._participants[wish.person].groupid].append(wish)
        members: dict[int, list[int]] = defaultdict(list)
        for one in self._participants.values():
            members[one.groupid].append(one.id)
        for group, alike in by_group.items():
            if len({(one.text, one.points) for one in alike}) > 1:
                conflicts += [
                    Outcome(one.ext_id, self._shown(one.person), "refused", "group_conflict") for one in alike
                ]
                continue
            named = {one.person: one.ext_id for one in alike}
            first = alike[0]
            found += [
                Wish(named.get(person) or self.number(person), person, first.text, first.points)
                for person in (members[group] if group else named)
            ]
        return found, conflicts


def counted(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Return how many people came to which state, in the order of IN_WORDS."""
    counts: Mapping[str, int] = Counter(one.state for one in outcomes)
    return {state: counts[state] for state in IN_WORDS if counts.get(state)}
