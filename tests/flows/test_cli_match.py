"""The commands `match ...` in a terminal: screens, tables, exit codes, and that no value gets anywhere."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.clock import SystemClock
from flows.masked import Eyes
from flows.match_table import COLUMNS, write_table
from flows.open import open_store
from flows.settings import load_settings
from state import MatchRow
from tests.flows.terminal import Terminal


@pytest.fixture
def clinic(terminal: Terminal) -> Terminal:
    """Give a terminal on systems in which a clinic made cases of three learners."""
    terminal.edit(
        "student.yaml", "source: users", "source: users\nmatch: [{moodle: idnumber, commcare: staff_no}]"
    )
    box = terminal.box
    box.site.update_user(box.learners[0], idnumber="S-101")
    add = box.project.add_case
    add("student", "Amina O.", properties={"staff_no": "s-101"})
    add("student", "B. Mwangi", properties={"email": "Brian.Mwangi@training.example.org"})
    add("student", "Esther Wanjiru", properties={"city": "Bondo"})
    add("student", "Nobody Known")
    return terminal


def rows_of(file: Path) -> Iterator[dict[str, str]]:
    """Return the lines of a table."""
    yield from csv.DictReader(file.read_text("utf-8-sig").splitlines())


def test_the_whole_story(clinic: Terminal) -> None:
    """Match, look, approve, reject; then the first sync makes no case twice."""
    ended = clinic.run("match")
    assert 4 == ended.code
    for line in (
        "student: 4 cases of type 'student' compared",
        "2 duplicate",
        "1 unverified",
        "match approve --class duplicate --count 2",
        "1 case of type 'student' resembles nobody",
    ):
        assert line in ended.text
    listed = clinic.run("match", "list", "--json").json["matches"]
    assert {"duplicate": 2, "unverified": 1} == {
        kind: sum(row["class"] == kind for row in listed) for kind in {row["class"] for row in listed}
    }
    waiting = clinic.run("status", "--json").json["needs"]
    assert [("duplicates", 2), ("matches", 1)] == [(one["kind"], one["count"]) for one in waiting]
    assert 'moodle_commcare_needs_person_about{kind="duplicates"} 2.0' in clinic.run("metrics").out
    assert 2 == clinic.run("match", "approve", "--class", "duplicate", "--count", "3").code
    assert 0 == clinic.run("match", "approve", "--class", "duplicate", "--count", "2").code
    (esther,) = clinic.run("match", "list", "--class", "unverified", "--json").json["matches"]
    assert "same name, nothing else in common" in clinic.run("match", "list").text
    assert 4 == clinic.run("sync", "--yes").code
    assert 0 == clinic.run("match", "reject", str(esther["moodle_id"])).code
    assert {"existing-cases"} == {one["kind"] for one in clinic.run("status", "--json").json["needs"]}
    assert 0 == clinic.run("sync", "--yes").code
    assert 12 + 2 == len(clinic.box.project.of_type("student"))
    assert 3 == sum(
        row["decision"] != "open" for row in clinic.run("match", "list", "--all", "--json").json["matches"]
    )
    assert 0 == clinic.run("match").code
    assert "Nothing is listed" in clinic.run("match", "list").text


def test_json(clinic: Terminal) -> None:
    """One object with counts, requests and what to do; ids at most."""
    found = clinic.run("match", "--json")
    told = found.json
    assert ("waiting", 4) == (told["state"], told["mappings"]["student"]["cases"]["listed"])
    assert {"new": 9, "linked": 0, "duplicate": 2, "unverified": 1, "missing_email": 0, "conflict": 0} == told[
        "mappings"
    ]["student"]["people"]
    for value in ("Otieno", "Mwangi", "Esther", "training.example.org", "S-101"):
        assert value not in found.out


def test_a_reviewed_table(clinic: Terminal, tmp_path: Path) -> None:
    """The table comes without values, is filled in, and is taken in as a whole."""
    file = tmp_path / "people.csv"
    assert 4 == clinic.run("match", "--csv", str(file)).code
    assert 0o600 == file.stat().st_mode & 0o777
    rows = list(rows_of(file))
    assert [*COLUMNS] == [*rows[0]]
    assert "Otieno" not in file.read_text("utf-8")
    words = {"duplicate": "link", "unverified": " Reject "}
    head, *lines = (
        ";".join(COLUMNS),
        *(";".join([*list(row.values())[:-1], words[row["class"]]]) for row in rows),
    )
    file.write_text("\n".join([head, *lines]) + "\n", "utf-8")  # as some spreadsheets write it
    ended = clinic.run("match", "approve", "--file", str(file), "--json")
    assert (0, True) == (
        ended.code,
        "Linked: 2 people." in ended.text and "Rejected: 1 case of 1 person." in ended.text,
    )
    assert 2 == clinic.run("match", "--csv", str(file)).code


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("3,case-1,perhaps", "line 2: 'decision' is none of the words"),
        ("x,case-1,link", "line 2: 'moodle_id' is no number"),
        ("3,case-1,", "no line has a decision"),
        ("3,nowhere,link", "line 2: Nothing was found about person 3 and case nowhere"),
    ],
)
def test_wrong_tables(clinic: Terminal, tmp_path: Path, line: str, said: str) -> None:
    """A line that is wrong is named, and nothing of the table is taken in."""
    file = tmp_path / "people.csv"
    file.write_text(f"moodle_id,case_id,decision\n{line}\n", "utf-8")
    ended = clinic.run("match", "approve", "--file", str(file))
    assert (2, True) == (ended.code, said in ended.text)


def test_files_that_are_no_tables(clinic: Terminal, tmp_path: Path) -> None:
    """Another encoding, another file, and one that is not there each end in a sentence."""
    file = tmp_path / "people.csv"
    for content, said in ((b"moodle_id\xff\n", "not UTF-8"), (b"a,b\n1,2\n", "has no column 'moodle_id'")):
        file.write_bytes(content)
        ended = clinic.run("match", "approve", "--file", str(file))
        assert (2, True) == (ended.code, said in ended.text)
    assert 2 == clinic.run("match", "approve", "--file", str(tmp_path / "none.csv")).code


def test_no_formula_in_a_table(tmp_path: Path) -> None:
    """A cell that a spreadsheet would calculate is a text, and is read back as it was."""
    file = tmp_path / "people.csv"
    values = {"k": ('=HYPERLINK("x")', "+1"), "-c": ("@a", "\tb")}
    write_table(file, [MatchRow("student", "k", "-c", 3, "duplicate", "email")], values)
    (row,) = rows_of(file)
    assert all(cell[:1] not in tuple("=+-@\t") for cell in row.values())
    assert "'-c" == row["case_id"]


def test_values_only_for_eyes(clinic: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and addresses come into the table only with --show-values, on a terminal."""
    file = tmp_path / "people.csv"
    assert 2 == clinic.run("match", "--csv", str(file), "--show-values").code
    assert not file.exists()
    monkeypatch.setattr(
        Eyes, "__init__", lambda self, show_values=False: setattr(self, "sees_values", show_values)
    )
    assert 2 == clinic.run("match", "--show-values").code
    assert 4 == clinic.run("match", "--csv", str(file), "--show-values").code
    amina = next(row for row in rows_of(file) if row["matched_by"] == "staff_no")
    assert ("Amina Otieno", "Amina O.") == (amina["moodle_name"], amina["case_name"])


def test_a_run_at_work(clinic: Terminal) -> None:
    """While a run is at work nothing is matched or decided: postponed."""
    with open_store(load_settings(clinic.env, None)) as store:
        store.take_lease("somebody", SystemClock().now(), 600.0)
    for words in (
        ("match",),
        ("match", "approve", "--class", "duplicate", "--count", "2"),
        ("match", "reject", "3"),
    ):
        assert 3 == clinic.run(*words).code


@pytest.mark.parametrize(
    "words",
    [
        ("approve",),
        ("approve", "3", "case", "--class", "duplicate"),
        ("reject", "3", "case", "--class", "conflict"),
        ("reject", "999"),
        ("approve", "3"),
        ("approve", "--class", "unverified", "--count", "1"),
        ("list", "--class", "odd"),
    ],
)
def test_wrong_usage(clinic: Terminal, words: tuple[str, ...]) -> None:
    """What is not clear is refused with a sentence."""
    assert 2 == clinic.run("match", *words).code


def test_mobile_workers(clinic: Terminal, tmp_path: Path) -> None:
    """Mobile workers are recognised by username, address and user data; nothing is remembered."""
    project = clinic.box.project
    project.add_user("Brian.Mwangi")
    project.add_user("chw3", email="CHEBET.Kiplagat@training.example.org")
    project.add_user("chw1", user_data={"staff_no": "S-101"})
    project.add_user("david.ochieng", active=False)
    file = tmp_path / "workers.csv"
    ended = clinic.run("match", "--workers", "--csv", str(file), "--json")
    counts = {"found": 3, "deactivated": 1, "unverified": 0, "none": 8}
    assert (0, 6, counts) == (ended.code, ended.json["workers"], ended.json["mappings"]["student"])
    assert {"username": 2, "email": 1, "staff_no": 1} == ended.json["matched_by"]["student"]
    assert 12 == len(list(rows_of(file)))
    assert "Nothing was written down." in clinic.run("match", "--workers").text
    assert [] == clinic.run("match", "list", "--all", "--json").json["matches"]


def test_check_names_the_command(clinic: Terminal) -> None:
    """`check` says that a first run will stop, and what to do."""
    assert "match` finds out whose they are" in clinic.run("check").text
