"""A class whose coaches write feedback into cases: Moodle with assignments, CommCare after a first run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adaptors.commcare.fake_project import Case
from adaptors.commcare.forwarding import Ourselves, read_forwarded
from adaptors.moodle.assignment_marks import SAVE
from flows.drain import drain
from flows.drained import Drained
from flows.fed_back import FedBack
from flows.feedback import send
from flows.feedback_desk import Options
from flows.world import World
from state import Hint
from tests.flows.marking_world import MarkingWorld
from tests.flows.worlds import DOMAIN, SHIPPED, USERNAME, Lab
from tests.forwarded import CASE as FORWARDED

COACH = "coach-user-id"
ENROLMENT = (SHIPPED / "enrolment.yaml").read_text()
WORK = """
language: 1
case_type: work
source: assignments
include: [{source: roles, any_of: [student]}]
external_id: "{site}-work-{assignment.id}-{user.id}"
case_name: "{assignment.name}"
owner: {otherwise: project}
write_back: [{feedback: coach_feedback}]
properties: {status: submission.status}
tests:
  - name: a piece of work
    given: {assignment: {id: 3, name: Report}, user: {id: 1}, roles: [student]}
    expect: {case_name: Report}
"""
GRADE = (SHIPPED / "grade_item.yaml").read_text().replace("enabled: false\n", "")


def entry(marking: MarkingWorld, name: str, more: str = "") -> str:
    """Return an entry of `write_back` for an assignment."""
    return f"- {{feedback: coach_feedback, assignment: {marking.cmid[name]}{more}}}"


def writing_back(marking: MarkingWorld, entries: str = "") -> str:
    """Return the enrolment mapping with what goes back: by default the text for the essay."""
    entries = entries or entry(marking, "Essay")
    return ENROLMENT.replace("\nwhen_left:", f"\nwrite_back:\n  {entries}\n\nwhen_left:")


class Class:
    """The world of a class; `lab` may be one whose process dies."""

    def __init__(self, lab: Lab, marking: MarkingWorld) -> None:
        self.lab, self.marking = lab, marking
        self.course, self.learners = marking.course, marking.learners

    @classmethod
    def files(cls, marking: MarkingWorld, entries: str = "", **more: str) -> dict[str, str]:
        """Return the mapping files of a class."""
        student = (SHIPPED / "student.yaml").read_text()
        return {"student": student, "enrolment": writing_back(marking, entries), **more}

    def case(self, learner: int, kind: str = "enrol", number: int = 0) -> Case:
        """Return the case of a learner."""
        found: Case = self.lab.case(f"test-{kind}-{number or self.course}-{learner}")
        return found

    def writes(self, learner: int, *, case: Case | None = None, **values: str) -> dict[str, Any]:
        """Let a coach fill properties of a case on the phone; returns what data forwarding posts."""
        found = case or self.case(learner)
        self.lab.clock.advance(1)
        project = self.lab.project
        project.edit_case(found.case_id, **values)
        form = f"form-of-phone-{int(self.lab.clock.now() * 1000)}"
        at = f"{found.to_json(DOMAIN, 0.0)['server_last_modified']}"
        about = {name: getattr(found, name) for name in ("external_id", "owner_id", "case_name", "case_type")}
        properties = {**found.properties, **about, "date_opened": FORWARDED["properties"]["date_opened"]}
        return {
            **FORWARDED,
            "domain": DOMAIN,
            "case_id": found.case_id,
            "user_id": COACH,
            "server_date_modified": at,
            "properties": properties,
            "xform_ids": [form],
        }

    def post(self, *bodies: Mapping[str, Any], ago: float = 30.0) -> None:
        """Let CommCare's posts come in, as the receiver takes them."""
        us = Ourselves(DOMAIN, USERNAME)
        hints = [
            Hint(one.source, one.event, one.mark, one.occurred_at, case_id=one.case_id, form_id=one.form_id)
            for body in bodies
            for one in read_forwarded(json.loads(json.dumps(body)), us)
        ]
        self.lab.store.inbox_add(hints, self.lab.clock.now() - ago)

    async def drained(self, later: float = 3600.0) -> Drained:
        """Drain as a new process."""
        self.lab.clock.advance(later)
        return await self._on(drain)

    async def sent(self, later: float = 3600.0, **options: Any) -> FedBack:
        """Send as a new process, approved unless told otherwise."""
        self.lab.clock.advance(later)
        options = {"yes": True, **options}
        return await self._on(lambda world: send(world, Options(**options)))

    async def _on(self, work: Any) -> Any:
        world: World = self.lab.world()
        try:
            return await work(world)
        finally:
            await world.moodle.close()
            await world.commcare.close()

    def held(self, learner: int, name: str = "Essay") -> tuple[float, str | None] | None:
        """Return what Moodle holds for somebody: points and text feedback."""
        return self.marking.held(name, learner)

    @property
    def saves(self) -> list[int]:
        """Return for whom something was saved, in order."""
        calls = [call for call in self.lab.moodle.calls if call[0] == SAVE]
        return [int(one["userid"]) for call in calls for one in call[1]["grades"]]


async def make_class(make_lab: Any, entries: str = "", *, approved: bool = True, **more: str) -> Class:
    """Give a class after its first run, in which nobody has written anything yet.

    The assignment "Graded" is the only one with a column of the gradebook.
    """
    marking = MarkingWorld()
    item = marking.site.set_grade_item(marking.course, "Graded")
    book = marking.site.gradebooks[marking.course]
    marking.cmid["Graded"] = next(one.cmid or 0 for one in book.items if one.id == item)
    made = Class(make_lab(marking.site, **Class.files(marking, entries, **more)), marking)
    await made.lab.sync()
    if approved:
        await made.sent()
    return made


def texts_of(folder: Path) -> bytes:
    """Return all bytes of the books and what lies beside them."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
