"""The inbox: each hint once, none lost by a crash, bounded, forgotten in time, and nobody in it who was erased."""

from __future__ import annotations

from pathlib import Path

import pytest

from state import Ack, Hint, Intent, RowId, StateError, Store, hints_wait
from state.care import DAY
from state.move import move

KEY = bytes(range(32))
NOW = 1_800_000_000.0


def hint(number: int, *, course: int = 2, person: int = 7, event: str = "core.user_graded") -> Hint:
    """Return a hint that differs from those of other numbers."""
    mark = number.to_bytes(16, "big")
    return Hint("moodle", event, mark, NOW - 1, course_id=course, user_id=person)


def forwarded(number: int, case_id: str) -> Hint:
    """Return a hint about a case of CommCare."""
    return Hint("commcare", "case", number.to_bytes(16, "big"), NOW - 1, case_id=case_id, form_id="f")


def numbers(store: Store, now: float = NOW + 60) -> list[int]:
    """Begin work on everything and return the numbers of the hints."""
    return [row.number for row in store.inbox_claim("drain", now, now)]


def test_a_hint_comes_back_as_it_was(store: Store) -> None:
    """All ids, when it came, and that this is the first drain that works on it."""
    given = [hint(1), forwarded(2, "case-1")]
    assert 2 == store.inbox_add(given, NOW)
    rows = store.inbox_claim("drain", NOW + 60, NOW + 60)
    assert given == [row.hint for row in rows]
    assert [(NOW, 1), (NOW, 1)] == [(row.received_at, row.attempts) for row in rows]


def test_twice_the_same_is_one(store: Store) -> None:
    """In one post or in two, also when it is done already; the same mark of another source is another hint."""
    store.inbox_add([hint(1), hint(1), forwarded(1, "c")], NOW)
    store.inbox_add([hint(1)], NOW + 1)
    first = numbers(store)
    assert 2 == len(first)
    store.inbox_finish({"read": first}, NOW + 60)
    assert 1 == store.inbox_add([hint(1)], NOW + 70)
    assert [] == numbers(store)


def test_only_what_is_old_enough_is_begun(store: Store) -> None:
    """What came later stays, unless the clock was set back since it came."""
    store.inbox_add([hint(1)], NOW)
    store.inbox_add([hint(2)], NOW + 10)
    store.inbox_add([hint(3)], NOW + 99_999)
    found = store.inbox_claim("drain", NOW + 12, NOW + 7)
    assert [hint(1), hint(3)] == [row.hint for row in found]


def test_a_crash_leaves_the_hints_to_the_next(store: Store) -> None:
    """A drain that died had begun them, and that is a try; letting go is none, unless it was tried."""
    store.inbox_add([hint(1)], NOW)
    (row,) = store.inbox_claim("dead", NOW + 60, NOW + 60)
    (row,) = store.inbox_claim("next", NOW + 60, NOW + 60)
    assert 2 == row.attempts
    store.inbox_release([row.number])
    (row,) = store.inbox_claim("third", NOW + 60, NOW + 60)
    assert 2 == row.attempts
    store.inbox_release([row.number], tried=True)
    assert [3] == [row.attempts for row in store.inbox_claim("fourth", NOW + 60, NOW + 60)]


def test_what_is_done_is_counted(store: Store) -> None:
    """By outcome; how many wait by source, how long the oldest, and when the last one came."""
    store.inbox_add([hint(1), hint(2), hint(3)], NOW)
    store.inbox_add([forwarded(4, "c")], NOW + 5)
    store.inbox_finish({"read": [1], "not_selected": [2], "given_up": []}, NOW + 10)
    found = store.inbox_state(NOW + 60)
    assert {"moodle": 1, "commcare": 1} == found.waiting
    assert (60.0, NOW + 5, {"read": 1, "not_selected": 1}) == (
        found.oldest_s,
        found.last_received_at,
        found.outcomes,
    )
    assert 2 == store.condition().counts["hints waiting"]


def test_an_empty_inbox(store: Store) -> None:
    """Nothing waits, nothing ever came, and nothing is written."""
    found = store.inbox_state(NOW)
    assert ({}, 0.0, None, {}) == (found.waiting, found.oldest_s, found.last_received_at, found.outcomes)
    assert 0 == store.inbox_add([], NOW)
    store.inbox_finish({}, NOW)
    store.inbox_release([])
    assert [] == numbers(store)


def test_what_nobody_uses_is_not_kept(store: Store) -> None:
    """It is deleted at once: each write of ours may be forwarded back to us."""
    store.inbox_add([forwarded(1, "c")], NOW)
    store.inbox_finish({"unused": numbers(store)}, NOW + 60)
    assert ({}, {}) == (store.inbox_state(NOW + 60).waiting, store.inbox_state(NOW + 60).outcomes)


def test_a_full_inbox_asks_for_the_whole_site(store: Store) -> None:
    """What finds no room is turned away, from the first one on, and one hint stands for all of it."""
    assert 2 == store.inbox_add([hint(1), hint(2)], NOW, room=3)
    assert 1 == store.inbox_add([hint(3), hint(4), hint(5)], NOW, room=3)
    assert 0 == store.inbox_add([hint(6)], NOW + 1, room=3)
    rows = store.inbox_claim("drain", NOW + 60, NOW + 60)
    assert ["core.user_graded"] * 3 + ["whole_site"] == [row.hint.event for row in rows]
    store.inbox_finish({"read": [row.number for row in rows]}, NOW + 60)
    assert 1 == store.inbox_add([hint(7), hint(8)], NOW + 61, room=1)
    assert ["core.user_graded", "whole_site"] == [
        row.hint.event for row in store.inbox_claim("drain", NOW + 99, NOW + 99)
    ]


def test_what_is_done_is_forgotten(store: Store) -> None:
    """After seven days; what waits is not, however old. Runs of hints go with them, others stay."""
    store.inbox_add([hint(1), hint(2)], NOW)
    store.inbox_finish({"read": [1]}, NOW)
    for run in ("drain-1", "20270115T080000-aaa", "20270115T090000-bbb"):
        store.start_run(run, NOW + len(run), "revision")
    store.forget_old(NOW + 6.9 * DAY)
    assert {"read": 1} == store.inbox_state(NOW).outcomes
    store.forget_old(NOW + 7.1 * DAY)
    assert ({}, {"moodle": 1}) == (store.inbox_state(NOW).outcomes, store.inbox_state(NOW).waiting)
    assert 2 == store.condition().counts["runs"]


def test_what_is_done_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy site a week would be a million rows: only the newest are kept."""
    monkeypatch.setattr("state.inbox.ROOM", 3)
    for start in (0, 5):
        store.inbox_add([hint(number) for number in range(start, start + 5)], NOW, room=100)
        store.inbox_finish({"read": numbers(store)}, NOW + 60)
    assert {"read": 3} == store.inbox_state(NOW + 60).outcomes


def test_nobody_who_was_erased_gets_in(store: Store) -> None:
    """What happened in the course does, under another mark; without a course nothing is left to say."""
    store.begin_erasure(7, NOW)
    assert 3 == store.inbox_add([hint(1), hint(2, course=0, event="core.user_updated"), hint(3, person=8)], NOW)
    rows = store.inbox_claim("drain", NOW + 60, NOW + 60)
    assert [(2, 0), (2, 8)] == [(row.hint.course_id, row.hint.user_id) for row in rows]
    assert rows[0].hint.mark not in (hint(1).mark, hint(2).mark)


def test_an_erasure_empties_the_inbox(store: Store) -> None:
    """Hints about the person and about his or her cases go, done or not; those about others stay."""
    row = RowId("student", 0, "site-user-7")
    store.acknowledge([Ack(row, "case-7", "o", {}, "active", 7)], NOW)
    store.inbox_add([hint(1), hint(2), hint(3, person=8), forwarded(4, "case-7"), forwarded(5, "case-8")], NOW)
    store.inbox_finish({"read": [1]}, NOW)
    assert [("core.user_graded", 2, NOW), ("core.user_graded", 2, NOW), ("case", 0, NOW)] == store.hints_about(7)
    store.begin_erasure(7, NOW)
    store.finish_erasure(7)
    assert [] == store.hints_about(7)
    assert [8, 0] == [found.hint.user_id for found in store.inbox_claim("drain", NOW + 60, NOW + 60)]


def test_where_people_were_last_seen(store: Store) -> None:
    """The courses of several people in one walk; the list of the site itself is no course."""
    store.checkpoint(0, "run", NOW, [5, 6])
    store.checkpoint(7, "run", NOW, [5, 6])
    store.checkpoint(8, "run", NOW, [5])
    assert {5: {7, 8}, 6: {7}, 9: set()} == store.courses_of({5, 6, 9})
    assert {} == store.courses_of(())


def test_who_holds_the_lease(store: Store) -> None:
    """Nobody, the one who took it, and nobody again once it has run out."""
    assert store.lease_holder(NOW) is None
    store.take_lease("drain-1", NOW, 600.0)
    assert ("drain-1", NOW + 600.0) == store.lease_holder(NOW + 1)
    assert store.lease_holder(NOW + 600) is None


def test_a_look_from_outside(anywhere: str) -> None:
    """Whether hints wait is known without opening the books: none in books that are not there or are older."""
    if anywhere.startswith("sqlite"):
        assert not hints_wait(anywhere)
    with Store.open(anywhere, key=KEY) as store:
        assert not hints_wait(anywhere)
        store.inbox_add([hint(1)], NOW)
        assert hints_wait(anywhere)
        store.inbox_finish({"read": [1]}, NOW)
        assert not hints_wait(anywhere)
        with store._database.writing() as connection:
            connection.exec_driver_sql("DROP TABLE inbox")
        assert not hints_wait(anywhere)


def test_books_that_moved_away_take_no_hints(anywhere: str, tmp_path: Path) -> None:
    """Who had them open before the move is told where they went, and nothing is written into the old ones."""
    with Store.open(anywhere, key=KEY) as store:
        store.inbox_add([hint(1)], NOW)
        place = move(anywhere, f"sqlite:///{tmp_path / 'elsewhere.db'}", lambda: None).place
        with pytest.raises(StateError, match="moved to"):
            store.inbox_add([hint(2)], NOW + 1)
        assert (1, place) == (len(numbers(store)), store.get("@moved_to"))


def test_a_file_that_was_put_back_is_noticed(url: str, file: Path) -> None:
    """Who holds the books open for long looks whether they are still those at their address."""
    with Store.open(url, key=KEY) as store:
        assert store.is_in_place
        for end in ("", "-wal", "-shm"):
            file.with_name(f"state.db{end}").rename(file.with_name(f"aside.db{end}"))
        with pytest.raises(StateError, match="is not there"):
            assert store.is_in_place
        Store.open(url, key=KEY).close()
        assert not store.is_in_place
    with Store.open("sqlite://", key=KEY) as memory:
        assert memory.is_in_place


def test_runs_that_wrote_stay_as_long_as_the_log(store: Store) -> None:
    """A run of hints that is in the log is needed to read it; one that wrote nothing goes after a week."""
    row = RowId("student", 0, "site-user-7")
    for run in ("drain-1", "drain-2", "20270115T080000-aaa"):
        store.start_run(run, NOW, "revision")
    store.start_run("20270115T090000-bbb", NOW + 1, "revision")
    store.stamp("drain-1-1", [Intent(row, 7, "create")], NOW)
    store.acknowledge([Ack(row, "case-7", "o", {}, "active", 7)], NOW, "drain-1-1", "form-1")
    assert {"form-1"} == store.own_forms({"form-1", "form-2", ""})
    store.forget_old(NOW + 8 * DAY)
    assert 3 == store.condition().counts["runs"]
