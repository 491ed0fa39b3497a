"""What happens in a walk by itself: in Moodle, and what people do to cases in CommCare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from state import Hint
from tests.flows.expected import base
from tests.proofs.walk_deeds import BY_HAND
from tests.proofs.walk_mappings import NEW
from tests.proofs.walk_school import DAY, School

T = TypeVar("T")
ENDED = 200_000
"""Seconds since the end of a course."""
ROLES = (("student",), ("teacher",), ("student", "teacher"))
POINTS = (None, 20, 55, 80)
BY_PEOPLE = ("city", "first_name", "moodle_status", "enrolment_status", "send_sms")
"""Properties that people overwrite in CommCare."""
NOWHERE = 999
"""A course that there is not."""


@dataclass(frozen=True)
class Step:
    """Something that happens: its name, and three numbers below thirty that say to whom, where and how."""

    name: str
    who: int = 0
    where: int = 0
    how: int = 0

    def one_of(self, choices: Sequence[T]) -> T:
        """Return how it happens, of so many ways."""
        return choices[self.how % len(choices)]


class Events:
    """Each of them returns whether something happened; numbers are brought into range here."""

    def __init__(self, school: School) -> None:
        self.school, self.deeds, self.site = school, school.deeds, school.hooked

    # --- whom and what it is about ------------------------------------------------------------------------

    def _person(self, step: Step) -> int:
        return self.school.people[step.who % len(self.school.people)]

    def _course(self, step: Step) -> int:
        return self.school.courses[step.where % len(self.school.courses)]

    def _members(self, step: Step) -> list[int]:
        return sorted(self.site.members[self._course(step)])

    def _member(self, step: Step) -> int:
        """Return a member of the course, 0 without any."""
        members = self._members(step)
        return members[step.who % len(members)] if members else 0

    def _case(self, step: Step) -> str:
        """Return the id of a case, "" without any."""
        cases = [*self.school.project.cases]
        return cases[step.who % len(cases)] if cases else ""

    # --- in Moodle ----------------------------------------------------------------------------------------

    def enrol(self, step: Step) -> bool:
        """Enrol somebody who is not there, or a new person."""
        person, place = self.school.newcomer() if step.how % 4 == 0 else self._person(step), self._course(step)
        if self.site.users[person].deleted or person in self.site.members[place]:
            return False
        self.site.enrol(place, person)
        return True

    def unenrol(self, step: Step) -> bool:
        """Take a member out of a course."""
        member = self._member(step)
        self.site.unenrol(self._course(step), member)
        return bool(member)

    def leave_all(self, step: Step) -> bool:
        """Take somebody out of all courses."""
        places = [place for place in self.school.courses if self._person(step) in self.site.members[place]]
        for place in places:
            self.site.unenrol(place, self._person(step))
        return bool(places)

    def grade(self, step: Step) -> bool:
        """Grade a member."""
        if member := self._member(step):
            item = self.school.items[self.school.courses.index(self._course(step))]
            self.site.grade(item, member, step.one_of(POINTS))
        return bool(member)

    def suspend(self, step: Step) -> bool:
        """Suspend an enrolment, or not any more."""
        if member := self._member(step):
            now = self.site.members[self._course(step)][member].suspended
            self.site.suspend_enrolment(self._course(step), member, suspended=not now)
        return bool(member)

    def change_role(self, step: Step) -> bool:
        """Give a member other roles: a teacher alone is kept out by the mappings."""
        if member := self._member(step):
            self.site.members[self._course(step)][member].roles = step.one_of(ROLES)
        return bool(member)

    def delete(self, step: Step) -> bool:
        """Delete an account."""
        lives = not self.site.users[self._person(step)].deleted
        if lives:
            self.site.delete_user(self._person(step))
        return lives

    def rename(self, step: Step) -> bool:
        """Give somebody another name."""
        self.site.update_user(self._person(step), firstname=f"QanaryFirst{step.where}")
        return True

    def move(self, step: Step) -> bool:
        """Let somebody live elsewhere."""
        self.site.update_user(self._person(step), city=step.one_of(("", "QanaryCity", "QanaryTown")))
        return True

    def change_phone(self, step: Step) -> bool:
        """Give somebody another number, none, or one that is none."""
        self.site.update_user(self._person(step), phone1=step.one_of(("", f"0722 555 {100 + step.where}", "12")))
        return True

    def visit(self, step: Step) -> bool:
        """Let somebody visit the site: his or her quiet days begin anew."""
        self.site.update_user(self._person(step), lastaccess=int(self.school.clock.now()))
        return True

    def complete(self, step: Step) -> bool:
        """Let a member complete an activity, or take that back."""
        if member := self._member(step):
            tasks = [one for one in self.school.tasks if one in self.site.activities.by_course[self._course(step)]]
            state = step.one_of((1, 1, 0))
            self.site.activities.complete(tasks[step.how % 2], member, int(self.school.clock.now()), state)
        return bool(member)

    def rename_course(self, step: Step) -> bool:
        """Give a course another name."""
        self.site.rename(self._course(step), f"Course {step.how % 5}")
        return True

    def hide(self, step: Step) -> bool:
        """Hide a course, or show it again."""
        row = self.site.courses[self._course(step)]
        row["visible"] = 1 - row["visible"]
        return True

    def end_or_go_on(self, step: Step) -> bool:
        """Let a course come to its end, or have an end in the past typed in, or go on; never both at the end."""
        row, now = self.site.courses[self._course(step)], self.school.clock.now()
        ends = not row["enddate"]
        if ends and any(self.site.courses[course]["enddate"] for course in self.school.courses):
            return False
        is_slip = bool(step.how % 2)  # it counts when it has stood there for a day
        row["enddate"] = int(now) + (-ENDED if is_slip else 1) if ends else 0
        if ends and not is_slip:
            self.school.clock.advance(2.0)
        return True

    def begin_term(self, step: Step) -> bool:
        """Reset a course for a new term: it begins later, and some of its people are gone."""
        self.site.courses[self._course(step)]["startdate"] += 60 * DAY
        for member in self._members(step)[: step.how % 3]:
            self.site.unenrol(self._course(step), member)
        return True

    # --- hints --------------------------------------------------------------------------------------------

    def hear_or_not(self, step: Step) -> bool:
        """Let hints get lost from now on, or arrive again."""
        self.school.hears = bool(step.how % 2)
        return True

    def hint_of_nothing(self, step: Step) -> bool:
        """Let a hint come in about a course that there is not, or about nobody."""
        course = self._course(step) if step.how % 2 else NOWHERE
        hint = self._hint(step, "core.user_enrolment_created", course, self._person(step) if step.where % 2 else 0)
        return bool(self.school.store.inbox_add([hint], self.school.clock.now() - 30))

    def fill_the_inbox(self, step: Step) -> bool:
        """Let more hints come in than there is room for, about nothing new: one stands for the others."""
        hints = [self._hint(step, "core.user_graded", self._course(step), self._person(step)) for _ in range(3)]
        return self.school.store.inbox_add(hints, self.school.clock.now() - 30, room=1) < len(hints)

    def _hint(self, step: Step, event: str, course: int, person: int) -> Hint:
        self.school.told += 1
        mark = bytes([step.who, step.where, step.how, self.school.told % 256] * 4)
        return Hint("moodle", event, mark, course_id=course, user_id=person)

    # --- mappings -----------------------------------------------------------------------------------------

    def edit_mapping(self, step: Step) -> bool:
        """Edit the mapping of people."""
        before, self.school.edition = self.school.edition, step.how % 2
        return before != self.school.edition

    def edit_keys(self, step: Step) -> bool:  # noqa: ARG002
        """Edit the keys of enrolments, once: all of them get new cases, when somebody has agreed."""
        before, self.deeds.word = self.deeds.word, NEW
        return before != NEW

    # --- in CommCare --------------------------------------------------------------------------------------

    def edit_by_hand(self, step: Step) -> bool:
        """Let somebody overwrite a value that comes from Moodle."""
        case_id, name = self._case(step), step.one_of(BY_PEOPLE)
        if not case_id or name not in self.school.project.cases[case_id].properties:
            return False
        self.school.project.edit_case(case_id, **{name: BY_HAND})
        self.deeds.by_hand[case_id].add(name)
        return True

    def close_by_hand(self, step: Step) -> bool:
        """Let somebody close a case."""
        if case_id := self._case(step):
            self.school.project.close_case(case_id)
            self.deeds.closed.add(base(self.school.project.cases[case_id].external_id or ""))
        return bool(case_id)

    def delete_by_hand(self, step: Step) -> bool:
        """Let somebody delete a case, once in a walk."""
        case_id = self._case(step)
        if not case_id or self.deeds.deleted:
            return False
        self.deeds.deleted.add(base(self.school.project.cases[case_id].external_id or ""))
        self.school.project.delete_case(case_id)
        return True
