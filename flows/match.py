"""`match`: people of Moodle against the cases that are there; nothing is written to CommCare, ever.

People are read by the path of a run, cases are listed page by page. What a rule allows is linked at once in the
books; all else waits for a person's word.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from adaptors.commcare.cases import CaseReply
from adaptors.errors import AdaptorError, Maintenance, Retriable
from flows.audit import LAG
from flows.errors import NotRead, Overlap, UsageError
from flows.live import watch
from flows.matched import MappingMatch, Matched
from flows.recognise import Recogniser, Verdict
from flows.result import Result, RunState
from flows.run import choose_mappings
from flows.steps.gate import MATCHED, own_cases
from flows.steps.lease import Lease
from flows.steps.linked import is_matched, linked_by
from flows.steps.merged import merged
from flows.steps.planned import SITE_SCOPE
from flows.steps.renamed import renamed, take_over_names
from flows.steps.ways import closes
from flows.sync import Options, sync
from flows.unbroken import unbroken
from flows.world import Progress, World, silent
from mappings.engine import CompiledMapping, Context, Draft, HeldBack
from mappings.engine.matching import MATCHED_SOURCE, MatchRules, match_rules
from state import CaseRow, Held, Link, MatchRow, RowId, StateError
from state.statuses import ALL

AT_ONCE = 5_000  # listed cases that are looked up in the books with one walk
HOLDING = ALL - {"replaced"}


@dataclass
class Meeting:
    """The people of one mapping, met while they are read."""

    mapping: CompiledMapping
    rules: MatchRules
    recogniser: Recogniser
    known: Mapping[str, str]
    values: dict[str, tuple[str, str]] | None = None

    def take(self, record: Mapping[str, Any], context: Context) -> None:
        """Take in one record; who is kept out by the mapping is there, and gets no case."""
        outcome = self.mapping.draft(record, context)
        if not outcome.key:
            return
        if not isinstance(outcome, Draft | HeldBack):
            self.recogniser.note(outcome.key)
            return
        self.recogniser.meet(outcome.key, int(record["id"]), record, self.known.get(outcome.key, ""))
        if self.values is not None:
            name = f"{record.get('firstname') or ''} {record.get('lastname') or ''}".strip()
            self.values[outcome.key] = (name, str(record.get("email") or ""))


async def match(
    world: World, mappings: Sequence[str] = (), *, show_values: bool = False, progress: Progress = silent
) -> Matched:
    """Match people with cases, link what rules allow, remember the rest; raises UsageError for a wrong name."""
    now, started = world.clock.now(), world.clock.monotonic()
    found = Matched(f"match-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}")
    before = world.moodle.requests.total(), world.commcare.requests.total()
    chosen = matched_mappings(world, mappings)
    try:
        await _Matcher(world, found, chosen, show_values, progress).run()
        found.conclude()
    except (Overlap, Maintenance) as error:
        found.stop(RunState.POSTPONED, f"{error} Nothing was matched; try again later.")
    except Retriable as error:
        found.stop(RunState.POSTPONED, f"{error} The match came to no end; try again later.")
    except NotRead as error:
        found.stop(RunState.FAILED, str(error))
    except (AdaptorError, StateError) as error:
        found.stop(RunState.FAILED, str(error))
    made = world.moodle.requests.total() - before[0], world.commcare.requests.total() - before[1]
    found.requests = {"moodle": made[0], "commcare": made[1]}
    found.seconds = world.clock.monotonic() - started
    return found


def matched_mappings(world: World, names: Sequence[str] = ()) -> list[CompiledMapping]:
    """Return the mappings whose people are matched: those named, or all of people; raises UsageError."""
    chosen = [mapping for mapping in choose_mappings(world, names) if is_matched(mapping)]
    if names and len(chosen) < len(set(names)):
        others = sorted(set(names) - {mapping.name for mapping in chosen})
        raise UsageError(f"Only people are matched, and {others[0]}.yaml has no 'source: {MATCHED_SOURCE}'.")
    if not chosen:
        raise UsageError(
            f"There is nobody to match: no mapping that is switched on has 'source: {MATCHED_SOURCE}'."
        )
    return chosen


async def read_people(world: World, meetings: Sequence[Meeting], progress: Progress) -> set[int]:
    """Let everybody in the chosen courses be met, and return these courses.

    Raises NotRead unless the read was complete: else people would be taken for gone, and their cases offered to
    others.
    """
    project, profiles = world.project, {"done": 0, "total": 0}

    def tell(stage: str, done: int, total: int) -> None:
        if stage == "profiles":
            profiles.update(done=done, total=total)
        progress(stage, done, total)

    watchers = [watch(one.mapping, one.take, reads=one.rules.reads) for one in meetings]
    world.project = replace(project, mappings=tuple(watchers))
    try:
        result = await sync(world, Options(preview=True, full=True), tell)
    finally:
        world.project = project
    if result.state not in (RunState.COMPLETED, RunState.WAITING):
        raise NotRead(" ".join([*_why(result), "Nothing was matched: for that everybody has to be read."]), 1)
    if profiles["done"] < profiles["total"]:
        lost = profiles["total"] - profiles["done"]
        raise NotRead(
            f"Moodle did not give the profiles of {lost} people. Nothing was matched: for that everybody has to "
            "be read. If this stays: give the Moodle role 'moodle/user:viewdetails'.",
            1,
        )
    return set(result.courses)


def _why(result: Result) -> list[str]:
    failed = {one.reason for one in result.courses.values() if one.reason}
    return sorted(failed) or result.messages


class _Matcher:
    """A match under way."""

    def __init__(
        self,
        world: World,
        found: Matched,
        mappings: Sequence[CompiledMapping],
        show_values: bool,
        progress: Progress,
    ) -> None:
        self._world = world
        self._found = found
        self._mappings = mappings
        self._values = found.values if show_values else None
        self._progress = progress
        self._elsewhere: frozenset[int] = frozenset()

    async def run(self) -> None:
        """Read everybody, then list and decide with the books to ourselves."""
        await self._take_over_names()
        meetings = [await self._meeting(mapping) for mapping in self._mappings]
        courses = await read_people(self._world, meetings, self._progress)
        self._elsewhere = await self._not_read(courses)
        lease = Lease(self._world, self._found.run_id)
        await lease.take()
        try:
            await self._world.books.do(self._world.books.store.bind_target, *self._world.target)
            for meeting in meetings:
                await self._match(meeting, lease)
        finally:
            await asyncio.shield(lease.release())

    async def _take_over_names(self) -> None:
        """Know the people whose cases a file made that has another name now; that takes the lease."""
        books = self._world.books
        if await books.do(renamed, books.store, self._world.project):
            lease = Lease(self._world, self._found.run_id)
            await lease.take()
            try:
                self._found.messages += await take_over_names(self._world)
            finally:
                await asyncio.shield(lease.release())

    async def _not_read(self, courses: set[int]) -> frozenset[int]:
        """Return people who were not read and are not gone: last seen in other courses, or merged into others."""
        books, store = self._world.books, self._world.books.store
        found = set(await books.do(merged, store))
        for number in (await books.do(store.courses)).keys() - courses - {SITE_SCOPE}:
            found |= await books.do(store.member_ids, number)
        return frozenset(found)

    async def _meeting(self, mapping: CompiledMapping) -> Meeting:
        rules = match_rules(mapping.spec)
        recogniser = Recogniser(rules, self._world.project.moodle_key_property)
        known = await self._world.books.do(self._world.books.store.case_ids, mapping.name)
        return Meeting(mapping, rules, recogniser, known, self._values)

    async def _match(self, meeting: Meeting, lease: Lease) -> None:
        """Compare the people of one mapping with the cases of its type."""
        world, mapping, books = self._world, meeting.mapping, self._world.books
        told = MappingMatch(mapping.name, mapping.case_type)
        listed, began = await self._list(meeting, told, lease), world.clock.now()
        gone = await self._deleted(meeting, listed, began - LAG)
        rejected = {
            (one.key, one.case_id) for one in await books.do(books.store.matches, mapping.name, "", "rejected")
        }
        links, rows = list[Link](), list[MatchRow]()
        for verdict in meeting.recogniser.verdicts(rejected, gone):
            told.classes[verdict.kind] += 1
            if verdict.kind == "duplicate" and verdict.matched_by in meeting.rules.auto:
                links.append(self._link(mapping, verdict, began))
            rows += _rows(mapping, verdict, began)
        await unbroken(self._remember(mapping, links, rows, told))

    async def _remember(
        self,
        mapping: CompiledMapping,
        links: Sequence[Link],
        rows: Sequence[MatchRow],
        told: MappingMatch,
    ) -> None:
        """Write down what was found, and link what a rule allows."""
        books, store = self._world.books, self._world.books.store
        waiting = await books.do(store.link, links, self._found.run_id) if links else []
        done = {one.row.key for one in links} - {one.row.key for one in waiting}
        left = [row for row in rows if row.key not in done]
        await books.do(store.note_matches, mapping.name, left)
        told.linked_now = len(done)
        told.classes["duplicate"] -= len(done)
        told.classes["linked"] += len(done)
        told.waiting = len(await books.do(store.open_keys, mapping.name))
        told.deleted = sum(row.reason == "deleted" for row in left)
        own = await own_cases(self._world, mapping.case_type)
        fact = json.dumps({"listed": told.cases, "own": own})
        await books.do(store.put, MATCHED.format(name=mapping.name), fact)
        if done:
            await books.do(store.read_anew, [mapping.name])  # by the next run, whatever is due
        self._found.mappings.append(told)
        self._found.rows += left

    async def _list(self, meeting: Meeting, told: MappingMatch, lease: Lease) -> set[str]:
        """Show all cases of the type to the recogniser; returns which known ones are among them."""
        world, mapping, store = self._world, meeting.mapping, self._world.books.store
        same_type = [one.name for one in world.project.mappings if one.case_type == mapping.case_type]
        fields = sorted(meeting.rules.properties | {world.project.moodle_key_property})
        total = await world.commcare.count_cases(mapping.case_type)
        known, chunk, of_nobody = set(meeting.known.values()), list[CaseReply](), 0
        listed = set[str]()

        async def look() -> int:
            await lease.hold()
            held = await world.books.do(store.by_case_ids, same_type, [case.case_id for case in chunk])
            left_over = sum(not self._see(meeting, case, held.get(case.case_id)) for case in chunk)
            listed.update(case.case_id for case in chunk if case.case_id in known)
            told.cases += len(chunk)
            self._progress("match", told.cases, max(total, told.cases))
            chunk.clear()
            return left_over

        async for case in world.commcare.list_cases(mapping.case_type, fields=fields):
            chunk.append(case)
            if len(chunk) >= AT_ONCE:
                of_nobody += await look()
        of_nobody += await look() if chunk else 0
        told.others = of_nobody
        if told.cases < total:
            raise NotRead(
                f"CommCare listed {told.cases:,} of {total:,} cases of type '{mapping.case_type}'. Nothing was "
                "matched; try again in a few minutes.",
                1,
            )
        return listed

    def _see(self, meeting: Meeting, case: CaseReply, held: Held | None) -> bool:
        """Show one case to the recogniser; returns whether it is somebody's, or may be."""
        recogniser = meeting.recogniser
        if held is not None and held.row.mapping != meeting.mapping.name:
            return True
        holder = held.row.key if held is not None and held.case.status in HOLDING else ""
        is_there = bool(holder) and (
            recogniser.is_there(holder) or (held is not None and self._is_elsewhere(held))
        )
        recogniser.see(case, holder, held=is_there)
        alike = case.case_id in recogniser.alike
        if alike and self._values is not None:
            mail = case.properties.get(meeting.rules.email, "")
            self._values[case.case_id] = (case.name, mail)
        return alike or held is not None

    def _is_elsewhere(self, held: Held) -> bool:
        """Say whether the person of a case was not read and is not gone: a pending erasure hides one as well."""
        return held.case.user_id in self._elsewhere or held.case.status == "erasing"

    async def _deleted(self, meeting: Meeting, listed: set[str], before: float) -> set[str]:
        """Return the people whose known case was not listed; when they are many, the search is not believed."""
        books, mapping = self._world.books, meeting.mapping
        rows = await books.do(books.store.known_and_not, mapping.name, listed.__contains__, before)
        gone = {one.row.key for one in rows if one.row.key in meeting.recogniser.people}
        guards = self._world.project.guards
        if len(gone) > max(guards.run_cases, len(meeting.known) * guards.run_percent / 100):
            self._found.messages.append(
                f"{mapping.name}: {len(gone):,} of {len(meeting.known):,} known cases are not in CommCare's list. "
                "So many are not taken for deleted: look whether the search in CommCare shows them."
            )
            return set()
        return gone

    def _link(self, mapping: CompiledMapping, verdict: Verdict, now: float) -> Link:
        """Return the link that a rule makes; a case of our own goes on under its external id."""
        person, hit = verdict.person, verdict.hits[0]
        status = "closed" if hit.closed and closes(mapping) else "active"
        generation = hit.generation if hit.own else 1
        case = CaseRow(
            person.key, hit.case_id, hit.owner_id, None, status, 0, person.user_id, generation, linked=not hit.own
        )
        (row,) = _rows(mapping, verdict, now)
        return Link(RowId(mapping.name, SITE_SCOPE, person.key), linked_by(row, "rule", now), case)


def _rows(mapping: CompiledMapping, verdict: Verdict, now: float) -> Iterator[MatchRow]:
    """Yield what is remembered of a verdict: a row for each case, one without a case for who has none to show."""
    person = verdict.person
    if verdict.kind == "linked" or (verdict.kind == "new" and not verdict.reason):
        return
    for case_id in [hit.case_id for hit in verdict.hits] or [""]:
        yield MatchRow(
            mapping.name,
            person.key,
            case_id,
            person.user_id,
            verdict.kind,
            verdict.matched_by,
            verdict.reason,
            found_at=now,
        )
