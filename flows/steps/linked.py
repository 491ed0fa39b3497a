"""Cases that others made and that were matched with people: how they are found, and what is left alone in them.

Such a case keeps its own external id, so it is asked for by CommCare's id; our key stands in it as a property, by
which it is found again when the books are lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field, replace

from adaptors.commcare.cases import CaseReply
from adaptors.errors import Refused
from flows.steps.generations import last_of_each, last_of_ours
from flows.steps.planned import SITE_SCOPE, Scope, external_id
from flows.steps.retype import types_of
from flows.world import World
from mappings.engine import CompiledMapping, Draft, Project
from mappings.engine.matching import MATCHED_SOURCE
from state import CaseRow, Link, MatchRow, RowId


@dataclass(frozen=True)
class Linked:
    """What is special about the write of a linked case; `first` until it is known what of it is ours.

    `spared` are properties that a blank does not empty, `filled` those that are written once and still missing.
    """

    name: str
    first: bool = False
    spared: frozenset[str] = frozenset()
    filled: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Look:
    """The linked cases of one scope that are sent whole, by key: as CommCare has them, and what the books keep."""

    there: Mapping[str, CaseReply | None] = field(default_factory=dict)
    kept: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    keep: dict[str, frozenset[str]] = field(default_factory=dict)
    """What the books are to keep from now on: properties that a blank leaves alone."""


@dataclass
class Claims:
    """Linked cases as CommCare lists them: whose they are, and external ids that are somebody else's by now."""

    by_key: dict[str, CaseReply] = field(default_factory=dict)
    rivals: dict[str, dict[str, CaseReply]] = field(default_factory=dict)
    """Keys that stand in several living cases: those, by case id. A person says which of them is meant."""
    taken: set[str] = field(default_factory=set)

    def take(self, key: str, case: CaseReply) -> None:
        """Take in a case that holds a key; a living one counts before those that are closed."""
        first = self.by_key.setdefault(key, case)
        if first.closed and not case.closed:
            self.by_key[key] = case
        elif not case.closed and first.case_id != case.case_id:  # a listing may show a case twice
            self.rivals.setdefault(key, {first.case_id: first})[case.case_id] = case


def is_matched(mapping: CompiledMapping) -> bool:
    """Say whether the cases of a mapping can be matched with people."""
    return mapping.source == MATCHED_SOURCE


async def case_there(world: World, key: str, case: CaseRow) -> CaseReply | None:
    """Ask CommCare for a case of the books: a linked one by its id, our own by external id.

    Raises Refused when two cases have the external id.
    """
    if case.linked:
        return (await world.commcare.cases_by_id([case.case_id])).get(case.case_id)
    return await world.commcare.case_by_external_id(external_id(key, case.generation))


async def theirs_in(
    world: World, mapping: str, key: str, case: CaseRow, names: Collection[str], there: CaseReply | None = None
) -> frozenset[str]:
    """Return those of some names in a linked case that others wrote; a name that begins with @ is no property.

    They are what the books keep of it. As long as nothing was ever sent to it, all of them; `there` is the case
    as CommCare has it, asked for where that has to be known.
    """
    kept = (await world.books.do(world.books.store.kept, mapping, [key])).get(key)
    if kept is not None:
        return kept.intersection(names)
    there = there or await case_there(world, key, case)  # of books that were put back our key tells
    is_sent = there is not None and there.properties.get(world.project.moodle_key_property) == key
    return frozenset() if is_sent else frozenset(names)


class Links:
    """The linked cases of one run, and the people of whom somebody has yet to say whose case is theirs."""

    def __init__(self, world: World, *, preview: bool) -> None:
        self._world = world
        self._preview = preview
        self._open: dict[str, frozenset[str]] = {}
        self._claims: dict[str, Claims] = {}

    async def undecided(self, mapping: CompiledMapping) -> frozenset[str]:
        """Return the keys that get no case until a person has decided."""
        if mapping.name not in self._open:
            found = frozenset[str]()
            if is_matched(mapping):
                books = self._world.books
                found = await books.do(books.store.open_keys, mapping.name)
            self._open[mapping.name] = found
        return self._open[mapping.name]

    async def claims(self, mapping: CompiledMapping) -> Claims:
        """Return the linked cases of a mapping as CommCare lists them, 5,000 to a request, once a run."""
        if mapping.name not in self._claims:
            self._claims[mapping.name] = await list_claims(self._world, mapping)
        return self._claims[mapping.name]

    async def found_again(
        self, scope: Scope, known: Mapping[str, CaseRow], run_id: str, *, closes: bool
    ) -> dict[str, CaseRow]:
        """Return the known cases with those that the books lost, found by our key in them.

        `closes`: the mapping closes cases, so that a closed one may have been followed by cases of our own.
        """
        unknown = (scope.drafts.keys() | scope.excluded.keys()) - known.keys()
        if not unknown:
            return dict(known)
        claims, all_of_them, links = await self.claims(scope.mapping), dict(known), list[Link]()
        await self._take_followers(claims, unknown)
        contested = await self._contested(scope, claims, unknown)
        for key in unknown - contested:
            if reply := claims.by_key.get(key):
                user = scope.users.get(key, 0)
                case = CaseRow(key, reply.case_id, reply.owner_id, None, "active", 0, user, linked=True)
                if closes and reply.closed:
                    case = await self._after(case, claims.taken)
                if not case.linked:
                    await self._adopt(scope, case, run_id, reply)
                    all_of_them[key] = case
                    continue
                found = MatchRow(scope.mapping.name, key, reply.case_id, user, "duplicate", "key")
                links.append(Link(RowId(scope.mapping.name, SITE_SCOPE, key), found, case))
                all_of_them[key] = case
        if links and not self._preview:
            now = self._world.clock.now()
            told = [one._replace(found=linked_by(one.found, "rule", now)) for one in links]
            await self._world.books.do(self._world.books.store.link, told, run_id)
        return all_of_them

    async def _take_followers(self, claims: Claims, keys: Collection[str]) -> None:
        """Take in cases of our own beside living linked ones: those may have been unlinked, and hold our key."""
        living = {key: 2 for key in keys if key in claims.by_key and not claims.by_key[key].closed}
        for key, (case, _) in (await last_of_each(self._world, living, claims.taken)).items():
            if not case.closed:
                claims.take(key, case)

    async def _contested(self, scope: Scope, claims: Claims, keys: Collection[str]) -> set[str]:
        """Return the keys that several living cases hold, and have them wait for a person, as a match does.

        Cases that somebody rejected for the person count no more; when one is left, it is the one.
        """
        mapping, books = scope.mapping, self._world.books
        found, wanted = list[MatchRow](), claims.rivals.keys() & keys
        decided = await books.do(books.store.matches, mapping.name, "", "rejected") if wanted else []
        rejected = {(one.key, one.case_id) for one in decided}
        for key in sorted(wanted):
            left = {
                case_id: case for case_id, case in claims.rivals[key].items() if (key, case_id) not in rejected
            }
            claims.by_key.pop(key, None)
            for case in left.values():
                claims.by_key[key] = case
            user = scope.users.get(key, 0)
            rivals = [MatchRow(mapping.name, key, one, user, "conflict", "key", "keys_disagree") for one in left]
            found += rivals if len(rivals) > 1 else []
        contested = {one.key for one in found}
        if contested:
            self._open[mapping.name] = await self.undecided(mapping) | contested
            if not self._preview:
                now = self._world.clock.now()
                await books.do(books.store.add_matches, [replace(one, found_at=now) for one in found])
        return contested

    async def _after(self, linked: CaseRow, taken: Collection[str]) -> CaseRow:
        """Return the case of our own that followed a linked one which is closed, or that one, to be followed."""
        try:
            found, generation = await last_of_ours(self._world, linked.key, taken, 2)
        except Refused:  # two cases have that id: CommCare refuses the write to it as well, for this record only
            found, generation = None, 2
        if found is None:
            return replace(linked, status="closed", generation=generation - 1)
        own = replace(linked, case_id=found.case_id, owner_id=found.owner_id, linked=False)
        return replace(own, status="closed" if found.closed else "active", generation=generation)

    async def _adopt(self, scope: Scope, case: CaseRow, run_id: str, before: CaseReply) -> None:
        """Write down a case of our own that the books lost, and the linked one that it followed."""
        if not self._preview:
            row, now, books = (
                RowId(scope.mapping.name, SITE_SCOPE, case.key),
                self._world.clock.now(),
                self._world.books,
            )
            linked = MatchRow(row.mapping, row.key, before.case_id, case.user_id, "duplicate", "key")
            await books.do(books.store.add_matches, [linked_by(linked, "rule", now)])
            await self._keep_theirs(scope, case.key, before)
            await books.do(books.store.adopt, row, case, now, run_id)

    async def _keep_theirs(self, scope: Scope, key: str, before: CaseReply) -> None:
        """Keep what the linked case holds and the draft does not fill: nobody can say any more that it is ours."""
        books, draft, name = self._world.books, scope.drafts.get(key), scope.mapping.name
        if draft is None or (await books.do(books.store.kept, name, [key])).get(key) is not None:
            return
        there = (await self._world.commcare.cases_by_id([before.case_id])).get(before.case_id, before)
        ours = {*scope.mapping.spec.properties, *draft.properties}
        theirs = [one for one in ours if there.properties.get(one) and not draft.properties.get(one)]
        await books.do(books.store.keep, name, {key: theirs})

    async def look(self, scope: Scope, known: Mapping[str, CaseRow]) -> Look:
        """Look at the linked cases of a scope that are sent whole: what they hold already is not to be lost."""
        linked = {key: case for key, case in known.items() if case.linked}
        if not linked:
            return Look()
        books = self._world.books
        kept = await books.do(books.store.kept, scope.mapping.name, linked)
        dirty = {key: case for key, case in linked.items() if case.digests is None}
        if not dirty:
            return Look(kept=kept)
        there = await self._world.commcare.cases_by_id([case.case_id for case in dirty.values()])
        return Look({key: there.get(case.case_id) for key, case in dirty.items()}, kept)

    def of(self, draft: Draft, case: CaseRow | None, look: Look) -> Linked | None:
        """Return what is special about the write of a draft, None when its case is our own."""
        if case is None or not case.linked:
            return None
        name = self._world.project.moodle_key_property
        blank = {one for one, value in draft.properties.items() if not value}
        if draft.key not in look.there:  # what was never sent is not ours to empty
            before = look.kept.get(draft.key) or frozenset()
            still = before - (draft.properties.keys() - blank)
            if still != before:  # ours from now on: whoever has to empty the case may know nothing but this
                look.keep[draft.key] = still
            return Linked(name, spared=frozenset(blank - (case.digests or {}).keys()))
        there, kept = look.there[draft.key], look.kept.get(draft.key)
        if there is None:  # the search lacks it: what it holds is not known, so nothing of it is emptied
            return Linked(name, first=True, spared=frozenset(blank))
        held = {one for one, value in there.properties.items() if value}
        # Of a case that lost books knew, nobody can say any more which of its values are ours.
        first = kept is None or there.properties.get(name) != draft.key
        spared = frozenset(blank & (held if first or kept is None else kept))
        if spared != kept:
            look.keep[draft.key] = spared
        filled = frozenset(draft.once - held) if first else frozenset[str]()
        return Linked(name, first, spared, filled)

    async def remember(self, mapping: CompiledMapping, look: Look) -> None:
        """Write down which properties a blank leaves alone, before anything of it is sent."""
        if look.keep and not self._preview:
            books = self._world.books
            await books.do(books.store.keep, mapping.name, look.keep)


async def list_claims(world: World, mapping: CompiledMapping) -> Claims:
    """List the cases of each type that a mapping's cases have, or had, and keep those that hold a key of ours."""
    name, claims = world.project.moodle_key_property, Claims()
    async for case in list_all(world, mapping, name):
        key = case.properties.get(name, "")
        if is_ours(world.project, key):
            claims.take(key, case)
            if case.external_id and base_key(case.external_id) != key:
                claims.taken.add(case.external_id)
    return claims


async def list_all(
    world: World, mapping: CompiledMapping, *fields: str, child_of: tuple[str, str] | None = None
) -> AsyncIterator[CaseReply]:
    """List the cases of all types that a mapping's cases have, or had, with these properties alone.

    `child_of` (the name of an index, a case id) leaves all but the children of that case.
    """
    for case_type in (await types_of(world, [mapping]))[mapping.name].follow(mapping.case_type).names:
        async for case in world.commcare.list_cases(case_type, fields=fields, child_of=child_of):
            yield case


def key_of(project: Project, case: CaseReply) -> str:
    """Return the key of ours that a case has: its external id, or what a link wrote into it; "" for none."""
    start, own = f"{project.site}-", base_key(case.external_id or "")
    key = own if own.startswith(start) else case.properties.get(project.moodle_key_property, "")
    return key if key.startswith(start) else ""


def is_ours(project: Project, text: str) -> bool:
    """Say whether an external id, or a key, may be one that a mapping of this site makes.

    How it begins does not tell: the name of another site may begin as ours does.
    """
    key = base_key(text)
    return any(mapping.makes_key(key, project.site) for mapping in project.mappings)


def base_key(text: str) -> str:
    """Return an external id of ours without the number of its generation."""
    key, mark, number = text.rpartition("~")
    return key if mark and number.isdecimal() else text


def generation_of(text: str) -> int:
    """Return the generation that an external id of ours names."""
    _, mark, number = text.rpartition("~")
    return int(number) if mark and number.isdecimal() and len(number) < 6 else 1


def linked_by(found: MatchRow, by: str, now: float) -> MatchRow:
    """Return a match as a "rule" or a "person" decided it."""
    return replace(found, decision="linked", decided_by=by, found_at=found.found_at or now, decided_at=now)
