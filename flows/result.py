"""What a run did, counted; the same numbers serve the terminal, `--json` and Prefect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class RunState(StrEnum):
    """How a run ended. Anything but `completed` is named in its result."""

    COMPLETED = "completed"
    DEGRADED = "degraded"
    POSTPONED = "postponed"
    WAITING = "waiting"
    FAILED = "failed"

    @property
    def exit_code(self) -> int:
        """Return the command's exit code."""
        return {"completed": 0, "postponed": 3, "waiting": 4}.get(self.value, 1)


@dataclass
class CaseCounts:
    """Records of one case type by what happened to them."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    held_back: int = 0
    problems: int = 0
    in_doubt: int = 0
    marked_left: int = 0
    closed: int = 0
    withdrawn: int = 0
    ended: int = 0


@dataclass
class CourseResult:
    """What happened to one course."""

    state: str
    people: int = 0
    seconds: float = 0.0
    reason: str = ""


@dataclass
class Result:
    """The outcome of one run (or one preview)."""

    run_id: str
    state: RunState = RunState.COMPLETED
    preview: bool = False
    courses: dict[int, CourseResult] = field(default_factory=dict)
    cases: dict[str, CaseCounts] = field(default_factory=dict)
    requests: dict[str, dict[str, int]] = field(default_factory=lambda: {"moodle": {}, "commcare": {}})
    seconds: float = 0.0
    by_course: dict[int, Counter[str]] = field(default_factory=dict)
    """Course (0: the people of the site) -> records by what happened to them; unchanged ones are not counted."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why records were held back or have a problem: reason code -> records."""
    messages: list[str] = field(default_factory=list)
    """What a person has to know or do, one or two sentences each."""
    edits: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What was edited since the last finished run: per mapping the names edited, added, removed, retired."""
    not_due: list[str] = field(default_factory=list)
    """Mappings that were read a short while ago and wait for their interval."""
    plan: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, dict[str, int]] = field(default_factory=dict)
    """Lookup table -> rows added, changed and removed; tables in step are not named."""
    refused_rows: int = 0
    passed_over: list[int] = field(default_factory=list)
    """Courses that hints were about and that are not selected."""
    shards: list[dict[str, Any]] = field(default_factory=list)
    """The parts of a run that several workers shared: number, state, courses, seconds, how often it was begun."""
    worrying: int = 0
    """Records held back for another reason than a parent that is still to come, or a person's word."""
    undecided: int = 0
    """People who get no case until somebody has said whether there is one already."""
    answered_writes: int = 0
    """Write requests that CommCare took or clearly refused."""
    unanswered_writes: int = 0
    """Write requests of which nobody knows what came."""
    other_types: dict[str, Counter[str]] = field(default_factory=dict)
    """Mapping -> case type -> cases of others that have an external id which a first load would create."""
    lost_people: Set[int] = frozenset()
    """Whose profile Moodle did not give."""
    overlapped: bool = False
    """Whether another run had the lease, so that nothing was begun: that says nothing about the two systems."""

    def of(self, case_type: str) -> CaseCounts:
        """Return the counts of a case type."""
        return self.cases.setdefault(case_type, CaseCounts())

    def count(self, case_type: str, course: int, what: str, records: int = 1) -> None:
        """Count records of a case type in a course; `what` is a name of CaseCounts."""
        counts = self.of(case_type)
        setattr(counts, what, getattr(counts, what) + records)
        if records:
            self.by_course.setdefault(course, Counter())[what] += records

    def worse(self, state: RunState, message: str = "") -> None:
        """Note a state; the more serious one stays. Failed outranks waiting, waiting outranks degraded."""
        order = [RunState.COMPLETED, RunState.DEGRADED, RunState.WAITING, RunState.POSTPONED, RunState.FAILED]
        self.state = max(self.state, state, key=order.index)
        if message and message not in self.messages:
            self.messages.append(message)

    def stopped(self, state: RunState, cause: str) -> None:
        """Note what stopped the run: the first thing that a person is to read."""
        self.worse(state)
        self.messages = [cause, *(message for message in self.messages if message != cause)]

    def take_over(self, other: Result) -> None:
        """Add what a shard of the same run did; see `add_requests` for its requests."""
        self.courses |= other.courses
        for case_type, counts in other.cases.items():
            mine = vars(self.of(case_type))
            mine.update({name: mine[name] + count for name, count in vars(counts).items()})
        for course, found in other.by_course.items():
            self.by_course.setdefault(course, Counter()).update(found)
        self.reasons.update(other.reasons)
        for mapping, edits in other.edits.items():
            edit = self.edits.setdefault(mapping, {})
            edit["retired"] = dict(Counter(edit.get("retired", {})) + Counter(edits["retired"]))
        self.refused_rows += other.refused_rows
        self.worrying += other.worrying
        self.undecided += other.undecided
        self.answered_writes += other.answered_writes
        self.unanswered_writes += other.unanswered_writes
        self.worse(other.state)
        self.messages += [message for message in other.messages if message not in self.messages]

    def add_requests(self, made: Mapping[str, Mapping[str, int]]) -> None:
        """Add requests that another process made."""
        for system, kinds in made.items():
            self.requests[system] = dict(Counter(self.requests[system]) + Counter(kinds))

    def as_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        return {
            "run_id": self.run_id,
            "state": str(self.state),
            "preview": self.preview,
            "courses": {
                str(number): _course_json(course, self.by_course.get(number))
                for number, course in sorted(self.courses.items())
            },
            "cases": {case_type: vars(counts) for case_type, counts in self.cases.items()},
            "requests": self.requests,
            "seconds": round(self.seconds, 2),
            "reasons": dict(self.reasons),
            "messages": self.messages,
            "edits": self.edits,
            "not_due": self.not_due,
            **({"lookup_tables": self.tables} if self.tables else {}),
            **({"passed_over": self.passed_over} if self.passed_over else {}),
            **({"plan": self.plan} if self.plan else {}),
            **({"shards": self.shards} if self.shards else {}),
        }


def _course_json(course: CourseResult, cases: Counter[str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {"state": course.state, "people": course.people, "seconds": round(course.seconds, 2)}
    return found | ({"cases": dict(cases)} if cases else {}) | ({"reason": course.reason} if course.reason else {})
