"""The demo keeps its promises, in the same folder again, and where nobody looks at a terminal."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from flows.demo import run_demo


async def told(folder: Path) -> list[str]:
    """Run the demo and return its lines, without the blanks at their ends."""
    paper = io.StringIO()
    await run_demo(folder, Console(file=paper, width=80))
    return [line.rstrip() for line in paper.getvalue().splitlines()]


async def test_the_story_is_told_twice(tmp_path: Path) -> None:
    """What changed in Moodle, which rows were sent with which properties, and nothing else; within 80 columns."""
    first, second = await told(tmp_path / "demo"), await told(tmp_path / "demo")
    for line in (
        "   Cases    12 students and 24 enrolments created",
        "   Cases    12 students and 24 enrolments unchanged",
        "   Moodle   Brian Mwangi gets 88 points for 'Home visits'",
        "   Sent     student Chebet Kiplagat-Rono: case_name, last_name",
        "            enrolment Amina Otieno, Supervising a team: new case",
        "   Sent     student Lucy Nyambura: moodle_status",
        "            enrolment Lucy Nyambura, Community health basics: enrolment_status",
    ):
        assert line in first
        assert line in second
    assert max(map(len, first)) <= 80
    assert len(first) <= 50
