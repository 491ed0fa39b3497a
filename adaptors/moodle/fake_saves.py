"""Saving grades in the fake Moodle: it answers null, whether it stored anything or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptors.moodle.fake_activities import Activity
from adaptors.moodle.fake_assignments import assignment_row
from adaptors.moodle.fake_form import Each, Fields, Refusal, Value, invalid_parameter, missing_record
from adaptors.moodle.fake_functions import Caller, Function
from adaptors.moodle.fake_marking import NO_GRADE
from adaptors.moodle.fake_marks import attempt_of, participants, start_work, team_of


def save_grades(caller: Caller, assignmentid: int, applytoall: bool, grades: list[dict[str, Any]]) -> None:
    """Answer mod_assign_save_grades: null, whatever came of it; strangers to the course are graded too."""
    activity = caller.site.activities.assignment(assignmentid)
    if activity is None:
        raise missing_record("assign")
    row = assignment_row(caller, activity)
    caller.need("mod/assign:grade", "Grade assignment")
    members = caller.site.members_of(activity.course)
    team = bool(row["teamsubmission"]) and applytoall
    teams = [team_of(caller, activity, one["userid"]) for one in grades if one["userid"] in members]
    if team and len(set(teams)) < len(teams):
        raise invalid_parameter()
    for given in grades:
        whom = [given["userid"]]
        if team and given["userid"] in members:
            group = team_of(caller, activity, given["userid"])
            whom = [user for user in participants(caller, activity) if team_of(caller, activity, user) == group]
        for user in whom:
            _save(caller, activity, row, user, given)


def save_grade(caller: Caller, assignmentid: int, applytoall: bool, **given: Any) -> None:
    """Answer mod_assign_save_grade."""
    save_grades(caller, assignmentid, applytoall, [given])


def _save(caller: Caller, activity: Activity, row: Mapping[str, Any], user: int, given: Mapping[str, Any]) -> None:
    """Apply a grade to one person as Moodle does: the comment first, the grade only when it is in range."""
    site, marking = caller.site, caller.site.marking
    latest = attempt_of(caller, activity, row, user)
    attempt = given["attemptnumber"] if given["attemptnumber"] >= 0 else latest
    grade = marking.grade_row(activity.instance, user, attempt, site.now, caller.id)
    editor = given["plugindata"].get("assignfeedbackcomments_editor")
    takes_comments = any(
        (one["subtype"], one["plugin"], one["name"], one["value"])
        == ("assignfeedback", "comments", "enabled", "1")
        for one in row["configs"]
    )
    points, before = grade.grade, grade.grade
    if not _is_frozen(caller, activity, user):
        points = NO_GRADE if activity.cmid in marking.methods else given["grade"]
        marking.set_state(activity.instance, user, given["workflowstate"])
    if takes_comments and editor is None:
        raise Refusal("dml_write_exception", "dmlwriteexception", "Error writing to database")
    modified = takes_comments and editor is not None and editor["text"] != grade.comment
    if modified and editor is not None:
        grade.comment = editor["text"]
    if not (given["addattempt"] or before != NO_GRADE or points != NO_GRADE or modified):
        return
    if points and points != NO_GRADE and not _fits(points, row["grade"], marking.scales):
        return
    grade.grade, grade.timemodified, grade.grader = points, site.now, caller.id
    if points >= 0 and not row["teamsubmission"]:
        start_work(caller, activity, user)["gradingstatus"] = "graded"


def _fits(points: float, highest: int, scales: Mapping[int, int]) -> bool:
    if highest > 0:
        return 0 <= points <= highest
    return int(points) in range(1, scales.get(-highest, 0) + 1)


def _is_frozen(caller: Caller, activity: Activity, user: int) -> bool:
    """Tell whether the gradebook keeps the grade, because it is overridden there or locked."""
    rows = caller.site.gradebooks[activity.course].rows(user, enrolled=True)
    found = next((row for row in rows if row.get("cmid") == activity.cmid), None)
    return found is not None and bool(found["gradeisoverridden"] or found["gradeislocked"])


_EDITOR = Fields({"text": Value("text"), "format": Value("int")})
_PLUGIN_DATA = Fields(
    {"assignfeedbackcomments_editor": Fields(_EDITOR.of, default=None), "files_filemanager": Value("int", None)},
    default={},
)
_GRADE: dict[str, Value | Each | Fields] = {
    "userid": Value("int"),
    "grade": Value("float"),
    "attemptnumber": Value("int"),
    "addattempt": Value("bool"),
    "workflowstate": Value("text"),
    "plugindata": _PLUGIN_DATA,
}
SAVING_FUNCTIONS: dict[str, Function] = {
    "mod_assign_save_grades": Function(
        Fields(
            {
                "assignmentid": Value("int"),
                "applytoall": Value("bool", False),
                "grades": Each(Fields(_GRADE)),
            }
        ),
        save_grades,
    ),
    "mod_assign_save_grade": Function(
        Fields({"assignmentid": Value("int"), "applytoall": Value("bool", False)} | _GRADE), save_grade
    ),
}
