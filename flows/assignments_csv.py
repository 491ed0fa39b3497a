"""People and submissions as CSV for a spreadsheet: values whole, harmless as formulas, in a file for its owner."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from adaptors.moodle.assignment_people import AssignmentPerson, CoursePerson
from adaptors.moodle.assignment_work import Handed
from flows.errors import UsageError

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
PEOPLE: Final = (
    "id", "username", "firstname", "lastname", "email", "roles", "status", "participant", "group", "submission",
)  # fmt: skip
SUBMISSIONS: Final = (
    "submission", "id", "username", "firstname", "lastname", "email", "participant", "group", "members", "attempt",
    "latest", "status", "gradingstatus", "timecreated", "timemodified", "files", "bytes", "text",
)  # fmt: skip


def people_rows(people: Iterable[AssignmentPerson | CoursePerson]) -> list[dict[str, Any]]:
    """Return a row for each person."""
    rows = []
    for one in people:
        of_assignment = one if isinstance(one, AssignmentPerson) else None
        row = _person(of_assignment.person if of_assignment else one)  # type: ignore[arg-type]
        if of_assignment:
            row |= {"participant": of_assignment.participant, "group": of_assignment.group}
            row["submission"] = of_assignment.submission
        rows.append(row)
    return rows


def submission_rows(handed: Iterable[Handed]) -> list[dict[str, Any]]:
    """Return a row for each submission; times are UTC."""
    return [
        {
            **_person(one.person),
            "submission": one.id,
            "participant": one.participant,
            "group": one.group,
            "members": " ".join(str(member.id) for member in one.members),
            "attempt": one.attempt,
            "latest": one.latest,
            "status": one.status,
            "gradingstatus": one.gradingstatus,
            "timecreated": moment(one.timecreated),
            "timemodified": moment(one.timemodified),
            "files": "; ".join(f"{file.path}{file.name}".lstrip("/") for file in one.files),
            "bytes": sum(file.size for file in one.files),
            "text": one.text,
        }
        for one in handed
    ]


def _person(person: CoursePerson | None) -> dict[str, Any]:
    if person is None:
        return {}
    names = ("id", "username", "firstname", "lastname", "email", "status")
    return {name: getattr(person, name) for name in names} | {"roles": " ".join(person.roles)}


def moment(seconds: int | None) -> str:
    """Return a time of Moodle in UTC, "" for none."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write rows into a new file (0600, UTF-8 with a byte-order mark); UsageError when it is there."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([safe_cell(row.get(column)) for column in columns])
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} exists already. Name a new file.") from None
    with os.fdopen(descriptor, "w", encoding="utf-8-sig", newline="") as file:
        file.write(text.getvalue())


def safe_cell(value: object) -> str:
    """Return a cell that no spreadsheet takes for a formula; a number stays as it is."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return str(value)
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
