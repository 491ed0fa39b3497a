"""Assignments, their people and their submissions at a terminal or as JSON: people's values masked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adaptors.moodle.assignment_answers import MarkedAssignment, MarkedCourse
from adaptors.moodle.assignment_work import Handed
from flows.assignments_csv import moment
from flows.assignments_download import Download
from flows.assignments_download import told as download_told
from flows.assignments_feedback import Published
from flows.assignments_feedback import told as feedback_told
from flows.masked import Eyes, masked
from flows.show_problems import laid_out
from flows.words import numbered

MOST = 50  # rows of a table
PERSONAL = ("username", "firstname", "lastname", "email")
NOT_SHOWN = "·"
TIME = "modified (UTC)"
WHOLE = frozenset({"status", TIME})
"""Columns that are never cut, however narrow the terminal."""


def masked_row(row: Mapping[str, Any], eyes: Eyes) -> dict[str, Any]:
    """Return a person's row for `--json`: values masked, ids and words of Moodle whole."""
    return {
        name: value if eyes.sees_values or name not in PERSONAL or value is None else masked(str(value))
        for name, value in row.items()
    }


def assignment_json(one: MarkedAssignment) -> dict[str, Any]:
    """Return an assignment for `--json`."""
    return {
        "id": one.id,
        "cmid": one.cmid,
        "name": one.name,
        "duedate": one.duedate or None,
        "grade": one.grade,
        "group_assignment": bool(one.teamsubmission),
        "blind": one.hides_people,
        "marking_workflow": bool(one.markingworkflow),
        "text_feedback": one.takes_comments,
    }


def handed_json(one: Handed, row: Mapping[str, Any], eyes: Eyes) -> dict[str, Any]:
    """Return a submission for `--json`; file names and texts are personal."""

    def see(value: str) -> str:
        return value if eyes.sees_values else masked(value)

    files = [
        {"name": see(f.name), "path": see(f.path) if f.path != "/" else "/", "size": f.size}
        | {"type": f.type, "time": f.time, "area": f.area}
        for f in one.files
    ]
    kept = {name: value for name, value in row.items() if name not in ("files", "bytes", "text", "members")}
    members = [{"id": member.id, "status": member.status} for member in one.members]
    text = None if one.text is None else see(one.text)
    times = {"timecreated": one.timecreated, "timemodified": one.timemodified}
    return {**masked_row(kept, eyes), **times, "members": members, "files": files, "text": text}


def show_assignments(course: MarkedCourse) -> None:
    """Print the assignments of a course."""
    table = _table("cmid", "id", "assignment", "due (UTC)", "graded", "kind")
    for one in course.assignments[:MOST]:
        graded = f"to {one.grade}" if one.grade > 0 else "by a scale" if one.grade else "no"
        kinds = {
            "groups": bool(one.teamsubmission),
            "blind": one.hides_people,
            "workflow": bool(one.markingworkflow),
            "no text feedback": not one.takes_comments,
        }
        kind = ", ".join(name for name, is_so in kinds.items() if is_so)
        table.add_row(str(one.cmid), str(one.id), one.name, moment(one.duedate)[:16] or NOT_SHOWN, graded, kind)
    _print(table, len(course.assignments), "assignment")


def show_people(rows: Sequence[Mapping[str, Any]], eyes: Eyes, *, of_assignment: bool) -> None:
    """Print people, one a line."""
    names: tuple[str, ...]
    if of_assignment:
        names = ("id", "participant", "username", "firstname", "lastname", "email", "group", "submission")
    else:
        names = ("id", "username", "firstname", "lastname", "email", "roles", "status")
    _rows(rows, names, eyes, "person", "people")


def show_handed(rows: Sequence[Mapping[str, Any]], eyes: Eyes) -> None:
    """Print submissions, one a line; the number of the attempt where it is not the first one everywhere."""
    shown = []
    several = any(row["attempt"] != 1 for row in rows)
    for row in rows:
        seen = masked_row(row, eyes)
        names = [str(seen[name]) for name in ("firstname", "lastname") if seen.get(name)]
        shown.append(
            {
                "whose": row.get("id") or (f"group {row['group']}" if row["group"] is not None else None),
                "participant": row["participant"],
                "name": " ".join(names),
                "attempt": row["attempt"] if several else None,
                "status": row["status"],
                TIME: str(row["timemodified"])[:16].replace("T", " "),
                "files": _files(row),
                "letters": f"{len(row['text']):,}" if row["text"] else None,
            }
        )
    _rows(shown, tuple(shown[0]) if shown else (), eyes, "submission")


def _files(row: Mapping[str, Any]) -> str:
    """Return how many files there are and how large they are together."""
    if not row["files"]:
        return ""
    size = f"{row['bytes'] / 1e6:,.1f} MB" if row["bytes"] >= 1e6 else f"{math.ceil(row['bytes'] / 1e3)} kB"
    return f"{str(row['files']).count('; ') + 1}, {size}"


def _rows(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], eyes: Eyes, noun: str, plural: str = ""
) -> None:
    used = [name for name in names if any(row.get(name) not in (None, "") for row in rows)]
    table = _table(*(name.replace("_", " ") for name in used))
    for row in rows[:MOST]:
        seen = masked_row(row, eyes)
        table.add_row(*(NOT_SHOWN if seen.get(name) in (None, "") else str(seen[name]) for name in used))
    _print(table, len(rows), noun, plural)


def show_download(done: Download) -> None:
    """Print what came of a download."""
    for line in download_told(done):
        _say(line)


def show_published(done: Published) -> None:
    """Print what came of a list: counts, and each reason with the ids it concerns."""
    for line in feedback_told(done):
        _say(line)


def _say(line: str) -> None:
    _console().print(Text(laid_out(line)))


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=heading in WHOLE, overflow="fold")
    return table


def _print(table: Table, count: int, noun: str, plural: str = "") -> None:
    console = _console()
    if count:
        console.print(table)
    more = f"; the first {MOST} are shown, `--csv` and `--json` have all" if count > MOST else ""
    console.print(Text(laid_out(f"{numbered(count, noun, plural)}{more}.")))


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False)
