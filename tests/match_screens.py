"""What the commands print on a sandbox in which a clinic made cases before, as docs/matching.md shows it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.flows.terminal import Terminal
from tests.screens import with_screens

PAGE = Path(__file__).parents[1] / "docs" / "matching.md"
__all__ = ["PAGE", "match_screens", "with_screens"]


def match_screens(terminal: Terminal) -> dict[str, str]:
    """Type the commands of the page on a fresh sandbox, decisions between them, and return what each printed."""
    pair = "{moodle: idnumber, commcare: staff_no}"
    terminal.edit("student.yaml", "source: users", f"source: users\nmatch: [{pair}]")
    box = terminal.box
    box.site.update_user(box.learners[0], idnumber="S-101")
    add = box.project.add_case
    add("student", "Amina O.", properties={"staff_no": "s-101"})
    add("student", "B. Mwangi", properties={"email": "Brian.Mwangi@training.example.org"})
    wanjiru = add("student", "Esther Wanjiru", properties={"city": "Bondo"})
    for name in ("Peter Okoth", "Ruth Adhiambo"):
        add("student", name)
    box.project.add_user("brian.mwangi")
    box.project.add_user("chw-17", user_data={"staff_no": "S-101"})
    shown: dict[str, str] = {}

    def show(command: str) -> None:
        ended = terminal.run(*command.split())
        shown[command] = _same_everywhere(ended.out or ended.err)

    show("match")
    show("match list")
    show("match approve --class duplicate --count 2")
    terminal.run("match", "reject", str(box.learners[4]), wanjiru.case_id)
    show("match list --all")
    show("match --workers")
    return shown


def _same_everywhere(printed: str) -> str:
    """Return an output without the day, and without blanks at the ends of lines."""
    text = re.sub(r"\b\d{4}-\d\d-\d\d\b", "2026-11-29", printed)
    return "".join(f"{line.rstrip()}\n" for line in text.strip("\n").splitlines())
