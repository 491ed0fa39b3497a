"""Books that move between SQLite and PostgreSQL, in both directions: all of them, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Connection, func, insert, select

from state import Ack, Hint, RowId, StateError, Store
from state.database import Database
from state.move import TABLES, Sums, _mark, _settle, move
from state.tables import metadata
from tests.postgres import Server

KEY = bytes(range(32))
ROW, OTHER = RowId("student", 0, "site-user-5"), RowId("enrolment", 2, "site-enrol-2-5")
NOW = 1_800_000_000.25
HINT = Hint("moodle", "core.user_graded", b"1" * 16, NOW - 1, course_id=2)


def nothing() -> None:
    """Hold no lease."""


def fill(url: str) -> None:
    """Write something into every table."""
    with Store.open(url, key=KEY) as store:
        store.bind_target("https://moodle.example.org", "https://commcare.example.org", "training")
        store.take_key()
        store.start_run("r1", NOW, "rev")
        store.finish_run("r1", NOW + 1, "completed", {"cases": {"student": 1}})
        digests = {name: bytes([place]) * 16 for place, name in enumerate(("city", "größe", "@name"), 1)}
        acks = [Ack(ROW, "case-1", "owner", digests, "active", 5), Ack(OTHER, "case-2", "owner", {}, "active", 5)]
        store.acknowledge(acks, NOW)
    database = Database(url)
    with database.writing() as connection:
        for table in TABLES:
            if not connection.scalar(select(func.count()).select_from(table)):
                connection.execute(insert(table), {column.name: example(column) for column in table.columns})
    database.close()


def example(column: Column[Any]) -> object:
    """Return something that a column can hold."""
    kind = column.type.python_type
    return {int: 3, float: NOW, bytes: b"\x00\xff", bool: True, str: "ä'\n"}[kind]


def rows(url: str) -> dict[str, list[str]]:
    """Return all rows of all tables."""
    database = Database(url)
    try:
        with database.reading() as connection:
            return {
                table.name: sorted(repr(tuple(row)) for row in connection.execute(select(table)))
                for table in TABLES
            }
    finally:
        database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Name a database that is empty: a file in a folder that does not exist, or one on a server."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'elsewhere' / 'books.db'}"
        return
    server: Server = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url


def test_everything_moves(anywhere: str, target: str) -> None:
    """Every row of every table is there, and no table was forgotten."""
    fill(anywhere)
    before = rows(anywhere)
    assert metadata.tables.keys() - {"lease"} == {name for name, found in before.items() if found}
    done = move(anywhere, target, nothing)
    assert before == rows(target)
    assert {name: len(found) for name, found in before.items()} == done.rows
    with Store.open(target, key=KEY) as store:
        assert ["site-user-5"] == list(store.cases("student", 0))


def test_the_old_books_are_opened_no_more(url: str, target: str) -> None:
    """Whoever tries is told where they went."""
    fill(url)
    move(url, target, nothing)
    with pytest.raises(StateError, match=r"moved to .* Name the new place in STATE_URL"):
        Store.open(url, key=KEY)


def test_new_names_get_new_numbers(anywhere: str, target: str) -> None:
    """A property that the books have not seen yet gets a number that no other one has."""
    fill(anywhere)
    move(anywhere, target, nothing)
    with Store.open(target, key=KEY) as store:
        store.acknowledge([Ack(ROW, "case-1", "owner", {"new": b"7" * 16}, "active", 5)], NOW)
        known = {name: bytes([place]) * 16 for place, name in enumerate(("city", "größe", "@name"), 1)}
        assert {**known, "new": b"7" * 16} == store.cases("student", 0)["site-user-5"].digests
    assert 4 == len(rows(target)["name"])


def test_there_and_back(anywhere: str, target: str) -> None:
    """Books that came back take the place of those that were left, with all that happened meanwhile."""
    fill(anywhere)
    move(anywhere, target, nothing)
    with Store.open(target, key=KEY) as store:
        store.put("fact", "since then")
    move(target, anywhere, nothing)
    with Store.open(anywhere, key=KEY) as store:
        assert "since then" == store.get("fact")


def test_a_move_that_was_cut_off_is_finished(url: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy was valid already and the old books not marked yet: the same command does the rest."""
    fill(url)

    def cut_off(*_: object) -> None:
        raise StateError("cut off")

    monkeypatch.setattr("state.move._mark", cut_off)
    with pytest.raises(StateError, match="cut off"):
        move(url, target, nothing)
    monkeypatch.undo()
    assert rows(url) == rows(target)
    move(url, target, nothing)
    with pytest.raises(StateError, match="moved to"):
        Store.open(url, key=KEY)


def test_a_hint_that_comes_after_the_copy_moves_too(anywhere: str, target: str) -> None:
    """What the receiver, or a person, writes until the old books are closed is in the new ones."""
    fill(anywhere)
    with Store.open(anywhere, key=KEY) as old:
        before = old.inbox_state(NOW).waiting.get("moodle", 0)

        def meanwhile() -> None:
            old.inbox_add([HINT], NOW)
            old.put("fact", "said meanwhile")

        done = move(anywhere, target, meanwhile)
        assert "said meanwhile" == old.get("fact")
    with Store.open(target, key=KEY) as store:
        assert (before + 1, "said meanwhile") == (store.inbox_state(NOW).waiting["moodle"], store.get("fact"))
        assert 1 == store.inbox_add([Hint("moodle", "e", b"2" * 16)], NOW)  # numbers go on behind those copied
    assert len(rows(target)["meta"]) == done.rows["meta"]


def test_no_hint_comes_between_the_copy_and_the_mark(
    anywhere: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who writes at that moment waits, and is told where the books went."""
    fill(anywhere)
    with Store.open(anywhere, key=KEY) as old, ThreadPoolExecutor(1) as thread:
        before, waiting = len(rows(anywhere)["inbox"]), list[Future[int]]()

        def mark(connection: Connection, place: str) -> None:
            waiting.append(thread.submit(old.inbox_add, [HINT], NOW))
            wait(waiting, timeout=0.3)  # until it stands at the lock
            _mark(connection, place)

        monkeypatch.setattr("state.move._mark", mark)
        move(anywhere, target, nothing)
        with pytest.raises(StateError, match="moved to"):
            waiting[0].result()
    assert before == len(rows(anywhere)["inbox"]) == len(rows(target)["inbox"])


def test_a_long_move_is_not_cut_off(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one side is read, the other one may stand still in its transaction for as long as that takes."""
    allowed = list[str]()

    def look(connection: Connection) -> None:
        allowed.append(str(connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar()))

    def settle(source: Connection, sink: Connection, new: Database) -> Sums:
        look(sink)
        return _settle(source, sink, new)

    def mark(connection: Connection, place: str) -> None:
        look(connection)
        _mark(connection, place)

    monkeypatch.setattr("state.move._settle", settle)
    monkeypatch.setattr("state.move._mark", mark)
    with postgres.database() as url, postgres.database() as target:
        fill(url)
        move(url, target, nothing)
    assert ["0", "0"] == allowed


def test_a_lost_lease_stops_it(url: str, target: str) -> None:
    """Another run took over: nothing is there, and the old books go on."""

    def lost() -> None:
        raise StateError("The lease was lost")

    fill(url)
    with pytest.raises(StateError, match="lease"):
        move(url, target, lost)
    assert {} == {name: found for name, found in rows(target).items() if found}
    Store.open(url, key=KEY).close()


def test_other_books_are_not_overwritten(url: str, target: str) -> None:
    """Books of another site, or the same ones after a run, stay as they are."""
    fill(url)
    with Store.open(target, key=KEY) as store:
        store.put("fact", "ours")
    with pytest.raises(StateError, match="other books"):
        move(url, target, nothing)
    with Store.open(target, key=KEY) as store:
        assert "ours" == store.get("fact")
    Store.open(url, key=KEY).close()


def test_not_onto_themselves(url: str) -> None:
    """Books that are there already do not move."""
    fill(url)
    with pytest.raises(StateError, match="there already"):
        move(url, url, nothing)
    Store.open(url, key=KEY).close()


def test_not_onto_themselves_under_another_name(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server has many names: books that would be old and new at once stay open."""
    monkeypatch.setattr("state.server.PATIENCE", "20ms")
    with postgres.database() as url:
        fill(url)
        with pytest.raises(StateError, match="held by another process"):
            move(url, f"{url}?connect_timeout=9", nothing)
        Store.open(url, key=KEY).close()


def test_a_copy_that_differs_is_thrown_away(url: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read back is compared with what was read, value by value."""
    fill(url)
    monkeypatch.setattr("state.move._copy", lambda *_: None)
    with pytest.raises(StateError, match="is not what was read"):
        move(url, target, nothing)
    assert {} == {name: found for name, found in rows(target).items() if found}
    Store.open(url, key=KEY).close()
