"""What CommCare should hold in a walk: the truth of the random lives, and engagement, terms and other keys."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from adaptors.commcare.fake_project import Case
from mappings.engine import CompiledMapping
from tests.flows.expected import BY_AN_APP, LEFT, OVER, Expected, base, number_of
from tests.flows.expected import WITHDRAWN as KEPT_OUT
from tests.flows.worlds import Lab
from tests.proofs.belongings import TYPES
from tests.proofs.walk_deeds import BY_HAND, Deeds

TABLE = "moodle_courses"
DONE = (1, 2)
"""States of an activity that count as done: completed, completed with a pass."""


def person_of(key: str) -> int:
    """Return the person of a key."""
    return int(key.rsplit("-", 1)[1])


def course_of(key: str) -> int:
    """Return the course of a key, 0 for one of a person as such."""
    return int(key.split("-")[2]) if TYPES[key.split("-")[1]] == "enrolment" else 0


class Truth(Expected):
    """The truth of one moment of a walk; of people who were erased nothing is read."""

    def __init__(self, lab: Lab, deeds: Deeds) -> None:
        self._deeds = deeds
        super().__init__(lab, deeds.erased)

    # --- records ------------------------------------------------------------------------------------------

    def _records(self, source: str) -> Iterator[dict[str, Any]]:
        if source != "engagement":
            yield from super()._records(source)
            return
        for record in super()._records("users"):
            user = {name: value for name, value in record.items() if name not in ("roles", "groups")}
            shared = {"roles": sorted(record["roles"]), "profile": {}, "lastaccess": record["lastaccess"]}
            yield {"user": user} | shared | self._engagement(record["id"])

    def _engagement(self, person: int) -> dict[str, Any]:
        """Count a person's activities over the courses in which he or she is an active learner."""
        courses = [course for course in sorted(self.read) if self._learns(course, person)]
        record: dict[str, Any] = {"courses_active": len(courses), "lastcourseaccess": None}
        if not courses:
            nothing = ("activities", "progress", "next_due", "needs_attention", "courses_completed", "completed")
            return record | dict.fromkeys(nothing)
        counts = {course: self._counted(course, person) for course in courses}
        total = {name: sum(count[name] for count in counts.values()) for name in ("done", "left", "overdue")}
        record["activities"] = {"courses": len(counts)} | total
        record["progress"] = total["done"] * 100 / (total["done"] + total["left"])
        record["next_due"] = min((count["due"] for count in counts.values() if count["due"]), default=None)
        return record | {"needs_attention": self._attention(counts)}

    def _learns(self, course: int, person: int) -> bool:
        member = self.members[course].get(person)
        return member is not None and "student" in member.roles and not member.suspended

    def _counted(self, course: int, person: int) -> dict[str, int]:
        """Return how much is done, left and overdue in a course, and the next due date (0: none)."""
        activities, now = self._lab.site.activities, self._lab.clock.now()
        all_ = activities.tracked(course)
        left = [one for one in all_ if activities.completions.get((one.cmid, person), (0, 0))[0] not in DONE]
        dues = [one.due for one in left if one.due]
        overdue = sum(due < now for due in dues)
        next_due = min((due for due in dues if due >= now), default=0)
        return {"done": len(all_) - len(left), "left": len(left), "overdue": overdue, "due": next_due}

    def _attention(self, counts: Mapping[int, Mapping[str, int]]) -> dict[str, Any] | None:
        """Return the course in which most is overdue, of equals the first; None when everything is done."""
        open_ = [course for course, count in counts.items() if count["left"]]
        if not open_:
            return None
        course = min(open_, key=lambda course: (-counts[course]["overdue"], course))
        row = {name: self._lab.site.courses[course][name] for name in ("id", "shortname", "fullname")}
        return {"course": row, "lastcourseaccess": None} | {
            name: counts[course][name] for name in ("overdue", "left")
        }

    # --- comparing ----------------------------------------------------------------------------------------

    def is_there(self, key: str) -> bool:
        """Say whether the person of a key is in its course, or in any course for a person's own key."""
        if course_of(key):
            return super().is_there(key)
        return any(person_of(key) in members for members in self.members.values())

    def sent_wrongly(self, key: str, row: Mapping[str, Any]) -> str:
        """Return what is wrong with a row that was sent, "" when it is right at this moment.

        The account sees every field at all times, so what no record of the moment has is blank, and may be sent.
        """
        draft, said = self.drafts.get(key), row.get("properties", {})
        if draft is not None:
            said = {name: value for name, value in said.items() if value or name in draft.properties}
        return super().sent_wrongly(key, {**row, "properties": said})

    def mapping_of(self, key: str) -> CompiledMapping:
        """Return the mapping that makes the cases of a key."""
        return next(one for one in self._project.mappings if one.name == TYPES[key.split("-")[1]])

    def cases(self) -> dict[str, Case]:
        """Return the newest case of each key; an older one must be closed, or be of an earlier term."""
        found: dict[str, Case] = {}
        for case in sorted(self._lab.project.cases.values(), key=lambda case: number_of(case.external_id or "")):
            key = base(case.external_id or "")
            before = found.get(key)
            is_single = before is None or before.closed or self._is_over_with(key, before)
            assert is_single, f"{case.external_id} was made while the one before is open"
            found[key] = case
        return found

    def _is_over_with(self, key: str, case: Case) -> bool:
        """Say whether a case that is open may have another one after it: one of an earlier term, or emptied."""
        said = {OVER, LEFT, KEPT_OUT, BY_HAND}.intersection(case.properties.values())
        return self.is_blank(case, ()) or (course_of(key) in self._deeds.new_terms and bool(said))

    def harmless(self) -> set[str]:
        """Return the values that may stay in a case of somebody who was erased."""
        departures = [
            departure
            for mapping in self._project.mappings
            for departure in (mapping.when_excluded, mapping.when_left, mapping.when_course_ends)
        ]
        told = {value for departure in departures if departure is not None for value in departure.set.values()}
        return {"", BY_AN_APP} | told

    def is_blank(self, case: Case, edited: Collection[str]) -> bool:
        """Say whether a case holds nothing that came from Moodle; what somebody typed into it did not."""
        kept = {value for name, value in case.properties.items() if name not in edited}
        return self.harmless().issuperset(kept)

    def table(self) -> dict[str, tuple[str, str, str]]:
        """Return the rows of the lookup table by key: short name, name, day of the beginning."""
        rows, zone = self._lab.site.courses, self._project.time_zone
        days = {course: datetime.fromtimestamp(rows[course]["startdate"], zone).date() for course in self.read}
        return {
            f"test-course-{course}": (rows[course]["shortname"], rows[course]["fullname"], day.isoformat())
            for course, day in days.items()
        }
