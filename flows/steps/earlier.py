"""The cases that a key had before its present one: closed by us, of an old term, or matched once.

They hold what they held when the next one began, so whoever empties a person's case empties them too. Nothing in
the books speaks of them: CommCare is asked, and until it has taken all of it the row is one to be emptied.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from adaptors.commcare.cases import CaseReply, CaseWrite
from adaptors.errors import Refused
from flows.steps.linked import theirs_in
from flows.steps.planned import Planned, external_id
from flows.world import World
from mappings.engine import CompiledMapping
from state import CaseRow, RowId

if TYPE_CHECKING:
    from flows.steps.push import Pusher

FIRST = 1
FEW = 20
"""So many are asked for one by one: past any lag of the search, and two with one external id are told."""
Settled = Callable[[Planned, str], Awaitable[None]]
IsEmpty = Callable[[str, CaseReply], bool]


@dataclass(frozen=True)
class Earlier:
    """A case of a key that another one followed; `theirs` others wrote, where it was matched once."""

    case: CaseReply
    generation: int
    user_id: int
    theirs: frozenset[str] = frozenset()
    linked: bool = False

    def planned(
        self, world: World, row: RowId, case_type: str, texts: Mapping[str, str], *, close: bool = False
    ) -> Planned:
        """Build the row that gives this case some texts; "@name" and "@owner" are no properties."""
        outside = external_id(row.key, self.generation)
        write = CaseWrite(
            outside if outside == self.case.external_id else self.case.case_id,
            self.case.case_id,
            self.case.case_type,
            texts.get("@name"),
            texts.get("@owner"),
            {name: texts[name] for name in sorted(texts) if not name.startswith("@")},
            close=close,
        )
        digest = world.books.store.digest
        digests = {name: digest(row.key, name, text) for name, text in texts.items()}
        return Planned(row, case_type, self.user_id, write, digests, "withdrawn", earlier=self.generation)


@dataclass
class Before:
    """What was found: the earlier cases by key, and why nobody can say which ones a key had."""

    cases: dict[str, list[Earlier]] = field(default_factory=dict)
    unclear: dict[str, str] = field(default_factory=dict)


@dataclass
class _Waiting:
    """A row whose earlier cases are to be emptied, as far as it is clear which they are.

    `status` is the one that it has once all is done; `is_told`: of its own case nothing is left to send.
    """

    planned: list[Planned]
    is_clear: bool
    status: str = ""
    is_told: bool = False


async def find_earlier(
    world: World, mapping: str, cases: Mapping[str, CaseRow], is_empty: IsEmpty | None = None
) -> Before:
    """Find the cases that came before these ones of a mapping, by key; those that are others' by now are left out.

    Each costs a request. Many are looked up first, 500 at once, where `is_empty` tells by key and case whether
    it was emptied: that look-up is seconds behind writes, and of two cases with one external id it shows any, so
    only what it shows as empty is believed.
    """
    found, later = Before(), {key: case for key, case in cases.items() if case.generation > FIRST}
    if not later:
        return found
    places = {external_id(key, n): (key, n) for key, case in later.items() for n in range(FIRST, case.generation)}
    replies = dict[str, CaseReply]()
    if is_empty is not None and len(places) > FEW:
        listed = await world.commcare.cases_by_external_id(places)
        replies = {name: reply for name, reply in listed.items() if is_empty(places[name][0], reply)}
    for name in sorted(places.keys() - replies.keys()):  # among them what the search does not know yet
        try:
            reply = await world.commcare.case_by_external_id(name)
        except Refused as error:  # two cases have it
            found.unclear[places[name][0]] = error.code or "refused"
            continue
        replies |= {name: reply} if reply is not None else {}
    for name, reply in sorted(replies.items()):
        key, number = places[name]
        found.cases.setdefault(key, []).append(Earlier(reply, number, later[key].user_id))
    for key, one in (await _matched(world, mapping, later)).items():
        others = [own for own in found.cases.get(key, ()) if own.case.case_id != one.case.case_id]
        found.cases[key] = [one, *others]
    await _leave_out_others(world, mapping, later, found)
    return found


async def _matched(world: World, mapping: str, later: Mapping[str, CaseRow]) -> dict[str, Earlier]:
    """Return the earlier cases that others made: the books know them by case id, as matches."""
    store, found = world.books.store, dict[str, Earlier]()
    linked = await world.books.do(store.linked_cases, mapping, later)
    linked = {key: case_id for key, case_id in linked.items() if case_id != later[key].case_id}
    there = await world.commcare.cases_by_id(linked.values())
    for key, case_id in linked.items():
        if case_id in there:
            case = replace(later[key], case_id=case_id, linked=True)
            names = {"@name", *there[case_id].properties}
            theirs = await theirs_in(world, mapping, key, case, names, there[case_id])
            found[key] = Earlier(there[case_id], FIRST, case.user_id, theirs, linked=True)
    return found


async def _leave_out_others(world: World, mapping: str, later: Mapping[str, CaseRow], found: Before) -> None:
    """Leave out the present case, and what was matched with somebody else since."""
    theirs = await somebody_elses(world, mapping, found.cases)
    for key, cases in found.cases.items():
        gone = {later[key].case_id} | theirs.get(key, set())
        found.cases[key] = [one for one in cases if one.case.case_id not in gone]


async def somebody_elses(
    world: World, mapping: str, cases: Mapping[str, Sequence[Earlier]]
) -> dict[str, set[str]]:
    """Return, by key, the ids of those cases under it that were matched with somebody else since."""
    ids = {one.case.case_id for some in cases.values() for one in some}
    owners = await world.books.do(world.books.store.keys_of_cases, mapping, ids)
    name, found = world.project.moodle_key_property, defaultdict[str, set[str]](set)
    for key, some in cases.items():
        for case in (one.case for one in some):
            if not owners.get(case.case_id, set()) <= {key} or case.properties.get(name, "") not in ("", key):
                found[key].add(case.case_id)
    return found


class EarlierCases:
    """The earlier cases of people whose case is emptied in this run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: dict[RowId, _Waiting] = {}

    async def look_for(
        self, rows: Iterable[tuple[CompiledMapping, RowId, CaseRow]], removed: Mapping[str, frozenset[str]]
    ) -> dict[RowId, str]:
        """Look for what is personal in earlier cases of rows; return why it is not clear which some rows had.

        `removed`: by mapping, what was taken out of it. Nobody knows whether that is personal, so it counts, as
        what is retired does: of an earlier case nothing else empties it.
        """
        places, mappings = defaultdict[tuple[str, int], dict[str, CaseRow]](dict), dict[str, CompiledMapping]()
        unclear = dict[RowId, str]()
        for mapping, row, case in rows:
            if mapping.personal or mapping.name_is_personal or mapping.retired or removed.get(mapping.name):
                mappings[mapping.name] = mapping
                places[mapping.name, row.scope][row.key] = case
        for (name, scope), cases in places.items():
            gone = removed.get(name, frozenset()) | mappings[name].retired
            found = await find_earlier(self._world, name, cases, partial(_was_emptied, mappings[name], gone))
            unclear |= {RowId(name, scope, key): reason for key, reason in found.unclear.items()}
            for key in found.cases.keys() | found.unclear.keys():
                row = RowId(name, scope, key)
                planned = [self._planned(mappings[name], row, one, gone) for one in found.cases.get(key, ())]
                sent = [one for one in planned if one is not None]
                if sent or row in unclear:
                    self._waiting[row] = _Waiting(sent, row not in unclear)
        return unclear

    def _planned(
        self, mapping: CompiledMapping, row: RowId, one: Earlier, gone: Collection[str]
    ) -> Planned | None:
        """Build the row that empties what is personal in an earlier case, None when nothing of it is left."""
        # In a case of others, what is retired may be theirs.
        held = _held(mapping, {*gone} - mapping.retired if one.linked else gone, one.case)
        texts = dict.fromkeys(held - one.theirs, "")
        if mapping.name_is_personal and "@name" not in one.theirs and one.case.name != row.key:
            texts["@name"] = row.key
        return one.planned(self._world, row, mapping.case_type, texts) if texts else None

    def status(self, row: RowId, status: str, *, is_told: bool = False) -> str:
        """Return the status of a row that is emptied itself: to be emptied, while earlier cases of it are.

        `is_told`: of its own case there is nothing to send any more.
        """
        waiting = self._waiting.get(row)
        if waiting is None:
            return status
        waiting.status, waiting.is_told = status, is_told
        return {"closed": "emptying", "left": "clearing"}.get(status, "withdrawing")

    async def empty(self, pusher: Pusher, went: Collection[RowId]) -> None:
        """Send what empties the earlier cases; rows of which all is done, their own part too, get their status.

        `went` are rows whose own part CommCare took. Until then they are to be emptied, also for the next run.
        """
        waiting, self._waiting = self._waiting, {}
        left = await send_each(self._world, pusher, {row: one.planned for row, one in waiting.items()})
        ready = {row for row, one in waiting.items() if one.is_clear and (one.is_told or row in went)}
        done = {row: waiting[row].status for row in ready - left if waiting[row].status}
        await self._world.books.do(self._world.books.store.settle, done)


def _held(mapping: CompiledMapping, gone: Collection[str], case: CaseReply) -> set[str]:
    """Return the properties that are personal, or may be, and have a value in a case."""
    properties = case.properties.items()
    return {name for name, value in properties if value and (mapping.is_personal(name) or name in gone)}


def _was_emptied(mapping: CompiledMapping, gone: Collection[str], key: str, case: CaseReply) -> bool:
    """Say whether a case looks as we leave one behind: what is personal has no value, and its name is our key.

    A case that somebody made by hand under our external id never had such properties, or has a name.
    """
    if _held(mapping, gone, case) or (mapping.name_is_personal and case.name != key):
        return False
    return mapping.name_is_personal or any(mapping.is_personal(name) for name in case.properties)


async def send_each(
    world: World, pusher: Pusher, rows: Mapping[RowId, Sequence[Planned]], told: Settled | None = None
) -> set[RowId]:
    """Send several cases of each row, one after the other; return the rows of which CommCare did not take all.

    The books announce one write of a row at a time, so a row whose write rests is left. `told` is, of each case.
    """
    left = set[RowId]()

    async def settled(row: Planned, outcome: str) -> None:
        if outcome:
            left.add(row.row)
        if told is not None:
            await told(row, outcome)

    for number in range(max((len(some) for some in rows.values()), default=0)):
        resting = await world.books.do(world.books.store.intents)
        left |= rows.keys() & resting.keys()
        ready = [some[number] for row, some in rows.items() if row not in resting and number < len(some)]
        pusher.enqueue(0, ready, settled)
        await pusher.drain()
    return left
