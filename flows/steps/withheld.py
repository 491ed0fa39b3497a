"""Course totals and assignments that Moodle does not show, though they are there: told, never sent as blank."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from adaptors.moodle.screens import HIDDEN_TOTALS, ROLES
from flows.result import Result, RunState
from flows.words import courses_named, numbered
from mappings.engine import CompiledMapping

if TYPE_CHECKING:
    from flows.run import Run

REMEDY = f"Choose 'Show totals excluding hidden items' under {HIDDEN_TOTALS}."

BLIND_REMEDY = (
    f"Give the role of the account 'mod/assign:view' ({ROLES}); where they are hidden from learners and are to "
    "count all the same, 'moodle/course:viewhiddenactivities', too."
)


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


def blind_in(courses: Mapping[int, int]) -> str:
    """Return in words of which courses no assignment is shown, of how many."""
    there = numbered(sum(courses.values()), "assignment")
    return f"none of the {there} of {courses_named(courses)} is shown to the account"


def tell_blind(result: Result, courses: Mapping[int, tuple[int, int]]) -> None:
    """Say that no course shows an assignment, though there are some: by course, how many are shown and are not.

    Where some are shown, the others are hidden from learners, most likely.
    """
    blind = {number: unseen for number, (_, unseen) in courses.items() if unseen}
    if blind and not any(shown for shown, _ in courses.values()):
        result.worse(RunState.COMPLETED, f"In Moodle {blind_in(blind)}. {BLIND_REMEDY}")
