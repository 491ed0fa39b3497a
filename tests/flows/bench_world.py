"""The sandbox as the implementer's tools see it: custom fields, an unknown code, people who must not show."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from flows.endings import command
from tests.flows.terminal import Ended, Terminal

GOLDEN = Path(__file__).parent / "golden"

GENDER = "  gender: {source: profile.gender, transform: [{code_list: gender}], personal: false}\n"
CODE_LISTS = "code_lists: {gender: {F: female, M: male}}\n"
CITY = "  city: {source: city, transform: [trim], personal: true}\n"


def add_gender(terminal: Terminal) -> None:
    """Give three learners a gender, one of them in a code that the list lacks, and map it."""
    for number, code in enumerate(("F", "M", "X")):
        terminal.box.site.update_user(terminal.box.learners[number], profile={"gender": code})
    terminal.edit("student.yaml", CITY, CITY + GENDER)
    project = terminal.mappings / "project.yaml"
    project.write_text(project.read_text(encoding="utf-8") + CODE_LISTS, encoding="utf-8")


def commit(terminal: Terminal) -> None:
    """Put the mappings under git."""
    git = ["git", "-c", "user.email=somebody@example.org", "-c", "user.name=Somebody"]
    for words in (["init", "-q", "."], ["add", "."], ["commit", "-q", "-m", "as it was"]):
        subprocess.run([*git, "-C", str(terminal.mappings), *words], check=True)  # noqa: S603 - our own words


def tree(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder with what is in them, git's own left out."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".git" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def plain(ended: Ended, terminal: Terminal) -> str:
    """Return what was printed without what differs from one machine or day to the next."""
    text = ended.out.replace(str(terminal.mappings), "mappings").replace(command(), "moodle-commcare")
    text = re.sub(r"\d+\.\d s\b", "0.1 s", text)
    return "\n".join(line.rstrip() for line in text.split("\n"))


def golden(name: str, text: str) -> str:
    """Return the golden text of that name; a missing one is written, to be read, and fails the test."""
    file = GOLDEN / f"{name}.txt"
    if not file.exists():
        file.write_text(text, encoding="utf-8")
        raise AssertionError(f"{file.name} was written: read it")
    return file.read_text(encoding="utf-8")
