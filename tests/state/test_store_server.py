"""What only a server can do: several who open and write the books at once, servers of all kinds that go away."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, exc

import state.people
from state import Ack, Hint, RowId, StateError, Store
from state.database import Database
from state.schema import VERSION_TABLE
from state.tables import meta
from tests.postgres import NOT_RUN, NoServer, Server, content, forget, serving

KEY = b"k" * 32
ROW = RowId("student", 0, "site-user-5")
SETTINGS = "transaction_isolation", "synchronous_commit", "lock_timeout", "idle_in_transaction_session_timeout"


def test_two_who_open_new_books_make_them_once(postgres: Server) -> None:
    """The second one waits until the tables are made."""

    def opened(url: str) -> str | None:
        with Store.open(url, key=KEY) as store:
            return store.get("fact")

    with postgres.database() as url, ThreadPoolExecutor(8) as threads:
        assert [None] * 8 == list(threads.map(opened, [url] * 8))


def test_a_reading_sees_one_moment(postgres: Server) -> None:
    """What another process commits in the middle of a reading is not half seen."""
    with postgres.database() as url, Store.open(url, key=KEY) as store, Store.open(url, key=KEY) as other:
        with store._database.reading() as connection:
            before = connection.exec_driver_sql("SELECT count(*) FROM case_row").scalar()
            other.acknowledge([Ack(ROW, "c", "o", {}, "active", 5)], 1.0)
            assert before == connection.exec_driver_sql("SELECT count(*) FROM case_row").scalar()
        assert 1 == store.count_known("student")


def test_a_server_that_goes_away_is_explained_and_found_again(postgres: Server) -> None:
    """The sentence names the setting; the next call connects anew."""
    with postgres.database() as url, Store.open(url, key=KEY) as store:
        store.put("fact", "one")
        postgres.cut_off(url)
        with pytest.raises(StateError, match="STATE_URL"):
            store.put("fact", "two")
        assert "one" == store.get("fact")


@contextmanager
def writing(url: str) -> Iterator[Connection]:
    """Let another process be in the middle of a write."""
    database = Database(url)
    try:
        with database.writing() as connection:
            yield connection
    finally:
        database.close()


def test_a_writer_is_alone(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is that another one wants to write, it waits, and is told so after a while; readers do not."""
    monkeypatch.setattr("state.server.PATIENCE", "20ms")
    with postgres.books() as url, Store.open(url, key=KEY) as store:
        with writing(url):
            for write in (
                lambda: store.put("fact", "two"),
                lambda: store.inbox_claim("drain-1", 2.0, 2.0),
                lambda: store.retry([ROW], 1.0),
                lambda: store.take_lease("b", 1.0, 600.0),
            ):
                with pytest.raises(StateError, match=r"state database .* is held by another process\. Let it"):
                    write()
            assert store.get("fact") is None
        store.put("fact", "three")


def test_a_writer_that_stands_still_holds_up_nobody_for_long(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends it, and the next one goes on; when it wakes up it is told, and nothing of it is there."""
    monkeypatch.setattr("state.server.IDLE", "50ms")
    with postgres.books() as url, Store.open(url, key=KEY) as store:

        def freeze() -> None:
            with writing(url) as connection:
                connection.execute(meta.insert(), {"name": "fact", "value": "frozen"})
                assert 1 == store.take_lease("b", 1.0, 600.0)
                connection.exec_driver_sql("SELECT 1")

        with pytest.raises(StateError, match=r"stood still .* run again\."):
            freeze()
        assert store.get("fact") is None


def test_the_settings_of_a_writer_are_ours(postgres: Server) -> None:
    """Whatever the server was told to do, and for one transaction only: a pooler may give it to anybody next."""
    usual = {"transaction_isolation": "serializable", "synchronous_commit": "off", "lock_timeout": "7s"}
    with postgres.database() as url:
        with psycopg.connect(url) as connection:
            for name, value in usual.items():
                within = "default_transaction_isolation" if name.startswith("transaction") else name
                connection.execute(f"ALTER DATABASE {url.rsplit('/', 1)[1]} SET {within} = '{value}'".encode())
        with Store.open(url, key=KEY) as store:
            with store._database.writing() as connection:
                assert ["read committed", "on", "30s", "2min"] == settings(connection)
            with store._database.reading() as connection:
                assert ["repeatable read", "off", "7s", "0"] == settings(connection)


def settings(connection: Connection) -> list[str]:
    """Return what holds in a transaction, in the order of SETTINGS."""
    return [str(connection.exec_driver_sql(f"SHOW {name}").scalar()) for name in SETTINGS]


def test_a_key_is_not_changed_in_the_middle(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks who was erased reads the marks and the key that they are of; a rotation waits meanwhile."""
    monkeypatch.setattr("state.server.PATIENCE", "20ms")
    keys = KEY, b"n" * 32
    with postgres.books() as url:
        with Store.open(url, key=KEY) as store:
            store.take_key()
            store.begin_erasure(7, 1.0)
            store.finish_erasure(7)
        with Store.open(url, key=keys) as store, Store.open(url, key=keys) as other:
            said, real = [], state.people.key_mark

            def key_mark(connection: Connection) -> str | None:
                with pytest.raises(StateError, match="held by another process") as caught:
                    other.take_key()
                said.append(caught)
                return real(connection)

            monkeypatch.setattr("state.people.key_mark", key_mark)
            store.inbox_add([Hint("moodle", "core.user_graded", b"m", 1.0, 5, 7)], 1.0)
            assert (1, []) == (len(said), store.hints_about(7))


def test_nothing_is_left_on_a_connection(postgres: Server) -> None:
    """No statement is prepared there: a pooler gives every transaction to another one."""
    with postgres.books() as url, Store.open(url, key=KEY) as store:
        for _ in range(10):
            store.put("fact", store.get("fact") or "")
        with store._database.reading() as connection:
            assert 0 == connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar()


@pytest.mark.parametrize("is_made", [False, True])
def test_a_role_with_too_few_rights(postgres: Server, is_made: bool) -> None:
    """It may make no tables, or they belong to somebody else: what is said to be granted is enough."""
    role = f"Poor {is_made}"
    with postgres.database() as url, psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f'CREATE ROLE "{role}" LOGIN'.encode())
        if is_made:
            Store.open(url, key=KEY).close()
        theirs = url.replace("books@", f"{role.replace(' ', '%20')}@")
        with pytest.raises(StateError, match="permission denied") as caught:
            Store.open(theirs, key=KEY)
        for grant in re.findall(r"GRANT [^;]*[^;.]", str(caught.value)):
            owner.execute(grant.encode())
        with Store.open(theirs, key=KEY) as store:
            store.inbox_add([Hint("moodle", "core.user_graded", b"m", 1.0, 5, 7)], 1.0)
            assert 1 == store.take_lease("a", 1.0, 600.0)


def test_a_table_that_is_gone_is_told(postgres: Server) -> None:
    """As while the books are put back: no mistake of ours, as it is none where they are in a file."""
    with postgres.database() as url, Store.open(url, key=KEY) as store:
        with store._database.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE meta RENAME TO gone")
        with pytest.raises(StateError, match=r'not whole: relation "meta" does not exist\. Are they being'):
            store.get("fact")
        with pytest.raises(exc.ProgrammingError), store._database.reading() as connection:
            connection.exec_driver_sql("SELEKT 1")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_in_another_encoding(postgres: Server, encoding: str) -> None:
    """A server that was set up without a language has such ones; letters are what they were."""
    name = f"in_{encoding.lower()}"
    postgres._execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    try:
        with Store.open(postgres.url(name), key=KEY) as store:
            store.put("größe", "é")
            assert "é" == store.get("größe")
    finally:
        postgres._drop(name)


def test_the_books_of_every_test_are_new(postgres: Server) -> None:
    """Those that a test has left are emptied, whoever is still at them; without tables they are not used again."""
    found = []
    for number in range(4):
        with postgres.books() as url:
            found.append((content(url), url))
            left = Database(url)
            with left.writing() as connection:
                connection.execute(meta.insert(), {"name": "left", "value": "behind"})
                connection.exec_driver_sql(f"DELETE FROM {VERSION_TABLE}")  # noqa: S608
            if number == 2:
                forget(url)
        left.close()
    assert 1 == len({rows for rows, _ in found})
    assert [True, True, False] == [found[0][1] == url for _, url in found[1:]]


@pytest.mark.parametrize("words", ["books:canary-0815@{}/nothing", "{}/nothing?user=books&password=canary-0815"])
def test_no_password_is_said(postgres: Server, words: str) -> None:
    """A server that cannot be reached is named without the password, wherever it stands in its address."""
    with pytest.raises(StateError, match="cannot be used") as caught:
        Store.open(f"postgresql://{words.format(f'127.0.0.1:{postgres.port}')}", key=KEY)
    assert "canary" not in str(caught.value)


def test_without_its_programs_there_is_no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The reason is a sentence, which a skipped test shows."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tests.postgres.PLACES", tmp_path)
    with pytest.raises(NoServer, match="initdb is not installed here"), serving():
        pass


def test_what_is_not_run_without_a_server_is_said(tmp_path: Path) -> None:
    """A run of tests ends with one line on it, also when others run the tests for it."""
    (tmp_path / "nowhere.py").write_text(
        "import pathlib, tests.postgres as own\nown.PLACES = pathlib.Path('-')\n"
    )
    house = Path(__file__).parent.parent.parent
    test = "tests/state/test_store_counts.py::test_rows_by_status[postgresql]"
    command = [sys.executable, "-m", "pytest", "-p", "nowhere", "-p", "no:cacheprovider", "-n", "1", test]
    env = {"PATH": str(tmp_path), "PYTHONPATH": f"{tmp_path}:{house}"}
    ran = subprocess.run(command, cwd=house, env=env, capture_output=True, text=True, check=False)  # noqa: S603
    line = f"{NOT_RUN} PostgreSQL's initdb is not installed here. Skipped: 1."
    assert (0, 1) == (ran.returncode, ran.stdout.splitlines().count(line)), ran.stdout


def test_without_the_driver_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is an extra: the sentence is the command that installs it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StateError, match=r"pip install 'psycopg\[binary\]"):
        Store.open("postgresql://books@127.0.0.1:1/nothing", key=KEY)
