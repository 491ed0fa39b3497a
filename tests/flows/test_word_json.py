"""`--json` of the commands that take a person's word or care for the books: one object, whatever happens."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from flows.clock import SystemClock
from flows.needs import EXISTING, NEW_TERMS
from flows.steps.asked import LEAVERS, WITHDRAWN
from flows.steps.blanks import REFUSED_BLANKS
from state import Store
from tests.flows.terminal import Terminal
from tests.test_docs import COMMANDS

SPARED = {
    "demo": "a story for people",
    "sandbox": "serves until it is stopped; its lines are for a shell",
    "init": "asks questions",
    "serve": "serves until it is stopped",
    "receiver": "serves until it is stopped",
    "metrics": "has a format of its own",
    "mappings schema": "is JSON",
    "person export": "is JSON",
}
"""Commands without `--json` -> why."""


@pytest.fixture
def asked(terminal: Terminal) -> Terminal:
    """Give a terminal after a first run, with every kind of question in the books."""
    assert 0 == terminal.run("sync", "--yes").code
    key = bytes.fromhex((terminal.folder / "state.key").read_text().split()[0])
    with Store.open(terminal.env["STATE_URL"], key=key) as store:
        for fact in (LEAVERS.refused, WITHDRAWN.refused):
            store.put(fact, json.dumps({"2": {"enrolment": 4}}))
        store.put(REFUSED_BLANKS, json.dumps({"student city": {"0": 9}}))
        store.put(NEW_TERMS, json.dumps({"2": 1_900_000_000}))
        store.put(EXISTING, json.dumps({"student": {"cases": 3}}))
    return terminal


WORDS = [
    ("confirm-leavers", "2", "--count", "4"),
    ("confirm-leavers", "--all", "--count", "4"),
    ("confirm-withdrawn", "2", "--count", "4"),
    ("confirm-blanks", "student", "city", "--count", "9"),
    ("confirm-term", "2", "--same"),
    ("confirm-existing", "student", "--count", "3"),
    ("merge", "5", "6"),
    ("state", "backup"),
    ("state", "restored"),
    ("state", "rotate-key"),
]
WRONG = [
    ("confirm-leavers", "2", "--count", "5"),
    ("confirm-leavers", "--count", "5"),
    ("confirm-withdrawn", "9", "--count", "4"),
    ("confirm-blanks", "student", "town", "--count", "9"),
    ("confirm-term", "9"),
    ("confirm-existing", "student", "--count", "1"),
    ("merge", "5", "5"),
    ("merge", "5", "6", "--undo"),
    ("person", "admit", "99999"),
    ("state", "restore"),
    ("state", "restore", "no-such-file"),
    ("state", "rotate-key", "--lost"),
]


def test_every_command_has_it() -> None:
    """One that has none is known, with the reason."""
    lone = [path for path, command in COMMANDS.items() if not hasattr(command, "commands")]
    without = {
        path for path in lone if "--json" not in {word for one in COMMANDS[path].params for word in one.opts}
    }
    assert set(SPARED) == {" ".join(path) for path in without}


@pytest.mark.parametrize("name", ["confirm-leavers", "confirm-withdrawn", "confirm-blanks", "confirm-existing"])
def test_a_word_without_its_number(asked: Terminal, name: str) -> None:
    """Whoever leaves the number out is told where it stands."""
    where = ("student",) if name == "confirm-existing" else ("--all",)
    ended = asked.run(name, *where)
    assert (2, True) == (ended.code, "status` names the whole command with it." in ended.text.replace(" │ │", ""))


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_word_is_one_object(asked: Terminal, words: tuple[str, ...]) -> None:
    """What is said to people stands in it, and nothing else is on either output."""
    ended = asked.run(*words, "--json")
    assert (0, "completed", "") == (ended.code, ended.json["state"], ended.err)
    assert all(sentence.endswith(".") for sentence in ended.json["messages"])


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_refusal_is_one_object(asked: Terminal, words: tuple[str, ...]) -> None:
    """It has the sentence that people read on standard error, and the exit code is the same."""
    plain, ended = asked.run(*words), asked.run(*words, "--json")
    assert (plain.code, "failed") == (ended.code, ended.json["state"])
    assert (plain.err, "") == (ended.err, plain.out)
    assert ended.json["messages"] == plain.err.splitlines()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("preview --course abc", "Invalid value for '--course': It has to be a whole number."),
        ("preview --limit 1.5", "Invalid value for '--limit': It has to be a whole number."),
        ("sync --curse 3", "No such option: --curse (Possible options: --course)"),
        ("merge 5", "Missing argument 'new'."),
        ("problems lst", "No such command 'lst'. Did you mean 'list'?"),
        ("lst", "No such command 'lst'."),
    ],
)
def test_a_command_that_was_typed_wrong_is_one_object(terminal: Terminal, words: str, said: str) -> None:
    """What people read on standard error stands in it; without `--json` nothing is on standard output."""
    plain, ended = terminal.run(*words.split()), terminal.run(*words.split(), "--json")
    assert {"state": "failed", "messages": [said]} == ended.json
    assert (2, 2, "") == (plain.code, ended.code, plain.out)
    assert (plain.err, said.split(" (")[0]) == (
        ended.err,
        " ".join(re.findall(r"│ (.*?) +│", plain.err)).split(" (")[0],
    )


def test_what_a_script_needs_has_a_name(asked: Terminal) -> None:
    """Where the copy is, the books from before, the new place: no sentence has to be read for it."""
    made = asked.run("state", "backup", "--json").json["file"]
    assert Path(made).is_file()
    assert 0 == asked.run("person", "erase", "5", "--yes").code
    done = asked.run("state", "restore", made, "--json").json
    assert (True, [5], True) == (Path(done["aside"]).is_file(), done["erase_again"], done["knows_erased"])
    moved = asked.run("state", "move", f"sqlite:///{asked.folder / 'new.db'}", "--json").json
    assert (str(asked.folder / "new.db"), True) == (moved["place"], moved["rows"] > 10)


def test_admitting_is_one_object(asked: Terminal) -> None:
    """Who was erased is read again."""
    assert 0 == asked.run("person", "erase", "5", "--yes").code
    assert ("completed", "") == ((ended := asked.run("person", "admit", "5", "--json")).json["state"], ended.err)


def test_a_decision_that_comes_too_early_is_one_object(asked: Terminal) -> None:
    """A run at work is told in the object as well, with the exit code for later."""
    key = bytes.fromhex((asked.folder / "state.key").read_text().split()[0])
    with Store.open(asked.env["STATE_URL"], key=key) as store:
        store.take_lease("run", SystemClock().now(), 600.0)
    ended = asked.run("match", "reject", "5", "--json")
    assert (3, "postponed") == (ended.code, ended.json["state"])
