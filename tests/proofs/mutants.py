"""Ways to break the engine, each with the schedules in which the explorer must notice.

A mutant changes one rule of the real engine. Its schedules run twice: on the engine as it is, where all must end
well, and on the mutant, where an invariant must break.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

import flows.sync
from adaptors.commcare import client
from adaptors.commcare.answers import CaseObject
from adaptors.commcare.cases import SYSTEM, CaseReply, CaseWrite
from adaptors.errors import AdaptorError, Retriable
from adaptors.http import Answer
from adaptors.moodle import streams
from adaptors.moodle.answers import PEOPLE, Person, checked
from adaptors.moodle.client import options
from adaptors.moodle.roster import ENROLLED
from flows.steps import sweep
from flows.steps.work import Work
from state import Ack, Intent, IntentRow, Store
from state.lease import Held
from tests.proofs.explore import Explorer, Job
from tests.proofs.small_world import REST
from tests.proofs.stories import PASSES, STORIES
from tests.proofs.wires import Breach

FIRST, FLIP, LEAVE, RESTED = range(4)
"""The stories: a first load, a change taken back, somebody who leaves, writes in doubt that have rested."""

Strike = tuple[str, str, str]
"""Kind of point, what its name contains, and the fault."""
Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    """What is broken, and where it shows: all schedules with these strikes, run by run, in this order."""

    name: str
    patch: Patch
    story: int
    strikes: Sequence[Sequence[Strike]]
    breaks: frozenset[str]
    """The invariants that notice, any of them."""
    rest: float = REST


def noticed(mutant: Mutant, *, broken: bool) -> tuple[set[str], int]:
    """Run a mutant's schedules on it, or on the engine as it is; returns what broke, and how many were run."""
    with pytest.MonkeyPatch.context() as patching:
        if broken:
            mutant.patch(patching)
        explorer = Explorer(STORIES[mutant.story], rest=mutant.rest if broken else REST)
        try:
            _follow(explorer, mutant.strikes)
        except Breach as breach:  # it does not even get through a time without faults
            return {str(breach).split(":")[0]}, explorer.tally.schedules
        finally:
            explorer.close()
        return set(explorer.tally.kinds()), explorer.tally.schedules


def _follow(explorer: Explorer, strikes: Sequence[Sequence[Strike]]) -> None:
    """Run every schedule in which the strikes of each run hit, one after the other."""
    jobs = explorer.first_jobs()[:1]
    for number, wanted in enumerate(strikes, 1):
        for strike in wanted:
            jobs = [follow for job in jobs for follow in _hits(explorer, job, strike)]
        if number < PASSES:
            jobs = [explorer.after(job) for job in jobs]


def _hits(explorer: Explorer, job: Job, strike: Strike) -> list[Job]:
    """Run a job with one more fault, wherever it may hit; returns the jobs that this leads to."""
    kind, what, fault = strike
    found = []
    for place in range(max(job.first, default=-1) + 1, len(job.seen)):
        point = job.seen[place]
        if point.kind == kind and what in point.what:
            plan = {**job.first, place: fault}
            ran = explorer.attempt(job, plan)
            if ran is not None:
                found.append(replace(job, first=plan, seen=tuple(ran.faults.seen)))
    return found


# --- what is broken -----------------------------------------------------------------------------------------


def _no_intent(patching: pytest.MonkeyPatch) -> None:
    def stamp(self: Store, batch: str, intents: Sequence[Intent], now: float, ours: Held | None) -> None:
        """Announce nothing."""

    patching.setattr(Store, "stamp", stamp)


def _as_it_is(patching: pytest.MonkeyPatch) -> None:
    """Change no rule: what is broken is a setting."""


def _no_dirty(patching: pytest.MonkeyPatch) -> None:
    def void(self: Store, rested: Sequence[IntentRow], _now: float, _ours: Held | None) -> None:
        """Forget what was announced, and nothing else."""
        self.release([one.row for one in rested])

    patching.setattr(Store, "void_rested", void)


def _void_overtaken(patching: pytest.MonkeyPatch) -> None:
    def void(self: Store, rested: Sequence[IntentRow], now: float, _ours: Held | None) -> None:
        """Void what was read, whoever has announced it anew since."""
        with self._database.writing() as connection:
            self._void_rows(connection, [one.row for one in rested], now)

    patching.setattr(Store, "void_rested", void)


def _stamp_once(patching: pytest.MonkeyPatch) -> None:
    real = Store.stamp

    def stamp(self: Store, batch: str, intents: Sequence[Intent], now: float, ours: Held | None) -> None:
        """Announce only what this batch has not announced yet."""
        known = self.intents()
        new = [one for one in intents if one.row not in known or known[one.row].batch != batch]
        real(self, batch, new, now, ours)

    patching.setattr(Store, "stamp", stamp)


def _split(patching: pytest.MonkeyPatch) -> None:
    real = Store.acknowledge

    def acknowledge(self: Store, acks: Sequence[Ack], now: float, *source: str) -> None:
        """Take in an answer in two transactions."""
        self.release([ack.row for ack in acks])
        real(self, acks, now, *source)

    patching.setattr(Store, "acknowledge", acknowledge)


def _log_apart(patching: pytest.MonkeyPatch) -> None:
    real, note = Store.acknowledge, Store._note

    def acknowledge(self: Store, acks: Sequence[Ack], now: float, *source: str) -> None:
        """Write the log in a transaction of its own."""
        noted: list[tuple[Any, ...]] = []
        with patching.context() as patch:
            patch.setattr(Store, "_note", lambda _store, _connection, *told: noted.append(told))
            real(self, acks, now, *source)
        with self._database.writing() as connection:
            for told in noted:
                note(self, connection, *told)

    patching.setattr(Store, "acknowledge", acknowledge)


def _by_position(patching: pytest.MonkeyPatch) -> None:
    def match(rows: Sequence[CaseWrite], cases: Sequence[CaseObject]) -> list[CaseReply | None]:
        """Take the answers in the order in which they come."""
        return [case.reply() for case in cases] + [None] * (len(rows) - len(cases))

    patching.setattr(client, "match_replies", match)


def _partial(patching: pytest.MonkeyPatch) -> None:
    async def rows(self: Any, course_id: int, ids: Collection[int], _: list[int]) -> dict[int, Person]:
        """Take the first page for everybody there is."""
        chosen = options(userfields="id,fullname,roles,lastcourseaccess", limitfrom=0, limitnumber=100)
        answer = await self.client.call(ENROLLED, courseid=course_id, options=chosen)
        return {person.id: person for person in checked(PEOPLE, ENROLLED, answer) if person.id in ids}

    patching.setattr(streams.MoodleReader, "_rows", rows)


def _no_threshold(patching: pytest.MonkeyPatch) -> None:
    patching.setattr(sweep.Gone, "is_suspicious", lambda *_: False)


def _early(patching: pytest.MonkeyPatch) -> None:
    real = Work.advance

    async def advance(self: Work) -> None:
        """Check off first, and send then."""
        if not vars(self).get("is_checked_off"):
            vars(self)["is_checked_off"] = True
            await self._done(self)
        await real(self)

    patching.setattr(Work, "advance", advance)


def _children_first(patching: pytest.MonkeyPatch) -> None:
    people, courses = flows.sync.sync_people, flows.sync.sync_courses
    patching.setattr(flows.sync, "sync_people", courses)
    patching.setattr(flows.sync, "sync_courses", people)


def _no_lease(patching: pytest.MonkeyPatch) -> None:
    real, stamp, turns = Store.take_lease, Store.stamp, itertools.count(1)

    def take(self: Store, holder: str, now: float, ttl: float) -> int | None:
        """Take the lease whoever has it."""
        return real(self, holder, now + 1e6 * next(turns), ttl)  # every lease has run out by then

    def renew(self: Store, holder: str, epoch: int, now: float, ttl: float) -> None:
        """Go on whoever has it."""

    def announce(self: Store, batch: str, intents: Sequence[Intent], now: float, _ours: Held | None) -> None:
        """Announce whoever has it."""
        stamp(self, batch, intents, now)

    patching.setattr(Store, "take_lease", take)
    patching.setattr(Store, "stamp", announce)
    patching.setattr(Store, "renew_lease", renew)


def _definite(patching: pytest.MonkeyPatch) -> None:
    real = client.write_error

    def error(answer: Answer, rows: Sequence[CaseWrite], *, now: float) -> AdaptorError:
        """Take a 503 for a no."""
        if answer.status == 503:
            return Retriable("Not now.", system=SYSTEM, operation="write cases", status=503)
        return real(answer, rows, now=now)

    patching.setattr(client, "write_error", error)


LATE, LOST = ("write", "test-user", "late 900, timeout"), ("write", "", "now, timeout")
HIDDEN, EMPTY = ("moodle", " 2 page", "short on"), ("moodle", " 3 ids", "short")
OUT, OVERLAP = ("moodle", "site_info", "down"), ("moodle", "users_by_field", "second worker")
SLOW, HALF = ("write", "test-user", "429 long"), ("commit", "acknowledge", "crash after")
FROZEN = ("commit", "read_anew", "frozen, unanswered")
DEAD, BUSY = ("write", "test-enrol", "none, crash"), ("write", "test-user", "late 900, 503")


def _any(*names: str) -> frozenset[str]:
    return frozenset(names)


MUTANTS = (
    Mutant("no intent", _no_intent, FIRST, [[LATE]], _any("I4")),
    Mutant("no wait", _as_it_is, FIRST, [[LATE]], _any("I1", "I8"), rest=0.0),
    Mutant("no dirty", _no_dirty, FLIP, [[LOST]], _any("I2", "I4")),
    Mutant("void overtaken", _void_overtaken, RESTED, [[FROZEN]], _any("I1", "I8")),
    Mutant("stamp once", _stamp_once, FIRST, [[SLOW, LATE]], _any("I1", "I8")),
    Mutant("TX2 split", _split, FLIP, [[HALF]], _any("I2", "I4")),
    Mutant("log apart", _log_apart, FLIP, [[HALF]], _any("I13")),
    Mutant("match by position", _by_position, FIRST, [], _any("I7")),
    Mutant("sweep after partial read", _partial, FLIP, [[HIDDEN], [HIDDEN]], _any("I5")),
    Mutant("no threshold", _no_threshold, FLIP, [[EMPTY], [EMPTY]], _any("I5")),
    Mutant("checkpoint early", _early, FIRST, [[DEAD]], _any("I4")),
    Mutant("children first", _children_first, FIRST, [[OUT], [OUT], [OUT]], _any("I2")),
    Mutant("lease ignored", _no_lease, FIRST, [[OVERLAP]], _any("I12")),
    Mutant("503 taken as definite", _definite, FIRST, [[BUSY]], _any("I11")),
)
