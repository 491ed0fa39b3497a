"""Course totals that Moodle does not show, for hidden grades or an error: told, and never sent as blank."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from adaptors.moodle.screens import HIDDEN_TOTALS
from flows.result import RunState
from flows.words import courses_named
from mappings.engine import CompiledMapping

if TYPE_CHECKING:
    from flows.run import Run

REMEDY = f"Choose 'Show totals excluding hidden items' under {HIDDEN_TOTALS}."


def count_withheld(mappings: Iterable[CompiledMapping], enrolments: Iterable[Mapping[str, Any]]) -> int:
    """Return of how many people the total is not known though their grades were read; 0 when nothing needs it."""
    reading = (one for one in mappings if one.source == "enrolments")
    if not any(path.startswith("grade.") for one in reading for path in one.reads):
        return 0
    return sum("items" in record and "grade" not in record for record in enrolments)


def tell_withheld(run: Run, courses: Collection[int]) -> None:
    """Say once which courses keep totals back; the cases keep what they have."""
    if courses:
        run.result.worse(
            RunState.COMPLETED,
            f"Moodle does not show the course totals of {courses_named(courses)}: a hidden grade counts in them, "
            "they are hidden, or the gradebook has an error. They were not sent, and the cases keep what they "
            f"have. {REMEDY}",
        )
