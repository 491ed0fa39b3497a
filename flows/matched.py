"""What a match found: people by class, what waits for somebody's word, what to do; never a value."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from flows.result import RunState
from flows.words import listed, numbered
from state import MatchRow

CLASSES = {
    "new": "no case yet: a sync makes one",
    "linked": "the case is known",
    "duplicate": "there is a case already: link it",
    "unverified": "maybe there is a case: look",
    "missing_email": "no e-mail address of their own to compare, and no case found",
    "conflict": "contradictory: look",
}
"""The classes of people, in the order in which they are told."""
REASONS = {
    "": "",
    "another_case": "has a case, and this one looks like another one of the same person",
    "closed": "the case is closed, and no interface of CommCare opens it again",
    "deleted": "the case was deleted in CommCare",
    "keys_disagree": "what tells people apart names different people",
    "other_name": "same e-mail address, another name",
    "same_name": "same name, nothing else in common",
    "same_phone": "same phone number, nothing else in common",
    "shared_email": "others have the same address",
    "two_candidates": "several cases could be this person's",
    "two_people": "two people of Moodle could be meant by this case",
}


@dataclass
class MappingMatch:
    """What was found for one mapping: people by class, and cases of its type."""

    name: str
    case_type: str
    classes: Counter[str] = field(default_factory=Counter)
    cases: int = 0
    others: int = 0
    """Cases that resemble nobody."""
    linked_now: int = 0
    waiting: int = 0
    """People without a case of whom somebody has to decide."""
    deleted: int = 0
    """People whose case was deleted in CommCare."""

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`."""
        classes = {name: self.classes[name] for name in CLASSES}
        return {
            "case_type": self.case_type,
            "people": classes,
            "linked_now": self.linked_now,
            "waiting": self.waiting,
            "deleted": self.deleted,
            "cases": {"listed": self.cases, "of_nobody": self.others},
        }


@dataclass
class Matched:
    """The outcome of a match; `rows` are what was not plain, for a table."""

    run_id: str
    state: RunState = RunState.COMPLETED
    mappings: list[MappingMatch] = field(default_factory=list)
    rows: list[MatchRow] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    messages: list[str] = field(default_factory=list)
    values: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    """Name and e-mail address by key or case id; filled only for somebody who may see them."""

    def stop(self, state: RunState, message: str) -> None:
        """Note why it came to no end."""
        self.state = state
        self.messages.append(message)

    def conclude(self) -> None:
        """Say what is to be done now."""
        for one in self.mappings:
            self.messages += told(one, f" --mapping {one.name}" if len(self.mappings) > 1 else "")
        if any(one.waiting for one in self.mappings):
            self.state = RunState.WAITING

    @property
    def summary(self) -> str:
        """Return the match in a line."""
        counts = Counter[str]()
        for one in self.mappings:
            counts.update(one.classes)
        parts = [f"{counts[name]:,} {name.replace('_', ' ')}" for name in CLASSES if counts[name]]
        cases = numbered(sum(one.cases for one in self.mappings), "case")
        return f"{self.state}: {listed(parts) or 'nobody'}; {cases} compared."

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`."""
        return {
            "run_id": self.run_id,
            "state": str(self.state),
            "mappings": {one.name: one.as_json() for one in self.mappings},
            "requests": self.requests,
            "seconds": round(self.seconds, 2),
            "messages": self.messages,
        }


def told(one: MappingMatch, which: str = "") -> list[str]:
    """Return what is to be done about one mapping, in sentences; `which` names it in commands."""
    said = []
    if one.linked_now:
        people = _people(one.linked_now)
        said.append(f"{one.name}: {people} linked by rule; the next sync writes to those cases.")
    if count := one.classes["duplicate"]:
        said.append(
            f"{one.name}: {_people(count)} with a case to be linked. When you have looked: "
            f"`moodle-commcare match approve --class duplicate --count {count}{which}`"
        )
    if one.classes["unverified"] + one.classes["conflict"]:
        count = one.classes["unverified"] + one.classes["conflict"]
        said.append(
            f"{one.name}: {_people(count)} who may have a case, or another one; somebody has to look: "
            "`moodle-commcare match list`, then `moodle-commcare match approve` or `moodle-commcare match reject` "
            "with the two ids. Many are easier in a table: `moodle-commcare match --csv`"
        )
    if one.deleted:
        said.append(
            f"{one.name}: {_people(one.deleted)} whose case was deleted in CommCare. For new ones: "
            f"`moodle-commcare match approve --class new --count {one.deleted}{which}`"
        )
    if one.others:
        verb, stay = ("resembles", "stays as it is") if one.others == 1 else ("resemble", "stay as they are")
        said.append(
            f"{one.name}: {numbered(one.others, 'case')} of type '{one.case_type}' {verb} nobody in the chosen "
            f"courses and {stay}."
        )
    return said


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"
