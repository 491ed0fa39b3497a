"""The functions of Moodle that are called: what for, how often, what the role needs, and how an answer looks.

For whoever looks after a Moodle and has to allow them. The sample answers are made up and cut short.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SAMPLES: Final = Path(__file__).parent / "samples"


@dataclass(frozen=True)
class MoodleFunction:
    """One function of the web service; `capabilities` are those without which it refuses or leaves things out."""

    name: str
    purpose: str
    calls: str
    capabilities: tuple[str, ...] = ()

    @property
    def sample(self) -> str:
        """Return a made-up answer as JSON text."""
        return (_SAMPLES / f"{self.name}.json").read_text("utf-8").rstrip()


FUNCTIONS: Final = (
    MoodleFunction(
        "core_webservice_get_site_info",
        "who the service account is and which functions the service has",
        "once a run",
        ("webservice/rest:use",),
    ),
    MoodleFunction(
        "core_course_get_courses_by_field",
        "the courses and their custom fields",
        "once a run, about 0.1 s",
        ("moodle/course:view", "moodle/course:viewhiddencourses (only for hidden courses)"),
    ),
    MoodleFunction(
        "core_course_get_categories",
        "the subcategories of chosen categories",
        "once a run, only when courses are chosen by category",
        ("moodle/course:view",),
    ),
    MoodleFunction(
        "core_enrol_get_enrolled_users",
        "who is in a course, with roles and groups; who is suspended there",
        "three or more a course: all ids, the suspended ones, pages of the fields; about 4 ms a person",
        (
            "moodle/course:viewparticipants",
            "moodle/user:viewdetails",
            "moodle/course:enrolreview",
            "moodle/site:accessallgroups",
            "moodle/site:viewuseridentity (telephone numbers)",
        ),
    ),
    MoodleFunction(
        "core_user_get_users_by_field",
        "the profiles of people, with custom profile fields",
        "one for every 100 to 200 people; about 4 ms a person",
        (
            "moodle/user:viewdetails",
            "moodle/user:viewalldetails",
            "moodle/site:viewuseridentity (telephone numbers)",
        ),
    ),
    MoodleFunction(
        "gradereport_user_get_grade_items",
        "grades of a course's activities and its total",
        "one a course up to about 50 people, else one a person; 15 to 40 ms a person",
        (
            "moodle/grade:viewall",
            "gradereport/user:view",
            "the view right of each graded kind of activity (mod/assign:view, mod/quiz:view)",
        ),
    ),
    MoodleFunction(
        "tool_mobile_call_external_functions",
        "many calls about single people in one request",
        "one for every 25 to 50 people where something is read person by person; without it each is a request",
    ),
    MoodleFunction(
        "core_completion_get_activities_completion_status",
        "which activities somebody has done",
        "one a person and course; 3 to 150 ms each",
        ("report/progress:view",),
    ),
    MoodleFunction(
        "core_course_get_contents",
        "when activities are due",
        "one a course, about 0.5 s",
        ("moodle/course:view", "moodle/course:viewhiddenactivities (only for hidden activities)"),
    ),
    MoodleFunction(
        "core_enrol_get_users_courses",
        "which courses somebody has completed",
        "one a person; about 0.1 s each",
        ("moodle/user:viewdetails", "moodle/course:view"),
    ),
    MoodleFunction(
        "mod_assign_get_assignments",
        "the assignments of the courses with their dates",
        "one for many courses",
        ("mod/assign:view",),
    ),
    MoodleFunction(
        "mod_assign_get_submissions",
        "what learners have handed in",
        "one for many assignments; about 2 ms a submission",
        ("mod/assign:view", "mod/assign:grade or mod/assign:viewgrades"),
    ),
)
"""All functions that a run may call, in the order in which a run comes to them."""

ALWAYS: Final = (
    "core_webservice_get_site_info",
    "core_course_get_courses_by_field",
    "core_enrol_get_enrolled_users",
    "core_user_get_users_by_field",
)
"""The functions that every run calls, whatever the mappings are."""

PERSON_BY_PERSON: Final = frozenset(
    (
        "gradereport_user_get_grade_items",
        "core_completion_get_activities_completion_status",
        "core_enrol_get_users_courses",
    )
)
"""The functions whose calls can be put together into fewer requests."""

TOGETHER: Final = "tool_mobile_call_external_functions"
CATEGORIES: Final = "core_course_get_categories"
