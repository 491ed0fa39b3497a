"""What an audit found, counted and told; never a value of a person, only keys, ids and names of properties."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flows.result import RunState
from flows.steps.edits import IN_WORDS
from flows.words import listed, numbered

KEPT = 1_000  # findings of a kind that are listed; all are counted
FAULTS = (
    *("duplicate", "orphan", "deleted", "unlisted", "drift"),
    *("mark_changed", "personal_again", "personal_when_erased"),
)
GONE = "{n} of people who left or are kept out, or of courses that are over, "
MEANING = {
    "duplicate": "{n} used by more than one case: give all but one of them another external id in CommCare. The "
    "books go on writing to the case that they know.",
    "orphan": "{n} with a key of ours that the books do not know: close them in CommCare, if the person is gone.",
    "deleted": "{n} not in CommCare any more, deleted by hand. CommCare still takes what is written to them, and "
    "nobody sees it. `moodle-commcare audit --recreate` has the next run make new cases.",
    "deleted_when_left": "{n} of people who left, deleted by hand. Should one come back, CommCare takes what is "
    "written and nobody sees it: after `moodle-commcare audit --recreate` whoever comes back gets a new case.",
    "deleted_when_closed": "{n} that were closed by us, deleted by hand: whoever comes back gets a new one.",
    "drift": "{n} holding other values than were sent: {names}. `moodle-commcare audit --repair` has the next run "
    "write them again.",
    "mark_changed": f"{GONE}not saying so any more: {{names}} changed by hand. Nothing writes these again, "
    "`--repair` neither: set them in CommCare to what the mapping says under `when_left`, `when_course_ends` or "
    "`when_excluded`.",
    "personal_again": "{n} that were emptied, since their people are kept out, holding personal values again: "
    "{names}. Nothing empties these again, `--repair` neither: empty them in CommCare; a case name becomes the "
    "external id.",
    "personal_when_erased": "{n} of people who were erased holding personal values: {names}. The books know no "
    "more of them: empty these in CommCare; a case name becomes the external id.",
    "changed_when_gone": f"{GONE}holding other values than were sent: {{names}}. No run writes those any more: "
    "put right in CommCare what matters.",
    "closed_by_hand": "{n} closed by hand: they take updates and stay closed.",
    "owner_moved": "{n} moved to another owner by hand: their children follow in the next run.",
    "earlier_term": "{n} of an earlier term: the books write to the one that followed, under the same key.",
    "erased": "{n} of people who were erased: the books know no more of them.",
    "unclear": "{n} with a date and time that CommCare wrote in its own way: nobody can tell whether it is ours.",
}
NOUNS = {"duplicate": ("key", "keys")}


@dataclass(frozen=True)
class Finding:
    """One thing that an audit found; `names` are properties, never values."""

    kind: str
    key: str
    mapping: str
    case_type: str
    case_id: str
    names: tuple[str, ...] = ()

    @property
    def in_words(self) -> list[str]:
        """Return the properties as people know them."""
        return [IN_WORDS.get(name, name) for name in self.names]

    @property
    def what(self) -> str:
        """Return the properties in a line."""
        return listed(self.in_words)

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`."""
        return {**vars(self), "names": list(self.names)}


@dataclass
class Audit:
    """What an audit found. `counts` has all, `findings` the first of each kind; `names` properties by kind.

    `not_compared` are known cases that were listed, and of which the list may be older than what was written, or
    the books do not know what they hold: these are `unknown`; `switched_off` are those among them of mappings that
    are off.
    """

    run_id: str
    state: RunState = RunState.COMPLETED
    cases: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    names: defaultdict[str, Counter[str]] = field(default_factory=partial(defaultdict, Counter))
    repaired: int = 0
    recreated: int = 0
    not_compared: int = 0
    unknown: int = 0
    switched_off: int = 0
    requests: int = 0
    seconds: float = 0.0
    messages: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Return how many findings there are."""
        return self.counts.total()

    @property
    def summary(self) -> str:
        """Return the audit in a line."""
        told = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in self.counts.items() if count)
        done = f"; {numbered(self.repaired, 'case')} to be written again" if self.repaired else ""
        done += f"; {numbered(self.recreated, 'case')} to be made anew" if self.recreated else ""
        listing = f"{numbered(self.cases.total(), 'case')} listed in {numbered(self.requests, 'request')}"
        return f"{self.state}, {listing}: {told or self._nothing_found}{done}."

    @property
    def _nothing_found(self) -> str:
        """Return what no finding means."""
        if self.state is not RunState.COMPLETED:
            return "not finished"
        if not self.not_compared:
            return "all as it was sent"
        compared = self.cases.total() - self.not_compared
        return f"{compared:,} of them compared, all as it was sent" if compared else "none of them compared yet"

    def tell(self, finding: Finding) -> None:
        """Count a finding and its properties, and list it unless there are too many of its kind."""
        self.counts[finding.kind] += 1
        self.names[finding.kind].update(f"{finding.mapping}.{name}" for name in finding.in_words)
        if self.counts[finding.kind] <= KEPT:
            self.findings.append(finding)

    def stop(self, state: RunState, message: str) -> None:
        """Note why it came to no end."""
        self.state = state
        self.messages.append(message)

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`."""
        return {
            "run_id": self.run_id,
            "state": str(self.state),
            "cases": dict(self.cases),
            "counts": dict(+self.counts),
            "properties": dict(self.names["drift"].most_common()),
            "properties_by_kind": {kind: dict(n.most_common()) for kind, n in self.names.items() if n},
            "repaired": self.repaired,
            "recreated": self.recreated,
            "not_compared": self.not_compared,
            "requests": self.requests,
            "seconds": round(self.seconds, 2),
            "findings": [one.as_json() for one in self.findings],
            "messages": self.messages,
        }


def conclude(found: Audit, repair: bool) -> None:
    """Say what the findings mean, and call the audit degraded when something is not as it should be."""
    for kind, sentence in MEANING.items():
        if count := found.counts[kind]:
            n = numbered(count, *NOUNS.get(kind, ("case", "cases")))
            found.messages.append(sentence.format(n=n, names=_counted(found.names[kind])))
    if late := found.not_compared - found.unknown:
        found.messages.append(
            f"{numbered(late, 'case')} not compared: written in the last 15 minutes, so that CommCare's list may "
            "not show it yet. The next audit looks at them."
        )
    if unknown := found.unknown - found.switched_off:
        found.messages.append(
            f"{numbered(unknown, 'case')} not compared: the books do not know what is in them, because an "
            "answer is missing, or they are to be written whole. An audit compares those that a run has written "
            "since; what is not read any more stays as it is."
        )
    if found.switched_off:
        found.messages.append(
            f"{numbered(found.switched_off, 'case')} not compared: made by mappings that are switched off."
        )
    if any(found.counts[kind] for kind in FAULTS):
        found.state = RunState.DEGRADED
    if found.recreated:
        cases = numbered(found.recreated, "new case")
        found.messages.append(f"The next run that reads their people and courses makes {cases}.")
    if repair and found.repaired:
        cases = numbered(found.repaired, "case")
        found.messages.append(f"The next run that reads their people and courses writes {cases} again.")


def _counted(names: Counter[str]) -> str:
    return listed([f"{name} ({count:,})" for name, count in names.most_common()], 5)
