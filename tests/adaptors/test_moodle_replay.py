"""The recorded site replayed: built from a real Moodle's answers, it gives them again, whole or in pieces."""

import json
from typing import Any

import pytest

from adaptors.moodle.fake import BATCH, SERVED, FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from tests.adaptors.moodle_world import ask, options, post, recorded_calls


@pytest.mark.parametrize("name", ["before", "after"])
def test_replay_equals_the_recording(name: str) -> None:
    """Asked what was asked of the real site, the fake built from the answers gives the same answers."""
    fake = FakeMoodle(FakeSite.from_recording(recorded_calls(name)))
    calls = [call for call in recorded_calls(name) if call["function"] in SERVED]
    assert 48 == len(calls)
    for call in calls:
        if 306 in fake.site.members[2]:  # just enrolled: for some calls Moodle's rounded clock had passed that
            begun = call["function"] == "mod_assign_get_submissions"
            fake.site.suspend_enrolment(2, 306, suspended=not begun)
        answer = post(fake, call["function"], **call["params"])
        recorded, got = call["response"], answer.json()
        if (
            call["function"] == "mod_assign_list_participants"
        ):  # people of five courses out of twelve were recorded
            recorded, got = ([_without_courses(row) for row in rows] for rows in (recorded, got))
        if call["function"] == "mod_assign_get_grades" and 306 not in fake.site.members[2]:
            recorded = {**recorded, "assignments": [_of_the_enrolled(one) for one in recorded["assignments"]]}
        assert (call["status"], recorded) == (answer.status_code, got), call["params"]


def _without_courses(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "enrolledcourses"}


def _of_the_enrolled(one: dict[str, Any]) -> dict[str, Any]:
    """Leave out the row of somebody not in the course: the submission row behind it is in no recorded answer."""
    return one | {"grades": [row for row in one["grades"] if (one["assignmentid"], row["userid"]) != (1, 306)]}


def test_replay_cuts_pages_from_the_recorded_rows() -> None:
    """All pages of a course together are the recorded rows."""
    fake = FakeMoodle(FakeSite.from_recording(recorded_calls("before")))
    (call,) = [
        c for c in recorded_calls("before") if c["params"].get("courseid") == 2 and "roles" in str(c["params"])
    ]
    pages = []
    for offset in range(0, 300, 50):
        page = options(limitfrom=offset, limitnumber=50)
        pages += ask(fake, call["function"], courseid=2, options=[*call["params"]["options"], *page])
    assert call["response"] == pages


def test_replay_takes_single_reports_from_the_whole_course() -> None:
    """One person's grades, alone or in a batch, are that person's part of the recorded answer."""
    fake = FakeMoodle(FakeSite.from_recording(recorded_calls("before")))
    (call,) = [c for c in recorded_calls("before") if c["params"] == {"courseid": 2, "userid": 0}]
    whole = {user["userid"]: user for user in call["response"]["usergrades"]}
    people = [16, 18, 22]
    batch = [{"function": call["function"], "arguments": json.dumps({"courseid": 2, "userid": n})} for n in people]
    answers = ask(fake, BATCH, requests=batch)["responses"]
    assert [whole[n] for n in people] == [json.loads(answer["data"])["usergrades"][0] for answer in answers]
    assert [whole[18]] == ask(fake, call["function"], courseid=2, userid=18)["usergrades"]
