"""What a drain did, counted; the same numbers serve the terminal, `--json` and Prefect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flows.fed_back import IN_WORDS, Told, counted_texts, reason_lines
from flows.result import Result, RunState
from flows.words import courses_named, listed, numbered

if TYPE_CHECKING:
    from flows.feedback import Consumed

OUTCOMES = {
    "read": "worked off",
    "asked": "about courses of which a person is asked something first; the run after the answer reads them",
    "not_selected": "about courses that project.yaml does not select",
    "unknown_person": "about people whom no selected course has",
    "no_mapping": "about what no mapping sends",
    "given_up": "given up after several tries; the next full run reads these courses",
    "feedback": "about cases in which feedback may stand",
    "not_shown": "given up: CommCare did not show their cases for ten minutes. They were deleted, or the next "
    "`moodle-commcare feedback send` finds what changed",
    "unused": "of CommCare that nothing here has a use for, or of our own writes",
}
"""What becomes of a hint, by its code: in words."""


@dataclass
class Drained:
    """The outcome of one drain, or of several in a row."""

    state: RunState = RunState.COMPLETED
    outcomes: Counter[str] = field(default_factory=Counter)
    left: int = 0
    """Hints that stay in the inbox for the next drain."""
    courses: set[int] = field(default_factory=set)
    """Courses that were read."""
    whole_site: bool = False
    runs: list[str] = field(default_factory=list)
    cases: Counter[str] = field(default_factory=Counter)
    """What happened to cases: created, updated and so on."""
    told: list[Told] = field(default_factory=list)
    """What became of texts that go back to Moodle."""
    messages: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def worse(self, state: RunState, message: str = "") -> None:
        """Note a state; the more serious one stays."""
        order = [RunState.COMPLETED, RunState.DEGRADED, RunState.WAITING, RunState.POSTPONED, RunState.FAILED]
        self.state = max(self.state, state, key=order.index)
        if message and message not in self.messages:
            self.messages.append(message)

    def ran(self, result: Result) -> None:
        """Take in a run."""
        self.runs.append(result.run_id)
        self.courses |= {number for number, course in result.courses.items() if course.state == "completed"}
        for counts in result.cases.values():
            self.cases.update({name: count for name, count in vars(counts).items() if count})
        self.worse(result.state)
        for message in result.messages:
            self.worse(result.state, message)

    def consumed(self, found: Consumed) -> None:
        """Take in what became of hints about cases."""
        self.told += found.done.told
        self.worse(found.done.state)
        for message in found.done.messages:
            self.worse(found.done.state, message)

    def add(self, other: Drained) -> None:
        """Take in a later drain: its state counts, and what it left."""
        self.outcomes += other.outcomes
        self.cases += other.cases
        self.told += other.told
        self.courses |= other.courses
        self.whole_site |= other.whole_site
        self.runs += other.runs
        self.seconds += other.seconds
        self.state, self.left, self.messages = other.state, other.left, other.messages

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`."""
        return {
            "state": str(self.state),
            "hints": {**dict(self.outcomes), "left": self.left},
            "courses": sorted(self.courses),
            "whole_site": self.whole_site,
            "cases": dict(self.cases),
            "texts": [one.as_json() for one in self.told],
            "runs": self.runs,
            "messages": self.messages,
            "seconds": round(self.seconds, 2),
        }

    def lines(self) -> Iterator[str]:
        """Yield sentences for people."""
        if not self.outcomes and not self.left and not self.messages:
            yield "The inbox is empty."
        for code, count in self.outcomes.items():
            yield f"{numbered(count, 'hint')} {OUTCOMES.get(code, code)}."
        if self.runs:
            where = (
                "the whole site" if self.whole_site else courses_named(self.courses) if self.courses else "nothing"
            )
            sent = listed([f"{count} {name.replace('_', ' ')}" for name, count in self.cases.items()])
            yield f"Read in {numbered(len(self.runs), 'run')}: {where}. Cases: {sent or 'none'}."
        if self.told:
            counts = counted_texts(self.told)
            texts = listed([f"{count:,} {IN_WORDS[state]}" for state, count in counts.items()])
            yield f"Texts of coaches: {texts}."
            yield from reason_lines(self.told)
        yield from self.messages
        if self.left:
            yield f"{numbered(self.left, 'hint')} left for the next drain."
