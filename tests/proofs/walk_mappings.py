"""The mappings of a walk: all that ships for cases, engagement switched on, and the lookup table of courses."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flows.catalogue import field_catalogue
from mappings.engine import Project, load_project
from tests.flows.expected import OVER, PARKING
from tests.flows.expected import WITHDRAWN as KEPT_OUT
from tests.flows.worlds import PROJECT, SHIPPED, mappings_folder
from tests.proofs.machine_world import EDITIONS, WAYS

OUTS = ("", *WAYS)
"""What `when_excluded` does; nothing more twice as often."""
HOURS = (2, 24)
"""How often engagement is read."""
OLD, NEW = "enrol", "member"
"""The word in the keys of enrolments, before and after they are edited."""


@dataclass(frozen=True)
class Ways:
    """What stays as it is in a walk: what is done to who left or is kept out, and the hours of engagement."""

    left: str = ""
    out: str = ""
    hours: int = 24


@cache
def project_of(ways: Ways, edition: int, word: str) -> Project:
    """Load the mappings in one of their editions, once for all walks; `word` stands in the keys of enrolments."""
    folder = Path(tempfile.mkdtemp(prefix="walk-"))
    try:
        return load_project(_written(folder, ways, edition, word), field_catalogue())
    finally:
        shutil.rmtree(folder)


def _written(folder: Path, ways: Ways, edition: int, word: str) -> Path:
    guards = (
        f"guards: {{run_cases: 8}}\nparked_owner: {{group: {PARKING}}}\nintervals: {{engagement: {ways.hours}}}\n"
    )
    mappings = mappings_folder(folder, PROJECT + guards)
    student, enrolment, engagement = (mappings / f"{name}.yaml" for name in ("student", "enrolment", "engagement"))
    left = "when_left: {set: {moodle_status: left}"
    out = f"\nwhen_excluded: {{set: {{moodle_status: {KEPT_OUT}}}{ways.out}}}"
    _edit(student, f"{left}}}", f"{left}{ways.left}}}{out}")
    city = "city: {source: city, transform: "
    _edit(student, f"{city}[trim]", f"{city}{EDITIONS[edition]}")
    over = f"\nwhen_course_ends: {{set: {{enrolment_status: {OVER}}}{ways.left}}}"
    _edit(enrolment, "enrolment_status: left}}", f"enrolment_status: left}}{ways.left}}}{over}")
    _edit(enrolment, "{site}-enrol-", f"{{site}}-{word}-")
    _edit(engagement, "enabled: false\n", "")
    for file in (student, enrolment, engagement):  # restored books may be older than the first run
        file.write_text(file.read_text().partition("\ntests:")[0] + "\nexisting_cases: ignore\n")
    for name in ("grade_item", "course"):
        (mappings / f"{name}.yaml").unlink()
    table = SHIPPED / "offline" / "courses.table.yaml"
    (mappings / table.name).write_text(table.read_text().partition("\ntests:")[0])
    return mappings


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{old!r} is not in {file.name}"
    file.write_text(text.replace(old, new))
