"""A mapping whose case type was edited: all its cases take the new type, as they take any other edit.

Who is read has it from the comparison. The others are sent nothing but the type: those who left or are kept out,
and those whose course nobody reads. Putting the old text back undoes it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adaptors.commcare.cases import CaseWrite
from flows.steps.planned import Planned, external_id
from flows.steps.ways import closes, holds_personal
from flows.world import World
from mappings.engine import CompiledMapping
from state import CaseRow, RowId
from state.outcomes import RETYPE, TYPE
from state.statuses import CLOSED, PASSING, TO_BE_EMPTIED

if TYPE_CHECKING:
    from flows.run import Run

TYPES = "case_types:{name}"  # fact in the books: {"types": [all that a mapping had, in order], "open": bool}
AT_REST = frozenset({"left", "ended", "closed"})
"""What a case is that no run writes, though it is known but for its type."""


@dataclass(frozen=True)
class Types:
    """The case types that a mapping had, the last one now; `is_open`: some of its cases may be of another one."""

    names: tuple[str, ...]
    is_open: bool = False

    def follow(self, case_type: str) -> Types:
        """Return what is known once a mapping makes cases of a type."""
        if case_type == self.names[-1]:
            return self
        return Types((*(name for name in self.names if name != case_type), case_type), is_open=True)


async def types_of(world: World, mappings: Sequence[CompiledMapping]) -> dict[str, Types]:
    """Return by mapping the case types that its cases have."""
    texts = await _texts(world, mappings)
    return {mapping.name: _read(mapping, texts.get(_fact(mapping))) for mapping in mappings}


async def types_in(world: World, mapping: CompiledMapping) -> tuple[str, ...]:
    """Return the case types that a mapping's cases have, or had, with the one that it makes now."""
    return (await types_of(world, [mapping]))[mapping.name].follow(mapping.case_type).names


async def follow_types(world: World, mappings: Sequence[CompiledMapping]) -> None:
    """Write down which types the cases of mappings have, now that they make cases of their present ones."""
    before = await _texts(world, mappings)
    now = {_fact(m): _told(_read(m, before.get(_fact(m))).follow(m.case_type)) for m in mappings}
    if differing := {fact: text for fact, text in now.items() if text != before.get(fact)}:
        await world.books.do(world.books.store.put_all, differing)


async def inherited_types(world: World, before: Mapping[str, str]) -> dict[str, str]:
    """Return the facts about the types of mappings that take over the cases of others: name -> the other one.

    Theirs are followed by those of the new one, as by an edit.
    """
    names = {TYPES.format(name=name) for name in (*before, *before.values())}
    texts = await world.books.do(world.books.store.get_all, sorted(names))
    found = dict[str, str]()
    for name, old in before.items():
        theirs, own = types_told(texts.get(TYPES.format(name=old))), types_told(texts.get(TYPES.format(name=name)))
        both = (*(one for one in theirs if one not in own), *own)
        if theirs:
            found[TYPES.format(name=name)] = _told(Types(both, is_open=len(both) > 1))
    return found


def types_told(text: str | None) -> tuple[str, ...]:
    """Return the types that a fact tells, none when there is no such fact."""
    return () if text is None else tuple(json.loads(text)["types"])


def _fact(mapping: CompiledMapping) -> str:
    return TYPES.format(name=mapping.name)


async def _texts(world: World, mappings: Sequence[CompiledMapping]) -> dict[str, str]:
    """Return what the books say of mappings, by the names of the facts."""
    return await world.books.do(world.books.store.get_all, [*map(_fact, mappings)])


def _read(mapping: CompiledMapping, text: str | None) -> Types:
    if text is None:
        return Types((mapping.case_type,))
    found = json.loads(text)
    return Types(tuple(found["types"]), found["open"])


def _told(types: Types) -> str:
    return json.dumps({"types": types.names, "open": types.is_open})


async def retype_the_rest(run: Run) -> None:
    """Send the new case type to the cases that this run did not write: nobody reads them, or they are held back.

    Only at the end of a run of the whole site, until there are none left.
    """
    known = await types_of(run.world, run.mappings) if run.whole_site else {}
    for mapping in run.mappings if run.whole_site else ():
        types = known[mapping.name].follow(mapping.case_type)
        if not types.is_open:
            continue
        rows, left = await _rest(run, mapping)
        run.pusher.enqueue(0, rows, _after)
        await run.pusher.drain()
        if not rows and not left and not run.preview:
            books, text = run.world.books, _told(Types(types.names))
            await books.do(books.store.put, _fact(mapping), text)


async def _rest(run: Run, mapping: CompiledMapping) -> tuple[list[Planned], int]:
    """Return the rows of the cases that have, or may have, another type, and how many have to wait.

    Those in doubt wait, and so do those that CommCare refused, until somebody gives them up.
    """
    books, store = run.world.books, run.world.books.store
    refused = {one.row: one.dropped for one in await books.do(store.refusals)}
    waiting = {*await books.do(store.intents), *(row for row, dropped in refused.items() if not dropped)}
    rows, left = list[Planned](), 0
    for scope in sorted(await books.do(store.all_scopes, mapping.name)):
        cases = await books.do(store.cases, mapping.name, scope)
        for case in _of_other_types(run, mapping, cases.values()):
            row = RowId(mapping.name, scope, case.key)
            if hash(row) in run.typed:
                continue
            left += row in waiting
            if row not in waiting and row not in refused:
                rows.append(await _retyped(run, mapping, row, case))
    return rows, left


def _of_other_types(run: Run, mapping: CompiledMapping, cases: Collection[CaseRow]) -> Iterator[CaseRow]:
    """Yield the cases that have, or may have, another type."""
    for case in cases:
        if case.status not in PASSING and (
            is_of_another_type(run.world, mapping, case) or _is_untold(mapping, case)
        ):
            yield case


def _is_untold(mapping: CompiledMapping, case: CaseRow) -> bool:
    """Say whether nobody knows which type a case has, and this run sent it nothing that would tell.

    A dirty one is held back, lacking, or of a course that nobody reads; one to be emptied gets its type with that.
    """
    if not case.case_id or TYPE in (case.digests or {}):
        return False
    if case.digests is None:
        return case.status not in TO_BE_EMPTIED
    return case.status in AT_REST or (case.status == "withdrawn" and not holds_personal(mapping))


async def _retyped(run: Run, mapping: CompiledMapping, row: RowId, case: CaseRow) -> Planned:
    """Return the row that sends the new type; what a dirty case holds is known afterwards."""
    key, case_type, dirty = external_id(case.key, case.generation), mapping.case_type, case.digests is None
    return Planned(
        row,
        case_type,
        case.user_id,
        CaseWrite(key, case.case_id, case_type, None, None, {}),
        {TYPE: run.world.books.store.digest(case.key, TYPE, case_type)},
        RETYPE,
        # Who has it, and what it says, is as uncertain as before: whoever is read is looked at like one back.
        "rejoining" if dirty and case.status == "active" else case.status,
        frozenset({TYPE}),
        owner_before=case.owner_id,  # of a parked case: who is to have it back
        whole=dirty,
        unsent=await run.departures.unsent(mapping, row, case) if dirty else frozenset(),
        ours_if_closed=dirty and case.status not in CLOSED and closes(mapping),
    )


def is_of_another_type(world: World, mapping: CompiledMapping, case: CaseRow) -> bool:
    """Say whether CommCare is known to hold a case with another type than the mapping's."""
    held, digest = (case.digests or {}).get(TYPE), world.books.store.digest
    return bool(case.case_id) and held not in (None, digest(case.key, TYPE, mapping.case_type))


async def _after(_row: Planned, _outcome: str) -> None:
    """Nothing follows: what was not taken differs still, and the next run sends it."""
