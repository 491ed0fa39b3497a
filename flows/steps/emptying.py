"""The rows that empty the cases of a person who is erased: all that was sent, whoever made the case.

What the mapping says of people who are kept out is done as well: set, parked, closed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from adaptors.commcare.cases import CaseReply, CaseWrite
from flows.steps.compare import MERGED_INTO
from flows.steps.earlier import Earlier, find_earlier, somebody_elses
from flows.steps.generations import each_of_ours
from flows.steps.linked import case_there, theirs_in
from flows.steps.owners import find_parked
from flows.steps.planned import Planned, external_id
from flows.steps.recover import strangers
from flows.steps.ways import set_by_departures
from flows.world import World
from mappings.engine import CompiledMapping, Departure
from state import NO_VALUE, Held
from state.people import ERASING

NO_DEPARTURE = Departure({})


class Emptying:
    """Builds the row that empties a case: all that was sent, and what the mapping says of people kept out."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._digest = world.books.store.digest
        self._mappings = {mapping.name: mapping for mapping in world.project.mappings}

    async def row(self, held: Held) -> Planned | None:
        """Return the row to send, None when the case is empty already or CommCare has none."""
        case, key = held.case, held.row.key
        mapping, departure = self._mapping(held)
        known = {name: digest for name, digest in (case.digests or {}).items() if digest != NO_VALUE}
        nameless = case.digests is None or len(known) < len(case.digests)
        there = None
        if not case.case_id or nameless or departure.close or case.linked:
            there = await case_there(self._world, key, case)
        case_id = case.case_id or (there.case_id if there is not None else "")
        if not case_id:
            return None
        names = {name for name in known if not name.startswith("@")}
        names |= await self._ours(mapping, there) if nameless or not case.case_id else set()
        theirs = await self._theirs(held, {"@name", *names}, there) - known.keys()
        texts = {**dict.fromkeys(names, ""), **departure.set, "@name": key}
        texts = {name: text for name, text in texts.items() if name not in theirs}
        texts |= await self._parked(departure)
        changed = {name: text for name, text in texts.items() if known.get(name) != self._digest(key, name, text)}
        closes = departure.close and not (there is not None and there.closed)
        if not changed and not (closes and there is not None):
            return None
        return self._planned(held, case_id, changed, close=closes)

    def _planned(self, held: Held, case_id: str, texts: Mapping[str, str], *, close: bool) -> Planned:
        mapping, _ = self._mapping(held)
        key, case_type = held.row.key, "" if mapping is None else mapping.case_type
        properties = {name: texts[name] for name in sorted(texts) if not name.startswith("@")}
        outside = external_id(key, held.case.generation)
        name, owner = texts.get("@name"), texts.get("@owner")
        write = CaseWrite(outside, case_id, case_type, name, owner, properties, close=close)
        digests = {name: self._digest(key, name, text) for name, text in texts.items()}
        return Planned(held.row, case_type, held.case.user_id, write, digests, "withdrawn", status=ERASING)

    async def earlier(self, held: Held) -> tuple[list[Planned], str]:
        """Return the rows that empty the cases before this one, and why nobody can say which they are, or ""."""
        key, rows = held.row.key, list[Planned]()
        mapping, departure = self._mapping(held)
        found = await find_earlier(self._world, held.row.mapping, {key: held.case})
        for one in [*found.cases.get(key, ()), *await self._later(held)]:
            there = {**one.case.properties, "@name": one.case.name, "@owner": one.case.owner_id}
            texts = {**dict.fromkeys(await self._ours(mapping, one.case), ""), **departure.set, "@name": key}
            texts = {name: text for name, text in texts.items() if name not in one.theirs}
            texts |= await self._parked(departure)
            changed = {name: text for name, text in texts.items() if there.get(name) != text}
            closes = departure.close and not one.case.closed
            if changed or closes:
                case_type = one.case.case_type
                row = one.planned(self._world, held.row, case_type, changed, close=closes)
                rows.append(replace(row, status=ERASING))
        return rows, found.unclear.get(key, "")

    async def _later(self, held: Held) -> list[Earlier]:
        """Return the cases that followed this one after the backup, where the books were put back."""
        if held.row.mapping not in await strangers(self._world):
            return []
        key, user = held.row.key, held.case.user_id
        after = each_of_ours(self._world, key, held.case.generation + 1)
        found = [Earlier(reply, generation, user) async for reply, generation in after]
        theirs = await somebody_elses(self._world, held.row.mapping, {key: found})
        return [one for one in found if one.case.case_id not in theirs.get(key, ())]

    def _mapping(self, held: Held) -> tuple[CompiledMapping | None, Departure]:
        """Return the mapping of a row, if there still is one, and what it says of people who are kept out."""
        mapping = self._mappings.get(held.row.mapping)
        departure = mapping.when_excluded if mapping is not None else None
        return mapping, departure or NO_DEPARTURE

    async def _theirs(self, held: Held, names: Collection[str], there: CaseReply | None) -> frozenset[str]:
        """Return what of these names others wrote into a case that was matched."""
        if not held.case.linked:
            return frozenset()
        return await theirs_in(self._world, held.row.mapping, held.row.key, held.case, names, there)

    async def _ours(self, mapping: CompiledMapping | None, there: CaseReply | None) -> set[str]:
        """Return the properties that we may have sent, where the books have lost which."""
        named = await self._world.books.do(self._world.books.store.property_names)
        ours = {name for name in named if not name.startswith("@")} | {MERGED_INTO}
        if mapping is not None:
            ours |= set(mapping.spec.properties) | set(mapping.retired) | set(set_by_departures(mapping))
        held = {name for name, value in there.properties.items() if value} if there else ours
        return ours & held

    async def _parked(self, departure: Departure) -> dict[str, str]:
        """Return the owner that no phone syncs, where the mapping parks people who are kept out."""
        owner = await find_parked(self._world) if departure.park else None
        return {} if owner is None or not owner.owner_id else {"@owner": owner.owner_id}
