"""What became of the texts of coaches, counted and by key; no text and no grade is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flows.reasons import reason_words
from flows.result import RunState
from flows.words import listed, numbered

PUBLISHED: Final = "published"
IN_WORDS: Final[Mapping[str, str]] = {
    PUBLISHED: "published",
    "would_publish": "would be published",
    "there_already": "in Moodle already",
    "not_published": "not published",
}
"""What becomes of a text, in words, in the order in which it is told."""
REASON_OF: Final[Mapping[str, str]] = {
    "unknown_person": "feedback_person_left",
    "may_not_submit": "feedback_person_left",
    "unknown_participant": "feedback_person_left",
    "not_shown": "feedback_not_shown",
    "no_assignment": "feedback_no_assignment",
    "no_access": "feedback_no_access",
    "duplicate": "feedback_twice",
    "blank_text": "feedback_too_long",
    "too_long": "feedback_too_long",
    "bad_grade": "feedback_bad_grade",
    "grade_out_of_range": "feedback_bad_grade",
    "grade_not_on_scale": "feedback_bad_grade",
    "not_graded": "feedback_bad_grade",
    "no_comments": "feedback_switched_off",
    "advanced_grading": "feedback_rubric",
    "method_unknown": "feedback_method_unknown",
    "blind_marking": "feedback_blind",
    "grade_unreadable": "feedback_unreleased",
    "conflict": "feedback_conflict",
    "frozen_grade": "feedback_grade_not_stored",
    "grade_not_stored": "feedback_grade_not_stored",
    "not_stored": "feedback_not_stored",
    "not_confirmed": "feedback_unfinished",
    "no_answer": "feedback_unfinished",
    "not_sent": "feedback_unfinished",
}
"""Why the publishing of feedback refused somebody -> the reason with which the key is listed."""
UNFINISHED: Final = "feedback_unfinished"
MOST_KEYS: Final = 5


@dataclass(frozen=True)
class Told:
    """What came of one text: whose case (`key`), which person and assignment of Moodle, and why not."""

    mapping: str
    key: str
    name: str
    course: int
    person: int
    state: str
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it for `--json`."""
        found: dict[str, Any] = {"key": self.key, "mapping": self.mapping, "property": self.name}
        found |= {"course": self.course, "person": self.person, "state": self.state}
        return found | ({"reason": self.reason} if self.reason else {})


@dataclass
class FedBack:
    """The outcome of one look at what coaches wrote; `cases` were looked at, `asked` counts texts by mapping.

    `asked` is filled when a person has to say yes first: then nothing was sent.
    """

    dry_run: bool = False
    state: RunState = RunState.COMPLETED
    cases: int = 0
    told: list[Told] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    requests: dict[str, dict[str, int]] = field(default_factory=dict)
    overlapped: bool = False
    """Whether another run had the lease, so that nothing was begun."""

    @property
    def counts(self) -> dict[str, int]:
        """Return how many texts came to which state."""
        return counted_texts(self.told)

    @property
    def trouble(self) -> str:
        """Return why something has to be tried again soon, "" when nothing has."""
        waits = sum(one.reason == UNFINISHED for one in self.told)
        return f"{numbered(waits, 'text')} not confirmed by Moodle yet; the next look settles it." if waits else ""

    def worse(self, state: RunState, message: str) -> None:
        """Note a state that is more serious than before."""
        order = [RunState.COMPLETED, RunState.DEGRADED, RunState.WAITING, RunState.POSTPONED, RunState.FAILED]
        self.state = max(self.state, state, key=order.index)
        if message and message not in self.messages:
            self.messages.append(message)

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`."""
        return {
            "state": str(self.state),
            "dry_run": self.dry_run,
            "cases": self.cases,
            "counts": self.counts,
            "texts": [one.as_json() for one in self.told],
            "asked": self.asked,
            "requests": self.requests,
            "messages": self.messages,
        }

    def lines(self) -> Iterator[str]:
        """Yield sentences for people: counts, then each reason with the keys that it concerns."""
        parts = [f"{count:,} {IN_WORDS[state]}" for state, count in self.counts.items()]
        sent = "Nothing was sent. " if self.dry_run or self.asked else ""
        yield f"{sent}Texts of coaches, in {numbered(self.cases, 'case')}: {', '.join(parts) or 'nothing new'}."
        yield from reason_lines(self.told)
        for mapping, count in self.asked.items():
            texts = numbered(count, "text")
            yield f"{mapping}: {texts} would go to Moodle now, and from then on what coaches write."
        if self.asked:
            yield "`moodle-commcare feedback preview` looks again, `moodle-commcare feedback send --yes` says yes."
        yield from self.messages


def counted_texts(told: Iterable[Told]) -> dict[str, int]:
    """Return how many texts came to which state."""
    counts = Counter(one.state for one in told)
    return {state: counts[state] for state in IN_WORDS if counts[state]}


def reason_lines(told: Iterable[Told]) -> Iterator[str]:
    """Yield a sentence for each reason, with some of its keys."""
    by_reason: dict[str, list[str]] = {}
    for one in told:
        if one.reason:
            by_reason.setdefault(one.reason, []).append(one.key)
    for reason, keys in sorted(by_reason.items()):
        yield f"{len(keys):,} × {reason}: {reason_words(reason)}. Keys: {listed(keys, MOST_KEYS)}."
