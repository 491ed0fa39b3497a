"""Source `engagement`: one record per learner over all selected courses, from a few numbers kept of each.

Which course needs most attention is a rule that can be told in one sentence: the one in which most is left past
its due date; where that is equal, the one not visited for longest; then the one with the lowest number. A course
in which everything is done needs none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adaptors.moodle.completion import Done
from adaptors.moodle.roster import NOT_SHOWN

Attention = tuple[int, int, int, int]
"""Minus the overdue activities, last visit, course, activities left: the smallest needs most attention."""


@dataclass(slots=True)
class Tally:
    """What is kept of one learner while the courses are read."""

    courses: list[int] = field(default_factory=list)
    tracked: int = 0
    done: int = 0
    left: int = 0
    overdue: int = 0
    next_due: int = 0
    visited: int = 0
    hides_visits: bool = False
    attention: Attention | None = None

    def add(self, course_id: int, visited: int | None, done: Done | None) -> None:
        """Add a course in which the learner is active.

        `visited` is None where Moodle hides it, 0 for never; `done` is None where nothing is tracked.
        """
        self.courses.append(course_id)
        self.hides_visits |= visited is None
        self.visited = max(self.visited, visited or 0)
        if done is not None:
            self.tracked += 1
            self.done, self.left = self.done + done.done, self.left + done.left
            self.overdue += done.overdue
            self.next_due = min(filter(None, (self.next_due, done.next_due)), default=0)
        if done is None or done.left:
            left, overdue = (done.left, done.overdue) if done else (-1, 0)
            candidate = (-overdue, NOT_SHOWN if visited is None else visited, course_id, left)
            self.attention = min(self.attention or candidate, candidate)


class Engagement:
    """Everybody's numbers over the courses read; `left_alone` are people of whom a course could not be read.

    What was not asked for (`completion`, `dates`) is absent from the records.
    """

    def __init__(self, courses: Mapping[int, Mapping[str, Any]], *, completion: bool, dates: bool) -> None:
        self.tallies: dict[int, Tally] = {}
        self.left_alone: set[int] = set()
        self.completed: dict[int, tuple[int, int]] | None = None
        self._courses = courses
        self._completion = completion
        self._dates = dates

    def add(self, person: int, course_id: int, visited: int | None, done: Done | None) -> None:
        """Add a course in which a learner is active."""
        self.tallies.setdefault(person, Tally()).add(course_id, visited, done)

    def leave_alone(self, people: Iterable[int]) -> None:
        """Note people whose record would be wrong in this run."""
        self.left_alone.update(people)

    def record(self, person: Mapping[str, Any]) -> dict[str, Any]:
        """Return the record of a learner, from his or her record of source `users`.

        Without any active course the numbers are blank; where no course tracks completion they are absent, as is
        the last visit to a course where Moodle hides it.
        """
        user = {name: value for name, value in person.items() if name not in ("roles", "groups")}
        shared = ("roles", "groups", "profile", "lastaccess")
        record = {"user": user} | {name: person[name] for name in shared if name in person}
        tally = self.tallies.get(person["id"], Tally())
        record["courses_active"] = len(tally.courses)
        record |= {} if tally.hides_visits else {"lastcourseaccess": tally.visited or None}
        if self._completion:
            record |= self._activities(tally) | self._attention(tally)
        return record | self._completed(person["id"], tally)

    def _activities(self, tally: Tally) -> dict[str, Any]:
        if not tally.courses:
            return {"activities": None, "progress": None} | ({"next_due": None} if self._dates else {})
        if not tally.tracked:
            return {"activities": {"courses": 0}}
        total = tally.done + tally.left
        activities = {"courses": tally.tracked, "done": tally.done, "left": tally.left}
        record: dict[str, Any] = {
            "activities": activities,
            "progress": tally.done * 100 / total if total else None,
        }
        if self._dates:
            activities["overdue"] = tally.overdue
            record["next_due"] = tally.next_due or None
        return record

    def _attention(self, tally: Tally) -> dict[str, Any]:
        """Name the course that needs most attention; blank when none does."""
        if not self._dates:
            return {}
        if tally.attention is None:
            return {"needs_attention": None}
        overdue, visited, course_id, left = tally.attention
        shown = {} if visited == NOT_SHOWN else {"lastcourseaccess": visited or None}
        tracked = {"overdue": -overdue, "left": left} if left >= 0 else {}
        return {"needs_attention": {"course": self._courses[course_id]} | shown | tracked}

    def _completed(self, person: int, tally: Tally) -> dict[str, Any]:
        """Say how many courses are completed; absent when Moodle does not tell it of one of them."""
        if not tally.courses:
            return {"courses_completed": None, "completed": None}
        if self.completed is None or person not in self.completed:
            return {}
        judged, done = self.completed[person]
        return {"courses_completed": done} | ({"completed": judged == done} if judged else {})
