"""Checkpoints of the courses."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from state import CourseRow, Store


def test_a_checkpoint_says_when_by_which_run_and_how_many(store: Store) -> None:
    """A course that is settled is remembered with its people."""
    store.checkpoint(4, "run-1", 50.0, [9, 7, 8])
    assert ({4: CourseRow(4, 50.0, "run-1", 3, 0)}, {7, 8, 9}) == (store.courses(), store.member_ids(4))


def test_a_later_checkpoint_replaces_the_earlier(store: Store) -> None:
    """The last complete read counts."""
    store.checkpoint(4, "run-1", 50.0, [7, 8])
    store.checkpoint(4, "run-2", 60.0, [8, 9, 2**40])
    assert (CourseRow(4, 60.0, "run-2", 3, 0), {8, 9, 2**40}) == (store.courses()[4], store.member_ids(4))


def test_failures_are_counted_until_a_read_succeeds(store: Store) -> None:
    """A failed course keeps the time of its last complete read."""
    store.checkpoint(4, "run-1", 50.0, [7])
    store.course_failed(4)
    store.course_failed(4)
    failed = store.courses()[4]
    store.checkpoint(4, "run-2", 60.0, [7])
    assert (CourseRow(4, 50.0, "run-1", 1, 2), 0) == (failed, store.courses()[4].failures)


def test_a_course_that_never_worked_is_remembered(store: Store) -> None:
    """A course may fail before it was ever read."""
    store.course_failed(5)
    assert ({5: CourseRow(5, 0.0, "", 0, 1)}, frozenset()) == (store.courses(), store.member_ids(5))


def test_a_course_without_people_is_a_course(store: Store) -> None:
    """Nobody enrolled is an answer too."""
    store.checkpoint(0, "run-1", 50.0, [])
    assert (0, frozenset()) == (store.courses()[0].people, store.member_ids(0))


def test_an_unchanged_list_of_people_is_not_rewritten(url: str, file: Path) -> None:
    """A checkpoint of an unchanged course costs its one row."""
    with Store.open(url, key=b"k" * 32) as store, sqlite3.connect(file) as other:
        store.checkpoint(4, "run-1", 50.0, range(1, 400))
        other.execute(
            "CREATE TRIGGER stop BEFORE UPDATE ON course_people BEGIN SELECT RAISE(ABORT, 'rewritten'); END"
        )
        other.commit()
        store.checkpoint(4, "run-2", 60.0, list(range(399, 0, -1)))
        assert 60.0 == store.courses()[4].complete_at
    other.close()


def test_a_damaged_list_of_people_is_written_again(url: str, file: Path) -> None:
    """People that cannot be read count as unknown."""
    with Store.open(url, key=b"k" * 32) as store:
        store.checkpoint(4, "run-1", 50.0, [7])
        with sqlite3.connect(file) as other:
            other.execute("UPDATE course_people SET members = x'00'")
        other.close()
        damaged = store.member_ids(4)
        store.checkpoint(4, "run-2", 60.0, [7])
        assert (frozenset(), {7}) == (damaged, store.member_ids(4))


def test_people_who_were_seen_are_known_at_once(store: Store) -> None:
    """Who is in a course is kept before it is settled; when it was settled last stays as it is."""
    store.checkpoint(4, "run-1", 50.0, [7])
    for course in (4, 5):
        store.saw_people(course, [7, 8])
    assert {4: CourseRow(4, 50.0, "run-1", 1, 0), 5: CourseRow(5, 0.0, "", 0, 0)} == store.courses()
    assert [{7, 8}] * 2 == [store.member_ids(course) for course in (4, 5)]


def test_a_course_that_is_no_more_is_forgotten(store: Store) -> None:
    """With its people; others stay, and one that nobody knows is none."""
    for course in (4, 5):
        store.checkpoint(course, "run-1", 50.0, [7, 8])
    for course in (4, 6):
        store.forget_course(course)
    assert ([5], frozenset(), {7, 8}) == ([*store.courses()], store.member_ids(4), store.member_ids(5))
    store.saw_people(4, [9])
    assert ({9}, 0.0) == (store.member_ids(4), store.courses()[4].complete_at)
