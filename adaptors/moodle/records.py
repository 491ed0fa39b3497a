"""The records that mappings are written against, one class a source. The classes are the field catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field

_ENROLLED = "core_enrol_get_enrolled_users"
_PROFILE = "core_user_get_users_by_field"
_COURSES = "core_course_get_courses_by_field"
_GRADES = "gradereport_user_get_grade_items"


def _told(meaning: str, type_: str = "text", *, personal: bool = False, function: str = "", cost: str = "") -> Any:
    """Describe a field: its meaning, its type in the mapping language, and where it comes from."""
    extra: dict[str, Any] = {"type": type_, "personal": personal, "function": function, "cost": cost}
    return Field(default=None, description=meaning, json_schema_extra=extra)


class Record(BaseModel):
    """A source record. A field that was not set is absent (Moodle did not send it); None is blank."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class UserFields(Record):
    """A person, as Moodle shows them to the service account."""

    id: int | None = _told("Moodle's number for the person; never changes.", "number")
    username: str | None = _told("Login name.", personal=True)
    firstname: str | None = _told("First name.", personal=True)
    lastname: str | None = _told("Last name (surname).", personal=True)
    fullname: str | None = _told("Name as Moodle displays it.", personal=True)
    email: str | None = _told("E-mail address.", personal=True)
    idnumber: str | None = _told("ID number given by the institution.", personal=True)
    phone1: str | None = _told("Phone.", personal=True)
    phone2: str | None = _told("Mobile phone.", personal=True)
    city: str | None = _told("City or town.", personal=True)
    country: str | None = _told("Country, as two letters (KE).")
    address: str | None = _told("Postal address.", personal=True)
    department: str | None = _told("Department.")
    institution: str | None = _told("Institution.")
    lang: str | None = _told("Language of the account, such as en or es_mx.", function=_PROFILE)
    timezone: str | None = _told('Time zone of the account; "99" is the site\'s own.', function=_PROFILE)
    auth: str | None = _told("How the person logs in, such as manual or ldap.", function=_PROFILE)
    suspended: bool | None = _told("Whether the account is suspended.", "flag", function=_PROFILE)
    confirmed: bool | None = _told("Whether the account is confirmed.", "flag", function=_PROFILE)
    firstaccess: int | None = _told("First time on the site; blank when never.", "time", function=_PROFILE)
    lastaccess: int | None = _told("Last time on the site; blank when never.", "time")
    profile: dict[str, Any] | None = _told("Custom profile field, by its short name.", personal=True)


class UserRecord(UserFields):
    """Source `users`: one record per person in the selected courses."""

    roles: list[str] | None = _told("Role short names over all selected courses.", "list", function=_ENROLLED)
    groups: list[str] | None = _told("Group names over all selected courses.", "list", function=_ENROLLED)


class CourseFields(Record):
    """A course."""

    id: int | None = _told("Moodle's number for the course; never changes.", "number")
    shortname: str | None = _told("Short name.")
    fullname: str | None = _told("Full name.")
    idnumber: str | None = _told("ID number of the course.")
    summary: str | None = _told("Summary, as HTML.")
    category: str | None = _told("Name of the category.")
    categoryid: int | None = _told("Number of the category.", "number")
    format: str | None = _told("Course format, such as topics or weeks.")
    startdate: int | None = _told("Start of the course; blank when not set.", "time")
    enddate: int | None = _told("End of the course; blank when not set.", "time")
    visible: bool | None = _told("Whether students can see the course.", "flag")
    lang: str | None = _told("Language forced on the course; blank when none.")
    profile: dict[str, Any] | None = _told("Custom course field, by its short name.")


class CourseRecord(CourseFields):
    """Source `courses`: one record per selected course."""


class Grade(Record):
    """One grade of one person."""

    raw: float | None = _told("Points (for a scale: the position of the word).", "number")
    min: float | None = _told("Lowest possible points.", "number")
    max: float | None = _told("Highest possible points, for this person.", "number")
    percent: float | None = _told("Points between lowest and highest, from 0 to 100, not rounded.", "number")
    feedback: str | None = _told("Feedback, as HTML.", personal=True)
    datesubmitted: int | None = _told("When the work was handed in.", "time")
    dategraded: int | None = _told("When it was graded.", "time")
    hidden: bool | None = _told("Whether the grade is hidden from the student.", "flag")
    overridden: bool | None = _told("Whether a teacher overrode it in the gradebook.", "flag")


class Item(Record):
    """A graded activity, or a grade that a teacher added by hand."""

    id: int | None = _told("Moodle's number for the grade item; never changes.", "number")
    name: str | None = _told("Name of the activity.")
    type: str | None = _told("mod for an activity, manual for one added by hand.")
    module: str | None = _told("Kind of activity, such as assign or quiz.")
    idnumber: str | None = _told("ID number of the grade item.")
    categoryid: int | None = _told("Number of the grade category.", "number")
    cmid: int | None = _told("Number in the address of the activity's page.", "number")


class ItemGrade(Record):
    """An element of `items`: the activity and this person's grade for it."""

    item: Item | None = _told("The graded activity.", "record")
    grade: Grade | None = _told("The grade.", "record")


class _InCourse(Record):
    """What a person is in a course."""

    course: CourseFields | None = _told("The course.", "record", function=_COURSES)
    user: UserFields | None = _told("The person.", "record", function=_ENROLLED)
    roles: list[str] | None = _told("Role short names in this course.", "list", function=_ENROLLED)
    groups: list[str] | None = _told("Names of the person's groups.", "list", function=_ENROLLED)
    teachers: list[str] | None = _told(
        "Login names of the course's teachers.", "list", personal=True, function=_ENROLLED
    )
    status: str | None = _told("active, or suspended (also: not yet started, or ended).", function=_ENROLLED)
    lastcourseaccess: int | None = _told("Last time in this course; blank when never.", "time", function=_ENROLLED)


class EnrolmentRecord(_InCourse):
    """Source `enrolments`: one record per person per course."""

    grade: Grade | None = _told("The course total.", "record", function=_GRADES, cost="a grade read a course")
    items: list[ItemGrade] | None = _told(
        "The graded activities, hidden ones left out.",
        "elements",
        function=_GRADES,
        cost="a grade read a course",
    )


class GradeItemRecord(_InCourse):
    """Source `grade_items`: one record per person per graded activity."""

    item: Item | None = _told("The graded activity.", "record", function=_GRADES, cost="a grade read a course")
    grade: Grade | None = _told("The grade.", "record", function=_GRADES, cost="a grade read a course")


SOURCES: dict[str, type[Record]] = {
    "users": UserRecord,
    "enrolments": EnrolmentRecord,
    "grade_items": GradeItemRecord,
    "courses": CourseRecord,
}

# Fields of a person that only the profile call carries; in a course they cost one more read.
PROFILE_ONLY = frozenset({"lang", "timezone", "auth", "suspended", "confirmed", "firstaccess"})

_DEFAULT_FUNCTION = {"users": _PROFILE, "courses": _COURSES}


@dataclass(frozen=True)
class FieldInfo:
    """One line of a source's catalogue; `path` as a mapping writes it: "course.fullname", "profile.*"."""

    path: str
    type: str
    meaning: str
    personal: bool
    function: str
    cost: str = ""


def catalogue() -> dict[str, dict[str, FieldInfo]]:
    """Return, for each source, its fields by path."""
    return {
        source: {
            info.path: info
            for info in _fields(record, "", FieldInfo("", "", "", False, _DEFAULT_FUNCTION.get(source, "")))
        }
        for source, record in SOURCES.items()
    }


def _fields(record: type[BaseModel], prefix: str, parent: FieldInfo) -> Iterator[FieldInfo]:
    """Walk a record class and its nested records."""
    for name, field in record.model_fields.items():
        extra: dict[str, Any] = dict(field.json_schema_extra or {})  # type: ignore[arg-type]
        function = extra["function"] or parent.function
        info = FieldInfo(
            prefix + name,
            extra["type"],
            field.description or "",
            extra["personal"],
            function,
            extra["cost"] or parent.cost,
        )
        if info.type == "record":
            yield from _fields(_record_in(field.annotation), f"{info.path}.", info)
            continue
        if name == "profile":
            yield FieldInfo(f"{info.path}.*", info.type, info.meaning, info.personal, info.function, info.cost)
            continue
        yield info
        if info.type == "elements":
            yield from _fields(_record_in(field.annotation), f"{info.path}[].", info)


def _record_in(annotation: Any) -> type[BaseModel]:
    """Find the record class inside `X | None` or `list[X] | None`."""
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        if part is not type(None):
            return _record_in(part)
    raise TypeError(f"no record in {annotation}")
