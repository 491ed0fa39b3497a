"""`match --workers`: which mobile worker a person of Moodle is, told and nothing more; nothing is remembered.

Who owns cases as a mobile worker is found by `owner` rules with `user`; this says for how many that can work.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adaptors.commcare.owners import Worker
from flows.match import Meeting, matched_mappings, read_people
from flows.recognise import Recogniser
from flows.words import numbered
from flows.world import Progress, World, silent
from mappings.engine import CompiledMapping, Context, Draft, HeldBack
from mappings.engine.matching import KEY, MAIL, comparable, identifier, match_rules
from mappings.engine.paths import getter
from state import MatchRow

USERNAME, OWNER = "username", "owner"
CLASSES = {
    "found": "one mobile worker",
    "deactivated": "a mobile worker who is deactivated",
    "unverified": "several mobile workers: look",
    "none": "no mobile worker",
}


@dataclass
class WorkerMatch:
    """People by what was found, per mapping; `rows` name the mobile workers by their ids."""

    classes: dict[str, Counter[str]] = field(default_factory=dict)
    by: dict[str, Counter[str]] = field(default_factory=dict)
    workers: int = 0
    rows: list[MatchRow] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`."""
        counts = {name: {kind: found[kind] for kind in CLASSES} for name, found in self.classes.items()}
        return {"state": "completed", "workers": self.workers, "mappings": counts, "matched_by": self.by}

    def lines(self) -> list[str]:
        """Return what was found, in sentences."""
        said = [f"{numbered(self.workers, 'mobile worker')} in CommCare. Nothing was written down."]
        for name, found in self.classes.items():
            parts = [f"{found[kind]:,} with {text}" for kind, text in CLASSES.items() if found[kind]]
            by = ", ".join(f"{how} {count:,}" for how, count in self.by[name].most_common())
            said.append(f"{name}: {', '.join(parts) or 'nobody'}{f'; recognised by {by}' if by else ''}.")
        return said


class _Meeting(Meeting):
    """The people of a mapping, compared with mobile workers as they are read."""

    def __init__(self, mapping: CompiledMapping, index: Mapping[tuple[str, str], list[Worker]]) -> None:
        rules = match_rules(mapping.spec)
        super().__init__(mapping, rules, Recogniser(rules, KEY), {})
        self._index = index
        self._users = [getter(rule.source) for rule in mapping.spec.owner.first_of if rule.user is not None]
        self.classes, self.by, self.rows = Counter[str](), Counter[str](), list[MatchRow]()

    def take(self, record: Mapping[str, Any], context: Context) -> None:
        """Look one person up among the mobile workers."""
        outcome = self.mapping.draft(record, context)
        if isinstance(outcome, Draft | HeldBack) and outcome.key:
            how, found = self._look_up(record)
            kind = "none" if not found else "unverified" if len(found) > 1 else "found"
            if kind == "found" and not found[0].active:
                kind = "deactivated"
            self.classes[kind] += 1
            self.by.update([how] if found else [])
            for number in [worker.user_id for worker in found] or [""]:
                row = MatchRow(self.mapping.name, outcome.key, number, int(record["id"]), kind, how)
                self.rows.append(row)

    def _look_up(self, record: Mapping[str, Any]) -> tuple[str, list[Worker]]:
        """Return the first way in which a person is recognised, and the mobile workers it leads to."""
        ways = [(OWNER, USERNAME, _username(at(record))) for at in self._users]
        ways += [(name, name, at(record)) for name, at in self.rules.pairs]
        ways.append((USERNAME, USERNAME, _username(record.get("username"))))
        ways.append((MAIL, MAIL, self.rules.address(record.get("email"))))
        for how, name, text in ways:
            if text and (found := self._index.get((name, text))):
                return how, found
        return "", []


def _username(value: object) -> str:
    return comparable(value).partition("@")[0]


async def match_workers(world: World, names: Sequence[str] = (), *, progress: Progress = silent) -> WorkerMatch:
    """Compare everybody with the mobile workers; raises NotRead, UsageError, AccessDenied."""
    chosen = matched_mappings(world, names)
    workers, found = await world.commcare.owners.workers(), WorkerMatch()
    found.workers = len(workers)
    meetings = [_Meeting(mapping, _index(workers, mapping)) for mapping in chosen]
    await read_people(world, meetings, progress)
    for one in meetings:
        found.classes[one.mapping.name], found.by[one.mapping.name] = one.classes, one.by
        found.rows += one.rows
    return found


def _index(workers: Sequence[Worker], mapping: CompiledMapping) -> dict[tuple[str, str], list[Worker]]:
    """Return the workers by what they can be recognised by; those who are active come before the others."""
    rules, index = match_rules(mapping.spec), defaultdict[tuple[str, str], list[Worker]](list)
    for worker in workers:
        values = {name: identifier(worker.user_data.get(name)) for name, _ in rules.pairs}
        values |= {USERNAME: comparable(worker.username), MAIL: rules.address(worker.email)}
        for name, text in values.items():
            if text:
                index[name, text].append(worker)
    return {at: [one for one in found if one.active] or found for at, found in index.items()}
