"""mod_assign functions of the fake Moodle: what they may not tell they leave out, with a warning at most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adaptors.moodle.fake_activities import Activity
from adaptors.moodle.fake_completion import sees
from adaptors.moodle.fake_form import Each, Fields, Value
from adaptors.moodle.fake_functions import Caller, Function
from adaptors.moodle.fake_marking import with_addresses

_NOT_IN_COURSE = "User is not enrolled or does not have requested capability"


def assignments(
    caller: Caller, courseids: list[int], capabilities: list[str], includenotenrolledcourses: bool
) -> dict[str, Any]:
    """Answer mod_assign_get_assignments; an account that is in no course has to ask for them all the same."""
    del capabilities
    courses, warnings = [], []
    for number in courseids:
        row = caller.site.courses.get(number)
        visible = row is not None and (row["visible"] or caller.may("moodle/course:viewhiddencourses"))
        if row is not None and not includenotenrolledcourses:
            warnings.append(warning("course", number, "2", _NOT_IN_COURSE))
        elif row is None or not visible or not caller.may("moodle/course:view"):
            why = "Can't find data record in database table course." if row is None else "Not visible"
            warnings.append(warning("course", number, "1", f"No access rights in course context {why}"))
        else:
            warnings += [
                warning("module", one.cmid, "1", "No access rights in module context")
                for one in caller.site.activities.by_course[number].values()
                if one.module == "assign" and not sees(caller, one)
            ]
            names = {name: caller.name(row[name]) for name in ("fullname", "shortname")}
            found = [assignment_row(caller, one) for one in _of_course(caller, number)]
            modified = row.get("timemodified", 0)
            courses.append({"id": number, **names, "timemodified": modified, "assignments": found})
    return {"courses": courses, "warnings": warnings}


def _of_course(caller: Caller, course: int) -> Iterator[Activity]:
    found = [one for one in caller.site.activities.by_course[course].values() if one.module == "assign"]
    return (one for one in sorted(found, key=lambda one: one.instance) if sees(caller, one))


def assignment_row(caller: Caller, activity: Activity) -> dict[str, Any]:
    """Return an assignment with the keys of Moodle 4.5."""
    row: dict[str, Any] = {
        "id": activity.instance,
        "cmid": activity.cmid,
        "course": activity.course,
        "name": caller.name(activity.name),
        "nosubmissions": 0,
        "submissiondrafts": 1,
        "sendnotifications": 0,
        "sendlatenotifications": 0,
        "sendstudentnotifications": 1,
        "duedate": activity.due,
        "allowsubmissionsfromdate": 0,
        "grade": 100,
        "timemodified": caller.site.now,
        "completionsubmit": int(activity.tracking == 2),
        "cutoffdate": 0,
        "gradingduedate": 0,
        "teamsubmission": 0,
        "requireallteammemberssubmit": 0,
        "teamsubmissiongroupingid": 0,
        "blindmarking": 0,
        "hidegrader": 0,
        "revealidentities": 0,
        "attemptreopenmethod": "manual",
        "maxattempts": -1,
        "markingworkflow": 0,
        "markingallocation": 0,
        "markinganonymous": 0,
        "requiresubmissionstatement": 0,
        "preventsubmissionnotingroup": 0,
        "configs": [_setting("onlinetext"), _setting("file"), _setting("comments", "assignfeedback")],
        "intro": "",
        "introformat": 1,
        "introfiles": [],
        "introattachments": [],
        "timelimit": 0,
        "submissionattachments": 0,
    }
    return row | {name: value for name, value in activity.settings.items() if name in row and name != "name"}


def submissions(caller: Caller, assignmentids: list[int], status: str, since: int, before: int) -> dict[str, Any]:
    """Answer mod_assign_get_submissions; an assignment that is not there is not mentioned at all.

    Who has left the course, or is suspended in it, is left out without a word, but for group assignments.
    """
    site, found, warnings = caller.site, [], []
    by_instance = {
        one.instance: one
        for course in site.activities.by_course.values()
        for one in course.values()
        if one.module == "assign"
    }
    for number in assignmentids:
        activity = by_instance.get(number)
        if activity is None:
            continue
        if not (sees_work(caller) and caller.may("moodle/course:view") and sees(caller, activity)):
            warnings.append(warning("assignment", number, "1", "No access rights in module context"))
            continue
        is_team = bool(activity.settings.get("teamsubmission"))
        rows = [
            with_addresses(row, site.url)
            for row in site.activities.submissions[number]
            if row["timemodified"] >= since
            and (is_team or sees_work_of(caller, activity, row["userid"]))
            and (not before or row["timemodified"] <= before)
            and status in ("", row["status"])
        ]
        found.append({"assignmentid": number, "submissions": rows})
        if not rows:
            warnings.append(warning("module", number, "3", "No submissions found"))
    return {"assignments": found, "warnings": warnings}


def _setting(plugin: str, subtype: str = "assignsubmission") -> dict[str, Any]:
    return {"plugin": plugin, "subtype": subtype, "name": "enabled", "value": "1"}


def sees_work(caller: Caller) -> bool:
    """Tell whether the account may see what was handed in and graded; one of two rights is enough."""
    return caller.may("mod/assign:grade") or caller.may("mod/assign:viewgrades")


def sees_work_of(caller: Caller, activity: Activity, user: int) -> bool:
    """Tell whether the account may see somebody's work: of an active member only, whatever else it may."""
    member = caller.site.members_of(activity.course).get(user)
    return member is not None and not member.suspended and sees_work(caller)


def warning(item: str, number: int, code: str, message: str) -> dict[str, Any]:
    """Return one of the warnings in which Moodle hides what it leaves out."""
    return {"item": item, "itemid": number, "warningcode": code, "message": message}


ASSIGNMENT_FUNCTIONS: dict[str, Function] = {
    "mod_assign_get_assignments": Function(
        Fields(
            {
                "courseids": Each(Value("int"), default=[]),
                "capabilities": Each(Value("text"), default=[]),
                "includenotenrolledcourses": Value("bool", False),
            }
        ),
        assignments,
    ),
    "mod_assign_get_submissions": Function(
        Fields(
            {
                "assignmentids": Each(Value("int")),
                "status": Value("text", ""),
                "since": Value("int", 0),
                "before": Value("int", 0),
            }
        ),
        submissions,
    ),
}
