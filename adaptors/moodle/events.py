"""What Moodle's plugin local_webhooks posts, and which of it is a reason to read something soon.

One post per event, the body of `event->get_data()` with host, token and extra. Numbers come as numbers or as text;
the person concerned is `relateduserid`, for what learners hand in `userid`. There is no event id. Recordings:
`local_webhooks__*`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adaptors.posted import NotUnderstood, Number, Posted, mark_of, wrong_fields

SOURCE = "moodle"


class Touch(StrEnum):
    """What an event may have changed, and so what has to be read."""

    ENROLMENT = "enrolment"
    """Who is in a course, as what, in which groups: everything in the course is read."""
    GRADE = "grade"
    """Grades of a course."""
    SUBMISSION = "submission"
    """What was handed in in a course."""
    PERSON = "person"
    """A profile: the person's own record, and records of a course that show something of it."""
    COURSE = "course"
    """A course's name, dates or fields."""


_BY_TOUCH: Mapping[Touch, tuple[str, ...]] = {
    Touch.ENROLMENT: (
        "core.user_enrolment_created",
        "core.user_enrolment_updated",
        "core.user_enrolment_deleted",
        "core.role_assigned",
        "core.role_unassigned",
        "core.group_member_added",
        "core.group_member_removed",
        "core.group_updated",
        "core.group_deleted",
        "core.cohort_member_added",
        "core.cohort_member_removed",
        "core.user_deleted",
        "core.course_restored",
        "core.course_reset_ended",
    ),
    Touch.GRADE: (
        "core.user_graded",
        "core.grade_deleted",
        "core.grade_item_created",
        "core.grade_item_updated",
        "core.grade_item_deleted",
        "mod_assign.submission_graded",
    ),
    Touch.SUBMISSION: (
        "mod_assign.assessable_submitted",
        "mod_assign.submission_graded",
        "mod_assign.submission_status_updated",
        "mod_assign.workflow_state_updated",
        "assignsubmission_onlinetext.submission_created",
        "assignsubmission_onlinetext.submission_updated",
        "assignsubmission_file.submission_created",
        "assignsubmission_file.submission_updated",
        "assignsubmission_file.assessable_uploaded",
    ),
    Touch.PERSON: ("core.user_updated",),
    Touch.COURSE: ("core.course_updated",),
}
EVENTS: Mapping[str, frozenset[Touch]] = {
    name: frozenset(touch for touch, names in _BY_TOUCH.items() if name in names)
    for all_names in _BY_TOUCH.values()
    for name in all_names
}
"""Events that are worth a read, by component and name, with what they touch; others are answered and forgotten.

`user_graded` follows each grade in an assignment or a quiz too. What learners complete is in no record but that of
engagement, which is made of all courses and read at night.
"""

OF_ONE_WHO_ACTS = ("assessable_submitted", "assessable_uploaded")
"""Events without `relateduserid`: the person is who acted."""
NAME = re.compile(r"\\?(?P<component>[a-z][a-z0-9_]*)\\event\\(?P<name>[a-z][a-z0-9_]*)", re.ASCII)


class _Event(BaseModel):
    """What is read of a post; whatever else it holds is not looked at."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    eventname: str = Field(max_length=200)
    timecreated: Number
    objectid: Number | None = None
    contextid: Number | None = None
    courseid: Number | None = None
    userid: Number | None = None
    relateduserid: Number | None = None


def read_event(body: Mapping[str, Any]) -> Posted | None:
    """Return what a post tells, None when nothing has to be read for it; raises NotUnderstood.

    The same role or group given to two people within a second differs in nothing but the person, so what tells
    two posts apart is event, object, time, context, course and both people.
    """
    try:
        event: _Event | None = _Event.model_validate(body)
    except ValidationError as error:
        event, fields = None, wrong_fields(error)
    if event is None:
        raise NotUnderstood(f"Not a Moodle event: {fields} missing or wrong.")
    found = NAME.fullmatch(event.eventname)
    if found is None:
        raise NotUnderstood("Not a Moodle event: eventname is not the name of an event.")
    name = f"{found['component']}.{found['name']}"
    if name not in EVENTS:
        return None
    told = (name, event.objectid, event.timecreated, event.contextid, event.courseid)
    return Posted(
        source=SOURCE,
        event=name,
        mark=mark_of(*told, event.userid, event.relateduserid),
        occurred_at=float(event.timecreated),
        course_id=event.courseid or 0,
        user_id=_person(event, found["name"]),
    )


def _person(event: _Event, name: str) -> int:
    """Return whom an event is about, 0 for nobody."""
    if event.relateduserid:
        return event.relateduserid
    return event.userid or 0 if name in OF_ONE_WHO_ACTS else 0
