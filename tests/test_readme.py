"""The tables of README: each use with a command that exists, a page and a test; every command named once."""

from __future__ import annotations

import ast
import re

from flows.usage import ORDER
from tests.flows.test_word_json import SPARED
from tests.test_docs import COMMANDS, HOUSE, README, wrong_commands


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its first two lines."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def links(cell: str) -> list[str]:
    """Return where the links of a cell lead, without what follows #."""
    return [target.split("#")[0] for target in re.findall(r"\]\(([^)]+)\)", cell)]


def proofs(path: str) -> list[str]:
    """Return the names of the tests in a file."""
    nodes = ast.walk(ast.parse((HOUSE / path).read_text("utf-8")))
    functions = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [name for name in functions if name.startswith("test_")]


def test_each_use_has_a_command_that_exists() -> None:
    """What stands in backticks in the second column can be typed behind `moodle-commcare`."""
    for what, how, _ in rows("What for"):
        spans = re.findall(r"`([^`]+)`", how)
        assert spans, what
        assert [] == [wrong for span in spans for wrong in wrong_commands(f"moodle-commcare {span}")]


def test_each_use_has_a_test_and_pages_that_exist() -> None:
    """Each row ends in files of tests, and each page it names is there."""
    for what, how, proof in rows("What for"):
        assert links(proof), what
        assert [] == [path for path in links(proof) if not (path.startswith("tests/") and proofs(path))]
        assert [] == [path for path in links(how) if not (HOUSE / path).is_file()]


def test_what_was_asked_for_is_there() -> None:
    """The five calls, the import and the uses that the client named are rows of the table."""
    asked = (
        *("getUsersFromCourse", "getUsersFromAssignment", "getSubmissionInfosFromAssignment"),
        *("downloadSubmissionsFromUser", "publishAssignmentTextFeedback"),
        *("new, duplicate, unverified", "Engagement", "student's own", "profile, enrolment and grades"),
        *("web API", "webhooks"),
    )
    uses = "\n".join(row[0] for row in rows("What for"))
    assert [] == [one for one in asked if one not in uses]


def test_every_command_is_listed_once() -> None:
    """The table of commands has all of them, groups left out unless they do something by themselves."""
    listed = [span for commands, _ in rows("All commands") for span in re.findall(r"`([^`]+)`", commands)]
    groups = {path for path, one in COMMANDS.items() if getattr(one, "commands", None)}
    alone = {path for path in groups if getattr(COMMANDS[path], "invoke_without_command", False)}
    assert sorted(" ".join(path) for path in COMMANDS.keys() - (groups - alone)) == sorted(listed)


def test_the_help_has_the_same_order() -> None:
    """What one begins with stands first in both."""
    listed = [span for commands, _ in rows("All commands") for span in re.findall(r"`([^`]+)`", commands)]
    assert list(dict.fromkeys(span.split()[0] for span in listed)) == list(ORDER)


def test_the_few_without_an_object_are_named() -> None:
    """Whoever pipes a command knows before which have no `--json`."""
    sentence = README.split("## All commands")[1].split("have `--json`")[0]
    assert set(SPARED) == set(re.findall(r"`([^`]+)`", sentence)) - {"--help"}


def test_readme_is_a_front_page() -> None:
    """It can be read in a few minutes; what is longer has a page of its own."""
    assert 200 > len(README.splitlines())
