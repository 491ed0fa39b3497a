"""`workers create`: mobile workers for people who are to own their cases and have none yet.

First the plan, then exactly as many as a person agreed to. The file with the passwords is written before anything
is sent, so that none is lost when an answer is; who is there already, by user name, is never made again.
"""

from __future__ import annotations

import csv
import os
import re
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adaptors.commcare.owners import Worker
from adaptors.errors import InDoubt, Refused
from flows.csv_file import MARK, new_file, safe, write_csv
from flows.errors import UsageError
from flows.match import Meeting, matched_mappings, read_people
from flows.recognise import Recogniser
from flows.words import numbered
from flows.world import Progress, World, silent
from mappings.engine import CompiledMapping, Context, Draft
from mappings.engine.matching import KEY, match_rules

USERNAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,58}[a-z0-9])?")
"""User names that CommCare takes, a little narrower than it does."""
LETTERS = "abcdefghjkmnpqrstuvwxyz"  # none that is taken for another on paper
DIGITS = "23456789"
HEADINGS = ("username", "password", "moodle_id", "state")
NOT_SENT, CREATED, REFUSED, UNKNOWN = "not sent", "created", "refused", "no answer"

STATES = {
    "there": "have a mobile worker already",
    "to_create": "would get a mobile worker",
    "deactivated": "have one who is deactivated: activate that one in CommCare",
    "twice": "share a user name with somebody else: nobody gets it",
    "unusable": "have a user name that CommCare does not take",
    "no_username": "have no user name in the field that the mapping names",
}


@dataclass(frozen=True)
class Newcomer:
    """Somebody who is to get a mobile worker."""

    username: str = field(repr=False)
    moodle_id: int
    first_name: str = field(repr=False)
    last_name: str = field(repr=False)


@dataclass
class WorkerPlan:
    """Who would get a mobile worker, and how many would not, and why."""

    newcomers: list[Newcomer] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    unusable: list[int] = field(default_factory=list)
    """Moodle's numbers of those who need a person's look."""

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`: counts and Moodle's numbers, no name."""
        return {"people": {state: self.counts[state] for state in STATES}, "look_at": sorted(self.unusable)}

    def lines(self) -> list[str]:
        """Return the plan in sentences."""
        found = [f"{self.counts[state]:,} {text}." for state, text in STATES.items() if self.counts[state]]
        if self.unusable:
            found.append(
                f"To look at, by their Moodle numbers: {', '.join(map(str, sorted(self.unusable)[:20]))}."
            )
        if self.newcomers:
            found.append("CommCare bills active mobile workers by its plan: look at the price of so many first.")
        return found or ["Nobody is in the chosen courses."]


@dataclass
class Creation:
    """What became of each newcomer, in the order of the file."""

    states: list[str]

    def count(self, state: str) -> int:
        """Return how many ended so."""
        return self.states.count(state)

    @property
    def is_whole(self) -> bool:
        """Say whether all were made."""
        return self.count(CREATED) == len(self.states)

    def as_json(self) -> dict[str, int]:
        """Return the counts for `--json`."""
        names = {"created": CREATED, "refused": REFUSED, "no_answer": UNKNOWN, "not_sent": NOT_SENT}
        return {name: self.count(state) for name, state in names.items()}

    def lines(self, file: Path) -> list[str]:
        """Return what was done, in sentences."""
        found = [f"{numbered(self.count(CREATED), 'mobile worker')} made. Their passwords are in {file}."]
        if self.count(UNKNOWN):
            found.append(
                f"{self.count(UNKNOWN)} without an answer: they may be there. Run the command again later; who is "
                f"there then has the password in {file}, so keep it."
            )
        if self.count(REFUSED):
            found.append(f"{self.count(REFUSED)} refused by CommCare: look at them in the file's column 'state'.")
        if self.count(NOT_SENT):
            found.append(f"{self.count(NOT_SENT)} not sent: run the command again.")
        return found


class _Meeting(Meeting):
    """The people of a mapping, looked up among the mobile workers as they are read."""

    def __init__(self, mapping: CompiledMapping) -> None:
        rules = match_rules(mapping.spec)
        super().__init__(mapping, rules, Recogniser(rules, KEY), {})
        self.people: list[Newcomer] = []

    def take(self, record: Mapping[str, Any], context: Context) -> None:
        """Note who is to own the own case: the first owner rule that names a mobile worker."""
        outcome = self.mapping.draft(record, context)
        if isinstance(outcome, Draft):
            names = [one.value for one in outcome.owner.candidates if one.kind == "user"]
            first, last = (str(record.get(name) or "") for name in ("firstname", "lastname"))
            username = names[0].casefold().partition("@")[0] if names else ""
            self.people.append(Newcomer(username, int(record["id"]), first, last))


async def plan_workers(world: World, names: Sequence[str] = (), *, progress: Progress = silent) -> WorkerPlan:
    """Say who needs a mobile worker; raises NotRead, UsageError, AccessDenied. Nothing is sent."""
    chosen = [one for one in matched_mappings(world, names) if _by_user(one)]
    if not chosen:
        raise UsageError(
            "No mapping of people says with 'user' under 'owner' which mobile worker owns a case, so there is "
            "nobody to make one for. docs/students-offline.md says how it is done."
        )
    workers = await world.commcare.owners.workers()
    meetings = [_Meeting(mapping) for mapping in chosen]
    await read_people(world, meetings, progress)
    return planned([person for one in meetings for person in one.people], workers)


def _by_user(mapping: CompiledMapping) -> bool:
    return any(rule.user is not None for rule in mapping.spec.owner.first_of)


def planned(people: Sequence[Newcomer], workers: Sequence[Worker]) -> WorkerPlan:
    """Compare people with the mobile workers there are."""
    found = WorkerPlan()
    by_id = {person.moodle_id: person for person in people}
    active = {worker.username.casefold(): worker.active for worker in sorted(workers, key=lambda one: one.active)}
    shared = Counter(person.username for person in by_id.values())
    for person in sorted(by_id.values(), key=lambda one: one.moodle_id):
        state = _state(person, active, shared)
        found.counts[state] += 1
        if state == "to_create":
            found.newcomers.append(person)
        elif state != "there":
            found.unusable.append(person.moodle_id)
    return found


def _state(person: Newcomer, active: Mapping[str, bool], shared: Counter[str]) -> str:
    if not person.username:
        return "no_username"
    if shared[person.username] > 1:
        return "twice"
    if person.username in active:
        return "there" if active[person.username] else "deactivated"
    return "to_create" if USERNAME.fullmatch(person.username) else "unusable"


async def create_workers(
    world: World, newcomers: Sequence[Newcomer], file: Path, *, password: Callable[[], str] | None = None
) -> Creation:
    """Write the passwords to a new file, then make the workers one by one; the file tells what became of each.

    Raises UsageError for a file that is there already, AccessDenied and Maintenance once the file is up to date. A
    request is never repeated.
    """
    new_file(file)
    secret = [(password or new_password)() for _ in newcomers]
    done = Creation([NOT_SENT] * len(newcomers))
    write_csv(file, HEADINGS, _rows(newcomers, secret, done))
    try:
        for at, person in enumerate(newcomers):
            done.states[at] = UNKNOWN
            try:
                await world.commcare.create_worker(
                    person.username,
                    secret[at],
                    first_name=person.first_name,
                    last_name=person.last_name,
                    user_data={"moodle_id": str(person.moodle_id)},
                )
                done.states[at] = CREATED
            except InDoubt:
                continue
            except Refused:
                done.states[at] = REFUSED
            except Exception:
                done.states[at] = NOT_SENT
                raise
    finally:
        _rewrite(file, _rows(newcomers, secret, done))
    return done


def new_password() -> str:
    """Return a password that can be read off paper and typed on a phone: 60 bits, capitals and digits in it."""
    words = ["".join(secrets.choice(LETTERS + DIGITS) for _ in range(4)) for _ in range(3)]
    return f"{secrets.choice(LETTERS).upper()}{'-'.join(words)}{secrets.choice(DIGITS)}"


def _rows(newcomers: Sequence[Newcomer], secret: Sequence[str], done: Creation) -> list[tuple[object, ...]]:
    return [
        (person.username, secret[at], person.moodle_id, done.states[at]) for at, person in enumerate(newcomers)
    ]


def _rewrite(file: Path, rows: Sequence[Sequence[object]]) -> None:
    """Put the file in its own place anew, whole or not at all, for one person alone."""
    beside = file.with_name(f".{file.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as target:
        target.write(MARK)
        table = csv.writer(target)
        table.writerow(HEADINGS)
        table.writerows([safe(cell) for cell in row] for row in rows)
    beside.replace(file)
