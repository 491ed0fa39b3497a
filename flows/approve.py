"""The one form with which a person answers whatever a run asked: the same words as the confirm commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from flows.confirm import (
    confirm,
    confirm_all_blanks,
    confirm_blanks,
    confirm_existing,
    confirm_first_run,
    confirm_rekey,
    confirm_term,
    confirm_withdrawn,
)
from flows.errors import UsageError
from state import Store

AnswerKind = Literal[
    "first-run", "existing-cases", "leavers", "withdrawn", "blanks", "new-term", "same-term", "rekey"
]


@dataclass(frozen=True)
class Answer:
    """What a person filled in; 0, "" and False are fields left as they were.

    `course` 0 with the kinds leavers and withdrawn is the site itself, `everything` stands for all of a kind that
    wait.
    """

    kind: str
    course: int = 0
    mapping: str = ""
    property_name: str = ""
    count: int = 0
    everything: bool = False

    @property
    def filled(self) -> dict[str, bool]:
        """Return which fields of the form were filled in."""
        fields = {
            "course": self.course,
            "mapping": self.mapping,
            "property": self.property_name,
            "count": self.count,
            "everything": self.everything,
        }
        return {name: bool(value) for name, value in fields.items()}

    @property
    def place(self) -> int | None:
        """Return the course (0: the site) whose people it is about, None for all that wait."""
        return None if self.everything else self.course


TAKES: dict[str, tuple[str, ...]] = {
    "first-run": ("mapping", "count"),
    "existing-cases": ("mapping", "count"),
    "leavers": ("course", "count", "everything"),
    "withdrawn": ("course", "count", "everything"),
    "blanks": ("mapping", "property", "count", "everything"),
    "new-term": ("course",),
    "same-term": ("course",),
    "rekey": ("mapping", "count"),
}
"""Kind -> the fields of the form that it takes."""

NEEDS = {"blanks": ("mapping", "property"), "new-term": ("course",), "same-term": ("course",)}
"""Kind -> the fields that cannot be left as they were."""

WRITES: dict[str, Callable[[Store, Answer], str]] = {
    "first-run": lambda store, one: confirm_first_run(store, one.mapping, one.count),
    "existing-cases": lambda store, one: confirm_existing(store, one.mapping, one.count),
    "leavers": lambda store, one: confirm(store, one.place, one.count),
    "withdrawn": lambda store, one: confirm_withdrawn(store, one.place, one.count),
    "blanks": lambda store, one: _blanks(store, one),
    "new-term": lambda store, one: confirm_term(store, one.course, False),
    "same-term": lambda store, one: confirm_term(store, one.course, True),
    "rekey": lambda store, one: confirm_rekey(store, one.mapping, one.count),
}
"""Kind -> what writes the answer down and returns a sentence."""


def approve(store: Store, answer: Answer) -> str:
    """Write down an answer and return a sentence; UsageError when it does not fit what a run asked."""
    if answer.kind not in TAKES:
        raise UsageError(f"There is no kind '{answer.kind}'. There are: {', '.join(TAKES)}.")
    answer = replace(answer, mapping=answer.mapping.strip(), property_name=answer.property_name.strip())
    _check_fields(answer)
    return WRITES[answer.kind](store, answer)


def _check_fields(answer: Answer) -> None:
    """Raise UsageError for a field that the kind does not take or cannot do without, and for a number below 0."""
    if min(answer.course, answer.count) < 0:
        raise UsageError("course and count are numbers from 0.")
    takes, filled = TAKES[answer.kind], answer.filled
    if foreign := [name for name, value in filled.items() if value and name not in takes]:
        raise UsageError(
            f"The kind {answer.kind} takes {', '.join(takes)} and nothing else. Leave {foreign[0]} as it was."
        )
    if both := [name for name in ("course", "mapping", "property") if answer.everything and filled[name]]:
        raise UsageError(f"Fill in the {both[0]}, or everything, not both.")
    needed = () if answer.everything else NEEDS.get(answer.kind, ())
    if missing := [name for name in needed if not filled[name]]:
        raise UsageError(f"The kind {answer.kind} needs {' and '.join(missing)}, as the run named it.")


def _blanks(store: Store, answer: Answer) -> str:
    """Write down an answer about one property, or about all that wait."""
    if answer.everything:
        return confirm_all_blanks(store, answer.count)
    return confirm_blanks(store, answer.mapping, answer.property_name, answer.count)
