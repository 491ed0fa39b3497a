"""Whatever statement a crash falls on: all of an operation is in the books, or nothing of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from state import Ack, CaseRow, Hint, Intent, Link, MatchRow, Refusal, RowId, Store
from state.renames import Named
from state.tables import case_row

ROW, OTHER = RowId("student", 0, "site-user-1"), RowId("student", 0, "site-user-2")
CLOSED, LINKED = RowId("student", 0, "site-user-3"), RowId("student", 0, "site-user-4")
UNHEARD = RowId("student", 0, "site-user-5")  # sent once, and nobody knows whether there is a case
LOGGED = (
    *(
        "acknowledge",
        "acknowledge_earlier",
        "adopt",
        "renew",
        "follow",
        "void_rested",
        "note_refusals",
        "retry",
        "recreate",
        "drop",
        "void_values",
    ),
    *("finish_erasure", "forget_old", "link", "reject", "make_anew"),
)
"""Operations that write the log, or take out of it."""


NAMED = Named(("fact:{name}",), ("holder:",), ("asked",), lambda _, new, facts: facts["asked"].update({new: 1}))


def link(row: RowId, user: int) -> Link:
    """Return a person's word that case-4 is that of a row."""
    found = MatchRow("student", row.key, "case-4", user, "duplicate", "email", "", "linked", "person", 12.0, 12.0)
    return Link(row, found, CaseRow(row.key, "case-4", "owner", None, "active", 0, user, linked=True))


OPERATIONS: dict[str, Callable[[Store], Any]] = {
    "stamp": lambda store: store.stamp("batch-2", [Intent(ROW, 1, "update"), Intent(OTHER, 2, "create")], 20.0),
    "acknowledge": lambda store: store.acknowledge(
        [
            Ack(ROW, "case-1", "owner", {"new": b"2" * 16}, "left", 1),
            Ack(OTHER, "case-2", "owner", {}, "active", 2),
        ],
        20.0,
        "run-1-2",
        "form-2",
    ),
    "adopt": lambda store: store.adopt(OTHER, CaseRow(OTHER.key, "case-2", "owner", None, "active", 0, 2), 20.0),
    "renew": lambda store: store.renew([CLOSED], 20.0),
    "follow": lambda store: store.follow(ROW, 3, 20.0),
    "release": lambda store: store.release([ROW]),
    "void_rested": lambda store: store.void_rested(store.resting().intents, 20.0),
    "rest_anew": lambda store: store.rest_anew(store.resting(), 20.0),
    "note_read": lambda store: store.note_read("student", 0, [], "run-2"),
    "checkpoint": lambda store: store.checkpoint(4, "run-2", 20.0, [1, 2, 3]),
    "course_failed": lambda store: store.course_failed(4),
    "start_run": lambda store: store.start_run("run-2", 20.0, "revision"),
    "finish_run": lambda store: store.finish_run("run-1", 20.0, "completed", {"created": 1}),
    "set_problems": lambda store: store.set_problems(
        "student", 0, [("k", "phone", "invalid_phone", ""), ("l", "phone", "invalid_phone", "")], 20.0
    ),
    "set_stuck": lambda store: store.set_stuck([OTHER], {ROW: "refused", OTHER: "duplicate_external_id"}, 20.0),
    "acknowledge_earlier": lambda store: store.acknowledge_earlier(
        [Ack(ROW, "case-0", "owner", {"@name": b"1" * 16}, "withdrawn", 1, "withdrawn", earlier=1)], 20.0
    ),
    "note_refusals": lambda store: store.note_refusals(
        [Refusal(ROW, "update", "refused", b"3" * 16), Refusal(OTHER, "create", "refused", b"4" * 16)], 20.0
    ),
    "retry": lambda store: store.retry([ROW, OTHER], 20.0),
    "recreate": lambda store: store.recreate([ROW, OTHER], 20.0),
    "drop": lambda store: store.drop([ROW], 20.0),
    "note_owners": lambda store: store.note_owners({ROW: "somebody"}),
    "void_values": lambda store: store.void_values({ROW: ["@name"]}, 20.0),
    "put": lambda store: store.put("fact", "other"),
    "bind_target": lambda store: store.bind_target("https://moodle.example.org", "https://hq.example.org", "demo"),
    "move_moodle": lambda store: store.move_moodle("https://moodle.example.org", "https://new.example.org"),
    "begin_erasure": lambda store: store.begin_erasure(1, 20.0),
    "finish_erasure": lambda store: store.finish_erasure(1),
    "forget_old": lambda store: store.forget_old(20.0 + 100 * 86_400.0),
    "mark_restored": lambda store: store.mark_restored(20.0),
    "add_keys": lambda store: store.add_keys((b"k" * 32, b"j" * 32)),
    "inbox_add": lambda store: store.inbox_add([Hint("moodle", "e", bytes([n]) * 16) for n in range(3)], 30.0, 3),
    "inbox_claim": lambda store: store.inbox_claim("drain", 30.0, 30.0),
    "inbox_finish": lambda store: store.inbox_finish({"read": [1, 2]}, 30.0),
    "inbox_release": lambda store: store.inbox_release([1, 2]),
    "link": lambda store: store.link([link(OTHER, 2)]),
    "reject": lambda store: store.reject(store.matches(), "person", 20.0),
    "make_anew": lambda store: store.make_anew([LINKED], 20.0),
    "take_lease": lambda store: store.take_lease("other", 2000.0, 600.0),
    "rename_mapping": lambda store: store.rename_mapping("student", "learner", NAMED),
}


class Crash(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def books(url: str) -> Iterator[Store]:
    """Give books with something of everything in them."""
    with Store.open(url, key=b"k" * 32) as store:
        store.take_lease("run-1", 0.0, 600.0)
        store.start_run("run-1", 1.0, "revision")
        store.acknowledge([Ack(ROW, "case-1", "owner", {"@name": b"1" * 16}, "active", 1)], 2.0)
        store.acknowledge([Ack(CLOSED, "case-3", "owner", {}, "closed", 3)], 2.0)
        store.stamp("batch-1", [Intent(ROW, 1, "update"), Intent(UNHEARD, 5, "create")], 10.0)
        store.note_table_write("places", 10.0)
        store.note_refusals([Refusal(ROW, "update", "wrong_type", b"2" * 16)], 10.5)
        store.checkpoint(4, "run-1", 11.0, [1, 2])
        store.set_problems("student", 0, [("k", "phone", "invalid_phone", ""), ("m", "x", "y", "")], 12.0)
        store.inbox_add([Hint("moodle", "e", b"1" * 16), Hint("moodle", "e", b"2" * 16)], 13.0)
        store.link([link(LINKED, 4)])
        store.put_all({"fact": "one", "fact:student": "one", "holder:key": "student"})
        store.put("@moodle_url", "https://moodle.example.org")
        store.take_key()
        yield store


def dump(file: Path) -> list[str]:
    """Return everything that is in the file, as another process sees it."""
    other = sqlite3.connect(file)
    try:
        return list(other.iterdump())
    finally:
        other.close()


@contextmanager
def crash_at(store: Store, number: int) -> Iterator[None]:
    """Let the `number`th statement after the opening of a transaction, or the commit, end in a crash."""
    left = number

    def step(*_: object) -> None:
        nonlocal left
        if left == 0:
            raise Crash
        left -= 1

    def statement(_connection: object, _cursor: object, text: str, *_: object) -> None:
        if not text.startswith("BEGIN"):
            step()

    engine = store._database.engine
    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "commit", step)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", statement)
        event.remove(engine, "commit", step)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_crash_leaves_all_or_nothing(books: Store, file: Path, operation: str) -> None:
    """Each operation is cut short before each of its statements and before its commit; then it is done whole."""
    before, crashes = dump(file), 0
    while crashes < 50:
        try:
            with crash_at(books, crashes):
                OPERATIONS[operation](books)
            break
        except Crash:
            assert before == dump(file)
            crashes += 1
    assert crashes >= 2, "at least one statement and the commit were cut short"
    assert before != dump(file)


def test_names_that_were_taken_back_are_written_again(books: Store, url: str) -> None:
    """A process that goes on after a failure at any statement does not know names that are in no book."""
    for number in range(50):
        ack = Ack(OTHER, "case-2", "owner", {f"new {number}": b"2" * 16}, "active", 2)
        crashed = False
        try:
            with crash_at(books, number):
                books.acknowledge([ack], 20.0)
        except Crash:
            crashed = True
            books.acknowledge([ack], 21.0)
        with Store.open(url, key=b"k" * 32) as again:
            names = again.cases("student", 0)[OTHER.key].digests or {}
        assert {f"new {one}" for one in range(number + 1)} == names.keys()
        if not crashed:
            return


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_log_changes_with_what_it_tells(books: Store, operation: str) -> None:
    """Each write, refusal and word of a person is in the log with it, and nothing else is."""
    before = books.condition().counts["in the log"]
    OPERATIONS[operation](books)
    assert (operation in LOGGED) == (before != books.condition().counts["in the log"])


def test_an_opening_cut_short_is_done_again(url: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first opening that ends in the middle of making the tables leaves an empty file, not half a schema."""
    monkeypatch.setattr("state.schema.metadata", case_row.metadata)  # in the place of the quick one

    def fail(*_: object, **__: object) -> None:
        raise Crash

    event.listen(case_row, "after_create", fail)
    try:
        with pytest.raises(Crash):
            Store.open(url, key=b"k" * 32)
    finally:
        event.remove(case_row, "after_create", fail)
    assert ["BEGIN TRANSACTION;", "COMMIT;"] == dump(file)
    with Store.open(url, key=b"k" * 32) as store:
        assert {} == store.intents()
