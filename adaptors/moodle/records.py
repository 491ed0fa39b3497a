"""The records that mappings are written against, one class a source. The classes are the field catalogue."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_ENROLLED = "core_enrol_get_enrolled_users"
_PROFILE = "core_user_get_users_by_field"
_COURSES = "core_course_get_courses_by_field"
_GRADES = "gradereport_user_get_grade_items"
_GRADE_READ = "one read of the grades of each course"  # what a field of them adds to a run
_COMPLETION = "core_completion_get_activities_completion_status"
_CONTENTS = "core_course_get_contents"
_USERS_COURSES = "core_enrol_get_users_courses"
_ASSIGNMENTS = "mod_assign_get_assignments"
_SUBMISSIONS = "mod_assign_get_submissions"

_EACH = "a call for each learner in each course, 25 to 50 to a request"
_EACH_AND_DATES = f"{_EACH}, and a call a course"


def _told(meaning: str, type_: str = "text", *, personal: bool = False, function: str = "", cost: str = "") -> Any:
    """Describe a field: its meaning, its type in the mapping language, and where it comes from."""
    extra: dict[str, Any] = {"type": type_, "personal": personal, "function": function, "cost": cost}
    return Field(default=None, description=meaning, json_schema_extra=extra)


class Record(BaseModel):
    """A source record. A field that was not set is absent (Moodle did not send it); None is blank."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


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

    roles: list[str] | None = _told(
        "Role short names over all selected courses, sorted.", "list", function=_ENROLLED
    )
    groups: list[str] | None = _told("Group names over all selected courses, sorted.", "list", function=_ENROLLED)


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
    outcomeid: int | None = _told("The outcome that is graded; blank for the activity's own grade.", "number")


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

    grade: Grade | None = _told("The course total.", "record", function=_GRADES, cost=_GRADE_READ)
    items: list[ItemGrade] | None = _told(
        "The graded activities, hidden ones left out.",
        "elements",
        function=_GRADES,
        cost=_GRADE_READ,
    )


class GradeItemRecord(_InCourse):
    """Source `grade_items`: one record per person per graded activity."""

    item: Item | None = _told("The graded activity.", "record", function=_GRADES, cost=_GRADE_READ)
    grade: Grade | None = _told("The grade.", "record", function=_GRADES, cost=_GRADE_READ)


class Assignment(Record):
    """An assignment of a course."""

    id: int | None = _told("Moodle's number for the assignment; never changes.", "number")
    cmid: int | None = _told("Number in the address of the assignment's page.", "number")
    name: str | None = _told("Name of the assignment.")
    duedate: int | None = _told("Due date; blank when there is none.", "time")
    cutoffdate: int | None = _told("After this nothing is taken any more; blank when there is no end.", "time")
    gradingduedate: int | None = _told("By when teachers should have graded; blank when not set.", "time")
    allowsubmissionsfromdate: int | None = _told("From when work is taken; blank when not set.", "time")
    grademax: int | None = _told("Highest points; blank for a scale, or when it is not graded.", "number")
    maxattempts: int | None = _told("How many attempts a learner has; -1 is without limit.", "number")
    nosubmissions: bool | None = _told("Whether nothing is handed in online.", "flag")
    teamsubmission: bool | None = _told("Whether groups hand in together.", "flag")
    blindmarking: bool | None = _told("Whether teachers grade without seeing names.", "flag")


class Submission(Record):
    """What one person handed in: the latest attempt, blank when there is none.

    Absent for assignments that groups hand in together: Moodle keeps the work with the group.
    """

    id: int | None = _told("Moodle's number for the attempt.", "number")
    status: str | None = _told("new, draft, submitted or reopened; blank when nothing was begun.")
    gradingstatus: str | None = _told("graded or notgraded; with a marking workflow also its steps.")
    attemptnumber: int | None = _told("The attempt, counted from 0.", "number")
    timecreated: int | None = _told("When the attempt was begun.", "time")
    timemodified: int | None = _told("When it was last changed.", "time")


class AssignmentRecord(_InCourse):
    """Source `assignments`: one record per person per assignment."""

    assignment: Assignment | None = _told(
        "The assignment.", "record", function=_ASSIGNMENTS, cost="a call a course"
    )
    submission: Submission | None = _told(
        "What was handed in.", "record", function=_SUBMISSIONS, cost="a call a course, more in a large one"
    )
    grade: Grade | None = _told("The grade.", "record", function=_GRADES, cost=_GRADE_READ)


class Activities(Record):
    """How many of the activities with completion tracking are done, over all active courses."""

    courses: int | None = _told(
        "In how many active courses completion is tracked; where it is 0 nothing is known of the others.",
        "number",
        function=_COMPLETION,
        cost=_EACH,
    )
    done: int | None = _told("Activities done.", "number", function=_COMPLETION, cost=_EACH)
    left: int | None = _told("Activities still to do.", "number", function=_COMPLETION, cost=_EACH)
    overdue: int | None = _told(
        "Activities still to do although their due date has passed.",
        "number",
        function=_CONTENTS,
        cost=_EACH_AND_DATES,
    )


class Attention(Record):
    """The active course with most activities left past their due date, else the one not visited for longest.

    Blank when everything is done in every course.
    """

    course: CourseFields | None = _told("The course.", "record", function=_COURSES)
    lastcourseaccess: int | None = _told("Last time in that course; blank when never.", "time", function=_ENROLLED)
    left: int | None = _told("Activities still to do there.", "number")
    overdue: int | None = _told("Activities there whose due date has passed.", "number")


class EngagementRecord(Record):
    """Source `engagement`: one record per person over all selected courses.

    Active courses are those whose enrolment is active and in which the person has a role that `include` asks for.
    """

    user: UserFields | None = _told("The person.", "record", function=_PROFILE)
    profile: dict[str, Any] | None = _told(
        "Custom profile field, by its short name.", personal=True, function=_PROFILE
    )
    roles: list[str] | None = _told(
        "Role short names over all selected courses, sorted.", "list", function=_ENROLLED
    )
    groups: list[str] | None = _told("Group names over all selected courses, sorted.", "list", function=_ENROLLED)
    lastaccess: int | None = _told("Last time on the site; blank when never.", "time", function=_PROFILE)
    lastcourseaccess: int | None = _told(
        "Last time in any active course; blank when never.", "time", function=_ENROLLED
    )
    courses_active: int | None = _told("In how many courses the person is active.", "number", function=_ENROLLED)
    activities: Activities | None = _told("What is done and what is left.", "record", function=_COMPLETION)
    progress: float | None = _told(
        "Activities done, in percent of all, not rounded.", "number", function=_COMPLETION, cost=_EACH
    )
    next_due: int | None = _told(
        "When the next activity that is not done is due; blank when none is.",
        "time",
        function=_CONTENTS,
        cost=_EACH_AND_DATES,
    )
    needs_attention: Attention | None = _told(
        "The course that needs most attention.", "record", function=_CONTENTS, cost=_EACH_AND_DATES
    )
    courses_completed: int | None = _told(
        "How many active courses Moodle calls completed.",
        "number",
        function=_USERS_COURSES,
        cost="a call for each learner, 25 to 50 to a request",
    )
    completed: bool | None = _told(
        "Whether every active course that has completion criteria is completed.",
        "flag",
        function=_USERS_COURSES,
        cost="a call for each learner, 25 to 50 to a request",
    )


SOURCES: dict[str, type[Record]] = {
    "users": UserRecord,
    "enrolments": EnrolmentRecord,
    "grade_items": GradeItemRecord,
    "courses": CourseRecord,
    "engagement": EngagementRecord,
    "assignments": AssignmentRecord,
}

# Fields of a person that only the profile call carries; in a course they cost one more read.
PROFILE_ONLY = frozenset({"lang", "timezone", "auth", "suspended", "confirmed", "firstaccess"})
