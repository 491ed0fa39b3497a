"""FakeMoodle held against a real Moodle 4.5: the same questions, compared with the recorded answers.

Two measures. "Same": keys, types, order and values are equal, but for what moves with every site (`MOVING`).
"Alike": keys and types are equal row by row; the recording was made before or after some change on the site, or
asks about people the replayed site does not have. Errors and everything outside HTTP 200 must always be the same.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from adaptors.moodle.fake import LOGIN, FakeMoodle
from adaptors.moodle.fake_activities import Activity
from adaptors.moodle.fake_people import User
from tests.adaptors.moodle_world import RECORDINGS, REST, ask, form_fields, recorded_site, recording_of, request

NOT_MIRRORED = {
    "core_enrol_get_enrolled_users__empty_course_C01site": "the service account's own preferences are not served",
    "core_user_get_users_by_field__id_duplicate_values": "only the ids were kept of the recorded rows",
    "error__core_enrol_get_enrolled_users__debug_on": "the fake runs with debugging off",
    "error__core_enrol_get_enrolled_users__debug_on_wrong_type": "the fake runs with debugging off",
    "error__gradereport_user_get_grade_items__debug_on_missing_cap": "the fake runs with debugging off",
    "gradereport_user_get_grade_items__decimals0_course": "course 6 is not in the recorded site",
    "gradereport_user_get_grade_items__showgrades_off_course": "course 11 is not in the recorded site",
    "gradereport_user_get_grade_items__total_withheld": "of another site; see the test of it",
    "gradereport_user_get_grade_items__suspended_enrolment_user": "the grid of a suspended enrolment is not in the"
    " whole-course answer the site was built from; the fake's has no weights and no status",
    "login_token__db_down": "the real one has one key less than every other error of this address",
    "tool_mobile_call_external_functions__twenty_grade_calls": "cut off inside the JSON; see the test of batches",
}
# Answers that the site gave at another moment, or about people and courses the replayed site does not have.
ALIKE = {
    "core_enrol_get_enrolled_users__groupid",
    "core_enrol_get_enrolled_users__identity_default_email_only",
    "core_enrol_get_enrolled_users__one_full",
    "gradereport_user_get_grade_items__group",
    "core_course_get_courses_by_field__with_course_update_capability",
    "core_user_get_users_by_field__email_case",
    "core_user_get_users_by_field__idnumber",
    "core_user_get_users_by_field__id_many_with_unknown_deleted_suspended",
    "core_user_get_users_by_field__phones_with_identity_setting",
    "error__core_course_get_courses_by_field__raw_setting_filter",
    "gradereport_user_get_grade_items__user",
    "gradereport_user_get_grade_items__user_excluded_hidden_feedback",
    "gradereport_user_get_grade_items__user_no_grades",
    "gradereport_user_get_grade_items__user_overridden",
    "core_completion_get_activities_completion_status__u60",
    "core_completion_get_activities_completion_status__user",
    "core_course_get_contents__C01",
    "core_course_get_contents__big",
    "core_enrol_get_users_courses__student",
    "core_enrol_get_users_courses__student_usercount_off",
    "core_grading_get_definitions__plain",
    "mod_assign_get_assignments__course_includenotenrolled",
    "mod_assign_get_assignments__one_hidden",
    "mod_assign_get_grades__A1",
    "mod_assign_get_grades__scale_A4",
    "mod_assign_get_submission_status__A1_graded",
    "mod_assign_get_submission_status__A1_none",
    "mod_assign_get_submission_status__blind_A2",
    "mod_assign_get_submissions__A1",
    "mod_assign_get_submissions__A1_status_submitted",
    "mod_assign_get_submissions__nodraft_A3",
    "mod_assign_get_user_flags__A6_workflow",
    "mod_assign_list_participants__A1",
    "mod_assign_list_participants__includeenrolments0",
    "mod_assign_get_submissions__many_with_unknown_and_empty",
    "mod_assign_get_submissions__team_A5",
}
# Values that change with a theme, a new grade item, or that the recorder shortened or replaced: alike at most.
MOVING = {
    "profileimageurl",
    "profileimageurlsmall",
    "userpictureurl",
    "weightraw",
    "weightformatted",
    "description",
    "functions",
    "userids",
    "token",
    "link",
}
UNRECORDED = {"enrolledcourses"}  # the people of 5 courses out of 12 were recorded
ITEMS_ADDED_LATER = {42}
PASSWORD = "right"


@dataclass(frozen=True)
class Case:
    """How to ask: something done to the fake first, and the request, both with usual defaults."""

    prepare: Callable[[FakeMoodle], object] = lambda _: None
    send: Callable[[dict[str, str]], httpx.Request] = request


def _site(**values: object) -> Case:
    return Case(lambda fake: [setattr(fake.site, name, value) for name, value in values.items()])


def _course_7(**settings: str) -> Case:
    """Give course 7 what the recording of its row does not show: the ID number, the name as it was typed."""
    stored = {"idnumber": "CRS-6", "fullname": "TB <Screening> Basics", "displayname": "TB <Screening> Basics"}
    return Case(lambda fake: fake.site.courses[7].update(stored), lambda form: request(form | settings))


def _without(*capabilities: str) -> Case:
    return Case(lambda fake: fake.revoke(*capabilities))


def _token(token: str | None) -> Case:
    def send(form: dict[str, str]) -> httpx.Request:
        rest = {name: value for name, value in form.items() if name != "wstoken"}
        return request(rest if token is None else {"wstoken": token} | rest)

    return Case(send=send)


def _definitions(fake: FakeMoodle) -> None:
    """Add a function that the service of the recorded site did not have."""
    fake.functions.append("core_grading_get_definitions")


def _one_hidden(fake: FakeMoodle) -> None:
    """Hide an assignment of course 2, as the account may not see it."""
    fake.site.activities.set(2, "Later", visible=0)
    fake.revoke("moodle/course:viewhiddenactivities")


def _separate_groups(fake: FakeMoodle) -> None:
    fake.site.enrol(5, 16)
    fake.revoke("moodle/site:accessallgroups")


def _strangers(fake: FakeMoodle) -> None:
    """Add people of the recorded answers who are in no recorded course: 306, and 305, who was deleted."""
    fake.site.users[306] = recorded_site("after").users[306]
    email = "u0299@learners.example.org"
    fake.site.users[305] = User(305, "u0299", "Zoë", "حسن", email, institution="Ministry of Health")
    fake.site.now = 1_795_297_694
    fake.site.delete_user(305)


def _sections(fake: FakeMoodle) -> None:
    """Add what no recorded answer of the replayed site tells: sections, and the activities of course 13."""
    activities = fake.site.activities
    activities.sections = {2: [1, 2, 3, 4, 5, 6], 13: [67, 68]}
    for cmid in (12, 13):
        activities.by_course[13][cmid] = Activity(cmid, 13, f"Big assignment {cmid - 11}", instance=cmid - 4)


def _in_course_7(fake: FakeMoodle) -> None:
    """Put somebody into a course whose people were not recorded; only course 2 has completion criteria."""
    fake.site.enrol(7, 16)
    fake.site.activities.criteria.add(2)


def _submissions_of_that_day(fake: FakeMoodle) -> None:
    """Take away what was handed in after the answer was recorded."""
    rows = fake.site.activities.submissions[1]
    rows[:] = [row for row in rows if row["timemodified"] < 1795298445]


def _grades_of_that_day(fake: FakeMoodle) -> None:
    """Take away what was graded after the answer was recorded."""
    rows = fake.site.marking.grades[1]
    for key in [key for key, row in rows.items() if row.timemodified >= 1795298445]:
        del rows[key]


def _suspended_account(fake: FakeMoodle) -> None:
    fake.site.users[3].suspended, fake.site.users[3].username = True, "svc_suspended"


def _not_authorised(fake: FakeMoodle) -> None:
    fake.account.authorised = False


def _used_expired_token(fake: FakeMoodle) -> None:
    fake.expire_token()
    ask(fake, "core_webservice_get_site_info")


def _login(**form: str) -> Case:
    good = {"username": "svc_commcare", "password": PASSWORD, "service": "commcare_sync"}
    return Case(send=lambda _: request(form or good, LOGIN))


def _get(path: str, form: dict[str, str]) -> httpx.Request:
    return httpx.Request("GET", f"https://moodle.example.org{path}", params=form)


def _marked(fake: FakeMoodle) -> None:
    """Add what no recorded list tells: comments, the first of two attempts, and the marking workflow."""
    marking, activities = fake.site.marking, fake.site.activities
    marking.earlier[1] = [
        {**row, "attemptnumber": 0, "id": 16} for row in activities.submissions[1] if row["userid"] == 19
    ]
    first = marking.grade_row(1, 19, 0, 1795297688, 2)
    first.grade, first.comment = 91.5, "<p>Well <strong>done</strong> &amp; more ñ</p>"
    marking.grades[2][18, 0].comment = "<p>blind fb</p>"
    marking.last_id = 51
    for user, state in ((16, "readyforrelease"), (17, "released"), (18, "notmarked"), (19, "inmarking")):
        marking.set_state(6, user, state)


COMPLETION = "core_completion_get_activities_completion_status__"
SITE_INFO = "error__core_webservice_get_site_info__"
CASES = {
    "core_course_get_courses_by_field__idnumber": _course_7(),
    "core_course_get_courses_by_field__with_course_update_capability": Case(
        lambda fake: fake.allow("moodle/course:update")
    ),
    f"{COMPLETION}missing_report_progress_view": _without("report/progress:view"),
    "core_course_get_contents__C01": Case(_sections),
    "core_course_get_contents__big": Case(_sections),
    "core_enrol_get_users_courses__student": Case(_in_course_7),
    "core_grading_get_definitions__plain": Case(_definitions),
    "error__core_grading_get_definitions__plain_active_only": Case(_definitions),
    "mod_assign_get_assignments__one_hidden": Case(_one_hidden),
    "mod_assign_get_grades__A1_since_future": Case(_grades_of_that_day),
    "mod_assign_get_submission_status__A1_graded": Case(_marked),
    "mod_assign_get_submission_status__blind_A2": Case(_marked),
    "mod_assign_get_user_flags__A6_workflow": Case(_marked),
    "mod_assign_get_user_mappings__missing_revealidentities": _without("mod/assign:revealidentities"),
    "core_enrol_get_users_courses__student_usercount_off": Case(_in_course_7),
    "mod_assign_get_submissions__A1_since_future": Case(_submissions_of_that_day),
    "core_enrol_get_enrolled_users__identity_default_email_only": _site(showuseridentity=("email",)),
    "core_enrol_get_enrolled_users__separate_groups_without_accessallgroups": Case(_separate_groups),
    "core_enrol_get_enrolled_users__withcapability_missing_role_review": _without("moodle/role:review"),
    "core_enrol_get_enrolled_users__without_viewdetails_page": _without("moodle/user:viewdetails"),
    "core_user_get_users_by_field__id_many_with_unknown_deleted_suspended": Case(_strangers),
    "error__404": Case(send=lambda form: _get("/moodle/webservice/rest/server.php", form)),
    "error__core_course_get_courses_by_field__raw_setting_filter": _course_7(moodlewssettingraw="1"),
    f"{SITE_INFO}bad_token": _token("f" * 32),
    f"{SITE_INFO}debug_on_bad_token": _token("f" * 32),
    f"{SITE_INFO}empty_token": _token(""),
    f"{SITE_INFO}no_token": _token(None),
    f"{SITE_INFO}bearer_header": Case(
        send=lambda form: httpx.Request(
            "POST",
            f"https://moodle.example.org{REST}",
            headers={"Authorization": f"Bearer {form['wstoken']}"},
            data={name: form[name] for name in form if name != "wstoken"},
        )
    ),
    f"{SITE_INFO}json_body": Case(
        send=lambda form: httpx.Request("POST", f"https://moodle.example.org{REST}", json=form)
    ),
    f"{SITE_INFO}get_method": Case(send=lambda form: _get(REST, form)),
    f"{SITE_INFO}format_xml_default": Case(
        send=lambda form: request({name: form[name] for name in form if name != "moodlewsrestformat"})
    ),
    f"{SITE_INFO}expired_token": Case(lambda fake: fake.expire_token()),
    f"{SITE_INFO}expired_token_second_call": Case(_used_expired_token),
    f"{SITE_INFO}db_down": Case(lambda fake: fake.fail_next(None, "database_down")),
    f"{SITE_INFO}php_fpm_down": Case(lambda fake: fake.fail_next(None, "502_html")),
    f"{SITE_INFO}maintenance_web_mode": _site(maintenance="web"),
    f"{SITE_INFO}maintenance_cli_mode": _site(maintenance="cli"),
    f"{SITE_INFO}webservices_disabled": _site(web_services=False),
    f"{SITE_INFO}rest_protocol_disabled": _site(web_services=False),
    f"{SITE_INFO}ip_restricted": Case(_not_authorised),
    f"{SITE_INFO}user_not_authorised_for_service": Case(_not_authorised),
    f"{SITE_INFO}suspended_service_user": Case(_suspended_account),
    "core_completion_get_activities_completion_status__not_enrolled": Case(_strangers),
    "gradereport_user_get_grade_items__deleted_user": Case(_strangers),
    "gradereport_user_get_grade_items__not_enrolled_user": Case(_strangers),
    "gradereport_user_get_grade_items__separate_groups_without_accessallgroups": Case(_separate_groups),
    "login_token__admin_mobile": _login(username="admin", password=PASSWORD, service="moodle_mobile_app"),
    "login_token__bad_password": _login(username="svc_commcare", password="wrong", service="commcare_sync"),
    "login_token__get_method": Case(
        send=lambda _: _get(LOGIN, {"username": "svc_commcare", "password": PASSWORD, "service": "commcare_sync"})
    ),
    "login_token__maintenance_cli_mode": Case(_site(maintenance="cli").prepare, _login().send),
    "login_token__maintenance_web_mode": Case(_site(maintenance="web").prepare, _login().send),
    "login_token__missing_params": _login(username="svc_commcare"),
    "login_token__ok_external_service": _login(),
    "login_token__ok_mobile": _login(username="u0010", password=PASSWORD, service="moodle_mobile_app"),
    "login_token__service_restricted_user": _login(username="u0010", password=PASSWORD, service="commcare_sync"),
    "login_token__suspended_user": _login(username="u0021", password=PASSWORD, service="moodle_mobile_app"),
    "login_token__unknown_service": _login(username="svc_commcare", password=PASSWORD, service="nosuch"),
    "login_token__unknown_user": _login(username="nobody", password=PASSWORD, service="commcare_sync"),
    "login_token__webservices_disabled": Case(_site(web_services=False).prepare, _login().send),
}
FILES = {path.stem: path for path in sorted((RECORDINGS / "moodle-4.5").glob("*.json"))}
ASKED = [
    name for name in FILES if name not in NOT_MIRRORED and "max_input_vars" not in name and "post_max" not in name
]


def differences(real: Any, fake: Any, *, same: bool, where: str = "") -> list[str]:
    """Compare two answers and name the places where they differ."""
    if isinstance(real, dict) and "_trimmed_from" in real:
        count = [f"{where}: {len(fake)} rows"] if same and len(fake) != real["_trimmed_from"] else []
        return count + _rows(real["items"], fake, same=same, where=where)
    if isinstance(real, dict) and isinstance(fake, dict):
        return _keys(real, fake, same=same, where=where)
    if isinstance(real, list) and isinstance(fake, list):
        count = [f"{where}: {len(fake)} rows"] if same and len(fake) != len(real) else []
        return count + _rows(real, fake, same=same, where=where)
    if isinstance(real, str) and isinstance(fake, str) and real.startswith("{"):
        return differences(json.loads(real), json.loads(fake), same=same, where=where)
    if same and real != fake:
        return [f"{where}: {fake!r} for {real!r}"]
    if type(real) is type(fake) or {type(real), type(fake)} <= {int, float}:
        return []
    no_value = not same and None in (real, fake)
    return [] if no_value else [f"{where}: {type(fake).__name__} for {type(real).__name__}"]


def _keys(real: dict[str, Any], fake: dict[str, Any], *, same: bool, where: str) -> list[str]:
    """Compare two objects: their keys, then what stands under each."""
    odd = (real.keys() ^ fake.keys()) - UNRECORDED
    found = [f"{where}: keys {sorted(odd)}"] if odd else []
    for key in (real.keys() & fake.keys()) - UNRECORDED:
        known, given = real[key], fake[key]
        if key == "gradeitems":
            given = [row for row in given if row["id"] not in ITEMS_ADDED_LATER]
            known = known if isinstance(known, list) else known | {"_trimmed_from": len(given)}
        exactly = same and key not in MOVING
        found += differences(known, given, same=exactly, where=f"{where}.{key}")
    return found


def _rows(real: list[Any], fake: list[Any], *, same: bool, where: str) -> list[str]:
    """Compare rows: those with an id by their id, others in order; where rows moved, as many as both have."""
    if real and all(isinstance(row, dict) and "id" in row for row in real):
        by_id = {row["id"]: row for row in fake}
        fake = [by_id.get(row["id"], {}) for row in real]
    return [d for a, b in zip(real, fake, strict=False) for d in differences(a, b, same=same, where=f"{where}[]")]


def answer_of(name: str, recording: dict[str, Any]) -> httpx.Response:
    """Ask the fake what was asked when the answer was recorded."""
    passwords = dict.fromkeys(("svc_commcare", "u0010", "u0021", "admin"), PASSWORD)
    fake = FakeMoodle(recorded_site(), passwords=passwords)
    if recording["token_used"] == "MOODLE_WEAK_TOKEN":
        fake.capabilities.clear()
    case = CASES.get(name, Case())
    case.prepare(fake)
    form = {"wstoken": fake.token, "moodlewsrestformat": "json"}
    if recording["function"]:
        form["wsfunction"] = recording["function"]
    return fake(case.send(form | form_fields(recording["params"])))


@pytest.mark.parametrize("name", ASKED)
def test_fake_answers_as_the_real_site_did(name: str) -> None:
    """Status, content type, errors and rows are those of the recorded answer."""
    recording = recording_of(name)
    answer = answer_of(name, recording)
    headers, real = recording["headers"], recording["response"]

    assert recording["status"] == answer.status_code
    assert (headers.get("Content-Type").split(";")[0], headers.get("Retry-After")) == (
        answer.headers["Content-Type"].split(";")[0],
        answer.headers.get("Retry-After"),
    )
    if isinstance(real, dict) and "_not_json" in real:
        if recording["status"] == 503:  # the real page is longer
            assert "under maintenance" in answer.text
        else:
            assert real["_body_head"][:250] == answer.text[:250]
        return
    if "trimmed_from" in recording:
        real = {"_trimmed_from": recording["trimmed_from"], "items": real}
    assert [] == differences(real, _asked_rows(answer.json(), recording), same=name not in ALIKE)


def _asked_rows(got: Any, recording: dict[str, Any]) -> Any:
    """Keep the rows the recording kept, where its note says that it was filtered."""
    if "Filtered" in recording.get("note", ""):
        kept = {row["id"] for row in recording["response"]}
        return [row for row in got if row["id"] in kept]
    return got


def test_every_recording_is_asked_or_explained() -> None:
    """Each case and each reason belongs to a recording that is here."""
    assert set() == (NOT_MIRRORED.keys() | CASES.keys() | ALIKE) - FILES.keys()
    assert set() == NOT_MIRRORED.keys() & (CASES.keys() | ALIKE)
