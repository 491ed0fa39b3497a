"""The audit: every case of ours that CommCare lists, against the books; what differs is told.

CommCare does not mind a key that is used twice, people edit, close and delete cases, and a run in which nothing
changed looks at none of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from urllib.parse import quote

from adaptors.commcare.cases import CaseReply
from adaptors.errors import AdaptorError, Refused, Retriable
from flows.audited import Audit, Finding, conclude
from flows.errors import Overlap
from flows.result import RunState
from flows.steps.clocks import STEP
from flows.steps.lease import Lease
from flows.steps.linked import base_key, generation_of, is_ours
from flows.steps.listing import Comparer, Differences, personal_in
from flows.steps.planned import SITE_SCOPE, external_id, scope_number
from flows.steps.renamed import take_over_names
from flows.steps.retype import is_of_another_type
from flows.steps.ways import owned_like, set_by_departures
from flows.world import Progress, World, silent
from mappings.engine import CompiledMapping
from mappings.engine.templates import ids_in
from state import Held, RowId, StateError
from state.statuses import GONE, KEPT_OUT, LIVING, MARKED

AT_ONCE = 5_000  # cases that are kept in memory
SCOPES = 500  # in so many of them cases are looked up by their keys; in more a walk through the books costs less
LAG = 900.0  # seconds: what was written later than that may not be in CommCare's search yet
LONGEST = 2_000  # letters of property names in one address; servers take 4,000, and a cursor is a third longer
OPEN = frozenset({"active", "ended", "withdrawn", "left"})
"""What a case is that we leave open; what we close is closed."""
DELETED = {"deleted": LIVING, "deleted_when_left": tuple(MARKED), "deleted_when_closed": ("closed",)}
"""What a case is that is not listed, by what is told of it."""
UNLISTED = (
    "{name}: {many:,} of {known:,} known cases are not in CommCare's list. (Those of people who left are not "
    "counted.) So many at once are hardly deleted by hand: its search may be broken, or far behind. Look there "
    "first, in a case list or an export. Nothing is written to them, whatever was asked for. If they were "
    "deleted, raise run_percent under guards in project.yaml for one `moodle-commcare audit --recreate`."
)


async def audit(
    world: World, *, repair: bool = False, recreate: bool = False, progress: Progress = silent
) -> Audit:
    """List all our cases and compare them with the books; with `repair` the next run writes again what drifted.

    With `recreate` it makes new cases of those that were deleted. The lease is held meanwhile: what a run writes
    during a listing would look like a change by hand.
    """
    now, started = world.clock.now(), world.clock.monotonic()
    found = Audit(f"audit-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}")
    lease, before = Lease(world, found.run_id), world.commcare.requests.total()
    try:
        await lease.take()
        try:
            await _Auditor(world, found, lease, repair, recreate, progress).run()
        finally:
            await asyncio.shield(lease.release())
        conclude(found, repair)
    except Overlap as error:
        found.stop(RunState.POSTPONED, str(error))
    except Retriable as error:
        found.stop(RunState.POSTPONED, f"{error} The audit came to no end; try again later.")
    except (AdaptorError, StateError) as error:
        found.stop(RunState.FAILED, str(error))
    found.requests = world.commcare.requests.total() - before
    found.seconds = world.clock.monotonic() - started
    return found


@dataclass
class _Auditor:
    """An audit under way; of a listed case only a few bytes are kept."""

    world: World
    found: Audit
    lease: Lease
    repair: bool
    recreate: bool
    progress: Progress
    listed: set[int] = field(default_factory=set)
    keys: set[int] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    orphans: list[int] = field(default_factory=list)
    resting: Collection[RowId] = ()
    erased: Container[int] = ()
    voided: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)
    """Mappings of which cases have another owner than we know: their children follow them."""

    async def run(self) -> None:
        """Go through the case types, then through what was found by the way."""
        books, store = self.world.books, self.world.books.store
        self.started = self.world.clock.now()
        await books.do(store.take_key)  # with another key than theirs, all digests would differ
        self.found.messages += await take_over_names(self.world)
        self.resting = await books.do(store.intents)
        self.erased = await books.do(store.erased)
        in_books = await books.do(store.mappings_with_cases)
        by_type = dict[str, list[CompiledMapping]]()
        for mapping in self.world.project.mappings:
            by_type.setdefault(mapping.case_type, []).append(mapping)
        others = in_books - {mapping.name for mapping in self.world.project.mappings}
        try:
            for case_type, mappings in by_type.items():
                await self._type(case_type, mappings, others)
        finally:
            # By the next run, whatever is due, and be it by half an audit: what drifted, and the children of cases
            # with another owner.
            await books.do(store.read_anew, self.voided | owned_like(self.world.project.mappings, self.moved))
        self._without_doubles()

    async def _type(self, case_type: str, mappings: list[CompiledMapping], others: Collection[str]) -> None:
        """List the cases of a type, compare them, and see which known ones are not among them."""
        store, names = self.world.books.store, [mapping.name for mapping in mappings]
        asked = await self._asked(mappings)
        comparer = Comparer(
            {mapping.name: mapping for mapping in mappings}, store.digest, self.world.project.time_zone, asked
        )
        known = sum([await self.world.books.do(store.count_known, name) for name in names])
        self.listed.clear()
        unplaced = list[CaseReply]()
        async for chunk in _chunks(self.world.commcare.list_cases(case_type, fields=sorted(asked or ()))):
            await self.lease.hold()
            self.found.cases[case_type] += len(chunk)
            self.listed.update(_short(case.case_id) for case in chunk)
            places = self._places(mappings, chunk)
            is_cheap = len({row[:2] for row in places}) <= SCOPES
            held = await self.world.books.do(store.at_rows, places) if is_cheap else {}
            await self._compare(comparer, [case for case in chunk if case.case_id in held], held, {})
            unplaced += [case for case in chunk if case.case_id not in held]
            if len(unplaced) >= AT_ONCE:
                await self._look_for(comparer, unplaced, names, others)
                unplaced = []
            self.progress("audit", min(len(self.listed), known), known)
        await self._look_for(comparer, unplaced, names, others)
        for mapping in mappings:
            await self._deleted(mapping)

    def _places(self, mappings: Iterable[CompiledMapping], cases: Iterable[CaseReply]) -> set[RowId]:
        """Return the rows that cases are of by their external ids, if the books know them at all."""
        site, found = self.world.project.site, set[RowId]()
        for case in cases:
            key = base_key(case.external_id or "")
            for mapping in mappings:
                ids = ids_in(mapping.spec.external_id, site, key)
                if ids is not None:
                    scope = scope_number(mapping, ids.get("course.id", SITE_SCOPE))
                    found.add(RowId(mapping.name, scope, key))
        return found

    async def _look_for(
        self, comparer: Comparer, cases: list[CaseReply], names: Collection[str], others: Collection[str]
    ) -> None:
        """Compare cases of which the external id does not tell the row: linked ones, under old keys, unknown ones.

        Each few thousand are a walk through the books.
        """
        books, store, ids = self.world.books, self.world.books.store, [case.case_id for case in cases]
        held = await books.do(store.by_case_ids, names, ids) if ids else {}
        unknown = set(ids) - held.keys()
        if others and unknown:  # of mappings that are off; of a file with another name both may know a case
            held |= await books.do(store.by_case_ids, others, unknown)
        strange = {
            base_key(str(one.external_id)) for one in cases if self._is_ours(one) and one.case_id not in held
        }
        newest = await books.do(store.generations, [*names, *others], strange)
        await self._compare(comparer, cases, held, newest)

    async def _asked(self, mappings: Iterable[CompiledMapping]) -> frozenset[str] | None:
        """Return the properties to list; None, which is all, when they would be too many for one address."""
        named = await self.world.books.do(self.world.books.store.property_names)
        asked = {name for mapping in mappings for name in mapping.spec.properties}
        asked |= {name for name in named for mapping in mappings if mapping.definition_of(name)}
        asked |= {name for mapping in mappings for name in set_by_departures(mapping) if name in named}
        return frozenset(asked) if 0 < sum(len(quote(name)) + 3 for name in asked) <= LONGEST else None

    async def _compare(
        self, comparer: Comparer, cases: list[CaseReply], held: Mapping[str, Held], newest: Mapping[str, int]
    ) -> None:
        """Compare some cases, note new owners, and have the next run write again what drifted.

        `newest` is the generation that the books write to under the keys of those that are not `held`.
        """
        owners, voided = dict[RowId, str](), dict[RowId, list[str]]()
        for case in cases:
            self._key(case)
            known = held.get(case.case_id)
            if known is None:
                self._unknown(case, newest)
            elif known.row in self.resting or self._is_late(known):
                self._not_compared(comparer, known)
            elif case.closed and known.case.status in OPEN:
                self._tell("closed_by_hand", case, known)
                if comparer.can_compare(known):
                    self._tell_differences(case, known, Differences(private=comparer.private(case, known)))
            elif not comparer.can_compare(known):
                self._not_compared(comparer, known)
            else:
                differences = comparer.differences(case, known)
                self._tell_differences(case, known, differences)
                if differences.owner_moved:
                    owners[known.row] = case.owner_id
                again = [*differences.drifted]
                again += ["@owner"] if differences.owner_moved and differences.owner_is_ours else []
                if again:
                    voided[known.row] = again
        books, store = self.world.books, self.world.books.store
        await books.do(store.note_owners, owners)
        self.moved |= {row.mapping for row in owners}
        await self._void(voided)

    def _not_compared(self, comparer: Comparer, known: Held) -> None:
        """Count a case that is not compared, by why."""
        self.found.not_compared += 1
        self.found.unknown += known.row in self.resting or not comparer.can_compare(known)
        self.found.switched_off += known.row.mapping not in comparer.mappings

    def _is_late(self, known: Held) -> bool:
        """Say whether a case was written so lately that the list may not show it.

        What was written in time to come was written while the clock was ahead, whenever that was.
        """
        return self.started - LAG <= known.pushed_at <= self.started + STEP

    async def _void(self, names: dict[RowId, list[str]]) -> None:
        if self.repair and names:
            await self.world.books.do(self.world.books.store.void_values, names, self.world.clock.now())
            self.found.repaired += len(names)
            self.voided |= {row.mapping for row in names}

    def _key(self, case: CaseReply) -> None:
        """See whether another case has the same key; keys that are not ours are nobody's business."""
        if not self._is_ours(case):
            return
        short = _short(str(case.external_id))
        if short in self.keys:
            self.doubled.add(str(case.external_id))
        self.keys.add(short)

    def _unknown(self, case: CaseReply, newest: Mapping[str, int]) -> None:
        """Tell a case of ours that the books do not know; of people who were erased without the key.

        One before the case that the books write to now was let go by us: closed, or left open by an old term.
        """
        if not self._is_ours(case):
            return
        key = str(case.external_id)
        if generation_of(key) < newest.get(base_key(key), 0):
            self.found.counts["earlier_term"] += not case.closed
        elif self._may_be_erased(base_key(key)):
            self.found.counts["erased"] += 1
            self._erased(case)
        else:
            self.orphans.append(_short(key))
            self.found.tell(Finding("orphan", key, "", case.case_type, case.case_id))

    def _may_be_erased(self, key: str) -> bool:
        """Say whether a key is that of somebody erased."""
        return any(self._is_erased(mapping, key) for mapping in self.world.project.mappings)

    def _is_erased(self, mapping: CompiledMapping, key: str) -> bool:
        person = mapping.person_of(key, self.world.project.site)
        return bool(person) and person in self.erased

    def _erased(self, case: CaseReply) -> None:
        """Tell what is personal in the case of somebody erased; it is emptied, and has its key for a name."""
        key = str(case.external_id)
        for mapping in self.world.project.mappings:
            if mapping.case_type == case.case_type and self._is_erased(mapping, base_key(key)):
                names = personal_in(mapping, case)
                names |= {"@name"} if mapping.name_is_personal and case.name not in (key, base_key(key)) else set()
                if names:
                    told = (mapping.name, case.case_type, case.case_id, tuple(sorted(names)))
                    self.found.tell(Finding("personal_when_erased", "", *told))

    def _is_ours(self, case: CaseReply) -> bool:
        return is_ours(self.world.project, case.external_id or "")

    def _tell_differences(self, case: CaseReply, known: Held, found: Differences) -> None:
        kinds = {"drift": found.drifted, "mark_changed": found.marks, "personal_again": found.private}
        kinds |= {"changed_when_gone": found.past, "unclear": found.unclear}
        for kind, names in kinds.items():
            if names:
                self._tell(kind, case, known, names)
        if found.owner_moved:
            self._tell("owner_moved", case, known)

    def _tell(self, kind: str, case: CaseReply, known: Held, names: tuple[str, ...] = ()) -> None:
        finding = Finding(kind, known.row.key, known.row.mapping, case.case_type, case.case_id, names)
        self.found.tell(finding)

    async def _deleted(self, mapping: CompiledMapping) -> None:
        """Tell the known cases that were not listed, and do with them what was asked for.

        So many living ones that the guards would stop a run are not taken for deleted: CommCare's search may be
        broken. Those of who left are deleted by whoever tidies up, however many.
        """
        guards, books = self.world.project.guards, self.world.books
        many = sum([len(rows) async for rows in self._unlisted(mapping, LIVING)])
        known = await books.do(books.store.count_active, mapping.name)
        few = many <= max(guards.run_cases, known * guards.run_percent / 100)
        if not few:
            self.found.messages.append(UNLISTED.format(name=mapping.name, many=many, known=known))
        for kind, statuses in DELETED.items():
            is_closed = kind == "deleted_when_closed"
            async for rows in self._unlisted(mapping, statuses):
                for one in rows:
                    told = kind if few or is_closed else "unlisted"
                    self.found.tell(Finding(told, one.row.key, mapping.name, mapping.case_type, one.case.case_id))
                if few and self.recreate and not is_closed:
                    await self._make_anew(rows)
                elif few:
                    written = [one for one in rows if one.case.status == "active" and one.case.digests]
                    await self._void({one.row: ["@name"] for one in written})

    async def _unlisted(self, mapping: CompiledMapping, statuses: Collection[str]) -> AsyncIterator[list[Held]]:
        """Yield the cases with some statuses that were not listed, a few thousand at a time.

        Without those that the list may not show yet, and those that have another case type.
        """
        books, before, ahead = self.world.books, self.started - LAG, self.started + STEP
        find = partial(books.store.known_and_not, before=before, ahead=ahead, statuses=statuses, most=AT_ONCE)
        after: RowId | None = None
        while True:
            rows = await books.do(partial(find, after=after), mapping.name, self._is_listed)
            yield [
                one
                for one in rows
                if one.row not in self.resting and not is_of_another_type(self.world, mapping, one.case)
            ]
            if len(rows) < AT_ONCE:
                return
            after = rows[-1].row

    async def _make_anew(self, gone: Iterable[Held]) -> None:
        """Have the next run make new cases of those that CommCare, asked for each past its search, has no more.

        A case that was there before us may have another external id: of that, `match` knows more.
        """
        books, lost = self.world.books, list[Held]()
        for one in gone:
            await self.lease.hold()
            if not one.case.linked and await self._is_nowhere(external_id(one.row.key, one.case.generation)):
                lost.append(one)
        await books.do(books.store.recreate, [one.row for one in lost], self.world.clock.now())
        marked = {one.row: one.case.status for one in lost if one.case.status in MARKED}
        await books.do(books.store.settle, marked)  # they are gone still
        # Whoever is kept out or gone, or in a course that is over, gets no other case before he is back.
        self.found.recreated += sum(one.case.status not in (*KEPT_OUT, *GONE, "ended") for one in lost)
        self.voided |= {one.row.mapping for one in lost}

    async def _is_nowhere(self, key: str) -> bool:
        try:
            return await self.world.commcare.case_by_external_id(key) is None
        except Refused:  # several cases have it
            return False

    def _is_listed(self, case_id: str) -> bool:
        return _short(case_id) in self.listed

    def _without_doubles(self) -> None:
        """Tell each key that several cases have once, and not its other cases as orphans too."""
        shorts, findings = {_short(key) for key in self.doubled}, self.found.findings
        self.found.counts["orphan"] -= sum(short in shorts for short in self.orphans)
        self.found.findings = [one for one in findings if one.kind != "orphan" or one.key not in self.doubled]
        for key in sorted(self.doubled):
            self.found.tell(Finding("duplicate", key, "", "", ""))


def _short(text: str) -> int:
    """Return 8 bytes that stand for an id: sets of them take a third of the memory of the ids."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


async def _chunks(cases: AsyncIterator[CaseReply]) -> AsyncIterator[list[CaseReply]]:
    """Yield the cases of a listing a few thousand at a time."""
    chunk = list[CaseReply]()
    async for case in cases:
        chunk.append(case)
        if len(chunk) >= AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
