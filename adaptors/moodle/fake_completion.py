"""Functions of the fake Moodle about activities: what a course holds, who has done what."""

from __future__ import annotations

import json
from typing import Any

from adaptors.moodle.fake_activities import Activity
from adaptors.moodle.fake_form import Fields, Value
from adaptors.moodle.fake_functions import Caller, Function, named_values
from adaptors.moodle.fake_templates import may_view

_DUE = {"assign": ("Due:", "duedate"), "forum": ("Due:", "duedate"), "lesson": ("Closes:", "deadline")}
_CLOSES = ("Closes:", "timeclose")
_PURPOSES = {"assign": "assessment", "quiz": "assessment", "page": "content", "forum": "collaboration"}


def sees(caller: Caller, activity: Activity) -> bool:
    """Tell whether the account may see an activity; without the view right of its kind it is not there at all.

    One with conditions (`restricted`) is not there either: the account is no learner and meets none.
    """
    hidden = not activity.settings.get("visible", 1) and not caller.may("moodle/course:viewhiddenactivities")
    if activity.restricted and not caller.may("moodle/course:ignoreavailabilityrestrictions"):
        return False
    return not hidden and may_view(activity.module, caller.capabilities)


def activities_completion(caller: Caller, courseid: int, userid: int) -> dict[str, Any]:
    """Answer core_completion_get_activities_completion_status; for a stranger nothing is done, no error."""
    if courseid in caller.site.courses:  # the person is looked at before the course, which has to be there
        caller.need_person(userid)
    caller.enter(courseid, report=True)
    if userid != caller.id:
        caller.need("report/progress:view", "View activity completion reports")
    site = caller.site
    member = site.members_of(courseid).get(userid)
    tracked_user = member is not None and member.is_graded
    rows = []
    for activity in site.activities.tracked(courseid):
        if sees(caller, activity):
            state, time = site.activities.completions.get((activity.cmid, userid), (0, 0))
            rows.append(activity.status(state, time, is_tracked_user=tracked_user))
    return {"statuses": rows, "warnings": []}


def contents(caller: Caller, courseid: int, options: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Answer core_course_get_contents: all activities that the account sees, in the first section."""
    del options
    caller.enter(courseid)
    found = [one for one in caller.site.activities.by_course[courseid].values() if sees(caller, one)]
    modules = [_module(caller, activity) for activity in sorted(found, key=lambda one: one.cmid)]
    sections = caller.site.activities.sections.get(courseid, [courseid - 1])
    return [
        {
            "id": number,
            "name": "New section" if place else "General",
            "visible": 1,
            "summary": "",
            "summaryformat": 1,
            "section": place,
            "hiddenbynumsections": 0,
            "uservisible": True,
            "component": None,
            "itemid": None,
            "modules": [] if place else modules,
        }
        for place, number in enumerate(sections)
    ]


def _module(caller: Caller, activity: Activity) -> dict[str, Any]:
    """Return an activity as it stands in a course's contents."""
    custom = _custom_data(activity)
    row: dict[str, Any] = {
        "id": activity.cmid,
        "url": f"{caller.site.url}/mod/{activity.module}/view.php?id={activity.cmid}",
        "name": caller.name(activity.name),
        "instance": activity.instance,
        "contextid": activity.cmid + 329,
        "visible": activity.settings.get("visible", 1),
        "uservisible": True,
        "visibleoncoursepage": 1,
        "modicon": f"{caller.site.url}/theme/image.php/boost/{activity.module}/1795298229/monologo?filtericon=1",
        "modname": activity.module,
        "purpose": _PURPOSES.get(activity.module, "other"),
        "branded": False,
        "modplural": "Assignments" if activity.module == "assign" else f"{activity.module.capitalize()}s",
        "availability": None,
        "indent": 0,
        "onclick": "",
        "afterlink": None,
        "customdata": json.dumps(custom or "", separators=(",", ":")),
        "noviewlink": False,
        "completion": activity.tracking,
    }
    if activity.tracking:
        report = activity.status(0, 0, is_tracked_user=False)
        own = ("cmid", "modname", "instance", "tracking")
        row["completiondata"] = {name: value for name, value in report.items() if name not in own}
    return row | {"downloadcontent": 1, "dates": _dates(activity), "groupmode": 0}


def _custom_data(activity: Activity) -> dict[str, Any]:
    rules = {"customcompletionrules": {"completionsubmit": "1"}} if activity.tracking else {}
    return rules | ({"duedate": activity.due} if activity.due else {}) if activity.module == "assign" else {}


def _dates(activity: Activity) -> list[dict[str, Any]]:
    label, dataid = _DUE.get(activity.module, _CLOSES)
    return [{"label": label, "timestamp": activity.due, "dataid": dataid}] if activity.due else []


def users_courses(caller: Caller, userid: int, returnusercount: bool) -> list[dict[str, Any]]:
    """Answer core_enrol_get_users_courses: active enrolments in courses the account may enter."""
    site = caller.site
    if not caller.may("moodle/course:view"):
        return []
    hidden_too = caller.may("moodle/course:viewhiddencourses")
    rows = []
    for number in sorted(site.courses_of(userid)):
        row = site.courses[number]
        if not site.members[number][userid].suspended and (row["visible"] or hidden_too):
            rows.append(_users_course(caller, row, userid, counted=returnusercount))
    return rows


def _users_course(caller: Caller, row: dict[str, Any], user: int, *, counted: bool) -> dict[str, Any]:
    """Return a course as it stands in a person's list of courses."""
    activities, number = caller.site.activities, row["id"]
    members = caller.site.members[number]
    names = {name: caller.name(row[name]) for name in ("shortname", "fullname", "displayname")}
    count = {"enrolledusercount": len(members)} if counted else {}
    same = ("summary", "summaryformat", "format", "courseimage")
    return {
        "id": number,
        **names,
        **count,
        "idnumber": row.get("idnumber", ""),
        "visible": row["visible"],
        **{name: row[name] for name in same},
        "showgrades": bool(row["showgrades"]),
        "lang": row["lang"],
        "enablecompletion": bool(row["enablecompletion"]),
        "completionhascriteria": number in activities.criteria,
        "completionusertracked": members[user].is_graded,
        "category": row["categoryid"],
        "progress": activities.progress(number, user),
        "completed": (number, user) in activities.completed_courses,
        "startdate": row["startdate"],
        "enddate": row["enddate"],
        "marker": row["marker"],
        "lastaccess": members[user].lastcourseaccess or None,
        "isfavourite": False,
        "hidden": False,
        "overviewfiles": [],
        "showactivitydates": row["showactivitydates"],
        "showcompletionconditions": row["showcompletionconditions"],
        "timemodified": row.get("timemodified", 0),
    }


COMPLETION_FUNCTIONS: dict[str, Function] = {
    "core_completion_get_activities_completion_status": Function(
        Fields({"courseid": Value("int"), "userid": Value("int")}), activities_completion
    ),
    "core_course_get_contents": Function(
        Fields({"courseid": Value("int"), "options": named_values("name")}), contents
    ),
    "core_enrol_get_users_courses": Function(
        Fields({"userid": Value("int"), "returnusercount": Value("bool", True)}), users_courses
    ),
}
