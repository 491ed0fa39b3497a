"""From Moodle's rows to source records: shape is normalised, vocabulary never.

Lists with names become objects, 0 for "no date" becomes blank, flags become true and false. A record is a plain
nested dict: a missing key is absent (not sent), None, "" and [] are blank.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adaptors.moodle.answers import Course, CourseField, CustomField, GradeRow, Person
from adaptors.moodle.names import plain_text

FIELDS = (
    "username", "firstname", "lastname", "email", "idnumber", "phone1", "phone2", "city", "country", "address",
    "department", "institution", "lang", "timezone", "auth", "suspended", "confirmed", "firstaccess", "lastaccess",
)  # fmt: skip
# Moodle leaves these out both when they are empty and when the account may not see them. The others are there even
# when they are empty, so that one which is missing is hidden, maybe for this person only (an e-mail address).
MAYBE_EMPTY = frozenset({"idnumber", "phone1", "phone2", "city", "country", "address", "institution"})
# For these 'moodle/user:viewalldetails' is enough, and it is what Moodle asks for to show the login name, which is
# never empty. Each of the others can be hidden alone, by a setting or a right of its own.
WITH_ALL_DETAILS = frozenset({"idnumber", "institution"})
GROUPS_WITHOUT_RIGHT = (4, 3)
"""The first release whose rows lack `groups` for who is in none; before, they were there or the right was not."""
_TIMES = {"firstaccess", "lastaccess"}
_DELETED_NAME = re.compile(r"\.\d{9,}$")
_HASH = re.compile(r"[0-9a-f]{32}")
_AS_STORED = {"text", "checkbox", "date"}
TEACHERS = frozenset({"editingteacher", "teacher"})


@dataclass
class Visible:
    """Which fields some row of a read carried: what others lack is then blank, else it is absent.

    Each field is kept with the id of a person who has it; custom profile fields stand under `profile.<shortname>`.
    """

    seen: dict[str, int] = field(default_factory=dict)

    def learn(self, people: Iterable[Person], me: int) -> None:
        """Take note of the fields these rows carry; that of the account itself (`me`) carries them always."""
        for person in people:
            if person.id == me:
                continue
            for name in person.model_fields_set:
                self.seen.setdefault(name, person.id)
            for custom in person.customfields:
                self.seen.setdefault(f"profile.{custom.shortname}", person.id)

    @property
    def custom(self) -> list[str]:
        """Return the short names of the custom profile fields seen."""
        return [name.removeprefix("profile.") for name in self.seen if name.startswith("profile.")]

    def lacking(self, wanted: Iterable[str]) -> frozenset[str]:
        """Return those of the wanted fields that nobody carried, though Moodle leaves them out where empty."""
        return frozenset(name for name in wanted if may_be_empty(name) and name not in self.seen)

    def hidden(self, wanted: Iterable[str]) -> frozenset[str]:
        """Return those of the wanted fields that each row has unless they are hidden, and that none carried.

        Of no rows but that of the account itself there is nothing to tell.
        """
        names = frozenset(FIELDS).intersection(wanted) if self.seen else frozenset[str]()
        return frozenset(name for name in names if not may_be_empty(name) and name not in self.seen)


def may_be_empty(name: str) -> bool:
    """Say whether Moodle leaves a field out when it is empty."""
    return name in MAYBE_EMPTY or name.startswith("profile.")


def user_fields(person: Person, visible: Visible) -> dict[str, Any]:
    """Return the record of a person: id, names, contact fields, `profile`."""
    record: dict[str, Any] = {"id": person.id, "fullname": person.fullname}
    sent = person.model_fields_set
    for name in FIELDS:
        if name in sent:
            value = getattr(person, name)
            record[name] = (value or None) if name in _TIMES else value
        elif name in MAYBE_EMPTY and (name in visible.seen or (name in WITH_ALL_DETAILS and "username" in sent)):
            record[name] = None
    record["profile"] = dict.fromkeys(visible.custom) | custom_fields(person.customfields)
    return record


def looks_deleted(person: Person) -> bool:
    """Tell a deleted account: Moodle gives it back as e-mail address plus time, with a hash for an e-mail.

    Either may be hidden; the name alone tells when it is made of an e-mail address.
    """
    name, email = person.username, person.email
    if email is None:
        return "@" in (name or "") and bool(_DELETED_NAME.search(name or ""))
    return bool(_HASH.fullmatch(email)) and (name is None or bool(_DELETED_NAME.search(name)))


def custom_fields(fields: Iterable[CustomField]) -> dict[str, Any]:
    """Key custom fields by short name; dates become epoch seconds, everything else stays text."""
    return {field.shortname: _custom_value(field) for field in fields}


def course_value(field: CourseField) -> str | int | None:
    """Return the value of a custom field of a course, as a profile field of that type has it.

    What is stored of a menu is the number of the choice, and of a longer text its files would be missing.
    """
    if field.type in _AS_STORED and "valueraw" in field.model_fields_set:
        raw = "" if field.valueraw is None else str(field.valueraw)
        return _custom_value(CustomField(shortname=field.shortname, type=field.type, value=raw))
    shown = "" if field.value is None else str(field.value)
    return shown if field.type == "textarea" else plain_text(shown)


def _custom_value(field: CustomField) -> str | int | None:
    text = "" if field.value is None else str(field.value)
    if field.type in ("datetime", "date") and text.isascii() and text.isdigit():
        return int(text) or None
    return text


def role_names(person: Person) -> tuple[str, ...]:
    """Return role short names, ordered by role id."""
    return tuple(role.shortname for role in sorted(person.roles, key=lambda role: role.roleid))


def group_names(person: Person) -> tuple[str, ...]:
    """Return the group names of a row, ordered by group id."""
    return tuple(group.name for group in sorted(person.groups or (), key=lambda group: group.id))


def hides_groups(person: Person, release: str) -> bool:
    """Say whether Moodle keeps somebody's groups in a course back, so that his row says nothing about them.

    Before Moodle 4.3 each row has `groups`, be they empty, for an account with 'moodle/site:accessallgroups' in
    the course, and none has them for another. Since then those who are in no group lack them, and an empty list is
    what an account without that right gets in a course with separate groups. Who is only in groups that are set
    to "Hidden" lacks them too, like somebody in none, unless the account has 'moodle/course:viewhiddengroups'.
    """
    return person.groups == () if can_hide_groups(release) else person.groups is None


def can_hide_groups(release: str) -> bool:
    """Say whether groups can be set to "Hidden" in a Moodle: from 4.3 on, and maybe in one of unknown version."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return found is None or (int(found[1]), int(found[2])) >= GROUPS_WITHOUT_RIGHT


def course_record(course: Course, visible_custom: Iterable[str] = ()) -> dict[str, Any]:
    """Return the record of a course; keys that Moodle left out stay out."""
    record: dict[str, Any] = {
        name: getattr(course, name)
        for name in ("id", "shortname", "fullname", "categoryid", "idnumber", "summary", "format", "lang")
        if name in course.model_fields_set
    }
    if course.categoryname is not None:
        record["category"] = course.categoryname
    for name in ("startdate", "enddate"):
        if name in course.model_fields_set:
            record[name] = getattr(course, name) or None
    if course.visible is not None:
        record["visible"] = bool(course.visible)
    values = {field.shortname: course_value(field) for field in course.customfields}
    record["profile"] = dict.fromkeys(visible_custom) | values
    return record


def grade_record(row: GradeRow) -> dict[str, Any]:
    """Return one grade; `percent` is taken from this person's own lowest and highest points, not rounded."""
    percent = None
    if row.graderaw is not None and row.grademin is not None and row.grademax is not None:
        span = row.grademax - row.grademin
        percent = (row.graderaw - row.grademin) * 100 / span if span > 0 else None  # 14.5 of 100 stays 14.5
    return {
        "raw": row.graderaw,
        "min": row.grademin,
        "max": row.grademax,
        "percent": percent,
        "feedback": row.feedback,
        "datesubmitted": row.gradedatesubmitted or None,
        "dategraded": row.gradedategraded or None,
        "hidden": row.gradeishidden,
        "overridden": row.gradeisoverridden,
    }


def item_record(row: GradeRow) -> dict[str, Any]:
    """Return the activity a grade belongs to."""
    return {
        "id": row.id,
        "name": row.itemname,
        "type": row.itemtype,
        "module": row.itemmodule,
        "idnumber": row.idnumber,
        "categoryid": row.categoryid,
        "cmid": row.cmid,
        "outcomeid": row.outcomeid,
    }


def grade_item_records(enrolment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Split an enrolment into the records of source `grade_items`, one per graded activity."""
    shared = {name: value for name, value in enrolment.items() if name not in ("grade", "items")}
    return [shared | element for element in enrolment.get("items", ())]
