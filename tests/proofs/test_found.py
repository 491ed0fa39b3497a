"""What the proofs found in the engine, each as small as it gets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.canaries import found_in
from tests.proofs.machine import Machine
from tests.proofs.machine_world import Ground

Steps = tuple[tuple[str, dict[str, Any]], ...]
LIVES: dict[str, tuple[str, Steps]] = {
    "an outage puts the blame on a row with nothing wrong": (
        "",
        (
            ("run_for_a_while", {"runs": 2}),
            ("delete_by_hand", {"which": 0}),
            ("fail_commcare", {"kind": "429", "times": 8, "where": "write"}),
            ("fail_commcare", {"kind": "timeout", "times": 1, "where": "write"}),
            ("unenrol", {"where": 0, "who": 25}),
            ("fail_commcare", {"kind": "500_html", "times": 8, "where": "write"}),
            ("run_for_a_while", {"runs": 2}),
            ("unenrol", {"where": 1, "who": 11}),
            ("unenrol", {"where": 0, "who": 20}),
            ("run_for_a_while", {"runs": 3}),
            ("delete", {"who": 25}),
            ("run_for_a_while", {"runs": 4}),
        ),
    ),
    "a person is back before parking an unknown case is answered": (
        ", park: true",
        (
            ("hide", {"where": 1}),
            ("join_and_break", {"how": "crash before", "later": 1.0}),
            ("fail_a_read", {"after": 2, "function": None, "kind": "503", "times": 2}),
            ("join_and_break", {"how": "lost", "later": 1260.0}),
            ("back_up_change_restore", {"how": "lost", "who": 21}),
            ("leave_and_return", {"agrees": True, "how": "", "where": 0, "who": 2}),
        ),
    ),
    "a read that lacked somebody before the books were put back counts on": (
        ", park: true",
        (
            ("run_for_a_while", {"runs": 3}),
            ("empty_the_next_read", {"where": 1}),
            ("run_later", {"later": 3600.0}),
            ("back_up_change_restore", {"how": "lost", "who": 23}),
            ("merge", {"new": 19, "old": 26}),
        ),
    ),
    "a case was closed after the backup, and its person is back": (
        ", close: true",
        (
            ("run_later", {"later": 60.0}),
            ("empty_the_next_read", {"where": 0}),
            ("run_for_a_course", {"where": 1}),
            ("shrink_the_next_read", {"who": {1, 10}}),
            ("back_up_change_restore", {"how": "lost", "who": 20}),
        ),
    ),
    "somebody closed a case, the books are put back, and its person leaves": (
        ", close: true",
        (
            ("merge", {"new": 26, "old": 17}),
            ("join_and_break", {"how": "lost", "later": 60.0}),
            ("close_by_hand", {"which": 18}),
            ("join_and_break", {"how": "crash after", "later": 700.0}),
            ("back_up_change_restore", {"how": "crash after", "who": 14}),
            (
                "fail_a_read",
                {"after": 0, "function": "core_course_get_courses_by_field", "kind": "php_warning", "times": 1},
            ),
            ("run_later", {"later": 3600.0}),
            ("run_at_once", {}),
            ("merge", {"new": 3, "old": 8}),
        ),
    ),
    "people of a course are missing, and it ends before somebody answers": (
        "",
        (
            ("run_hourly", {}),
            ("delete", {"who": 0}),
            ("delete", {"who": 23}),
            ("unenrol", {"where": 0, "who": 21}),
            ("run_hourly", {}),
            ("end_go_on_and_end", {"where": 0, "how": "late", "later": 1260.0}),
        ),
    ),
    "kept out while closed, never heard of, and gone": (
        ", close: true",
        (
            ("change_break_leave_and_keep_out", {"how": "crash after", "who": 16}),
            ("fail_commcare", {"kind": "504_html", "times": 8, "where": "write"}),
            ("change_break_leave_and_keep_out", {"how": "crash before", "who": 28}),
            ("delete", {"who": 26}),
        ),
    ),
    "marked as left without an answer, back, and the course ends": (
        ", park: true",
        (
            ("leave_and_return", {"agrees": True, "how": "crash after", "where": 1, "who": 7}),
            ("leave_and_return", {"agrees": False, "how": "crash before", "where": 1, "who": 6}),
            ("end_go_on_and_end", {"how": "crash before", "later": 1260.0, "where": 1}),
        ),
    ),
    "kept out, asked about, and then everybody is gone": (
        "",
        (
            ("agree_and_break", {"how": "crash before", "kept_out": True, "where": 0}),
            ("agree_and_break", {"how": "crash after", "kept_out": False, "where": 1}),
            ("agree_and_break", {"how": "late", "kept_out": False, "where": 0}),
        ),
    ),
    "kept out, refused for now, and gone": (
        "",
        (("keep_out_and_leave", {"who": 0, "how": "429", "later": 60.0}),),
    ),
    "the next case of somebody who had gone, unknown to the backup": (
        ", close: true",
        (
            ("restore_what_was_while_away", {"kept_out": True, "later": 1260.0, "who": 8}),
            ("restore_what_was_while_away", {"kept_out": False, "later": 1260.0, "who": 0}),
        ),
    ),
    "merged, and no write was ever answered": (
        ", park: true",
        (
            ("overwrite_and_repair", {"how": "lost", "later": 700.0, "who": 8}),
            ("fail_commcare", {"kind": "timeout", "times": 8, "where": "write"}),
            ("run_at_once", {}),
            ("merge_by_word", {"ends": True, "how": "crash before", "later": 1260.0, "new": 11, "old": 3}),
        ),
    ),
    "not in a course any more, which ends in the run in which its person is kept out": (
        ", close: true",
        (
            ("run_for_a_while", {"runs": 4}),
            ("crash_at_the_books", {"at": 25, "done": True}),
            ("delete", {"who": 18}),
            ("change_role", {"roles": ("teacher",), "where": 0, "who": 0}),
            ("end_or_go_on", {"where": 1}),
            ("unenrol", {"where": 1, "who": 21}),
            ("run_hourly", {}),
        ),
    ),
    "closed by hand, kept out without an answer, and gone": (
        ", park: true",
        (
            ("unenrol", {"where": 1, "who": 14}),
            ("unenrol", {"where": 0, "who": 20}),
            ("run_at_once", {}),
            ("close_by_hand", {"which": 11}),
            ("keep_out_and_leave", {"how": "503", "later": 1260.0, "who": 13}),
        ),
    ),
    "a late write of a few blanks comes before the run that sends the others": (
        "",
        (
            ("change_role", {"roles": ("teacher",), "where": 1, "who": 7}),
            ("restore_and_blank", {"later": 60.0}),
            ("empty_the_next_read", {"where": 1}),
            ("write_late", {"seconds": 900.0}),
            ("run_later", {"later": 60.0}),
            ("run_for_a_course", {"where": 1}),
        ),
    ),
    "emptied by somebody's word, and then gone from a course": (
        ", park: true",
        (
            ("agree_and_break", {"how": "crash before", "kept_out": True, "where": 1}),
            ("agree_to_keep_out_and_break", {"how": "crash after", "later": 1260.0}),
            ("agree_and_break", {"how": "crash after", "kept_out": False, "where": 0}),
        ),
    ),
}
"""Lives of the state machine that ended badly before the engine, or its witness, was mended, cut down."""
OUT = {
    "closed by hand, kept out without an answer, and gone": ", close: true",
    "a late write of a few blanks comes before the run that sends the others": ", park: true",
    "emptied by somebody's word, and then gone from a course": ", close: true",
}
"""What becomes of whoever is kept out, where something does."""


@pytest.mark.parametrize("name", LIVES)
def test_a_life_that_ended_badly_ends_well(name: str) -> None:
    """After all of it CommCare is as Moodle is."""
    way, steps = LIVES[name]
    machine = Machine()
    machine.begin(way, out=OUT.get(name, ""))
    for step, choices in steps:
        getattr(machine, step)(**choices)
    machine.teardown()


def test_a_value_that_books_forgot_is_emptied(tmp_path: Path) -> None:
    """A blank empties what CommCare held before its row was dirty, though a read between did not show it."""
    ground = Ground(tmp_path, "")
    with asyncio.Runner() as loop:
        loop.run(ground.run())
        for person in ground.people:
            ground.site.update_user(person, city="")  # nobody has one: whether it may be seen is not known
        ground.store.mark_restored(ground.clock.now())
        loop.run(ground.run())
        newcomer = ground.site.add_user("Zawadi", "Kamau", city="Siaya")
        ground.site.enrol(ground.courses[0], newcomer)
        loop.run(ground.run())
        ground.agree()
        loop.run(ground.run())
    assert [""] * 4 == [ground.case(f"test-user-{person}").properties["city"] for person in ground.people[:4]]


def test_nobody_is_asked_twice_about_deleted_cases(tmp_path: Path) -> None:
    """People who left, and whose cases somebody deleted in CommCare, are asked about once and not in every run."""
    ground = Ground(tmp_path, "")
    asked = []
    with asyncio.Runner() as loop:
        loop.run(ground.run())
        for person in ground.people[:3]:
            ground.project.delete_case(ground.case(f"test-enrol-{ground.courses[0]}-{person}").case_id)
            ground.site.unenrol(ground.courses[0], person)
        for _ in range(6):
            loop.run(ground.run())
            asked.append(ground.agree())
    assert [False, True, False, False, False, False] == asked


def test_the_books_are_searched_for_people(tmp_path: Path) -> None:
    """A value in the books is found by the search at the end of each example."""
    ground = Ground(tmp_path, "")
    ground.store.put("leak", "QanaryFirst0")
    assert ["QanaryFirst0"] == found_in(ground.copied.copy())


def test_a_lease_from_the_future_does_not_hold(tmp_path: Path) -> None:
    """A process that died while the clock was a day ahead keeps nobody waiting for that day."""
    ground = Ground(tmp_path, "")
    ground.clock.skew, ground.on_write = 86_400.0, "crash after"
    with asyncio.Runner() as loop:
        assert loop.run(ground.run()) is None, "it did not die"
        ground.clock.skew = 0.0
        result = loop.run(ground.run())
    assert result is not None
    assert result.state == "completed"
