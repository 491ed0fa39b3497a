"""The recorded site of a real Moodle, before and after known changes, through the whole main job."""

from __future__ import annotations

from flows.result import Result
from tests.adaptors.moodle_world import recorded_site
from tests.flows.worlds import Lab, written


def writes(result: Result) -> int:
    """Return how many write requests a run made."""
    return result.requests["commcare"].get("write", 0)


async def test_replay(recorded: Lab) -> None:
    """Before creates everybody, again nothing; after writes 9 rows, again marks 8 as left, then nothing."""
    first = await recorded.sync()
    assert ("completed", 290, 467, 3 + 5) == (
        first.state,
        first.of("student").created,
        first.of("enrolment").created,
        writes(first),
    )
    second = await recorded.sync()
    assert ({}, 0) == (written(second), writes(second))

    recorded.use_site(recorded_site("after"))
    sent = len(recorded.project.forms)
    third = await recorded.sync()
    assert ({"created": 2, "updated": 7}, 2) == (written(third), writes(third))
    assert CHANGES == changes(recorded, sent)

    sent = len(recorded.project.forms)
    fourth = await recorded.sync()
    assert {"marked_left": 8} == written(fourth)
    assert LEFT == changes(recorded, sent)

    fifth = await recorded.sync()
    assert ({}, 0, "completed") == (written(fifth), writes(fifth), fifth.state)


def changes(lab: Lab, since: int) -> dict[str, list[str]]:
    """Return, by key, the names of what the rows of the requests since then carried."""
    found = {}
    for row in lab.rows_sent(since):
        key = row.get("external_id") or lab.project.cases[row["case_id"]].external_id
        found[key] = ["created"] if row["create"] is None else sorted(row.get("properties", {}))
    return found


CHANGES = {
    "lab-user-40": ["city", "contact_phone_number"],
    "lab-user-41": ["moodle_status"],
    "lab-user-306": ["created"],
    "lab-enrol-2-306": ["created"],
    "lab-enrol-2-42": ["grade_11", "grade_percent"],
    "lab-enrol-2-44": ["grade_11", "grade_percent"],
    "lab-enrol-2-45": ["grade_2", "grade_percent"],
    "lab-enrol-2-46": ["grade_2", "grade_percent"],
    "lab-enrol-2-47": ["group_name"],
}

LEFT = {
    "lab-user-37": ["moodle_status"],
    "lab-user-38": ["moodle_status"],
    "lab-user-49": ["moodle_status"],
    "lab-enrol-2-37": ["enrolment_status"],
    "lab-enrol-2-38": ["enrolment_status"],
    "lab-enrol-2-49": ["enrolment_status"],
    "lab-enrol-4-49": ["enrolment_status"],
    "lab-enrol-9-49": ["enrolment_status"],
}
