"""The copy of the books that is made before a newer version changes their tables, and the way back to it."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from shlex import quote

import pytest
from sqlalchemy import Connection

from state import RowId, StateError, Store
from state.backups import backups, newest, upgrade_copies
from state.restore import restore
from state.schema import HEAD, VERSION_TABLE, revision
from tests.state.conftest import KEY
from tests.state.test_store_care import NOW, TARGET, acked, mode
from tests.state.versions import ROW, make_newer, old_books


def schema_of(file: Path) -> str:
    """Return the schema that a file has."""
    with sqlite3.connect(file) as other:
        found = other.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()[0]  # noqa: S608
    other.close()
    return str(found)


def test_books_are_copied_before_their_tables_change(url: str, file: Path) -> None:
    """The copy is of the schema that its name tells, whole, and ours alone; the books are of the new one."""
    old_books(url, "0009")
    with Store.open(url, key=KEY) as store:
        assert [ROW.key] == list(store.cases(*ROW[:2]))
    (copy,) = upgrade_copies(file)
    assert ("0009", HEAD, True) == (schema_of(copy), schema_of(file), copy.name.endswith("-schema-0009.db"))
    assert (0o600, 0o700) == (mode(copy), mode(copy.parent))
    with sqlite3.connect(copy) as other:
        assert [(ROW.key,)] == other.execute("SELECT key FROM case_row").fetchall()
    other.close()


def test_new_books_and_those_of_today_are_not_copied(url: str, file: Path) -> None:
    """Only a change of the tables is a reason."""
    for _ in range(2):
        Store.open(url, key=KEY).close()
    assert not list(file.parent.glob("backups/*"))


def test_the_copies_of_the_runs_do_not_push_it_out(url: str, file: Path) -> None:
    """Hourly copies would be through in days."""
    old_books(url, "0009")
    with Store.open(url, key=KEY) as store:
        (copy,) = upgrade_copies(file)
        for hour in range(10):
            store.back_up(NOW + 3600 * hour)
        assert (7, [copy]) == (len(backups(file)), upgrade_copies(file))
        assert ((copy,), 7) == (store.condition().upgrade_copies, len(store.condition().backups))


def test_the_newest_two_are_kept(url: str, file: Path) -> None:
    """The third upgrade takes the place of the first one's copy; those of other books beside them stay."""
    beside = file.with_name("state-old.db")
    old_books(f"sqlite:///{beside}", "0009")
    Store.open(f"sqlite:///{beside}", key=KEY).close()
    for schema in ("0003", "0007", "0009"):
        file.unlink(missing_ok=True)
        old_books(url, schema)
        Store.open(url, key=KEY).close()
    assert ["0007", "0009"] == [schema_of(copy) for copy in upgrade_copies(file)]
    assert 1 == len(upgrade_copies(beside))


def test_books_that_cannot_be_copied_are_not_changed(url: str, file: Path) -> None:
    """Without a way back there is no way on: the sentence says what stands in the way."""
    old_books(url, "0009")
    (file.parent / "backups").write_text("in the way")
    with pytest.raises(StateError, match=r"schema 0009.*no copy.*No backup could be written.*room on the disk"):
        Store.open(url, key=KEY)
    assert "0009" == schema_of(file)


def test_an_upgrade_that_fails_leaves_books_and_copy(
    url: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is tried: the books are as they were, and copies do not pile up."""
    old_books(url, "0009")

    def broken(connection: Connection) -> None:
        connection.exec_driver_sql("DELETE FROM case_row")
        raise StateError("The new tables are wrong.")

    monkeypatch.setattr("state.schema._upgrade", broken)
    for _ in range(4):
        with pytest.raises(StateError, match="The new tables are wrong"):
            Store.open(url, key=KEY)
    assert ["0009", "0009", "0009"] == [schema_of(one) for one in (file, *upgrade_copies(file))]
    with sqlite3.connect(file) as other:
        assert [(1,)] == other.execute("SELECT count(*) FROM case_row").fetchall()
    other.close()


def test_it_is_put_back_like_any_backup(url: str, file: Path) -> None:
    """Its tables are brought up on the way, and that needs no copy of the copy."""
    old_books(url, "0009")
    with Store.open(url, key=KEY) as store:
        store.bind_target(*TARGET)
        acked(store, RowId("student", 0, "site-user-5"))
    (copy,) = upgrade_copies(file)
    restore(url, copy, (KEY,), TARGET, NOW)
    with Store.open(url, key=KEY) as store:
        assert ([ROW.key], []) == (list(store.cases(*ROW[:2])), list(store.cases("student", 0)))
    assert ([copy], "0009") == (upgrade_copies(file), schema_of(copy))


def test_who_went_back_to_the_older_version_is_told_of_it(url: str, file: Path) -> None:
    """Books of a newer version are refused, and the copy that this one can read is named."""
    old_books(url, "0009")
    Store.open(url, key=KEY).close()
    (copy,) = upgrade_copies(file)
    newer = copy.with_name(copy.name.replace("0009", "9998"))
    newer.write_bytes(b"")
    make_newer(file)
    with pytest.raises(StateError, match=re.escape(f"`moodle-commcare state restore {quote(str(copy))}`")):
        Store.open(url, key=KEY)


def test_the_newest_of_both_kinds_is_the_way_back(url: str, file: Path) -> None:
    """Damage right after an upgrade leads to its copy, and later to that of the last run."""
    old_books(url, "0009")
    with Store.open(url, key=KEY) as store:
        (copy,) = upgrade_copies(file)
        assert [copy, copy] == [newest(file), Store.newest_backup(url)]
        assert store.back_up(NOW + 1e9) == newest(file)


def test_a_server_is_not_copied(anywhere: str) -> None:
    """On PostgreSQL a copy is pg_dump's work; the tables change all the same."""
    old_books(anywhere, "0009")
    with Store.open(anywhere, key=KEY) as store, store._database.reading() as connection:
        assert HEAD == revision(connection)
        assert store._database.is_postgresql != bool(store.condition().upgrade_copies)
