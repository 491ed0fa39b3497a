"""A person's word about those who are gone, and about what would be emptied."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from flows.confirm import confirm, confirm_blanks
from flows.errors import UsageError
from flows.steps.asked import LEAVERS
from flows.steps.blanks import CONFIRMED_BLANKS, REFUSED_BLANKS
from state import Store
from tests.flows.terminal import Terminal

WAITING = {"2": {"enrolment": 4, "grade_item": 3}, "3": {"enrolment": 7}}


@pytest.fixture
def store() -> Iterator[Store]:
    """Give books in which 4 people of course 2, and 7 of course 3, wait for a word."""
    with Store.open("sqlite://", key=bytes(32)) as books:
        books.put(LEAVERS.refused, json.dumps(WAITING))
        books.put(REFUSED_BLANKS, json.dumps({"student email": {"0": 9}}))
        yield books


def test_the_right_count_confirms_a_course(store: Store) -> None:
    """It is remembered for the next run, beside what was confirmed before."""
    confirm(store, 2, 4)
    confirm(store, 3, 7)
    assert WAITING == json.loads(store.get(LEAVERS.confirmed) or "")


def test_a_question_that_changes_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends in this moment asks about others: the word is about those whom the person was shown."""
    read = Store.get

    def late(books: Store, name: str) -> str | None:
        """Let a run ask about more people, once this was read."""
        found = read(books, name)
        books.put(LEAVERS.refused, json.dumps({"2": {"enrolment": 6}}))
        return found

    monkeypatch.setattr(Store, "get", late)
    confirm(store, 2, 4)
    monkeypatch.undo()
    assert {"2": WAITING["2"]} == json.loads(store.get(LEAVERS.confirmed) or "")


def test_all_takes_the_sum(store: Store) -> None:
    """The whole run is confirmed with one number; the mappings of a course are about the same people."""
    assert "Confirmed: 11 people." in confirm(store, None, 11)
    assert WAITING == json.loads(store.get(LEAVERS.confirmed) or "")


@pytest.mark.parametrize(
    ("course", "count", "words"),
    [
        (2, 5, "The run found 4 people missing there, not 5. Give the count 4 if they left."),
        (9, 5, r"Nothing waits to be confirmed there. Waiting: 2 \(4 people\), 3 \(7 people\)."),
        (None, 4, "The run found 11 people missing there, not 4."),
    ],
)
def test_anything_else_is_refused(store: Store, course: int | None, count: int, words: str) -> None:
    """What waits is said, and nothing is confirmed."""
    with pytest.raises(UsageError, match=words):
        confirm(store, course, count)
    assert store.get(LEAVERS.confirmed) is None


def test_blanks_are_confirmed_by_mapping_and_property(store: Store) -> None:
    """The right count is remembered, another one is not."""
    with pytest.raises(UsageError, match="The run found 9 people, not 8"):
        confirm_blanks(store, "student", "email", 8)
    assert store.get(CONFIRMED_BLANKS) is None
    confirm_blanks(store, "student", "email", 9)
    assert {"student email": {"0": 9}} == json.loads(store.get(CONFIRMED_BLANKS) or "")


def test_from_the_run_that_waits_to_the_run_that_marks(terminal: Terminal) -> None:
    """A run names the command, the command takes the count, the next run marks them as left."""
    terminal.run("sync", "--yes")
    course = terminal.box.courses["CHW-102"]
    for learner in terminal.box.learners[:5]:
        terminal.box.site.unenrol(course, learner)
    terminal.run("sync")
    waits = terminal.run("sync")
    assert (4, True) == (waits.code, f"moodle-commcare confirm-leavers {course} --count 5" in waits.text)
    assert 0 == terminal.run("confirm-leavers", str(course), "--count", "5").code
    done = terminal.run("sync", "--json")
    assert (0, 5) == (done.code, done.json["cases"]["enrolment"]["marked_left"])


def test_withdrawals_are_confirmed_apart_from_leavers(terminal: Terminal) -> None:
    """The command takes the place and the count, and says when nothing waits."""
    terminal.run("sync", "--yes")
    nothing = terminal.run("confirm-withdrawn", "0", "--count", "3")
    assert (2, True) == (nothing.code, "Nothing waits to be confirmed there" in nothing.text)
    assert 2 == terminal.run("confirm-withdrawn", "0", "--all", "--count", "3").code


def test_rekey_by_the_command(terminal: Terminal) -> None:
    """Keys that are as they were are wrong usage."""
    terminal.run("sync", "--yes")
    refused = terminal.run("sync", "--rekey", "student")
    assert (2, True) == (refused.code, "makes the keys that its cases have" in refused.text)
