"""The shapes of Moodle's own answers, checked before anything is believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field, TypeAdapter, ValidationError

from adaptors.errors import Unexpected
from adaptors.lists import TupleOf

T = TypeVar("T")


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Function(_Answer):
    """One function of the service."""

    name: str


class SiteInfo(_Answer):
    """`core_webservice_get_site_info`: who we are there and which functions the service has."""

    userid: int
    username: str = ""
    siteurl: str = ""
    sitename: str = ""
    release: str = ""
    functions: TupleOf[Function] = ()
    userissiteadmin: bool = False
    downloadfiles: bool | None = None

    @property
    def function_names(self) -> frozenset[str]:
        """Return the names of the service's functions."""
        return frozenset(function.name for function in self.functions)


class CustomField(_Answer):
    """One custom profile field of a row; `value` is as it is stored."""

    shortname: str
    type: str = "text"
    value: str | int | float | bool | None = None


class CourseField(CustomField):
    """One custom field of a course: `value` as shown, in the account's language, `valueraw` as stored."""

    valueraw: str | int | float | bool | None = None


class Role(_Answer):
    """One role of a person in a course; `name` is usually empty."""

    roleid: int
    shortname: str


class Group(_Answer):
    """One group of a person in a course."""

    id: int
    name: str


class Person(BaseModel):
    """A row of `core_enrol_get_enrolled_users` or `core_user_get_users_by_field`.

    Keys that Moodle left out stay out (`model_fields_set`): it drops empty fields and hidden ones alike.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: int
    fullname: str = ""
    username: str | None = None
    firstname: str | None = None
    lastname: str | None = None
    email: str | None = None
    idnumber: str | None = None
    phone1: str | None = None
    phone2: str | None = None
    city: str | None = None
    country: str | None = None
    address: str | None = None
    department: str | None = None
    institution: str | None = None
    lang: str | None = None
    timezone: str | None = None
    auth: str | None = None
    suspended: bool | None = None
    confirmed: bool | None = None
    firstaccess: int | None = None
    lastaccess: int | None = None
    lastcourseaccess: int | None = None
    customfields: TupleOf[CustomField] = ()
    roles: TupleOf[Role] = ()
    groups: Annotated[tuple[Group, ...] | None, FailFast()] = None


class PersonId(_Answer):
    """A row of an id list."""

    id: int


class Category(_Answer):
    """A row of `core_course_get_categories`; `path` is "/2/5" for category 5 inside 2."""

    id: int
    name: str
    parent: int = 0
    path: str = ""


class Course(BaseModel):
    """A row of `core_course_get_courses_by_field`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: int
    shortname: str
    fullname: str
    categoryid: int = 0
    categoryname: str | None = None
    idnumber: str | None = None
    summary: str | None = None
    format: str | None = None
    lang: str | None = None
    startdate: int | None = None
    enddate: int | None = None
    visible: int | None = None
    enablecompletion: int | None = None
    customfields: TupleOf[CourseField] = ()


class Courses(_Answer):
    """The answer of `core_course_get_courses_by_field`."""

    courses: TupleOf[Course]
    warnings: tuple[Any, ...] = ()


class GradeRow(_Answer):
    """One row of a person's grade report; `graderaw` is a number, everything formatted is display text."""

    id: int
    itemname: str | None = None
    itemtype: str
    itemmodule: str | None = None
    idnumber: str | None = None
    categoryid: int | None = None
    cmid: int | None = None
    outcomeid: int | None = None
    graderaw: float | None = None
    grademin: float | None = None
    grademax: float | None = None
    gradedatesubmitted: int | None = None
    gradedategraded: int | None = None
    gradeneedsupdate: bool = False
    gradeishidden: bool = False
    gradeisoverridden: bool = False
    gradeislocked: bool = False
    feedback: str | None = None


class UserGrades(_Answer):
    """One person's grade report in one course."""

    courseid: int
    userid: int
    gradeitems: TupleOf[GradeRow]


class GradeReport(_Answer):
    """The answer of `gradereport_user_get_grade_items`."""

    usergrades: TupleOf[UserGrades]
    warnings: tuple[Any, ...] = Field(default=())


PEOPLE = TypeAdapter(TupleOf[Person])
PERSON_IDS = TypeAdapter(TupleOf[PersonId])
CATEGORIES = TypeAdapter(TupleOf[Category])


def checked(shape: TypeAdapter[T] | type[T], function: str, data: Any) -> T:
    """Return `data` as `shape`, or raise Unexpected naming the function and the field, never the value."""
    try:
        adapter = shape if isinstance(shape, TypeAdapter) else TypeAdapter(shape)
        return adapter.validate_python(data)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"]) or "the whole answer"
    raise Unexpected(  # only here: what pydantic says holds values, and a context would keep it
        f"Moodle's answer to {function} does not have the expected shape (at {where}).",
        system="Moodle",
        operation=function,
        status=200,
    )


def no_warnings(function: str, warnings: Sequence[Any]) -> None:
    """Refuse an answer with warnings: it is not complete."""
    if warnings:
        raise Unexpected(
            f"Moodle's answer to {function} comes with warnings, so it is not complete.",
            system="Moodle",
            operation=function,
            status=200,
        )
