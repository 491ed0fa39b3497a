"""The functions of Moodle that are called: what for, how often, with what, by which rights, and an answer.

The one place for it: what is checked, what a client is told, the role that is made and docs/endpoints.md come from
here. The sample answers are made up and cut short.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adaptors.moodle.rights import GRADED_ACTIVITIES, TRACKED_ACTIVITIES, right_of

_SAMPLES: Final = Path(__file__).parent / "samples"


@dataclass(frozen=True)
class MoodleFunction:
    """One function of the web service; `capabilities` are those without which it refuses or leaves things out.

    `refuses` names those of them without which Moodle says `nopermissions`, which does not say what is missing.
    `lost` says what is missed where the service lacks the function and the rest goes on; "" when nothing does.
    """

    name: str
    purpose: str
    calls: str
    parameters: str = ""
    capabilities: tuple[str, ...] = ()
    refuses: str = ""
    lost: str = ""

    @property
    def sample(self) -> str:
        """Return a made-up answer as JSON text."""
        name = self.name.removesuffix(".php").replace("/", "_")
        return (_SAMPLES / f"{name}.json").read_text("utf-8").rstrip()

    @property
    def rights(self) -> tuple[str, ...]:
        """Return the capabilities with the condition under which they are needed, where there is one."""
        found = [right_of(capability) for capability in self.capabilities]
        return tuple(f"{one.capability} ({one.only})" if one.only else one.capability for one in found)


FUNCTIONS: Final = (
    MoodleFunction(
        "core_webservice_get_site_info",
        "who the service account is and which functions the service has",
        "once a run, once a command",
        "none",
        ("webservice/rest:use",),
    ),
    MoodleFunction(
        "core_course_get_courses_by_field",
        "the courses and their custom fields",
        "once a run, about 0.1 s",
        "none: all courses",
        ("moodle/course:view", "moodle/course:viewhiddencourses"),
        "'moodle/course:view'",
    ),
    MoodleFunction(
        "core_course_get_categories",
        "the subcategories of chosen categories",
        "once a run, only when courses are chosen by category",
        "none: all categories",
        ("moodle/course:view", "moodle/category:viewhiddencategories"),
        "'moodle/category:viewhiddencategories'",
    ),
    MoodleFunction(
        "core_enrol_get_enrolled_users",
        "who is in a course, with roles and groups; who is suspended there",
        "three or more a course: all ids, the suspended ones, pages of the fields; about 4 ms a person",
        "`courseid`; `options`: `userfields`, `onlysuspended`, `limitfrom`, `limitnumber`, `sortby`",
        (
            "moodle/course:viewparticipants",
            "moodle/user:viewdetails",
            "moodle/course:enrolreview",
            "moodle/site:accessallgroups",
            "moodle/course:viewhiddengroups",
            "moodle/site:viewuseridentity",
            "moodle/course:viewhiddenuserfields",
        ),
        "'moodle/course:enrolreview' and 'moodle/user:viewdetails'",
    ),
    MoodleFunction(
        "core_user_get_users_by_field",
        "the profiles of people, with custom profile fields",
        "one for every 100 to 200 people; about 4 ms a person; once a day also for those whom no course shows",
        "`field` (id), `values`: 900 ids at most",
        (
            "moodle/user:viewdetails",
            "moodle/user:viewalldetails",
            "moodle/site:viewuseridentity",
            "moodle/user:viewhiddendetails",
        ),
    ),
    MoodleFunction(
        "gradereport_user_get_grade_items",
        "grades of a course's activities and its total",
        "one a course up to about 50 people, else one a person; 15 to 40 ms a person",
        "`courseid`, `userid` (0: everybody)",
        (
            "moodle/grade:viewall",
            "gradereport/user:view",
            *GRADED_ACTIVITIES,
            "moodle/course:viewhiddenactivities",
            "moodle/course:ignoreavailabilityrestrictions",
            "moodle/grade:viewhidden",
        ),
        "'moodle/grade:viewall' and 'gradereport/user:view'",
    ),
    MoodleFunction(
        "tool_mobile_call_external_functions",
        "many calls about single people in one request",
        "one for every 25 to 50 people where something is read person by person",
        "`requests`: `function` and `arguments` (JSON as text) of each call",
        lost="each person is a request of its own: slow in large courses",
    ),
    MoodleFunction(
        "core_completion_get_activities_completion_status",
        "which activities somebody has done",
        "one a person and course; 3 to 150 ms each",
        "`courseid`, `userid`",
        (
            "report/progress:view",
            *TRACKED_ACTIVITIES,
            "moodle/course:viewhiddenactivities",
            "moodle/course:ignoreavailabilityrestrictions",
        ),
        "'report/progress:view'",
    ),
    MoodleFunction(
        "core_course_get_contents",
        "when activities are due",
        "one a course, about 0.5 s",
        "`courseid`",
        (
            "moodle/course:view",
            *TRACKED_ACTIVITIES,
            "moodle/course:viewhiddenactivities",
            "moodle/course:ignoreavailabilityrestrictions",
        ),
    ),
    MoodleFunction(
        "core_enrol_get_users_courses",
        "which courses somebody has completed",
        "one a person; about 0.1 s each",
        "`userid`, `returnusercount` (0)",
        ("moodle/user:viewdetails", "moodle/course:view", "moodle/course:viewparticipants"),
    ),
    MoodleFunction(
        "mod_assign_get_assignments",
        "the assignments of the courses with their dates",
        "one a course",
        "`courseids`, `includenotenrolledcourses` (1)",
        (
            "mod/assign:view",
            "moodle/course:viewhiddenactivities",
            "moodle/course:ignoreavailabilityrestrictions",
        ),
    ),
    MoodleFunction(
        "mod_assign_get_submissions",
        "what learners have handed in",
        "one for many assignments; about 2 ms a submission",
        "`assignmentids`; `status`, `since`, `before` where `assignments submissions` chooses",
        ("mod/assign:view", "mod/assign:viewgrades"),
    ),
    MoodleFunction(
        "mod_assign_list_participants",
        "who may hand something in, groups, participant numbers",
        "once a command",
        "`assignid`, `groupid` (0), `filter` (empty), `onlyids` (1)",
        ("mod/assign:view", "mod/assign:viewgrades"),
        "'mod/assign:grade' or 'mod/assign:viewgrades'",
    ),
    MoodleFunction(
        "mod_assign_get_user_mappings",
        "in blind marking: whether the account may know whose work it is",
        "once a command, for blindly marked assignments only",
        "`assignmentids`",
        ("mod/assign:revealidentities",),
        lost="in blind marking there are participant numbers in place of people",
    ),
    MoodleFunction(
        "mod_assign_get_submission_status",
        "earlier attempts; feedback read back after it was saved",
        "one a person, many in a request",
        "`assignid`, `userid`",
        ("mod/assign:view", "mod/assign:viewgrades"),
        "'mod/assign:grade' or 'mod/assign:viewgrades'",
    ),
    MoodleFunction(
        "mod_assign_get_grades",
        "the grades that are there, so that they stay",
        "before each batch of 50 people, and after it",
        "`assignmentids`, `since`",
        ("mod/assign:viewgrades",),
    ),
    MoodleFunction(
        "mod_assign_get_user_flags",
        "where people stand in the marking workflow, so that it stays",
        "once a command, for assignments with a marking workflow",
        "`assignmentids`",
        ("mod/assign:grade",),
    ),
    MoodleFunction(
        "core_grading_get_definitions",
        "whether an assignment is marked with a rubric or a guide, which feedback would destroy",
        "once a command",
        "`cmids`, `areaname` (submissions), `activeonly` (0: with 1 plain points are an error)",
        ("mod/assign:grade",),
        "'mod/assign:grade'",
        lost="`assignments feedback` needs `--as plain-points`",
    ),
    MoodleFunction(
        "mod_assign_save_grades",
        "giving feedback and grades: the only function that changes anything in Moodle",
        "one for 50 people; never without `assignments feedback`",
        "`assignmentid`, `applytoall` (0), `grades`: `userid`, `grade`, `attemptnumber` (-1), `addattempt` (0), "
        "`workflowstate`, `plugindata`",
        ("mod/assign:grade",),
        "'mod/assign:grade'",
    ),
)
"""All functions that are ever called: those of a run in its order, then those of marking."""

PAGES: Final = (
    MoodleFunction(
        "login/token.php",
        "the token of the account",
        "once a run, only where MOODLE_USERNAME is set and not MOODLE_TOKEN",
        "`username`, `password`, `service`",
        ("moodle/webservice:createtoken",),
    ),
    MoodleFunction(
        "webservice/pluginfile.php",
        "a file that was handed in",
        "one a file that is not there yet, by `assignments download`",
        "the path of the file; `token`; `Range` to go on with a broken one",
        ("mod/assign:view", "mod/assign:viewgrades"),
    ),
)
"""What is called beside the functions; the service must let files out. Refusals come in a shape of their own."""

BY_NAME: Final = {function.name: function for function in FUNCTIONS}

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

MARKING: Final = (
    "core_webservice_get_site_info",
    "mod_assign_get_assignments",
    "core_enrol_get_enrolled_users",
    "core_user_get_users_by_field",
    "mod_assign_list_participants",
    "mod_assign_get_user_mappings",
    "mod_assign_get_submissions",
    "mod_assign_get_submission_status",
    TOGETHER,
)
"""The functions of reading assignments: their people, what was handed in, the files."""

FEEDBACK: Final = (
    *MARKING,
    "mod_assign_get_grades",
    "mod_assign_get_user_flags",
    "core_grading_get_definitions",
    "mod_assign_save_grades",
    "gradereport_user_get_grade_items",
)
"""The functions of giving feedback."""

GIVING_FEEDBACK: Final = (
    *("mod_assign_get_assignments", "mod_assign_list_participants", "mod_assign_get_grades"),
    *("mod_assign_get_submission_status", "core_grading_get_definitions", "mod_assign_save_grades"),
)
"""What `write_back` cannot do without; other functions of marking are for some kinds of assignments only."""
