"""The parts of docs/assignments.md that are taken from the code: measured requests, reasons, shapes."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import fields
from functools import cache
from pathlib import Path

from adaptors.moodle.assignment_people import AssignmentPerson, CoursePerson
from adaptors.moodle.assignment_work import Handed, Member, WorkFile
from flows.assignments_download import Download, download
from flows.assignments_feedback import Published, publish
from flows.assignments_list import entries
from flows.assignments_plan import REASONS, Outcome
from tests.flows.marking_world import MarkingWorld

GUIDE = Path(__file__).parents[1] / "docs" / "assignments.md"
SIZES = (300, 3000)
FILES = 30  # submissions with a file
CARE = {
    "people of a course": "1, all in one answer",
    "people of an assignment": "3, without those who have nothing there yet",
    "submissions": "3, no filter",
    f"download of {FILES} files": f"{FILES}",
    f"the same {FILES} files again": f"{FILES}",
    "feedback for everybody": "{:,}, one by one",
    "the same feedback again": "{:,}, written over",
}
"""What the service of CARE sends, as read in its code; {} is the people and one more."""
_PART = r"(?s)(<!-- {0} -->\n).*?(<!-- end of {0} -->)"
SHAPES = (CoursePerson, AssignmentPerson, Handed, WorkFile, Member, Download, Published, Outcome)
Measured = dict[str, int]


@cache
def counts(size: int) -> Measured:
    """Return the requests of each call for a course of so many learners."""
    return asyncio.run(_counts(size))


async def _counts(size: int) -> Measured:
    world = MarkingWorld(learners=size)
    found: Measured = {}
    for number, learner in enumerate(world.learners[: size // 2]):
        world.hand_in("Essay", learner, {"a.pdf": b"%PDF"} if number < FILES else {}, text="<p>x</p>")
    essay = await world.find("Essay")

    async def measure(name: str, call: Callable[[], Awaitable[object]], looked_up: int = 1) -> None:
        world.desk = world.new_desk()
        await call()
        found[name] = sum(world.desk.client.requests.values()) + looked_up  # one to find the assignment

    await measure("people of a course", lambda: world.desk.course_people(world.course), 0)
    await measure("people of an assignment", lambda: world.desk.people(essay))
    await measure("submissions", lambda: world.desk.submissions(essay))
    with tempfile.TemporaryDirectory() as folder:

        def fetch() -> Awaitable[object]:
            return download(world.desk, essay, folder, world.clock)

        await measure(f"download of {FILES} files", fetch)
        await measure(f"the same {FILES} files again", fetch)
    rows = entries([{"extId": learner, "text": "Well done"} for learner in world.learners])
    await measure("feedback for everybody", lambda: publish(world.desk, essay, rows))
    await measure("the same feedback again", lambda: publish(world.desk, essay, rows))
    return found


def counts_table() -> str:
    """Return the measured requests, as Markdown."""
    measured = {size: counts(size) for size in SIZES}
    heads = "".join(f" {size:,} people | CARE, {size:,} people |" for size in SIZES)
    lines = [f"| requests for |{heads}", "|---|" + "---|" * (2 * len(SIZES))]
    for name, care in CARE.items():
        cells = "".join(f" {measured[size][name]:,} | {care.format(size + 1)} |" for size in SIZES)
        lines.append(f"| {name} |{cells}")
    return "\n".join(lines) + "\n"


def reasons_table() -> str:
    """Return the reasons for which somebody's feedback is not there, as Markdown."""
    lines = ["| reason | |", "|---|---|", *(f"| `{reason}` | {text} |" for reason, text in REASONS.items())]
    return "\n".join(lines) + "\n"


def shapes_list() -> str:
    """Return the dataclasses that programs are given, as Markdown."""
    lines = []
    for shape in SHAPES:
        about = " ".join((shape.__doc__ or "").split())
        names = ", ".join(f"`{one.name}: {one.type}`" for one in fields(shape))
        lines.append(f"- **{shape.__name__}**: {about} Fields: {names}.")
    return "\n".join(lines) + "\n"


def with_parts(text: str) -> str:
    """Return the guide with these parts as they are now."""
    for name, made in (("counts", counts_table()), ("reasons", reasons_table()), ("shapes", shapes_list())):
        text = re.sub(_PART.format(name), lambda found, made=made: f"{found[1]}{made}{found[2]}", text)
    return text
