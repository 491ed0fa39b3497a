"""What the commands print on the sandbox, as the guide shows it; the same every time."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable

from tests.flows.terminal import Terminal

NAME = "moodle-commcare"
_SCREEN = re.compile(rf"(?m)^```text\n\$ {NAME} (.*)\n(?:.*\n)*?```\n")


def screens(terminal: Terminal) -> dict[str, str]:
    """Type the guide's commands on a fresh sandbox, edits between them, and return what each printed.

    Raises FileNotFoundError where there is no git, without which `mappings diff` has nothing to compare with.
    """
    git = _git(terminal)
    student = terminal.mappings / "student.yaml"
    fresh = student.read_text("utf-8")
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "As agreed"]):
        git(words)
    shown: dict[str, str] = {}

    def show(command: str) -> None:
        printed = terminal.run(*command.split()).out
        shown[command] = _same_everywhere(printed, terminal)

    show("preview --limit 3")
    terminal.run("sync", "--yes")
    show("mappings explain student contact_phone_number --id 6")
    show("mappings coverage")
    terminal.edit("student.yaml", "{source: city, transform: [trim]", "{source: city, transform: [trim, upper]")
    terminal.edit("student.yaml", "  id_number: {source: idnumber, transform: [trim], personal: true}\n", "")
    show("mappings diff")
    student.write_text(fresh, "utf-8")
    terminal.edit("student.yaml", "{source: city, transform: [trim]", "{source: city, transform: [trim, uper]")
    terminal.edit("student.yaml", "first_of: [phone1, phone2]", "first_of: [phone1, mobile]")
    show("mappings check")
    return shown


def looking_screens(terminal: Terminal) -> dict[str, str]:
    """Type the commands that look back on a sandbox where something happened, and return what each printed."""
    terminal.run("sync", "--yes")
    box = terminal.box
    (chebet,) = [case for case in box.project.of_type("student") if case.case_name.startswith("Chebet")]
    box.site.update_user(box.learners[2], lastname="Kiplagat-Rono")
    terminal.run("sync")
    box.commcare.refuse_row(chebet.case_id, "Values must be strings")
    box.site.update_user(box.learners[2], city="Bondo")
    terminal.run("sync")
    key = chebet.external_id or ""
    run = terminal.run("history", key, "--json").json["changes"][0]["run"]
    typed = {
        f"history {key}": ("history", key),
        "history --run RUN --limit 2": ("history", "--run", run, "--limit", "2"),
        "phones": ("phones",),
        "gaps": ("gaps",),
    }
    return {
        shown: _timeless(_same_everywhere(terminal.run(*words).out, terminal)) for shown, words in typed.items()
    }


def _timeless(printed: str) -> str:
    """Return an output with one time, one run and one version of the mappings for all there are."""
    text = re.sub(r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b", "2026-11-21 09:00", printed)
    text = re.sub(r"\b\d{8}T\d{6}-[0-9a-f]{6}\b", "20261121T060000-a1b2c3", text)
    text = re.sub(r"mappings [0-9a-f]{7}\b", "mappings d31bdd2", text)
    return re.sub(r"(?m)^(2026.*  )[0-9a-f]{6}  [0-9a-f]{7}  ", r"\1a1b2c3  d31bdd2  ", text)


def with_screens(text: str, shown: dict[str, str]) -> str:
    """Return a text with every screen in it as the commands print it now; KeyError for one that is not typed."""
    return _SCREEN.sub(lambda found: f"```text\n$ {NAME} {found[1]}\n{shown[found[1]]}```\n", text)


def _git(terminal: Terminal) -> Callable[[list[str]], None]:
    git = shutil.which("git")
    if not git:
        raise FileNotFoundError("git")
    who = ["-c", "user.name=Amina Otieno", "-c", "user.email=amina@example.org"]

    def run(words: list[str]) -> None:
        subprocess.run([git, *who, *words], cwd=terminal.mappings, check=True, capture_output=True)  # noqa: S603

    return run


def _same_everywhere(printed: str, terminal: Terminal) -> str:
    """Return an output without what differs from machine to machine: places, and how long it took."""
    text = printed.replace(f"{terminal.mappings}", "mappings").replace("var/mappings", "mappings")
    text = re.sub(r"\b\d+\.\d s\b", "0.1 s", text)
    return "".join(f"{line.rstrip()}\n" for line in text.rstrip().splitlines())
