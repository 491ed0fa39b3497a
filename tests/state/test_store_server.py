"""What only a server can do: several who open the books at once, and a server that goes away."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from state import Ack, RowId, StateError, Store
from state.database import Database
from state.schema import VERSION_TABLE
from state.tables import meta
from tests.postgres import NoServer, Server, content, forget, serving

KEY = b"k" * 32
ROW = RowId("student", 0, "site-user-5")


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


def test_without_the_driver_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is an extra: the sentence is the command that installs it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StateError, match=r"pip install 'psycopg\[binary\]"):
        Store.open("postgresql://books@127.0.0.1:1/nothing", key=KEY)
