"""Opening the books: what SQLite is told, who may read the files, and what is refused."""

from __future__ import annotations

import os
import sqlite3
import stat
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import exc, inspect, text

from flows.prefect_home import alone
from state import Ack, Intent, RowId, StateError, Store
from state.database import Database
from state.key import read_or_make_keys
from state.schema import HEAD, VERSION_TABLE, _upgrade, known
from state.tables import metadata
from tests.quick_books import SAFE
from tests.state.versions import make_newer

KEY = b"k" * 32


def mode(path: Path) -> int:
    """Return the rights of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def described(database: Database) -> dict[str, Any]:
    """Return what a database's tables are made of: columns, keys, indexes, and which have no row ids."""
    with database.reading() as connection:
        look = inspect(connection)
        kept = "SELECT name FROM sqlite_master WHERE sql LIKE '%WITHOUT ROWID%'"
        return {
            "revision": connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")),  # noqa: S608
            "without row ids": set() if database.is_postgresql else set(connection.scalars(text(kept))),
        } | {
            table: (
                {
                    row["name"]: (str(row["type"]), row["nullable"], row["default"])
                    for row in look.get_columns(table)
                },
                look.get_pk_constraint(table)["constrained_columns"],
                {row["name"]: (row["column_names"], row["unique"]) for row in look.get_indexes(table)},
                {row["name"]: row["column_names"] for row in look.get_unique_constraints(table)},
            )
            for table in look.get_table_names()
        }


def fill(url: str) -> None:
    """Make books with a few pages of rows."""
    with Store.open(url, key=KEY) as store:
        rows = [RowId("student", 0, f"site-user-{number}") for number in range(2000)]
        store.acknowledge([Ack(row, row.key, "owner", {"a": b"1" * 16}, "active", 1) for row in rows], 1.0)


def test_pragmas_are_set(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What keeps the books safe is really switched on, in both kinds of transaction."""
    monkeypatch.setattr("state.database.PRAGMAS", SAFE)
    expected = {
        "journal_mode": "wal",
        "synchronous": 2,
        "busy_timeout": 30000,
        "foreign_keys": 1,
        "cache_size": -8192,
    }
    with Store.open(url, key=KEY) as store:
        for transaction in (store._database.reading, store._database.writing):
            with transaction() as connection:
                found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in expected}
            assert expected == found


def test_a_writing_transaction_locks_at_its_start(url: str, file: Path) -> None:
    """Another process cannot write between our look and our write; it can read."""
    with Store.open(url, key=KEY) as store, store._database.writing():
        other = sqlite3.connect(file, timeout=0)
        assert [] == other.execute("SELECT * FROM case_row").fetchall()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("INSERT INTO meta VALUES ('a', 'b')")
        other.close()


def test_a_reading_transaction_waits_for_nobody(url: str, file: Path) -> None:
    """`status` can look while a run writes."""
    with Store.open(url, key=KEY) as store:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert {} == store.intents()
        other.close()


def test_the_file_and_its_folder_are_ours_alone(url: str, file: Path) -> None:
    """File 0600, folder 0700, and the files SQLite puts beside it too."""
    with Store.open(url, key=KEY) as store:
        store.put("a", "b")
        modes = {path.name: mode(path) for path in file.parent.iterdir()}
    assert {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600} == modes
    assert 0o700 == mode(file.parent)


def test_all_folders_that_are_made_are_ours_alone(tmp_path: Path) -> None:
    """Those above the file too, whoever needs the deepest one first; one that was there stays as it is."""
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o775)
    first = there / "var" / "deep" / "books"
    old = os.umask(0o002)
    try:
        Store.open(f"sqlite:///{first / 'state.db'}", key=KEY).close()
        with alone(there / "run" / "prefect" / "lock", "it"):
            pass
        read_or_make_keys(there / "keys" / "deep" / "state.key")
    finally:
        os.umask(old)
    made = {path.relative_to(there): mode(path) for path in there.rglob("*") if path.is_dir()}
    assert (0o775, 7, {0o700}) == (mode(there), len(made), {*made.values()})


def test_a_file_others_may_read_is_closed_to_them(url: str, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rights that came with a copy are taken away, which is said once."""
    Store.open(url, key=KEY).close()
    file.chmod(0o644)
    for _ in range(2):
        Store.open(url, key=KEY).close()
    assert 0o600 == mode(file)
    told = f"Others on this machine could read or change {file}: its rights were narrowed from 644 to 600."
    assert [told] == [record.getMessage() for record in caplog.records]


def test_an_opened_file_is_opened_again(anywhere: str) -> None:
    """What was written is there the next time, and nothing is made anew."""
    with Store.open(anywhere, key=KEY) as store:
        store.stamp("batch", [Intent(RowId("student", 0, "a"), 1, "create")], 1.0)
    with Store.open(anywhere, key=KEY) as store:
        assert [RowId("student", 0, "a")] == list(store.intents())


def test_the_migrations_make_the_tables_the_code_uses(store: Store) -> None:
    """The revisions and tables.py say the same, and the newest revision is the one the code expects."""
    made = described(store._database)
    with store._database.writing() as connection:
        metadata.drop_all(connection)
        connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
        _upgrade(connection)
    with store._database.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        difference = compare_metadata(context, metadata)
    assert ([], HEAD) == (difference, known()[0])
    assert made == described(store._database)


def test_wide_tables_have_no_second_copy_of_their_key(url: str) -> None:
    """Cases, their log, matches, problems and the like are WITHOUT ROWID: a scope lies together on disk."""
    with Store.open(url, key=KEY) as store, store._database.reading() as connection:
        tables = dict(connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'").all())
    wide = {"case_row", "change", "feedback", "intent", "lacking", "lookup_row"}
    wide |= {"match_row", "problem", "refusal"}
    assert wide == {name for name, sql in tables.items() if "WITHOUT ROWID" in sql}


def test_books_of_a_newer_version_are_refused(url: str, file: Path) -> None:
    """An older program does not touch what it does not understand."""
    Store.open(url, key=KEY).close()
    make_newer(file)
    with pytest.raises(StateError, match=r"newer moodle-commcare \(schema 9999.*Install the newer version"):
        Store.open(url, key=KEY)


def test_a_database_of_something_else_is_refused(url: str, file: Path) -> None:
    """Tables of others are left alone."""
    file.parent.mkdir()
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE alembic_version (version_num TEXT)")
    other.close()
    with pytest.raises(StateError, match=r"database of something else.*STATE_URL"):
        Store.open(url, key=KEY)


def zero_a_page(file: Path) -> None:
    """Overwrite the middle of the file with nothing."""
    with file.open("r+b") as handle:
        handle.seek(file.stat().st_size // 2 // 4096 * 4096)
        handle.write(bytes(4096))


def zero_the_first_page(file: Path) -> None:
    """Overwrite the head of the file with nothing."""
    with file.open("r+b") as handle:
        handle.write(bytes(4096))


def cut_in_half(file: Path) -> None:
    """Lose the second half of the file."""
    with file.open("r+b") as handle:
        handle.truncate(file.stat().st_size // 2)


def write_text(file: Path) -> None:
    """Put a text where the books should be."""
    file.write_text("These are no books. " * 100)


@pytest.mark.parametrize("damage", [zero_a_page, zero_the_first_page, cut_in_half, write_text])
def test_a_damaged_file_is_refused_with_a_remedy(url: str, file: Path, damage: object) -> None:
    """Damage is found at the start, and the message says what to do."""
    fill(url)
    assert callable(damage)
    damage(file)
    with pytest.raises(StateError) as caught:
        Store.open(url, key=KEY)
    assert all(part in str(caught.value) for part in (str(file), "damaged", "backup"))


def test_damage_found_later_is_explained_too(url: str, file: Path) -> None:
    """A page lost while the books are open ends in the same words."""
    fill(url)
    with Store.open(url, key=KEY) as store:
        store._database.close()  # nothing is remembered of the pages; connections are opened again on demand
        with file.open("r+b") as handle:
            handle.seek(4096)
            handle.write(b"\xff" * (file.stat().st_size - 4096))
        with pytest.raises(StateError, match="damaged"):
            store.cases("student", 0)


def test_a_locked_file_is_explained(url: str, file: Path) -> None:
    """Another process that holds the file is named as such."""
    with Store.open(url, key=KEY) as store:
        with store._database.reading() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout=0")
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match="held by another process"):
            store.put("a", "b")
        other.close()


@pytest.mark.parametrize("url", ["", "state.db", "mysql://db.example.org/x", "http://example.org"])
def test_an_url_we_do_not_work_with_is_refused(url: str) -> None:
    """The two kinds of address that work are named."""
    with pytest.raises(StateError, match=r"sqlite:///.*postgresql://"):
        Store.open(url, key=KEY)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://books:can@canary@127.0.0.1:1/x", "in two ways"),
        ("postgresql://books:can@ry:canary@127.0.0.1:1/x", "in two ways"),
        ("postgresql://127.0.0.1:1/x?password=can@canary", "in two ways"),
        ("postgresql://?host=127.0.0.1&password=can@canary", "in two ways"),
        ("postgresql://books:canary/x", "port that is no number"),
        ("sqlite://books:canary@127.0.0.1/x", "must begin with sqlite:///"),
    ],
)
def test_no_part_of_a_password_is_said(url: str, words: str) -> None:
    """An address that is written wrong is never quoted."""
    with pytest.raises(StateError, match=words) as caught:
        Store.open(url, key=KEY)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A folder that is a file is no folder."""
    (tmp_path / "var").write_text("")
    with pytest.raises(StateError, match=r"cannot be made or protected.*STATE_URL"):
        Store.open(f"sqlite:///{tmp_path}/var/state.db", key=KEY)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    """The state file is a file."""
    with pytest.raises(StateError, match="cannot be used: unable to open"):
        Store.open(f"sqlite:///{tmp_path}", key=KEY)


def test_an_empty_key_is_refused() -> None:
    """Digests without a key could be reversed."""
    with pytest.raises(StateError, match="STATE_KEY_FILE"):
        Store.open("sqlite://", key=b"")


def test_nothing_of_a_person_is_in_the_file(url: str, file: Path) -> None:
    """Values enter the books as keyed digests only."""
    canaries = ["Achieng Canary", "+254700000001", "achieng@example.org"]
    row = RowId("student", 0, "site-user-5")
    with Store.open(url, key=KEY) as store:
        digests = {f"p{number}": store.digest(row.key, "p", value) for number, value in enumerate(canaries)}
        store.stamp("batch", [Intent(row, 5, "create")], 1.0)
        store.acknowledge([Ack(row, "case-1", "owner-1", digests, "active", 5)], 2.0)
        written = b"".join(path.read_bytes() for path in file.parent.iterdir())
    assert b"case-1" in written
    assert not any(canary.encode() in written for canary in canaries)


def test_a_full_disk_is_no_damage(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite calls both a disk error: room on the disk tells which; books on a full disk need no backup."""
    Store.open(url, key=KEY).close()

    def no_room(*_: object) -> None:
        raise exc.OperationalError("", {}, sqlite3.OperationalError("disk I/O error"))

    monkeypatch.setattr("state.schema.revision", no_room)
    with pytest.raises(StateError, match="is damaged or no state file"):
        Store.open(url, key=KEY)
    monkeypatch.setattr("state.database.shutil.disk_usage", lambda _: SimpleNamespace(free=4096))
    with pytest.raises(StateError, match="There is no room on the disk of the state file"):
        Store.open(url, key=KEY)
