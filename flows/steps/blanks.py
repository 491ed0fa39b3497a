"""When suddenly many people lose the same personal value, a person is asked before it is emptied in CommCare.

A permission taken away in Moodle can look like that; so can a clean-up that somebody really meant.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import Any

from flows.needs import ALLOWED_BLANKS, CONFIRMED_BLANKS, REFUSED_BLANKS, UNSHOWN_BLANKS, all_blanks
from flows.questions import UNKNOWN, Parts, Questions, ask, end, part_of, parted, take, unanswered
from flows.result import Result, RunState
from flows.steps.held import Reading, cases_of, held
from flows.steps.planned import Planned, Scope
from flows.steps.reach import Place, Reach
from flows.summed import MOST, in_short
from flows.world import World
from state import RowId
from state.facts import Objects

ELEMENTS = 2  # so many activities that are gone at once may be hidden from the account: one is somebody's deletion
SHARED_BLANKS = "shared_blanks"  # fact: what is left, for the shards of a round, of what a person agreed to


class BlankGuard:
    """Holds back the emptying of personal properties, and of elements, when it concerns too many read together."""

    def __init__(self, world: World, result: Result) -> None:
        self._world = world
        self._result = result
        self._refused: Questions = {}
        self._left: Questions | None = None
        """What is left of what a person had agreed to when this run began."""
        self._used: Questions = {}
        self._going: dict[str, dict[str, Any]] | None = None
        """What earlier runs allowed: what this one does concerns none of the cases that it has yet to look at."""
        self._looked_at: set[Place] = set()
        self._unshown: dict[str, str] = {}
        """Of what was refused: the fields that nobody's profile shows any more."""
        self._several: dict[str, bool] = {}
        """By mapping: whether several elements vanish at once, from many cases."""

    async def passed(self, reading: Reading, rows: Sequence[Planned]) -> list[Planned]:
        """Return the rows with what they may empty; a row that only empties drops out when that is refused."""
        scope = reading.scope
        self._looked_at.add((scope.mapping.name, scope.number))
        await self.agreed()
        allowed = await self._allowed(reading)
        rows = await self._looked_up(reading, rows, allowed)
        vanished = frozenset[str]().union(*(row.vanished for row in rows))
        if vanished and await self._several_vanish(scope):
            rows = [replace(row, doubtful=row.doubtful | row.vanished) for row in rows]
        else:
            vanished = frozenset()
        refused: dict[str, set[str]] = {}
        for name, keys in _by_name(rows, partial(_emptied, scope), allowed).items():
            unshown = any(name in row.unshown for row in rows if row.row.key in keys)
            many = unshown or name in vanished or self._are_many(keys, scope)
            if many and not await self._may_empty(scope, name, keys):
                refused[name] = keys
                if unshown and scope.unshown is not None:
                    self._unshown[_what(scope, name)] = scope.unshown.fields_of(name)
                _add(self._refused, _what(scope, name), str(scope.number), len(keys))
        without = ((row, {name for name, keys in refused.items() if row.row.key in keys}) for row in rows)
        return [kept for row, names in without if (kept := _without(row, names)) is not None]

    def _are_many(self, keys: Collection[str], scope: Scope) -> bool:
        """Say whether so many of a scope are more than is usual."""
        guards, count = self._world.project.guards, len(keys)
        return count >= guards.leavers_people and count > len(scope.drafts) * guards.leavers_percent / 100

    async def _several_vanish(self, scope: Scope) -> bool:
        """Say whether several elements vanish at once, from more cases than a run may lose unasked.

        It may be a right that the account lost, however few are in each course, or however little of each list is
        gone. Where an element has several properties, they are one.
        """
        mapping, guards, store = scope.mapping, self._world.project.guards, self._world.books.store
        name = mapping.name
        if name not in self._several:
            lacking = await self._world.books.do(store.lacking_in, name)
            active = await self._world.books.do(store.count_active, name)
            most = max(guards.run_cases, active * guards.run_percent / 100)
            kinds = Counter(mapping.definition_of(each) for one in lacking.values() for each in one.properties)
            several = max(kinds.values(), default=0) >= ELEMENTS
            self._several[name] = several and sum(one.rows for one in lacking.values()) > most
        return self._several[name]

    async def _looked_up(
        self, reading: Reading, rows: Sequence[Planned], allowed: Mapping[str, Collection[str]]
    ) -> Sequence[Planned]:
        """Return the rows, and what those of unknown cases empty: CommCare is asked only when it may be many."""
        scope, blank = reading.scope, {row.row: reading.blank(row) for row in rows}
        many = {
            name: keys
            for name, keys in _by_name(rows, partial(_may_be_emptied, scope, blank), allowed).items()
            if self._are_many(keys, scope)
        }
        asked = {row.row: {n for n in blank[row.row] & many.keys() if row.row.key in many[n]} for row in rows}
        there = await cases_of(self._world.commcare, [row for row in rows if asked[row.row]])
        return [replace(row, emptied=row.emptied | held(asked[row.row], row, there)) for row in rows]

    async def _allowed(self, reading: Reading) -> dict[str, set[str]]:
        """Return, by property, whose values may be emptied since a person agreed; what is done is forgotten."""
        if self._going is None:
            self._going = await self._fact(ALLOWED_BLANKS)
        scope, allowed, over = reading.scope, dict[str, set[str]](), dict[str, set[str]]()
        place = str(scope.number)
        for what, places in self._going.items():
            if self._is_here(scope, what, places):
                name = what.split(" ", 1)[1]
                read = {key for key in places[place] if key in reading.known or key in scope.drafts}
                over[what] = {key for key in read if self._is_over(reading, name, key)}
                allowed[name] = read - over[what]
        if any(over.values()) and not self._result.preview:
            change = partial(_forget, place, {what: sorted(keys) for what, keys in over.items()})
            await self._world.books.do(self._world.books.store.change_facts, [ALLOWED_BLANKS], change)
        return allowed

    def _is_over(self, reading: Reading, name: str, key: str) -> bool:
        """Say whether a value is back, or is known to be empty."""
        drafts, digests = reading.scope.drafts, reading.digests(key)
        if key in drafts and drafts[key].properties.get(name):
            return True
        return digests is not None and digests.get(name) in (None, self._world.books.store.digest(key, name, ""))

    @staticmethod
    def _is_here(scope: Scope, what: str, places: Mapping[str, Any]) -> bool:
        """Say whether an entry of what may be emptied is about a scope."""
        return what.split(" ", 1)[0] == scope.mapping.name and str(scope.number) in places

    async def _may_empty(self, scope: Scope, name: str, keys: Collection[str]) -> bool:
        """Say whether a person agreed that so many lose a value; then these may, until CommCare has answered."""
        left, what, place = await self.agreed(), _what(scope, name), str(scope.number)
        word = left.get(what, {})
        if word.get(part_of(word, place), 0) < len(keys):
            return False
        take(left, what, place, len(keys))
        return self._result.preview or await self._spend(what, scope.number, keys, CONFIRMED_BLANKS)

    async def _spend(self, what: str, number: int, keys: Collection[str], purse: str) -> bool:
        """Turn a number that was agreed to into the cases that it is for; False when it is too small by now."""
        names = tuple(dict.fromkeys((purse, CONFIRMED_BLANKS, REFUSED_BLANKS)))
        change = partial(_spent, names, what, str(number), sorted(keys))
        spent = await self._world.books.do(self._world.books.store.change_facts, [*names, ALLOWED_BLANKS], change)
        if spent:
            _add(self._used, what, str(number), len(keys))
        return spent

    async def agreed(self) -> Questions:
        """Return what is left of what a person agreed to; what is said from now on is for the next run."""
        if self._left is None:
            given = parted(await self._fact(CONFIRMED_BLANKS))
            if self._left is None:  # somebody else may have asked meanwhile, and taken some
                self._left = given
        return self._left

    async def _fact(self, name: str) -> dict[str, Any]:
        """Return a fact that is an object."""
        text = await self._world.books.do(self._world.books.store.get, name)
        found: dict[str, Any] = json.loads(text or "{}")
        return found

    def told(self) -> dict[str, Any]:
        """Return what a shard found, as JSON, for the end of its round."""
        looked_at = sorted(self._looked_at)
        return {"refused": self._refused, "looked_at": looked_at, "used": self._used, "unshown": self._unshown}

    def take_over(self, told: Mapping[str, Any]) -> None:
        """Take in what a shard found, and used of what had been agreed to."""
        self._looked_at.update((name, scope) for name, scope in told["looked_at"])
        self._unshown |= told.get("unshown", {})
        for what, place, people in _each(told["refused"]):
            _add(self._refused, what, place, people)
        for what, place, people in _each(told["used"]):
            take(self._left if self._left is not None else {}, what, place, people)

    async def tell(self, reach: Reach) -> None:
        """Name what was refused in the result and in the books; what was agreed to holds for one run.

        That is the next one which looks at the mapping there. What a person agreed to while this run was under way
        is not for this run.
        """
        told = self._refused
        if not self._result.preview:
            left = await self.agreed()
            change = partial(_told, frozenset(self._looked_at), (self._refused, self._unshown), left, reach)
            names = (REFUSED_BLANKS, CONFIRMED_BLANKS, UNSHOWN_BLANKS)
            told = await self._world.books.do(self._world.books.store.change_facts, names, change)
        for need in in_short(all_blanks(told, self._unshown)):
            self._result.worse(RunState.WAITING, need.message)


class SharedBlankGuard(BlankGuard):
    """The guard of a shard: what a person agreed to is taken off a number that all shards share."""

    async def _may_empty(self, scope: Scope, name: str, keys: Collection[str]) -> bool:
        """Say whether enough of it is left, and take it off."""
        return await self._spend(_what(scope, name), scope.number, keys, SHARED_BLANKS)


async def forget_rows(world: World, rows: Collection[RowId]) -> None:
    """Forget that values of some cases may be emptied: their person is erased, and no read shows them again."""
    change = partial(_forget_each, frozenset((row.mapping, str(row.scope), row.key) for row in rows))
    await world.books.do(world.books.store.change_facts, [ALLOWED_BLANKS], change)


def _forget_each(rows: Collection[tuple[str, str, str]], facts: Objects) -> None:
    """Take cases out of what may be emptied."""
    for what, places in {**facts[ALLOWED_BLANKS]}.items():
        mapping = what.split(" ", 1)[0]
        for place, keys in {**places}.items():
            _forget(place, {what: [key for key in keys if (mapping, place, key) in rows]}, facts)


def _spent(names: Sequence[str], what: str, place: str, keys: Sequence[str], facts: Objects) -> bool:
    """Take as many off what was agreed to, which is the first of the facts, and name the cases that it is for."""
    word = parted(facts[names[0]]).get(what, {})
    if word.get(part_of(word, place), 0) < len(keys):
        return False
    for name in names:
        take(facts[name], what, place, len(keys))
    places = facts[ALLOWED_BLANKS].setdefault(what, {})
    places[place] = sorted({*places.get(place, ()), *keys})
    return True


def _forget(place: str, over: Mapping[str, Collection[str]], facts: Objects) -> None:
    """Forget values that were allowed to be emptied."""
    for what, keys in over.items():
        places = facts[ALLOWED_BLANKS].get(what, {})
        left = [key for key in places.pop(place, ()) if key not in keys]
        places |= {place: left} if left else {}
        if not places:
            facts[ALLOWED_BLANKS].pop(what, None)


def _told(
    looked_at: Set[Place],
    found: tuple[Questions, Mapping[str, str]],
    left: Questions,
    reach: Reach,
    facts: Objects,
) -> Questions:
    """Take in what a run refused, and end what is left of the words that it had; return what it has to tell.

    `found` are the questions, and the fields that nobody shows, where that is why something is asked. Where there
    is much to tell it is told in one sentence, whose number is that of all which waits.
    """
    asked, given, (refused, unshown) = facts[REFUSED_BLANKS], facts[CONFIRMED_BLANKS], found

    def is_over(over: Callable[[Place, Set[Place]], bool], what: str, place: str) -> bool:
        mapping = what.split(" ", 1)[0]
        if place == UNKNOWN:
            return any(mapping == name for name, _ in looked_at)
        return over((mapping, int(place)), looked_at)

    end(asked, partial(is_over, reach.is_settled))
    end(given, partial(is_over, reach.is_over), only=left)
    told = ask(asked, given, refused, lambda _, place: reach.is_in_part(int(place)))
    fields = {what: one for what, one in facts[UNSHOWN_BLANKS].items() if what in asked and what not in refused}
    facts[UNSHOWN_BLANKS] = fields | {what: one for what, one in unshown.items() if what in asked}
    return told if len(told) <= MOST else unanswered(parted(asked), parted(given))


def _add(questions: Questions, what: str, place: str, people: int) -> None:
    """Add people to a part of a question."""
    found = questions.setdefault(what, {})
    found[place] = found.get(place, 0) + people


def _each(questions: Mapping[str, Parts]) -> list[tuple[str, str, int]]:
    """Return the parts of questions: what, where, and their people."""
    return [(what, place, people) for what, found in questions.items() for place, people in found.items()]


def _what(scope: Scope, name: str) -> str:
    """Return how the facts name a property of a mapping."""
    return f"{scope.mapping.name} {name}"


def _by_name(
    rows: Sequence[Planned], names_of: Callable[[Planned], set[str]], but: Mapping[str, Collection[str]]
) -> dict[str, set[str]]:
    """Return the keys of the rows by the properties that they empty, without those that may."""
    found: dict[str, set[str]] = {}
    for row in rows:
        for name in names_of(row):
            if row.row.key not in but.get(name, ()):
                found.setdefault(name, set()).add(row.row.key)
    return found


def _may_be_emptied(scope: Scope, blank: Mapping[RowId, Collection[str]], row: Planned) -> set[str]:
    """Return the properties that a row empties, or may empty: nobody knows what its case holds."""
    return _emptied(scope, row) | {name for name in blank[row.row] if scope.mapping.is_personal(name)}


def _emptied(scope: Scope, row: Planned) -> set[str]:
    """Return what a row empties that is personal, whose elements vanished together, or that nobody shows."""
    asked = row.doubtful | row.unshown
    return {name for name in row.emptied if name in asked or scope.mapping.is_personal(name)}


def _without(row: Planned, names: Collection[str]) -> Planned | None:
    """Return the row without these properties, None when nothing is left to send."""
    if not names:
        return row
    if row.write.case_id and row.reasons <= set(names):
        return None
    properties = {name: value for name, value in row.write.properties.items() if name not in names}
    digests = {name: digest for name, digest in row.digests.items() if name not in names}
    # Of a case that nobody knows the books have to know that it has a value still.
    unsent = row.unsent | (row.blank.intersection(names) if row.write.case_id else {*names})
    return replace(row, write=replace(row.write, properties=properties), digests=digests, unsent=unsent)
