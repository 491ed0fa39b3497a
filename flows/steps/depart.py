"""Cases whose record is gone, kept out or over: what the mapping says is set, emptied, parked or closed, at once.

All of it is one row of one write, so that a stop in the middle leaves the case as it was, or all of it is done.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from adaptors.commcare.cases import CaseReply, CaseWrite
from adaptors.errors import Refused
from flows.result import Result, RunState
from flows.steps.compare import MERGED_INTO
from flows.steps.earlier import EarlierCases
from flows.steps.generations import newest_of_ours
from flows.steps.leaving import NOTHING, Leaving, may_be_closed, private_names, status_after, to_be_emptied
from flows.steps.linked import case_there, theirs_in
from flows.steps.owners import find_parked, is_parked, remember_parked
from flows.steps.planned import Planned, external_id
from flows.steps.recover import is_closing_unheard
from flows.steps.there import FEW
from flows.steps.ways import closed_by_us, set_by_departures
from flows.world import World
from mappings.engine import CompiledMapping
from state import CaseRow, RowId
from state.outcomes import RETYPE, TYPE
from state.statuses import AWAY, CLOSED, TO_BE_EMPTIED

PARKED_UNKNOWN = "parked_owner_unknown"


class Departures:
    """Builds the rows of cases that go away; what has nothing to say is settled in the books alone."""

    def __init__(
        self, world: World, result: Result, earlier: EarlierCases, removed: Mapping[str, frozenset[str]]
    ) -> None:
        self._world = world
        self._result = result
        self._earlier = earlier
        self._digest = world.books.store.digest
        self._removed = removed
        self._stuck: dict[RowId, str] = {}
        self._there: Mapping[str, CaseReply] = {}

    async def rows(self, leaving: Iterable[Leaving]) -> list[Planned]:
        """Return the rows to send; a case whose last write is still in doubt is left for a later run."""
        store = self._world.books.store
        resting = await self._world.books.do(store.intents)
        leaving = [*leaving]
        # Now: CommCare may take nothing of it today, and by the next run somebody may have left.
        if not self._result.preview:
            await self._world.books.do(store.settle, to_be_emptied(leaving))
            emptied = [one for one in leaving if one.private and one.row not in resting]
            self._stuck = await self._earlier.look_for(
                ((one.mapping, one.row, one.case) for one in emptied), self._removed
            )
        await self._look_for(one for one in leaving if one.row not in resting)
        rows, silent, owners = list[Planned](), dict[RowId, str](), dict[RowId, str]()
        for one in leaving:
            known = await self._known(one) if one.row not in resting else None
            if known is None:
                continue
            row = await self._row(known)
            if one.private and known.case.status in CLOSED:
                silent[one.row] = "emptying"  # now: the answer to the write that comes may be lost
            if known.case.owner_id != one.case.owner_id:
                owners[one.row] = known.case.owner_id
            if row is not None and known.case.case_id:
                rows.append(replace(row, status=self._earlier.status(row.row, row.status)))
            else:  # it says so already, or there is no such case
                after = self._earlier.status(one.row, status_after(known), is_told=True)
                silent[one.row] = after
                counts = self._result.of(one.mapping.case_type)
                counts.withdrawn += one.op == "withdrawn" and after not in TO_BE_EMPTIED
        if not self._result.preview:
            await self._world.books.do(store.settle, silent)
            await self._world.books.do(store.keep_owners, owners)  # now: the answer to parking may be lost
        await self._tell_stuck(one for one in leaving if one.row not in resting)
        return rows

    async def _tell_stuck(self, leaving: Iterable[Leaving]) -> None:
        """List the cases that cannot go away, and hold them back in the result."""
        tried = {one.row: one.mapping.case_type for one in leaving}
        for row, reason in self._stuck.items():
            self._result.count(tried[row], row.scope, "held_back")
            self._result.reasons[reason] += 1
        self._result.worrying += len(self._stuck)
        if not self._result.preview:
            books = self._world.books
            await books.do(books.store.set_stuck, {*tried}, self._stuck, self._world.clock.now())

    async def _known(self, one: Leaving) -> Leaving | None:
        """Return the case; one that the books know too little of is asked for, None when it is not certain."""
        parks = _parks(one)
        if _is_told(one) and not parks:
            return await self._spared(one)
        try:
            found = await self._ask(one)
        except Refused as error:  # two cases have its external id
            self._stuck[one.row] = error.code or "refused"
            return None
        one = await self._spared(one, found)
        if found is None:
            return one
        owner = one.case.owner_id
        if not owner or (parks and not await is_parked(self._world, found.owner_id)):
            owner = found.owner_id  # who is to have it back: maybe a supervisor gave it to somebody lately
        case = replace(one.case, case_id=one.case.case_id or found.case_id, owner_id=owner)
        # A close without an answer was ours, also when the mapping closes nothing any more.
        is_closing = await is_closing_unheard(self._world, one.row, one.case)
        may_be_ours = is_closing and found.closed and not _is_untouched(one, found)
        was_ours = may_be_ours or closed_by_us(one.mapping, found)
        if (is_closing or may_be_closed(one)) and was_ours:
            try:
                later = await self._later(one)
            except Refused as error:
                self._stuck[one.row] = error.code or "refused"
                return None
            if later is not None:
                return None if one.private else later
            case = replace(case, status="closed")
        return replace(one, case=case, held=found.properties)

    async def _later(self, one: Leaving) -> Leaving | None:
        """Return a case with the newest one of its key, which books that were put back do not know.

        One that is to be emptied is left for the next run, which looks for all that came before the newest.
        """
        row, before = one.row, one.case
        found, generation = await newest_of_ours(self._world, row.key, before.generation + 1, ())
        name = self._world.project.moodle_key_property
        if found is None or found.properties.get(name, "") not in ("", row.key):
            return None
        if not self._result.preview:
            store, now = self._world.books.store, self._world.clock.now()
            await self._world.books.do(store.follow, row, generation, now)
            if one.private:
                await self._world.books.do(store.settle, {row: "withdrawing"})
        status = "closed" if closed_by_us(one.mapping, found) else "active"
        case = replace(before, case_id=found.case_id, owner_id=found.owner_id, digests=None, linked=False)
        case = replace(case, status=status, generation=generation)
        return replace(one, case=case, held=found.properties, theirs=frozenset())

    async def _spared(self, one: Leaving, there: CaseReply | None = None) -> Leaving:
        """Return the case with what others wrote into it, where it was theirs."""
        if not one.case.linked or not (one.private or one.case.digests is None):
            return one
        names = {"@name", *await self._ours(one.mapping), *(there.properties if there is not None else ())}
        theirs = await theirs_in(self._world, one.mapping.name, one.row.key, one.case, names, there)
        return replace(one, theirs=theirs)

    async def _look_for(self, leaving: Iterable[Leaving]) -> None:
        """Look up who has the cases that are to be parked, where they are many; what is missing is asked for."""
        ids = {one.case.case_id for one in leaving if _is_told(one) and _parks(one)}
        self._there = await self._world.commcare.cases_by_id(ids) if len(ids) > FEW else {}

    async def _ask(self, one: Leaving) -> CaseReply | None:
        if one.case.case_id in self._there:
            return self._there[one.case.case_id]
        return await case_there(self._world, one.row.key, one.case)

    async def _row(self, one: Leaving) -> Planned | None:
        """Build the row; what the case holds already is not sent again, None when that is everything."""
        departure, case, key = one.departure or NOTHING, one.case, one.row.key
        removed = self._removed.get(one.mapping.name, frozenset())
        texts = dict.fromkeys(private_names(one, removed), "") | dict(departure.set)
        if one.private and one.mapping.name_is_personal and "@name" not in one.theirs:
            texts["@name"] = key  # a case cannot be without a name
        parked = await self._parked() if departure.park else ""
        if parked:
            texts["@owner"] = parked
            if not self._result.preview:
                await remember_parked(self._world, parked)
        wanted = {name: self._digest(key, name, text) for name, text in texts.items()}
        changed = {name for name, digest in wanted.items() if (case.digests or {}).get(name) != digest}
        closes = departure.close and case.status not in CLOSED
        if not changed and not closes:
            return None
        is_dirty = case.digests is None
        write = CaseWrite(
            external_id(key, case.generation),
            case.case_id,
            one.mapping.case_type,
            texts["@name"] if "@name" in changed else None,
            texts["@owner"] if "@owner" in changed else None,
            {name: texts[name] for name in sorted(changed) if not name.startswith("@")},
            close=closes,
        )
        digests = {name: wanted[name] for name in changed}
        if is_dirty:  # of a whole row nothing but its digests is known afterwards, and each row names its type
            digests[TYPE] = self._digest(key, TYPE, one.mapping.case_type)
        return Planned(
            one.row,
            one.mapping.case_type,
            case.user_id,
            write,
            digests,
            one.op,
            status_after(one),
            owner_before=case.owner_id if parked or case.status in AWAY else "",
            whole=is_dirty,
            unsent=await self._unsent(one, changed) if is_dirty else frozenset(),
        )

    async def unsent(self, mapping: CompiledMapping, row: RowId, case: CaseRow) -> frozenset[str]:
        """Return what a case may hold of ours, of which nothing is known and to which nothing of it is sent."""
        one = await self._spared(Leaving(mapping, row, case, None, RETYPE))
        return await self._unsent(one, ()) | {*set_by_departures(mapping)}

    async def _unsent(self, one: Leaving, changed: Collection[str]) -> frozenset[str]:
        """Return what a case may hold of ours besides: later it may have to be emptied."""
        # In a case of others, what was taken out of the mapping may be theirs.
        spared = one.theirs | one.mapping.retired if one.case.linked else frozenset()
        return frozenset({MERGED_INTO, *await self._ours(one.mapping)} - spared - {*changed})

    async def _ours(self, mapping: CompiledMapping) -> set[str]:
        """Return the properties that a mapping makes, or made."""
        names = await self._world.books.do(self._world.books.store.property_names)
        made = {name for name in {*names, *mapping.spec.properties} if mapping.definition_of(name)}
        return made | mapping.retired | self._removed.get(mapping.name, frozenset())

    async def _parked(self) -> str:
        """Return the owner of parked cases, "" with a word about it when CommCare does not know that owner."""
        owner, found = self._world.project.parked_owner, await find_parked(self._world)
        if owner is None or found is None:
            return ""
        if not found.owner_id:
            self._result.reasons[PARKED_UNKNOWN] = 1
            self._result.worse(
                RunState.DEGRADED,
                f"The parked_owner of project.yaml, {owner.kind} '{owner.value}', is "
                f"{found.state.replace('_', ' ')} in CommCare: cases that should be parked were marked and stay "
                "with their owner.",
            )
        return found.owner_id


def _is_told(one: Leaving) -> bool:
    """Say whether the books know enough of a case that goes away, but for who has it by now."""
    nameless = one.private and one.case.digests is None
    return bool(one.case.case_id) and not nameless and not may_be_closed(one)


def _is_untouched(one: Leaving, found: CaseReply) -> bool:
    """Say whether a case holds what would have been emptied with the close: somebody else closed it then."""
    if one.case.status != "withdrawing" or one.case.linked:
        return False
    own = {name for name in one.mapping.personal if name == one.mapping.definition_of(name)}
    return any(found.properties.get(name) for name in own)


def _parks(one: Leaving) -> bool:
    """Say whether a case is given to the owner of parked ones, and a supervisor may have given it to somebody."""
    return one.departure is not None and one.departure.park and one.mapping.spec.owner.write == "once"
