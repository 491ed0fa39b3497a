"""Books with something of everything that a status shows, at a moment that never changes."""

from __future__ import annotations

import json
from typing import Any

from flows.needs import REFUSED_BLANKS, REFUSED_LEAVERS, UNSHOWN_BLANKS, needs
from flows.questions import COURSE
from flows.schedule import NextRun
from flows.status import Status, read_status
from flows.steps.select import SELECTED
from state import Ack, Intent, Refusal, RowId, Store, TableRowKnown
from tests.voided import void

NOW = 1_795_000_000.0  # Wed 18 Nov 2026, 11:06 UTC
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
ABOUT = ("https://moodle.example.org", "https://www.commcarehq.org", "training")
NEEDS_WORK = "Not read: course 7. Moodle gave no answer. Look at `moodle-commcare check`."
HELD = {"case_name": b"n" * 16}


def fill(store: Store) -> None:
    """Write books of three courses, one that fails and one that nobody reads any more, and of three runs."""
    _rows(store)
    _courses(store)
    _problems(store)
    _runs(store)
    _tables(store)
    store.put(REFUSED_LEAVERS, json.dumps({"3": {"enrolment": 12}}))


def made_status(store: Store, **given: Any) -> Status:
    """Fill books and read where things stand."""
    fill(store)
    upcoming = [NextRun("sync", NOW + 54 * MINUTE), NextRun("audit", NOW + 4 * DAY)]
    return read_status(store, None, NOW, **{"about": ABOUT, "upcoming": upcoming, **given})


def ask_with_condition(store: Store) -> None:
    """Write books in which a course that is not listed and a field that nobody shows are asked about by a run."""
    store.put(REFUSED_LEAVERS, json.dumps({"20": {COURSE: 3}}))
    store.put(REFUSED_BLANKS, json.dumps({"student city": {"0": 2}}))
    store.put(UNSHOWN_BLANKS, json.dumps({"student city": "city"}))
    messages = [*(need.message for need in needs(store)), "Something else."]
    store.start_run("run-1", NOW - HOUR, "r1")
    store.finish_run("run-1", NOW - HOUR + 9, "waiting", {"messages": messages})


def _rows(store: Store) -> None:
    acks = [_ack("student", 0, number, "left" if number == 3 else "active") for number in range(1, 5)]
    acks += [_ack("enrolment", 2, number, "active") for number in range(1, 4)]
    store.acknowledge(acks, NOW - HOUR)
    void(store, [RowId("enrolment", 2, "site-enrolment-1")], NOW - HOUR)
    doubtful = [Intent(RowId("enrolment", 3, "site-enrolment-9"), 9, "create")]
    store.stamp("run-2-1", doubtful, NOW - 15 * MINUTE)


def _ack(mapping: str, scope: int, number: int, status: str) -> Ack:
    return Ack(
        RowId(mapping, scope, f"site-{mapping}-{number}"), f"case-{mapping}-{number}", "o", HELD, status, number
    )


def _tables(store: Store) -> None:
    rows = {str(number): TableRowKnown(f"row-{number}", b"d", int(number == 3)) for number in (1, 2, 3)}
    store.save_table_rows("moodle_courses", rows)
    store.note_table_write("moodle_courses", None, written=NOW - 2 * HOUR)
    store.note_table_write("places", NOW - 10 * MINUTE)


def _courses(store: Store) -> None:
    store.checkpoint(0, "run-3", NOW - 6 * MINUTE, [1, 2, 3, 4])
    store.checkpoint(2, "run-3", NOW - 6 * MINUTE, [1, 2, 3])
    store.checkpoint(3, "run-1", NOW - 5 * HOUR, [1, 2])
    store.checkpoint(5, "run-0", NOW - 40 * DAY, [4])
    store.course_failed(7)
    store.course_failed(7)
    store.put(SELECTED, "[2, 3, 7, 8]")


def _problems(store: Store) -> None:
    found = [(f"site-student-{number}", "phone", "invalid_phone", "") for number in (1, 2)]
    found.append(("site-student-4", "", "owner_unresolved", "group unknown"))
    store.set_problems("student", 0, found, NOW - DAY)
    refused = [
        Refusal(RowId("enrolment", 2, f"site-enrolment-{number}"), "update", "poison", b"c") for number in (1, 2)
    ]
    store.note_refusals(refused, NOW - 2 * DAY)
    store.drop([refused[1].row], NOW)


def _runs(store: Store) -> None:
    student = {"created": 4, "updated": 0, "unchanged": 0, "held_back": 1, "problems": 2, "in_doubt": 0}
    courses = {number: {"state": "completed", "people": 3, "seconds": 1.0} for number in ("2", "3")}
    failed = {"7": {"state": "failed", "people": 0, "seconds": 9.0, "reason": "Moodle gave no answer."}}
    for number, state in enumerate(("completed", "degraded"), 1):
        began = NOW - (3 - number) * HOUR - 7 * MINUTE
        store.start_run(f"run-{number}", began, "r1")
        counts = {
            "cases": {"student": student, "enrolment": {"updated": number, "in_doubt": 1}},
            "courses": courses | (failed if state == "degraded" else {}),
            "requests": {"moodle": {"core_enrol_get_enrolled_users": 9}, "commcare": {"write": number}},
            "messages": [NEEDS_WORK] if state == "degraded" else [],
        }
        store.finish_run(f"run-{number}", began + 42.0 * number, state, counts)
    store.start_run("run-3", NOW - 7 * MINUTE, "r1")
