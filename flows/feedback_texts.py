"""What coaches wrote into cases, and whose cases these are: the text from CommCare, the person from our books.

Nothing that somebody typed in CommCare says who is meant: the case id does, by the row of the books that made it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from adaptors.commcare.cases import CaseReply
from flows.world import World
from mappings.engine import CompiledMapping
from mappings.engine.spec import WriteBackSpec
from mappings.engine.write_back import IN_KEY, number_in_key
from state import FeedbackRow, Holder, RowId

OVERLAP_S: Final = 3600.0
"""A listing begins so long before the last one did: the search of CommCare is late, and clocks differ."""
SINCE: Final = "feedback:since:{name}"  # fact: {print, at}
APPROVED: Final = "feedback:approved"  # fact: {mapping: print of what it sends back}
MADE_AS: Final = "feedback:made_as"
"""Fact: {mapping: its name when it first sent something back}, with which the fingerprints of texts are made."""
Known = Mapping[tuple[RowId, str], FeedbackRow]


@dataclass(frozen=True)
class CoachText:
    """One text in one case; `grade` "" for none. `number` is the assignment's, as `way` says: cmid, id or item."""

    mapping: str
    holder: Holder
    name: str
    way: str
    number: int
    text: str = field(repr=False)
    grade: str = field(repr=False)

    @property
    def at(self) -> tuple[RowId, str]:
        """Return its address in the books."""
        return self.holder.row, self.name

    @property
    def course(self) -> int:
        """Return the course of the case."""
        return self.holder.row.scope


@dataclass
class Found:
    """What was found: texts, addresses whose text was emptied, and how many cases were looked at."""

    texts: list[CoachText] = field(default_factory=list)
    emptied: list[tuple[RowId, str]] = field(default_factory=list)
    cases: int = 0

    def let_go(self, known: Known) -> None:
        """Take for emptied what waits and was not found any more: its case is gone, or another one's by now."""
        seen = {one.at for one in self.texts}
        self.emptied += [at for at, row in known.items() if row.reason and at not in seen]


def writing_back(world: World) -> list[CompiledMapping]:
    """Return the mappings that send something back."""
    return [mapping for mapping in world.project.mappings if mapping.spec.write_back]


def print_of(mapping: CompiledMapping) -> str:
    """Return what says whether a mapping still sends back what it did."""
    parts = [one.model_dump(mode="json") for one in mapping.spec.write_back]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def property_names(mapping: CompiledMapping) -> list[str]:
    """Return the properties that a mapping reads from cases."""
    named = [name for one in mapping.spec.write_back for name in (one.feedback, one.grade)]
    return [name for name in named if name]


async def changed_cases(world: World, mapping: CompiledMapping, known: Known) -> list[CaseReply]:
    """Return cases of a mapping with a text, or with one before, of those changed since the last listing.

    Those with something in the way are looked at again, whether they changed or not.
    """
    names = property_names(mapping)
    before = {row.holder.case_id for row in known.values()}
    again = {row.holder.case_id for row in known.values() if row.reason}
    found = {}
    async for case in world.commcare.list_cases(
        mapping.case_type, fields=names, since=await _since(world, mapping)
    ):
        if case.case_id in before or any(case.properties.get(name, "").strip() for name in names):
            found[case.case_id] = case
    found |= await world.commcare.cases_by_id(again - found.keys())
    return list(found.values())


async def _since(world: World, mapping: CompiledMapping) -> float | None:
    """Return from when on cases are listed; None for all, as long as the mapping has not been listed like this."""
    text = await world.books.do(world.books.store.get, SINCE.format(name=mapping.name))
    known = json.loads(text or "{}")
    return known["at"] - OVERLAP_S if known.get("print") == print_of(mapping) else None


async def remember_listing(world: World, mapping: CompiledMapping, at: float) -> None:
    """Remember that everything up to a moment was looked at."""
    value = json.dumps({"print": print_of(mapping), "at": at})
    await world.books.do(world.books.store.put, SINCE.format(name=mapping.name), value)


async def read_texts(
    world: World, mapping: CompiledMapping, cases: Sequence[CaseReply], known: Known, into: Found
) -> None:
    """Add what stands in cases of a mapping, as far as the books know whose cases they are."""
    of_type = {case.case_id: case for case in cases if case.case_type == mapping.case_type}
    holders = await world.books.do(world.books.store.holders, mapping.name, of_type.keys())
    erased = await world.books.do(world.books.store.erased)
    for case_id, holder in sorted(holders.items(), key=lambda item: item[1].row):
        if holder.user_id in erased:
            continue
        into.cases += 1
        for one in mapping.spec.write_back:
            text = of_type[case_id].properties.get(one.feedback, "")
            if text.strip():
                into.texts.append(_coach_text(world, mapping, one, holder, of_type[case_id]))
            elif (holder.row, one.feedback) in known:
                into.emptied.append((holder.row, one.feedback))


def _coach_text(
    world: World, mapping: CompiledMapping, one: WriteBackSpec, holder: Holder, case: CaseReply
) -> CoachText:
    way, number = "cmid", one.assignment
    if number is None:
        way = "item" if mapping.source == "grade_items" else "id"
        known = {"site": world.project.site, "user.id": str(holder.user_id), "course.id": str(holder.row.scope)}
        number = number_in_key(mapping.spec, holder.row.key, known) if mapping.source in IN_KEY else None
    grade = case.properties.get(one.grade, "").strip() if one.grade else ""
    text = case.properties.get(one.feedback, "")
    return CoachText(mapping.name, holder, one.feedback, way, number or 0, text, grade)


async def hinted_ids(world: World, case_ids: Collection[str]) -> set[str]:
    """Return which of these the books know as cases of mappings that send something back."""
    found = set[str]()
    for mapping in writing_back(world):
        found |= (await world.books.do(world.books.store.holders, mapping.name, case_ids)).keys()
    return found


def by_course(texts: Iterable[CoachText]) -> Iterator[tuple[int, list[CoachText]]]:
    """Yield courses with their texts, in order."""
    found: dict[int, list[CoachText]] = {}
    for one in texts:
        found.setdefault(one.course, []).append(one)
    yield from sorted(found.items())
