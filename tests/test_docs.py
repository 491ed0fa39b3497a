"""What is written about the project is true: commands exist, links lead somewhere, nothing is of one machine.

What is not so yet stands in EXCEPTIONS, each with its reason; an entry that is no longer needed fails.
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from flows.cli import app

HOUSE = Path(__file__).parent.parent
README = (HOUSE / "README.md").read_text()

EXCEPTIONS: dict[str, str] = {}
"""Sub-command that README does not mention -> why."""


@cache
def tracked() -> list[Path]:
    """Return the files of the project as git knows them; skips where there is no git, as in an archive."""
    if not (HOUSE / ".git").exists() or not (git := shutil.which("git")):
        pytest.skip("this is no git checkout")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=HOUSE, capture_output=True, check=True)  # noqa: S603
    return [HOUSE / name for name in listed.stdout.decode().split("\0") if name and (HOUSE / name).exists()]


def code_in(markdown: str) -> list[str]:
    """Return what stands in backticks and code blocks, line by line."""
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```", markdown)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```", "", markdown))
    return [line for block in blocks for line in block.splitlines()] + spans


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Return every sub-command of the command line with its words."""
    for name, found in getattr(command, "commands", {}).items():
        yield (*path, name), found
        yield from commands(found, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


def wrong_commands(text: str) -> list[str]:
    """Return the calls of the command in a text that name a sub-command or an option which does not exist."""
    wrong = []
    for call in re.findall(r"moodle-commcare((?: [a-z][a-z-]*)+(?:[^`'\"\n#;(,]*))", text):
        words = call.rstrip(". ").split()
        known = max((path for path in COMMANDS if words[: len(path)] == list(path)), key=len, default=())
        options = (
            {option for one in COMMANDS[known].params for option in (*one.opts, *one.secondary_opts)}
            if known
            else set()
        )
        unknown = [word for word in re.findall(r"--[a-z-]+", call) if word not in options]
        further = words[len(known) :] if known and hasattr(COMMANDS[known], "commands") else []
        if further and getattr(COMMANDS[known], "invoke_without_command", False):
            further = [] if further[0].startswith("--") else further  # `match` is a command and has some as well
        if not known or further or unknown:
            wrong.append(f"moodle-commcare{call}")
    return wrong


def markdown_files() -> list[Path]:
    """Return the texts written for people."""
    return [path for path in tracked() if path.suffix == ".md"]


# --- commands and targets -----------------------------------------------------------------------------------


def test_commands_in_texts_exist() -> None:
    """Each `moodle-commcare ...` in README and the other texts can be typed, options included."""
    calls = {path.name: wrong_commands("\n".join(code_in(path.read_text()))) for path in markdown_files()}
    assert {} == {name: wrong for name, wrong in calls.items() if wrong}


def test_pages_that_write_the_bare_command_say_when_that_works() -> None:
    """Who comes to a page by a link need not have read README: the first lines name the folder's own command."""
    others = ("endpoints.md", "operations.md", "plugins.md")  # tables; a sentence of its own; for developers
    pages = [path for path in (HOUSE / "docs").glob("*.md") if path.name not in others]
    bare = [path for path in pages if re.search(r"(?m)^moodle-commcare |`moodle-commcare ", path.read_text())]
    assert {"sms.md", "assignments.md", "students-offline.md"} <= {path.name for path in bare}
    says = "\n`moodle-commcare` alone is enough after `. .venv/bin/activate`"
    assert [] == sorted(path.name for path in bare if says not in path.read_text().split("\n## ")[0])


def test_commands_in_messages_exist() -> None:
    """Each `moodle-commcare ...` that a message of ours tells somebody to type exists."""
    rooms = [HOUSE / room for room in ("adaptors", "flows", "mappings", "state")]
    sources = [path for room in rooms for path in room.rglob("*.py")] + [HOUSE / "prefect.yaml"]
    calls = {path.name: wrong_commands(path.read_text()) for path in sources}
    assert {} == {name: wrong for name, wrong in calls.items() if wrong}


def test_files_with_people_in_them_are_below_var() -> None:
    """What a command of the texts writes about people, or reads, lies where git does not look."""
    lines = [line for path in markdown_files() for line in code_in(path.read_text())]
    calls = [line for line in lines if re.search(r"(match|workers|assignments|person|gaps) ", line)]
    named = {file for line in calls for file in re.findall(r"--(?:to|from|csv|file) ([a-z/][\w./-]+)", line)}
    assert {"var/people.csv", "var/new-workers.csv"} <= named
    assert [] == sorted(file for file in named if not file.startswith(("var/", "/var/lib/")))


def test_wrong_commands_are_found() -> None:
    """A sub-command, a sub-sub-command and an option that do not exist are each noticed."""
    assert [] == wrong_commands("moodle-commcare mappings check; moodle-commcare sync --json")
    for call in ("moodle-commcare snyc", "moodle-commcare mappings chekc", "moodle-commcare sync --jsno"):
        assert [call] == wrong_commands(call)


def test_make_targets_exist() -> None:
    """Each `make ...` in README and CONTRIBUTING is a target, and .ci/run makes what README says tests it."""
    targets = set(re.findall(r"(?m)^([a-z0-9]+):", (HOUSE / "Makefile").read_text()))
    for name in ("README.md", "CONTRIBUTING.md", ".ci/run"):
        text = (HOUSE / name).read_text()
        lines = code_in(text) if name.endswith(".md") else text.splitlines()
        named = {target for line in lines for target in re.findall(r"^(?:make) ([a-z0-9]+)", line)}
        assert named, f"{name} names no target"
        assert set() == named - targets
    assert "make test" in (HOUSE / ".ci" / "run").read_text().splitlines()


def test_make_targets_are_explained() -> None:
    """`make help` has a line for each target."""
    makefile = (HOUSE / "Makefile").read_text()
    explained = set(re.findall(r"(?m)^([a-z0-9]+):.*## \S", makefile))
    assert set(re.findall(r"(?m)^([a-z0-9]+):", makefile)) == explained


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_command_has_help(path: tuple[str, ...]) -> None:
    """Each sub-command and each of its arguments and options says what it is for."""
    command = COMMANDS[path]
    assert command.help
    assert [] == [one.name for one in command.params if not one.help and one.name != "help"]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_command_is_in_the_readme(path: tuple[str, ...]) -> None:
    """Each sub-command can be found in README."""
    found = any(re.search(rf"moodle-commcare {' '.join(path)}\b", line) for line in code_in(README))
    found = found or f"`{' '.join(path)}" in README or (path == ("demo",) and "make demo" in README)
    assert found != (" ".join(path) in EXCEPTIONS), EXCEPTIONS.get(" ".join(path), "README does not mention it")


# --- links, lock file, addresses ----------------------------------------------------------------------------


def test_links_resolve() -> None:
    """Each relative link in a Markdown file leads to a file of the project."""
    broken = []
    for path in markdown_files():
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
            place = target.split("#")[0]
            if not re.match(r"[a-z]+:", target) and place and not (path.parent / place).exists():
                broken.append(f"{path.name}: {target}")
    assert [] == broken


LOCK = (HOUSE / "requirements.lock").read_text()


def test_lock_file_has_hashes_and_no_address() -> None:
    """Each package is pinned with hashes, and where it comes from is the reader's own affair."""
    assert not re.search(r"://|@ |^ *-(?!-hash=)", LOCK.replace("    --hash=", "--hash="), re.MULTILINE)
    entries = re.split(r"(?m)^(?=[a-zA-Z0-9])", LOCK)[1:]
    pinned = re.compile(r"[\w.-]+==[\w.+!]+(?: ; [^\n\\]+)?(?: \\\n--hash=sha256:[0-9a-f]{64})+\n*")
    assert [] == [entry for entry in entries if not pinned.fullmatch(entry.replace("    --hash", "--hash"))]


def test_lock_file_has_what_is_declared() -> None:
    """Each dependency of pyproject.toml, also those for development, is pinned."""
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    pinned = set(re.findall(r"(?m)^([\w.-]+)(?:\[.*\])?==", LOCK))
    assert set() == {re.split(r"[<>=~!\[; ]", one)[0].lower() for one in wanted} - pinned


# In two parts each, so that this file does not hold what it looks for.
OF_ONE_MACHINE = tuple(
    "".join(parts)
    for parts in (
        ("/wo", "rk/"), ("/ro", "ot/"), ("/fa", "rm/"), ("/ho", "me/"), ("/Us", "ers/"), ("file:", "///"),
        ("/sim", "ple/"), ("sim", "ple/ "), ("python", "hosted"), ("py", "pi.org"), ("index-", "url="),
    )
)  # fmt: skip


def text_of(path: Path) -> str:
    """Return a file's text, unpacked where it is packed."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return raw.decode("utf-8", "replace")


def test_no_file_is_of_one_machine() -> None:
    """No file of the project holds a path of a machine or the address of a package index."""
    here = [f"{place}/" for place in (HOUSE, Path.home()) if len(place.parts) > 1]
    found = [
        f"{path.relative_to(HOUSE)}: {mark}"
        for path in tracked()
        for text in [text_of(path)]
        for mark in (*OF_ONE_MACHINE, *here)
        if mark in text
    ]
    assert [] == found


def test_files_of_a_run_are_not_tracked() -> None:
    """Secrets, books and what tools leave behind are not part of the project."""
    forbidden = re.compile(r"(^|/)(\.env|var/|.*\.db(-wal|-shm)?$|.*\.key$|\.venv/|__pycache__/)")
    names = [path.relative_to(HOUSE).as_posix() for path in tracked()]
    assert [] == [name for name in names if forbidden.search(name)]
