"""`moodle-commcare setup`: what the two systems have to allow, for the mappings and features in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from adaptors.moodle.fake_templates import CAPABILITIES
from adaptors.moodle.functions import BY_NAME, FEEDBACK, MARKING
from adaptors.moodle.rights import EVERY_RUN, RIGHTS, TRACKED_ACTIVITIES, right_of
from flows.endings import FAILED, OK, USAGE
from flows.setup_role import ORDER
from tests.flows.terminal import Terminal

OWNER = "owner:\n  # first_of:"


def capabilities(terminal: Terminal, *options: str) -> set[str]:
    """Return the capabilities that are told to be needed."""
    return {one["capability"] for one in terminal.run("setup", "moodle", "--json", *options).json["rights"]}


def functions(terminal: Terminal, *options: str) -> dict[str, list[str]]:
    """Return the functions that are told to be needed, each with what needs it."""
    told = terminal.run("setup", "moodle", "--json", *options).json["functions"]
    return {one["name"]: one["needed_by"] for one in told}


# --- Moodle -------------------------------------------------------------------------------------------------


def test_a_site_set_up_as_told_is_enough(terminal: Terminal) -> None:
    """A service with only these functions, and a role with only these rights, leave nothing to put right."""
    told = terminal.run("setup", "moodle", "--json").json
    terminal.box.moodle.functions = [one["name"] for one in told["functions"]]
    terminal.box.moodle.capabilities = {one["capability"] for one in told["rights"]}
    assert "Nothing is in the way of a run." in terminal.run("check").out
    assert (OK, 36) == (terminal.run("sync", "--yes").code, terminal.cases)


@pytest.mark.parametrize("engagement", [False, True])
def test_check_counts_the_functions_of_the_checklist(terminal: Terminal, engagement: bool) -> None:
    """Both name as many; what a service can do without is told as missing from them."""
    if engagement:
        terminal.edit("engagement.yaml", "enabled: false", "enabled: true")
    there = len(functions(terminal))
    assert f"the service has the {there} functions that `setup moodle` names" in terminal.run("check").text
    terminal.box.moodle.remove_function("tool_mobile_call_external_functions")
    assert f"the service has {there - 1} of the {there} functions" in terminal.run("check").text


def test_a_month_is_no_time_for_a_token(terminal: Terminal) -> None:
    """Moodle's form fills in a last day: the checklist says what to do with it."""
    text = terminal.run("setup", "moodle").text
    assert "untick 'Enable' beside it for a token that never ends" in text
    assert "MOODLE_TOKEN_EXPIRES" in text


@pytest.mark.parametrize("function", ["gradereport_user_get_grade_items", "core_enrol_get_enrolled_users"])
def test_no_function_too_many(terminal: Terminal, function: str) -> None:
    """With one function less something is missing."""
    terminal.box.moodle.functions = [name for name in functions(terminal) if name != function]
    assert FAILED == terminal.run("check").code


def test_only_what_the_mappings_need(terminal: Terminal) -> None:
    """Without a mapping that reads grades neither their functions nor their rights are asked for."""
    terminal.edit("enrolment.yaml", "language: 1", "language: 1\nenabled: false")
    assert "gradereport_user_get_grade_items" not in functions(terminal)
    assert set(EVERY_RUN) == capabilities(terminal)


def test_engagement_asks_for_completion(terminal: Terminal) -> None:
    """The mapping that tells what learners have done needs its functions, their right, and the site's switch."""
    terminal.edit("engagement.yaml", "enabled: false", "enabled: true")
    assert ["engagement"] == functions(terminal)["core_completion_get_activities_completion_status"]
    assert {"report/progress:view", *TRACKED_ACTIVITIES} <= capabilities(terminal)
    assert "Enable completion tracking" in terminal.run("setup", "moodle").text


def test_assignments_and_feedback(terminal: Terminal) -> None:
    """Marking adds its functions; only feedback asks for the right to grade; both want the files."""
    assert set(MARKING) <= functions(terminal, "--assignments").keys()
    assert set(FEEDBACK) <= functions(terminal, "--feedback").keys()
    assert "mod/assign:grade" not in capabilities(terminal, "--assignments")
    assert "mod/assign:grade" in capabilities(terminal, "--feedback")
    assert "Tick 'Can download files'" in terminal.run("setup", "moodle", "--assignments").text
    assert "Leave 'Can download files'" in terminal.run("setup", "moodle").text


def test_hidden_grades_need_a_mapping(terminal: Terminal) -> None:
    """The right to see hidden grades is asked for by the mapping that names them, and by nothing else."""
    assert "moodle/grade:viewhidden" not in capabilities(terminal, "--assignments", "--feedback")
    terminal.edit("enrolment.yaml", "properties:\n  course_id", "properties:\n  hidden: grade.hidden\n  course_id")
    assert "moodle/grade:viewhidden" in capabilities(terminal)


def test_hidden_groups_need_a_mapping(terminal: Terminal) -> None:
    """The right to see them is asked for where a mapping reads groups, be it only for the owner."""
    right = "moodle/course:viewhiddengroups"
    assert right in capabilities(terminal)
    assert (
        f"{right} see groups whose visibility is 'Hidden'; Moodle has them" in terminal.run("setup", "moodle").text
    )
    terminal.edit("enrolment.yaml", "language: 1", "language: 1\nenabled: false")
    assert right not in capabilities(terminal)
    assert f"{right} see groups whose" in terminal.run("setup", "moodle").text  # stays out of it, unless
    terminal.edit("student.yaml", OWNER, "owner:\n  first_of: [{group: groups}]")
    assert right in capabilities(terminal)


def test_webhooks_are_seen_in_the_settings(terminal: Terminal) -> None:
    """Who has set the secret of webhooks is told how Moodle comes to send them."""
    assert "local_webhooks" not in terminal.run("setup", "moodle").text
    terminal.env["WEBHOOK_TOKEN"] = "canary-webhook-token"
    assert "local_webhooks" in terminal.run("setup", "moodle").text


def test_signing_in_by_name(terminal: Terminal) -> None:
    """A site that is signed in to with a password gets the right to make its first token."""
    terminal.env |= {"MOODLE_USERNAME": "svc", "MOODLE_PASSWORD": "canary-password", "MOODLE_SERVICE": "sync"}
    del terminal.env["MOODLE_TOKEN"]
    assert "moodle/webservice:createtoken" in capabilities(terminal)
    assert "its short name goes into MOODLE_SERVICE" in terminal.run("setup", "moodle").text


def test_before_there_is_anything(terminal: Terminal) -> None:
    """Without settings and without a project it tells what the shipped mappings need, and says so."""
    (terminal.mappings / "project.yaml").unlink()
    terminal.env = {"MAPPINGS_DIR": str(terminal.mappings)}
    ended = terminal.run("setup", "moodle")
    assert OK == ended.code
    assert "There is no project.yaml yet: this is what the shipped mappings need." in ended.text
    assert "gradereport_user_get_grade_items" in ended.out


def test_a_mistake_in_the_mappings_is_told(terminal: Terminal) -> None:
    """Mappings that are not right are named with file and line."""
    terminal.edit("student.yaml", "case_type:", "case_tpye:")
    ended = terminal.run("setup", "moodle")
    assert FAILED == ended.code
    assert "student.yaml:" in ended.text


# --- the role -----------------------------------------------------------------------------------------------


def test_the_role_file_is_as_moodle_wants_it(terminal: Terminal, tmp_path: Path) -> None:
    """One `role` with Moodle's elements, each once and in its order; the rights that are told, all allowed."""
    file = tmp_path / "role.xml"
    told = terminal.run("setup", "moodle", "--feedback", "--role", str(file), "--json").json
    raw = file.read_bytes()
    assert raw.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
    top = ElementTree.fromstring(raw)  # noqa: S314 - our own file
    assert ("role", list(ORDER)) == (top.tag, [part.tag for part in top])
    assert ["system"] == [level.text for level in top.iterfind("contextlevels/level")]
    assert {"allow"} == {one.tag for one in top.find("permissions") or ()}
    allowed = [one.text for one in top.iterfind("permissions/allow")]
    assert sorted(one["capability"] for one in told["rights"]) == allowed
    assert ["", "commcaresync"] == [top.findtext("archetype"), top.findtext("shortname")]
    assert str(file) == told["role_file"]


def test_the_role_file_is_written_again_but_not_over_others(terminal: Terminal, tmp_path: Path) -> None:
    """An older role file of ours is replaced; whatever else has that name stays."""
    file, other = tmp_path / "role.xml", tmp_path / "notes.xml"
    assert OK == terminal.run("setup", "moodle", "--role", str(file)).code
    assert OK == terminal.run("setup", "moodle", "--feedback", "--role", str(file)).code
    assert b"mod/assign:grade" in file.read_bytes()
    other.write_text("mine")
    ended = terminal.run("setup", "moodle", "--role", str(other))
    assert (USAGE, "mine") == (ended.code, other.read_text())


# --- CommCare -----------------------------------------------------------------------------------------------


def commcare(terminal: Terminal, *options: str) -> Any:
    """Return the checklist of CommCare."""
    return terminal.run("setup", "commcare", "--json", *options).json


def needed(told: Any) -> set[str]:
    """Return the permissions that no command alone needs."""
    return {one["permission"] for one in told["permissions"] if "only" not in one["for"]}


def test_permissions_follow_the_owners(terminal: Terminal) -> None:
    """Owners that are groups need the right to look them up, a rule with locations that one and the plan."""
    assert {"Access APIs", "Edit Data", "Edit Mobile Workers"} == needed(commcare(terminal))
    terminal.edit("student.yaml", OWNER, "owner:\n  first_of: [{location: department}]")
    told = commcare(terminal)
    assert {"Access APIs", "Edit Data", "Edit Mobile Workers", "Edit Locations"} == needed(told)
    assert ["API access", "roles of your own", "locations"] == [one["name"] for one in told["plan"]]


def test_a_project_space_set_up_as_told_is_enough(terminal: Terminal) -> None:
    """Without the permissions that are not told to be needed a check finds nothing, and a run goes through."""
    terminal.box.commcare.revoked |= {"edit_groups", "edit_locations"}
    assert OK == terminal.run("check").code
    assert OK == terminal.run("sync", "--yes").code


@pytest.mark.parametrize("permission", ["api_access", "edit_data", "edit_mobile_workers"])
def test_no_permission_too_many(terminal: Terminal, permission: str) -> None:
    """With one permission less something is missing."""
    terminal.box.commcare.revoked |= {permission}
    assert FAILED == terminal.run("check").code


def test_forwarding_is_seen_in_the_settings(terminal: Terminal) -> None:
    """Only who has set its secret, or asks, is told about forwarding."""
    assert not commcare(terminal)["forwarding"]
    assert "Data Forwarding" in terminal.run("setup", "commcare", "--forwarding").text
    terminal.env["FORWARDING_TOKEN"] = "canary-forwarding-token"
    assert commcare(terminal)["forwarding"]
    assert "FORWARDING_IGNORE_USERS" in terminal.run("setup", "commcare").text


def test_the_dictionary_is_where_it_says(terminal: Terminal) -> None:
    """The file to upload is the one that `mappings docs` writes."""
    file = Path(commcare(terminal)["data_dictionary"])
    assert not file.exists()
    terminal.run("mappings", "docs")
    assert file.exists()


def test_commcare_before_there_is_anything(terminal: Terminal) -> None:
    """Without settings and project there is a checklist, too."""
    (terminal.mappings / "project.yaml").unlink()
    terminal.env = {"MAPPINGS_DIR": str(terminal.mappings)}
    ended = terminal.run("setup", "commcare")
    assert OK == ended.code
    assert "There is no project.yaml yet" in ended.text


# --- the knowledge behind it --------------------------------------------------------------------------------


def test_every_capability_is_explained() -> None:
    """Whatever a function needs has a sentence, and all were measured."""
    needed = {capability for function in BY_NAME.values() for capability in function.capabilities}
    assert set() == {name for name in needed if name not in RIGHTS and name not in TRACKED_ACTIVITIES}
    assert [] == [name for name in needed if not (right_of(name).gives and right_of(name).without)]
    assert set() == needed - CAPABILITIES - {"webservice/rest:use"}


def test_no_right_that_moodle_does_not_have() -> None:
    """Forums and SCORM packages have no view right, and a wiki's has another name."""
    views = {name for name in TRACKED_ACTIVITIES if name.split(":")[0] in ("mod/forum", "mod/scorm", "mod/wiki")}
    assert {"mod/wiki:viewpage"} == views


def test_lists_of_functions_name_functions() -> None:
    """The lists for marking and feedback hold no name that is not explained."""
    assert set() == {*MARKING, *FEEDBACK} - BY_NAME.keys()
