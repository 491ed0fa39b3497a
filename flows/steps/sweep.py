"""Who is gone: missing from two complete reads in a row, and few enough that no person has to be asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from adaptors.moodle.roster import Roster
from flows.questions import COURSE, Parts
from flows.result import Result
from flows.steps.asked import LEAVERS, Decided, Found
from flows.steps.deserted import Deserted
from flows.steps.everywhere import gone_everywhere
from flows.steps.leaving import Leaving, again
from flows.steps.planned import SITE_SCOPE, Scope, scope_number
from flows.steps.pull import IN_COURSE
from flows.steps.reach import Place, Reach
from flows.world import World
from mappings.engine import CompiledMapping
from state import Missing, RowId
from state.statuses import GOING, LIVING, TO_BE_EMPTIED, UNDER_WAY, UNSETTLED

READS = 2


@dataclass
class Gone:
    """Rows of one scope that two complete reads lacked."""

    mapping: CompiledMapping
    scope: int
    rows: list[Missing]
    active: int
    empty: bool

    @property
    def place(self) -> Place:
        """Return the mapping and where it was read."""
        return self.mapping.name, self.scope

    @property
    def persons(self) -> set[int | str]:
        """Return whom the rows are about, by number or else by key."""
        return {missing.case.user_id or missing.row.key for missing in self.rows}

    @property
    def people(self) -> int:
        """Return how many people the rows are about."""
        return len(self.persons)

    def is_suspicious(self, people: int, percent: float) -> bool:
        """Say whether a person has to be asked: nobody is there any more, or too many are gone at once."""
        return self.empty or (self.people >= people and len(self.rows) > self.active * percent / 100)


@dataclass
class Sweep:
    """Collects who is missing while courses are read, and decides at the end of the run."""

    world: World
    result: Result
    found: list[Gone] = field(default_factory=list)
    noted: set[Place] = field(default_factory=set)
    """Where this run compared which mapping."""
    lacked: set[RowId] = field(default_factory=set)
    """Cases that this read lacked, and the one before did not: what was allowed of them is still to come."""
    deleted: Set[int] = frozenset()
    """People whose account is deleted in Moodle: they are in no course any more, be it read or not."""
    read: Set[int] = frozenset()
    """The courses whose people this run read."""
    rosters: Mapping[int, Roster] = field(default_factory=dict)
    """The people of the courses that this run read, be it for some mappings or some courses only."""
    failing: Set[int] = frozenset()
    """Courses that nobody waits for any more. Whoever is missing may be in one: a person says who left."""
    replaced: list[tuple[CompiledMapping, Missing]] = field(default_factory=list)
    """Cases that nobody is asked about: those under keys that their mapping makes no more (`sync --rekey` was the
    word of a person), those that were allowed to go before (CommCare refused to mark them, or did not say), and
    those of people whose case that is the parent has gone."""
    unlisted: dict[int, int] = field(default_factory=dict)
    """Courses that Moodle lists no more -> people it would mark: a person is asked whether they were deleted."""
    deserted: Deserted = field(init=False)

    def __post_init__(self) -> None:
        """Begin to look for courses where nobody is any more."""
        self.deserted = Deserted(self.world, self.result)

    async def note(self, scope: Scope, *, protected: Set[int] = frozenset()) -> None:
        """Compare a complete read with the books; `protected` are people whom nothing of this read is about."""
        store, mapping = self.world.books.store, scope.mapping
        is_ours = mapping.makes_on(self.world.project.site)
        missing = await self.world.books.do(
            store.note_read, mapping.name, scope.number, scope.seen, self.result.run_id, protected, is_ours
        )
        self.noted.add((mapping.name, scope.number))
        replaced = [m for m in missing if m.case.status == "replaced"]
        missing = [m for m in missing if m.case.status != "replaced"]
        await self.deserted.note(scope, missing, protected)
        self.replaced += [(mapping, m) for m in replaced if mapping.when_left is not None]
        due = [m for m in missing if m.case.missing_count >= READS]
        self.lacked |= {m.row for m in missing if m.case.missing_count < READS}
        stuck = await self._stuck()
        unsure = {m.row for m in due if m.case.status in UNDER_WAY and m.row not in stuck}
        unsure |= {m.row for m in due if not is_ours(*m.row[1:], m.case.user_id)}
        self.replaced += [(mapping, m) for m in due if m.row in unsure]
        due = [m for m in due if m.row not in unsure]
        if due and mapping.when_left is not None:
            refused = {row.row for row in await self.world.books.do(store.refusals) if row.op == "left"}
            self.replaced += [(mapping, m) for m in due if m.row in refused]
            due = [m for m in due if m.row not in refused]
        if due and mapping.when_left is not None:
            active = await self.world.books.do(store.count_active, mapping.name, scope.number)
            # Moodle hides learners from an account that lost a right, and goes on showing the teachers.
            all_gone = active <= sum(1 for m in missing if m.case.case_id and m.case.status not in UNSETTLED)
            nobody = not scope.seen and (scope.number == SITE_SCOPE or not protected)
            self.found.append(Gone(mapping, scope.number, due, active, all_gone or nobody))

    def told(self) -> dict[str, Any]:
        """Return what a shard found, as JSON, for the end of its round."""
        found = [
            [gone.mapping.name, gone.scope, [missing.row.key for missing in gone.rows], gone.active, gone.empty]
            for gone in self.found
        ]
        replaced = [[mapping.name, missing.row.scope, missing.row.key] for mapping, missing in self.replaced]
        lacked = sorted(self.lacked)
        told = {"noted": sorted(self.noted), "found": found, "replaced": replaced, "lacked": lacked}
        return told | {"deserted": self.deserted.told()}

    async def take_over(self, told: Mapping[str, Any]) -> None:
        """Take in what a shard found; the rows are read anew."""
        mappings = {mapping.name: mapping for mapping in self.world.project.mappings}
        self.noted.update((name, scope) for name, scope in told["noted"])
        self.lacked.update(RowId(*row) for row in told["lacked"])
        self.deserted.take_over(told["deserted"])
        for name, scope, keys, active, empty in told["found"]:
            rows = await self._rows(name, scope, keys)
            self.found.append(Gone(mappings[name], scope, rows, active, empty))
        for name, scope, key in told["replaced"]:
            self.replaced += [(mappings[name], missing) for missing in await self._rows(name, scope, [key])]

    async def _rows(self, name: str, scope: int, keys: Sequence[str]) -> list[Missing]:
        known = await self.world.books.do(self.world.books.store.cases, name, scope, keys)
        return [Missing(RowId(name, scope, key), known[key]) for key in keys if key in known]

    async def decide(self, reach: Reach) -> list[Leaving]:
        """Return who left; what the guard refuses waits for a person."""
        reach = replace(reach, everybody=True)  # a place of the site is noted only where that may be said
        confirmed, going = await LEAVERS.given(self.world)
        back = await self._back(going)
        going -= back | self._maybe_moved()
        going |= await self._following()
        by_word = {} if self.failing else self._by_word(confirmed, going)  # they may have moved to what fails
        going |= (everywhere := await gone_everywhere(self.world, by_word, going))
        self.replaced += [(gone.mapping, m) for gone in self.found for m in gone.rows if m.row in going]
        parts = [replace(gone, rows=[m for m in gone.rows if m.row not in going]) for gone in self.found]
        self.found = [gone for gone in parts if gone.rows]
        allowed, refused, agreed = await self._guarded(confirmed) if self.found else ([], {}, set[Place]())
        for course, people in self.unlisted.items():
            refused[course] = {**refused.get(course, {}), COURSE: people}
        gone = [(gone.mapping, missing) for gone in allowed for missing in gone.rows]
        unread = await self._of_deleted({m.case.user_id for _, m in gone if m.row.scope == SITE_SCOPE})
        rows = {m.row for _, m in gone} | {m.row for _, m in self.replaced if m.row in going}
        rows |= (going & self.lacked) | await self._to_come([gone for gone in allowed if gone.place in agreed])
        rows |= {row for row in everywhere if (row.mapping, row.scope) not in self.noted}
        empty = self.deserted.among(refused)
        decided = Decided(refused, sorted(rows), confirmed, self.noted, reach, empty=empty, back=back)
        await self.deserted.tell(self.noted, reach, refused.keys(), going)
        await LEAVERS.remember(self.world, self.result, decided)
        # Where so many are missing that a person is asked, nothing that is not certain is said either, nor on the
        # site of who is missing there.
        unsure = [(mapping, m) for mapping, m in self.replaced if m.case.status in GOING and m.row not in going]
        there = {m.case.user_id for _, m in unsure if m.row.scope in refused} - {0}
        kept = {m.row for _, m in unsure if m.row.scope in refused}
        kept |= {m.row for _, m in unsure if m.row.scope == SITE_SCOPE and m.case.user_id in there}
        gone += [(mapping, m) for mapping, m in self.replaced if m.row not in kept]
        stuck = await self._stuck()
        return [_leaving(mapping, m, is_stuck=m.row in stuck) for mapping, m in gone + unread]

    async def _stuck(self) -> set[RowId]:
        """Return the cases that CommCare refuses to empty as the mapping says: that keeps nobody from leaving."""
        refusals = await self.world.books.do(self.world.books.store.refusals)
        return {one.row for one in refusals if one.op == "withdrawn"}

    async def _back(self, allowed: Set[RowId]) -> set[RowId]:
        """Return those of the cases that may go whose people are there again: theirs may be read more rarely."""
        places, found = defaultdict[Place, list[str]](list), set[RowId]()
        for row in allowed:
            places[row.mapping, row.scope].append(row.key)
        for (name, scope), keys in places.items():
            read = [one for course, one in self.rosters.items() if scope in (SITE_SCOPE, course)]
            people = set[int]().union(*(roster.ids for roster in read))
            cases = await self.world.books.do(self.world.books.store.cases, name, scope, keys)
            found |= {RowId(name, scope, key) for key, case in cases.items() if case.user_id in people}
        return found

    def _maybe_moved(self) -> set[RowId]:
        """Return the cases of people of the site who may be in a course that cannot be read, whatever was said.

        A word about the courses that they left is older: until one fails for good it is waited for.
        """
        site = [gone for gone in self.found if gone.scope == SITE_SCOPE and self.failing]
        return {m.row for gone in site for m in gone.rows if m.case.user_id not in self.deleted}

    async def _following(self) -> set[RowId]:
        """Return the rows of people whose case that is the parent has gone: nobody is asked twice about them."""
        people, store = defaultdict[Place, set[int]](set), self.world.books.store
        for gone in self.found:
            for parent in self._parents(gone):
                people[parent] |= {m.case.user_id for m in gone.rows}
        left = {place: await self.world.books.do(store.gone_people, *place, who) for place, who in people.items()}
        return {
            m.row
            for gone in self.found
            for parent in self._parents(gone)
            for m in gone.rows
            if m.case.user_id and m.case.user_id in left[parent]
        }

    async def _of_deleted(self, going: Set[int]) -> list[tuple[CompiledMapping, Missing]]:
        """Return the cases of deleted accounts in courses that are not read: they go with those of the site.

        `going` are people whose cases of the site go in this run; those of others may have gone before.
        """
        found, store = list[tuple[CompiledMapping, Missing]](), self.world.books.store
        mappings = [mapping for mapping in self.world.project.mappings if mapping.when_left is not None]
        people = going & self.deleted
        for mapping in mappings if self.deleted else ():
            if mapping.source not in IN_COURSE:
                people |= await self.world.books.do(store.gone_people, mapping.name, SITE_SCOPE, self.deleted)
        for mapping in mappings if people else ():
            if mapping.source in IN_COURSE:
                rows = await self.world.books.do(store.cases_of, mapping.name, people)
                living = {row: case for row, case in rows.items() if case.status in (*LIVING, *UNSETTLED)}
                found += [
                    (mapping, Missing(row, case)) for row, case in living.items() if row.scope not in self.read
                ]
        return found

    def _by_word(self, confirmed: Found, going: Set[RowId]) -> dict[int, set[int]]:
        """Return whom a person said to be gone from courses, with those courses; `going` are agreed to already."""
        parts = [replace(gone, rows=[m for m in gone.rows if m.row not in going]) for gone in self.found]
        parts = [gone for gone in parts if gone.rows and gone.scope != SITE_SCOPE]
        agreed, found = self._agreed(parts, confirmed), defaultdict[int, set[int]](set)
        for gone in parts:
            for person in gone.persons if gone.place in agreed else ():
                if isinstance(person, int):
                    found[person].add(gone.scope)
        return found

    async def _to_come(self, agreed: Sequence[Gone]) -> set[RowId]:
        """Return what else those have in a scope of whom a person said that they are gone from it.

        It may be read more rarely: once two reads lacked it, nobody is asked about the same people again.
        """
        found, store = set[RowId](), self.world.books.store
        due, people = {gone.place for gone in self.found}, defaultdict[int, set[int]](set)
        for gone in agreed:
            people[gone.scope] |= {person for person in gone.persons if isinstance(person, int)}
        for mapping in self.world.project.mappings if people else ():
            scopes = {scope for scope in people if scope_number(mapping, scope) == scope}
            scopes = {scope for scope in scopes if (mapping.name, scope) not in due}
            if not scopes or mapping.when_left is None:
                continue
            them = set[int]().union(*(people[scope] for scope in scopes))
            rows = await self.world.books.do(store.cases_of, mapping.name, them)
            here = {row: case for row, case in rows.items() if row.scope in scopes}
            here = {row: case for row, case in here.items() if case.user_id in people[row.scope]}
            found |= {row for row, case in here.items() if case.case_id and case.status in LIVING}
        return found

    def _parents(self, gone: Gone) -> list[Place]:
        """Return where the cases are that are the parents of rows."""
        mappings = {mapping.name: mapping for mapping in self.world.project.mappings}
        names = [rule.mapping for rule in gone.mapping.parents if rule.mapping in mappings]
        return [(name, scope_number(mappings[name], gone.scope)) for name in names]

    async def _guarded(self, confirmed: Found) -> tuple[list[Gone], dict[int, Parts], set[Place]]:
        """Split what was found into allowed and refused (people by course id, 0 for people of the site).

        The third part is where a person agreed.
        """
        guards, store = self.world.project.guards, self.world.books.store
        parts = [gone for gone in self.found if gone.scope != SITE_SCOPE]
        agreed = self._agreed(parts, confirmed)
        refused = self._suspicious(parts, agreed)
        site = await self._gone_from_courses_too([gone for gone in parts if gone.place not in refused])
        agreed |= self._agreed(site, confirmed)
        refused |= self._suspicious(site, agreed)
        parts += site
        asked = [gone for gone in parts if gone.place not in agreed | refused]
        names = {mapping.name for mapping in self.world.project.mappings}
        everybody = await self.world.books.do(store.count_active_people, names)
        people = set[int | str]().union(*(gone.persons for gone in asked))
        if len(people) > max(guards.run_cases, everybody * guards.run_percent / 100):
            refused |= {gone.place for gone in asked}
        waiting = _people([gone for gone in parts if gone.place in refused])
        return [gone for gone in parts if gone.place not in refused], waiting, agreed

    def _agreed(self, parts: Sequence[Gone], confirmed: Found) -> set[Place]:
        """Return where a person agreed to the number of those who are missing, or to all of them elsewhere.

        That is as parents, or in another mapping of the same course, or of the site: the word is about people.
        """
        agreed = LEAVERS.agreed(confirmed, _people(parts))
        persons = {gone.place: gone.persons for gone in parts}
        words = [gone for gone in parts if gone.place in agreed]
        agreed |= {gone.place for gone in parts for word in words if _is_about(word, gone)}
        for gone in sorted(parts, key=lambda gone: gone.mapping.level):
            parents = [persons[place] for place in self._parents(gone) if place in agreed and place in persons]
            if any(gone.persons <= people for people in parents):
                agreed.add(gone.place)
        return agreed

    def _suspicious(self, parts: Sequence[Gone], agreed: Set[Place]) -> set[Place]:
        """Return what nobody agreed to in scopes that lost too many."""
        guards = self.world.project.guards
        unasked = [gone for gone in parts if gone.place not in agreed]
        scopes = {g.scope for g in unasked if g.is_suspicious(guards.leavers_people, guards.leavers_percent)}
        scopes |= {g.scope for g in unasked if g.scope == SITE_SCOPE and self.failing and g.persons - self.deleted}
        return {gone.place for gone in unasked if gone.scope in scopes}

    async def _gone_from_courses_too(self, leaving: Sequence[Gone]) -> list[Gone]:
        """Return who is gone from the site: nobody has left it who has not left every course, guard included."""
        site = [gone for gone in self.found if gone.scope == SITE_SCOPE]
        swept = [m.name for m in self.world.project.mappings if m.source in IN_COURSE and m.when_left is not None]
        people = {m.case.user_id for gone in site for m in gone.rows}
        if not people or not swept:
            return site
        cases = await self.world.books.do(self.world.books.store.active_in_courses, swept, people)
        left = {m.row for gone in leaving for m in gone.rows} | {m.row for _, m in self.replaced}
        staying = {
            person
            for row, person in cases.items()
            if row not in left and (person not in self.deleted or row.scope in self.read)
        }
        parts = [replace(g, rows=[m for m in g.rows if m.case.user_id not in staying]) for g in site]
        return [gone for gone in parts if gone.rows]


def _leaving(mapping: CompiledMapping, missing: Missing, *, is_stuck: bool) -> Leaving:
    """Return how a case goes away: as it was decided before, else as one whose person left."""
    row, case = missing.row, missing.case
    left = Leaving(mapping, row, case, mapping.when_left, "left", private=case.status in TO_BE_EMPTIED)
    return left if is_stuck else again(mapping, row, case) or left


def _is_about(word: Gone, gone: Gone) -> bool:
    """Say whether those of whom a person said that they are gone from a scope are the ones found there."""
    return word.scope == gone.scope and gone.persons <= word.persons


def _people(parts: Sequence[Gone]) -> dict[int, Parts]:
    """Return how many people each scope lost, by mapping."""
    people = defaultdict[int, Parts](dict)
    for gone in parts:
        people[gone.scope][gone.mapping.name] = gone.people
    return dict(people)
