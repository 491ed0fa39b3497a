"""What `check` says of activities once a mapping needs them, with the right or the function that is missing."""

from __future__ import annotations

import json

import pytest

from flows.endings import FAILED, OK
from flows.needs import REFUSED_BLANKS
from flows.open import open_store
from flows.settings import load_settings
from tests.flows.terminal import Terminal
from tests.flows.test_check import findings, not_well
from tests.flows.test_engagement import ASSIGNMENT


@pytest.fixture
def engaged(terminal: Terminal) -> Terminal:
    """Give a terminal with engagement switched on."""
    file = terminal.mappings / "engagement.yaml"
    file.write_text(file.read_text().replace("enabled: false\n", ""))
    return terminal


def test_nothing_is_asked_without_need(terminal: Terminal) -> None:
    """The mappings that are on by themselves need no activities."""
    assert not [line for line in findings(terminal) if "Activity" in line]


def test_one_learner_of_one_course(engaged: Terminal) -> None:
    """The smallest course is asked about one learner: two requests more."""
    assert "ok Activity readable in course 4: 1 activity with completion tracking" in findings(engaged)
    assert 1 + 1 + 3 * 3 + 1 + 1 + 2 == engaged.box.moodle.requests


def test_missing_right(engaged: Terminal) -> None:
    """Without report/progress:view the check says so and how to put it right."""
    engaged.box.moodle.revoke("report/progress:view")
    ended = engaged.run("check")
    assert (FAILED, True) == (ended.code, "'report/progress:view'" in ended.out)


def test_missing_functions(engaged: Terminal) -> None:
    """A missing function is named; without the batch function each learner costs a request."""
    engaged.box.moodle.remove_function("core_course_get_contents")
    engaged.box.moodle.remove_function("tool_mobile_call_external_functions")
    assert [
        "fail Moodle the service lacks the function core_course_get_contents",
        "note Moodle the service lacks tool_mobile_call_external_functions: "
        "what learners have done takes a request for each of them",
    ] == not_well(engaged, code=FAILED)


def test_course_that_tracks_nothing(engaged: Terminal) -> None:
    """Without completion tracking there is nothing to read, which may be meant so."""
    for activities in engaged.box.site.activities.by_course.values():
        for activity in activities.values():
            activity.tracking = 0
    (line,) = not_well(engaged, code=OK)
    assert line.startswith("note Activity course 4 tracks no activity")


def test_assignments_that_a_run_asks_about(terminal: Terminal) -> None:
    """Where only grades are wanted, assignments are looked at while a run asks whether values are gone."""
    assert not any("Activity" in line for line in findings(terminal))
    terminal.box.moodle.revoke("mod/assign:view")
    with open_store(load_settings(terminal.env, None)) as store:
        store.put(REFUSED_BLANKS, json.dumps({"enrolment grade_7": {"2": 12}}))
    assert any(line.startswith("note Activity none of the ") for line in not_well(terminal))


def test_assignments(terminal: Terminal) -> None:
    """Assignments are counted; when the account may not see them, the right is named."""
    (terminal.mappings / "assignment.yaml").write_text(ASSIGNMENT)
    assert "ok Activity readable in course 4: 1 assignment" in findings(terminal)
    terminal.box.moodle.revoke("mod/assign:view")
    assert any(line.startswith("note Activity none of the ") for line in not_well(terminal))
    assert "Give the role of the account 'mod/assign:view'" in terminal.run("check").text
    terminal.box.moodle.allow("mod/assign:view")
    terminal.box.site.activities.by_course[4].clear()
    assert any("ok Activity readable in course 2: " in line for line in findings(terminal))
    terminal.box.moodle.revoke("mod/assign:grade", "mod/assign:viewgrades")
    ended = terminal.run("check")
    assert (FAILED, True) == (ended.code, "'mod/assign:viewgrades'" in ended.out)
