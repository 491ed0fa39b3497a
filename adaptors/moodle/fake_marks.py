"""Functions of the fake Moodle for those who mark: who may submit, what was given, where it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from adaptors.moodle.fake_activities import Activity
from adaptors.moodle.fake_assignments import assignment_row, sees_work, sees_work_of, warning
from adaptors.moodle.fake_completion import sees
from adaptors.moodle.fake_enrolled import courses_of
from adaptors.moodle.fake_form import Each, Fields, Refusal, Value, invalid_response, missing_record, moodle_error
from adaptors.moodle.fake_functions import Caller, Function
from adaptors.moodle.fake_marking import GradeRow, feedback_plugins, plugins, with_addresses
from adaptors.moodle.fake_people import TAG, WITHOUT_TAGS, role_rows

_LEFT_OUT = ("auth", "confirmed", "lang", "theme", "timezone", "mailformat")
_PLAIN = ("fullname", "firstname", "lastname", *WITHOUT_TAGS)


def _assignment(caller: Caller, number: int) -> tuple[Activity, Mapping[str, Any]]:
    """Return an assignment that the account may be in, and its row."""
    activity = caller.site.activities.assignment(number)
    if activity is None:
        raise missing_record("assign")
    caller.enter(activity.course, report=True)
    if not sees(caller, activity):
        raise Refusal(
            "core\\exception\\require_login_exception", "requireloginerror", "Course or activity not accessible."
        )
    return activity, assignment_row(caller, activity)


def participants(caller: Caller, activity: Activity) -> list[int]:
    """Return who may submit: learners with an active enrolment and an account that is not suspended."""
    site = caller.site
    found = [
        user
        for user, member in site.members_of(activity.course).items()
        if member.is_graded and not site.users[user].suspended
    ]
    return sorted(found, key=lambda user: site.users[user].sort_key)


def team_of(caller: Caller, activity: Activity, user: int) -> int:
    """Return the group that somebody hands in with; 0 for who is in none or in several."""
    member = caller.site.members_of(activity.course).get(user)
    groups = [one for one in member.groups if caller.site.groups[one].participation] if member else []
    return groups[0] if len(groups) == 1 else 0


def list_participants(
    caller: Caller,
    assignid: int,
    groupid: int,
    filter: str,
    onlyids: bool,
    includeenrolments: bool,
    **paging: int,
) -> list[dict[str, Any]]:
    """Answer mod_assign_list_participants; blind marking leaves ids and participant numbers."""
    activity, row = _assignment(caller, assignid)
    if not sees_work(caller):
        caller.need("mod/assign:grade", "Grade assignment")
    if caller.shut_out(caller.site.courses[activity.course]):
        return []
    blind = bool(row["blindmarking"]) and not row["revealidentities"]
    members = caller.site.members_of(activity.course)
    shown = [
        (user, *_shown_as(caller, activity, user, blind))
        for user in _in_order(caller, activity, blind)
        if not groupid or groupid in members[user].groups
    ]
    found = [one for one in shown if filter.lower() in one[1].lower()]
    skip, limit = paging["skip"], paging["limit"]
    page = [
        _participant(caller, activity, user, bare=blind or onlyids, courses=includeenrolments)
        | {"fullname": name, "recordid": number}
        | (_team(caller, activity, user) if row["teamsubmission"] else {})
        for user, name, number in found[skip : skip + limit if limit else None]  # cut before anything is looked up
    ]
    if any(TAG.search(str(one.get(name, ""))) for one in page for name in _PLAIN):
        raise invalid_response()  # of the whole page, and without a name
    return page


def _in_order(caller: Caller, activity: Activity, blind: bool) -> list[int]:
    """Return who may submit by name, and in blind marking first who handed something in, then by number."""
    found = participants(caller, activity)
    if not blind:
        return found
    handed = {row["userid"] for row in caller.site.activities.submissions[activity.instance]}
    number = caller.site.marking.number
    return sorted(
        found, key=lambda one: (one not in handed, one if one in handed else number(activity.instance, one))
    )


def _shown_as(caller: Caller, activity: Activity, user: int, blind: bool) -> tuple[str, int]:
    """Return the name by which somebody is shown, and the participant number."""
    name = caller.site.users[user].fullname
    if not blind:
        return name, -1
    number = caller.site.marking.number(activity.instance, user)
    details = f" ({name})" if caller.may("mod/assign:viewblinddetails") else ""
    return f"Participant {number}{details}", number


def _participant(caller: Caller, activity: Activity, user: int, *, bare: bool, courses: bool) -> dict[str, Any]:
    site = caller.site
    account, member = site.users[user], site.members_of(activity.course)[user]
    row: dict[str, Any] = {"id": user}
    if not bare:
        if not caller.sees(user):
            raise invalid_response()
        shown = caller.shown.fields(account, has_role=True)
        row = {key: value for key, value in shown.items() if key not in _LEFT_OUT}
        groups = [site.groups[one] for one in member.groups]
        if groups:
            row["groups"] = [
                {
                    key: value
                    for key, value in one.member_row(caller.displayed(one.name)).items()
                    if key != "descriptionformat"
                }
                for one in sorted(groups, key=lambda one: one.sort_key)
            ]
        row["roles"] = role_rows(member.roles)
        if courses and (listed := courses_of(caller, user)):
            row["enrolledcourses"] = listed
    return row | _progress(caller, activity, user)


def _team(caller: Caller, activity: Activity, user: int) -> dict[str, Any]:
    group = team_of(caller, activity, user)
    return {"groupid": group, "groupname": caller.name(caller.site.groups[group].name)} if group else {}


def _progress(caller: Caller, activity: Activity, user: int) -> dict[str, Any]:
    work = _latest(caller, activity, user)
    status = work["status"] if work else ""
    grade = caller.site.marking.grades[activity.instance].get((user, work["attemptnumber"] if work else 0))
    looked_at = grade is not None and work is not None and work["timemodified"] <= grade.timemodified
    return {
        "submitted": status == "submitted",
        "requiregrading": status == "submitted" and not looked_at,
        "grantedextension": False,
        "submissionstatus": status,
    }


def _latest(caller: Caller, activity: Activity, user: int) -> dict[str, Any] | None:
    return caller.site.activities.work_of(activity.instance, user)


def _by_assignment(
    caller: Caller, ids: Iterable[int], right: Callable[[], bool], name: str, rows: Callable[[Activity], list[Any]]
) -> dict[str, Any]:
    """Answer a function that takes many assignments: what may not be seen and what is empty comes as a warning."""
    found, refused, empty = [], [], []
    for number in ids:
        activity = caller.site.activities.assignment(number)
        if activity is not None and not (right() and caller.may("moodle/course:view") and sees(caller, activity)):
            refused.append(warning("assignment", number, "1", "No access rights in module context"))
            continue
        listed = rows(activity) if activity is not None else []
        if listed:
            found.append({"assignmentid": number, name: listed})
        else:
            what = {"userflags": "user flags"}.get(name, name)
            empty.append(warning("assignment", number, "3", f"No {what} found"))
    return {"assignments": found, "warnings": refused + empty}


def get_grades(caller: Caller, assignmentids: list[int], since: int) -> dict[str, Any]:
    """Answer mod_assign_get_grades: only of the latest attempt, and only where there is a submission row."""

    def rows(activity: Activity) -> list[Any]:
        found = caller.site.marking.grades[activity.instance].values()
        shown = [one for one in found if one.timemodified >= since and _is_latest(caller, activity, one)]
        return [one.row() for one in sorted(shown, key=lambda one: one.id)]

    return _by_assignment(caller, assignmentids, lambda: sees_work(caller), "grades", rows)


def _is_latest(caller: Caller, activity: Activity, grade: GradeRow) -> bool:
    work = _latest(caller, activity, grade.userid)
    return work is not None and work["attemptnumber"] == grade.attemptnumber


def get_user_flags(caller: Caller, assignmentids: list[int]) -> dict[str, Any]:
    """Answer mod_assign_get_user_flags."""

    def rows(activity: Activity) -> list[Any]:
        return [dict(row) for row in caller.site.marking.flags[activity.instance].values()]

    return _by_assignment(caller, assignmentids, lambda: caller.may("mod/assign:grade"), "userflags", rows)


def get_user_mappings(caller: Caller, assignmentids: list[int]) -> dict[str, Any]:
    """Answer mod_assign_get_user_mappings, which has numbers for ordinary assignments too."""

    def rows(activity: Activity) -> list[Any]:
        numbers = caller.site.marking.numbers[activity.instance].items()
        return [{"id": number, "userid": user} for user, number in sorted(numbers, key=lambda pair: pair[1])]

    right = "mod/assign:revealidentities"
    return _by_assignment(caller, assignmentids, lambda: caller.may(right), "mappings", rows)


def grading_definitions(caller: Caller, cmids: list[int], areaname: str, activeonly: bool) -> dict[str, Any]:
    """Answer core_grading_get_definitions; plain points are no form, so with `activeonly` they are an error."""
    areas = []
    for number in cmids:
        method = caller.site.marking.methods.get(number)
        if activeonly and not method:
            raise moodle_error("invalid_method_name", "core_grading/invalid_method_name")
        area: dict[str, Any] = {"cmid": number, "contextid": number + 329, "component": "mod_assign"}
        areas.append(area | {"areaname": areaname, "activemethod": method or None, "definitions": []})
    return {"areas": areas, "warnings": []}


def start_work(caller: Caller, activity: Activity, user: int) -> dict[str, Any]:
    """Return somebody's latest attempt; Moodle makes an empty one as soon as anybody looks."""
    found = _latest(caller, activity, user)
    if found is None:
        now = caller.site.now
        caller.site.activities.submit(activity.cmid, user, now, status="new", plugins=plugins())
        found = caller.site.activities.submissions[activity.instance][-1]
    return found


def attempt_of(caller: Caller, activity: Activity, row: Mapping[str, Any], user: int) -> int:
    """Return the number of the latest attempt, which a group has together."""
    if not row["teamsubmission"]:
        return int(start_work(caller, activity, user)["attemptnumber"])
    group, rows = team_of(caller, activity, user), caller.site.activities.submissions[activity.instance]
    found = [one["attemptnumber"] for one in rows if (one["userid"], one["groupid"]) == (0, group)]
    return int(found[0]) if found else 0


def submission_status(caller: Caller, assignid: int, userid: int, groupid: int) -> dict[str, Any]:
    """Answer mod_assign_get_submission_status; before the release of a marking workflow it tells no feedback."""
    del groupid
    activity, row = _assignment(caller, assignid)
    user = userid or caller.id
    caller.need_person(user)
    if not sees_work_of(caller, activity, user):
        told = "Sorry, but you do not currently have permissions to do that (View grades)."
        raise Refusal("core\\exception\\required_capability_exception", "nopermission", told)
    answer: dict[str, Any] = {"gradingsummary": _summary(caller, activity)}
    answer["lastattempt"] = _last_attempt(caller, activity, row, user)
    if feedback := _feedback(caller, activity, row, user):
        answer["feedback"] = feedback
    if earlier := _earlier(caller, activity, user):
        answer["previousattempts"] = earlier
    return answer | {"assignmentdata": {"attachments": {"intro": []}}, "warnings": []}


def _summary(caller: Caller, activity: Activity) -> dict[str, Any]:
    """Return the counts that come with each status; they are counted once for the calls of one moment."""
    site, number = caller.site, activity.instance
    moment = (number, site.now, len(site.activities.submissions[number]), len(site.marking.grades[number]))
    if moment not in site.marking.summaries:
        site.marking.summaries = {moment: _counted(caller, activity)}
    return site.marking.summaries[moment]


def _counted(caller: Caller, activity: Activity) -> dict[str, Any]:
    rows = [_progress(caller, activity, user) for user in participants(caller, activity)]
    return {
        "participantcount": len(rows),
        "submissiondraftscount": sum(one["submissionstatus"] == "draft" for one in rows),
        "submissionsenabled": True,
        "submissionssubmittedcount": sum(one["submitted"] for one in rows),
        "submissionsneedgradingcount": sum(one["requiregrading"] for one in rows),
        "warnofungroupedusers": "",
    }


def _last_attempt(caller: Caller, activity: Activity, row: Mapping[str, Any], user: int) -> dict[str, Any]:
    work = start_work(caller, activity, user)
    shown = {key: value for key, value in with_addresses(work, caller.site.url).items() if key != "gradingstatus"}
    found: dict[str, Any] = {"submission": shown | {"assignment": activity.instance, "latest": 1}}
    if row["teamsubmission"]:
        group = team_of(caller, activity, user)
        rows = caller.site.activities.submissions[activity.instance]
        team = next((one for one in rows if (one["userid"], one["groupid"]) == (0, group)), None)
        found |= (
            {
                "teamsubmission": with_addresses(team, caller.site.url)
                | {"assignment": activity.instance, "latest": 1}
            }
            if team
            else {}
        )
        found |= {"submissiongroup": group} if group else {}
    return found | {
        "submissiongroupmemberswhoneedtosubmit": [],
        "submissionsenabled": True,
        "locked": False,
        "graded": work["gradingstatus"] == "graded",
        "canedit": False,
        "caneditowner": work["status"] == "new",
        "cansubmit": False,
        "extensionduedate": 0,
        "timelimit": 0,
        "blindmarking": bool(row["blindmarking"]) and not row["revealidentities"],
        "gradingstatus": work["gradingstatus"],
        "usergroups": list(caller.site.members_of(activity.course)[user].groups),
    }


def _feedback(caller: Caller, activity: Activity, row: Mapping[str, Any], user: int) -> dict[str, Any] | None:
    marking = caller.site.marking
    rows, latest = marking.grades[activity.instance], attempt_of(caller, activity, row, user)
    grade = rows.get((user, latest))
    ever = [rows[user, one] for one in range(latest + 1) if (user, one) in rows and rows[user, one].grade >= 0]
    blind = bool(row["blindmarking"]) and not row["revealidentities"]
    released = not row["markingworkflow"] or marking.state(activity.instance, user) == "released"
    in_book = bool(ever) and released and not blind
    if not in_book and not (released and grade is not None and grade.comment):
        return None
    best = max(ever, key=lambda one: one.attemptnumber, default=None)
    shown = {
        "gradefordisplay": f"{best.grade:.2f}&nbsp;/&nbsp;{row['grade']:.2f}" if in_book and best else None,
        "gradeddate": best.timemodified if in_book and best else None,
    }
    if grade is None:
        return shown
    return {
        "grade": grade.row() | {"assignment": activity.instance},
        **shown,
        "plugins": feedback_plugins(grade.comment),
    }


def _earlier(caller: Caller, activity: Activity, user: int) -> list[dict[str, Any]]:
    rows = [row for row in caller.site.marking.earlier[activity.instance] if row["userid"] == user]
    found = []
    for row in sorted(rows, key=lambda row: -row["attemptnumber"]):
        shown = {
            key: value for key, value in with_addresses(row, caller.site.url).items() if key != "gradingstatus"
        }
        attempt: dict[str, Any] = {"attemptnumber": row["attemptnumber"]}
        attempt["submission"] = shown | {"assignment": activity.instance, "latest": 0}
        grade = caller.site.marking.grades[activity.instance].get((user, row["attemptnumber"]))
        if grade is not None:
            more = {"assignment": activity.instance, "gradefordisplay": f"{grade.grade:.2f}&nbsp;/&nbsp;100.00"}
            attempt |= {"grade": grade.row() | more, "feedbackplugins": feedback_plugins(grade.comment)}
        found.append(attempt)
    return found


_IDS = Each(Value("int"))
MARKING_FUNCTIONS: dict[str, Function] = {
    "mod_assign_list_participants": Function(
        Fields(
            {
                "assignid": Value("int"),
                "groupid": Value("int"),
                "filter": Value("text"),
                "skip": Value("int", 0),
                "limit": Value("int", 0),
                "onlyids": Value("bool", False),
                "includeenrolments": Value("bool", True),
                "tablesort": Value("bool", False),
            }
        ),
        list_participants,
    ),
    "mod_assign_get_grades": Function(Fields({"assignmentids": _IDS, "since": Value("int", 0)}), get_grades),
    "mod_assign_get_user_flags": Function(Fields({"assignmentids": _IDS}), get_user_flags),
    "mod_assign_get_user_mappings": Function(Fields({"assignmentids": _IDS}), get_user_mappings),
    "mod_assign_get_submission_status": Function(
        Fields({"assignid": Value("int"), "userid": Value("int", 0), "groupid": Value("int", 0)}),
        submission_status,
    ),
    "core_grading_get_definitions": Function(
        Fields({"cmids": _IDS, "areaname": Value("text"), "activeonly": Value("bool", False)}), grading_definitions
    ),
}
