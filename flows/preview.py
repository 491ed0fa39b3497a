"""`preview`: the path of a run up to the sending, told record by record; nothing is sent and nothing written down.

Only counts and the first few changes are kept, however large the site is. What CommCare holds is known by digests,
so an old value cannot be shown, only that there was another one, or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from adaptors.moodle.answers import Course
from adaptors.moodle.roster import Roster
from flows.errors import UsageError
from flows.masked import Eyes
from flows.result import Result, RunState
from flows.run import Run, choose_mappings
from flows.steps.approvals import unwritten
from flows.steps.courses import OF_ACTIVITIES, sync_courses
from flows.steps.gate import in_the_way, under_taken_types
from flows.steps.people import members_elsewhere
from flows.steps.planned import SITE_SCOPE, Planned, TablePlan
from flows.steps.rekey import under_other_keys
from flows.steps.renamed import as_known, known_names, renamed, will_take_over
from flows.sync import Options, sync
from flows.world import Progress, World, silent
from mappings.engine import CompiledMapping, Context, Draft, Excluded, HeldBack
from mappings.engine.coverage import Code, Codes

OPS = {
    "create": "create",
    "update": "update",
    "retype": "change type",
    "left": "mark as left",
    "withdrawn": "withdraw",
    "ended": "course over",
}
Outcome = Draft | Excluded | HeldBack
Hear = Callable[[CompiledMapping, Outcome], None]


@dataclass(frozen=True)
class Listener(CompiledMapping):
    """A mapping that also tells what it made of each record."""

    hear: Hear = field(kw_only=True, repr=False, compare=False)

    def draft(self, record: Mapping[str, Any], context: Context) -> Outcome:
        """Map a record as ever, and tell the outcome."""
        outcome = super().draft(record, context)
        self.hear(self, outcome)
        return outcome


@dataclass(frozen=True)
class Shown:
    """One record that would be sent: key, what happens, its values by property; `known` ones had a value."""

    mapping: str
    key: str
    op: str
    values: Mapping[str, str]
    known: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ShownRow:
    """One row of a lookup table that would be added, changed or taken away, and the fields it would hold."""

    mapping: CompiledMapping
    key: str
    op: str
    fields: Mapping[str, str]


@dataclass
class Preview:
    """What a run would send: the counts of its result, and what they are made of."""

    result: Result
    limit: int
    properties: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(mapping, property) -> cases in CommCare that would change."""
    left_out: Counter[str] = field(default_factory=Counter)
    """By case type: records that include and exclude keep out."""
    missing: Counter[str] = field(default_factory=Counter)
    """By case type: cases whose record was not among those read; left, once a second complete read lacks them."""
    samples: list[Shown] = field(default_factory=list)
    tables: list[TablePlan] = field(default_factory=list)
    """What a run would do to each lookup table that it looks at."""
    tables_passed_over: list[str] = field(default_factory=list)
    """The lookup tables that are not looked at, because the preview is of some courses only."""
    codes: dict[str, Codes] = field(default_factory=dict)
    mappings: dict[str, CompiledMapping] = field(default_factory=dict)
    stops: list[str] = field(default_factory=list)
    """Why a run would stop before it sends anything."""
    first: list[str] = field(default_factory=list)
    """Mappings that have never been sent: their first run waits for approval."""
    _planned: list[Planned] = field(default_factory=list)
    _seen: dict[str, set[int]] = field(default_factory=dict)
    _elsewhere: set[int] = field(default_factory=set)
    _lost: set[int] = field(default_factory=set)
    _is_whole: bool = False
    _rosters: dict[int, Roster] = field(default_factory=dict)

    def hear(self, mapping: CompiledMapping, outcome: Outcome) -> None:
        """Count a record that is left out, and the codes that no list has."""
        self._seen.setdefault(mapping.name, set()).add(hash(outcome.key))  # a number is smaller than a key
        if isinstance(outcome, Excluded):
            self.left_out[mapping.case_type] += 1
        else:
            self.codes.setdefault(mapping.name, Codes()).take(mapping, outcome.problems)

    def hear_table(self, table: CompiledMapping, outcome: Outcome) -> None:
        """Count the codes of a lookup table's rows that no list has."""
        if not isinstance(outcome, Excluded):
            self.codes.setdefault(table.name, Codes()).take(table, outcome.problems)

    def see(self, row: Planned) -> None:
        """Count a row that would be sent; keep the first ones."""
        if row.op in ("update", "retype"):
            self.properties.update((row.row.mapping, name) for name in sorted(self._definitions(row)))
        if row.op in ("left", "ended"):  # what a run marks now is not missing besides
            self._seen.setdefault(row.row.mapping, set()).add(hash(row.row.key))
        if len(self._planned) < self.limit:
            self._planned.append(row)

    def see_table(self, plan: TablePlan) -> None:
        """Keep what would be done to a lookup table."""
        self.tables.append(plan)

    def table_rows(self) -> Iterator[ShownRow]:
        """Yield the first rows of each lookup table that would be written or taken away."""
        for plan in self.tables:
            keys = [*_with("add", plan.added), *_with("change", plan.changed), *_with("take away", plan.removed)]
            for op, key in keys[: self.limit]:
                yield ShownRow(plan.mapping, key, op, plan.rows.get(key, {}))

    def _definitions(self, row: Planned) -> set[str]:
        mapping = self.mappings.get(row.row.mapping)
        names = values_of(row).keys()
        return {(mapping.definition_of(name) if mapping else "") or name for name in names}

    async def settle(self, world: World) -> None:
        """Look up which of the kept rows' properties had a value before; forget the rows themselves."""
        store = world.books.store
        for row in self._planned:
            at = row.row
            case = (await world.books.do(store.cases, at.mapping, at.scope, [at.key])).get(at.key)
            known = frozenset(case.digests or ()) if case is not None else frozenset[str]()
            self.samples.append(Shown(at.mapping, at.key, OPS.get(row.op, row.op), values_of(row), known))
        self._planned.clear()

    async def count_missing(self, world: World, mapping: CompiledMapping, *, whole: bool) -> None:
        """Count the cases of a mapping that no record was read for, in the courses that were read completely.

        As a run does: not those of people who may be in a course that is not read, whose profile Moodle did not
        give, or whose grades alone are gone.
        """
        store = world.books.store
        if mapping.when_left is None or mapping.source == "courses":  # no run marks any of them
            return
        for scope in await world.books.do(store.scopes, mapping.name, ("active",)):
            if not (whole and self._is_whole if scope == SITE_SCOPE else self._was_whole(scope)):
                continue
            keys = await world.books.do(store.active_keys, mapping.name, scope)
            seen, stay = self._seen.get(mapping.name, set()), self._stay(mapping, scope)
            if scope == SITE_SCOPE and self._lost and not seen:  # then a run compares nobody
                continue
            gone = (key for key, person in keys.items() if hash(key) not in seen and person not in stay)
            self.missing[mapping.case_type] += sum(1 for _ in gone)

    async def look_on(self, run: Run, courses: list[Course]) -> None:
        """Read the courses like any run, and remember who is where."""
        self._is_whole = run.lists_all and run.whole.issuperset(course.id for course in courses)
        self._elsewhere = await members_elsewhere(run, [course for course in courses if course.id in run.whole])
        self._lost = run.reader.lost_profiles
        self._rosters = dict(run.rosters)
        await sync_courses(run, courses)

    def _was_whole(self, scope: int) -> bool:
        course, roster = self.result.courses.get(scope), self._rosters.get(scope)
        return course is not None and course.state == "completed" and roster is not None and roster.is_whole

    def _stay(self, mapping: CompiledMapping, scope: int) -> Collection[int]:
        """Return the people of whom nothing is gone from a scope, whatever was read."""
        if scope == SITE_SCOPE:
            return self._elsewhere | self._lost
        return set(self._rosters[scope].ids) if mapping.source in OF_ACTIVITIES else ()

    def is_personal(self, sample: Shown, name: str) -> bool:
        """Say whether a value of a sample is masked."""
        mapping = self.mappings.get(sample.mapping)
        return name == "case_name" or mapping is None or mapping.is_personal(name)

    def unknown_codes(self) -> Iterator[Code]:
        """Yield the codes that no list has."""
        for codes in self.codes.values():
            yield from codes.found()

    def as_json(self, eyes: Eyes) -> dict[str, Any]:
        """Return the object that `--json` prints: that of a run, with what a run would change."""
        changes: dict[str, dict[str, int]] = {}
        for (mapping, name), count in self.properties.most_common():
            changes.setdefault(mapping, {})[name] = count
        found = self.result.as_json()
        if self.tables:
            rows = [_row_json(row, eyes) for row in self.table_rows()]
            found |= {"lookup_tables": {plan.table: plan.counts for plan in self.tables}, "table_rows": rows}
        return {
            **found,
            "left_out": dict(self.left_out),
            "missing": dict(self.missing),
            "changes": changes,
            "records": [self._sample_json(sample, eyes) for sample in self.samples],
            "unknown_codes": [vars(code) for code in self.unknown_codes()],
            "would_stop": self.stops,
            "first_run_of": self.first,
        }

    def _sample_json(self, sample: Shown, eyes: Eyes) -> dict[str, Any]:
        values = {
            name: eyes.see(text, personal=self.is_personal(sample, name)) for name, text in sample.values.items()
        }
        return {"mapping": sample.mapping, "key": sample.key, "what": sample.op, "values": values}


def _with(op: str, keys: Sequence[str]) -> list[tuple[str, str]]:
    return [(op, key) for key in keys]


def _row_json(row: ShownRow, eyes: Eyes) -> dict[str, Any]:
    fields = {name: eyes.see(text, personal=row.mapping.is_personal(name)) for name, text in row.fields.items()}
    return {"table": row.mapping.case_type, "key": row.key, "what": row.op, "fields": fields}


def values_of(row: Planned) -> dict[str, str]:
    """Return what a row would send, by property; the name of the case and its owner by our words for them."""
    write = row.write
    frame = {"case_name": write.name} if write.name is not None else {}
    frame |= {"case_type": write.case_type} if row.is_retyped else {}
    frame |= {"owner": "another one"} if write.owner_id and row.op != "create" else {}
    return {**frame, **{index.name: index.relationship for index in write.indices}, **write.properties}


async def preview(world: World, options: Options, limit: int, progress: Progress = silent) -> Preview:
    """Do what a run does up to the sending; raises UsageError for a wrong course or mapping name."""
    if not options.preview:
        raise UsageError("A preview sends nothing.")
    found = Preview(Result("", preview=True), limit)
    old_names = await world.books.do(renamed, world.books.store, world.project)
    coming = await world.books.do(will_take_over, world.books.store, world.project)
    world.project = as_known(world.project, old_names)
    options = replace(options, mappings=known_names(options.mappings, old_names))
    found.mappings = {mapping.name: mapping for mapping in world.project.mappings}
    tables = world.project.tables
    chosen = choose_mappings(world, options.mappings)
    listeners = tuple(_listening(mapping, found.hear) for mapping in world.project.mappings)
    heard = tuple(_listening(table, found.hear_table) for table in tables)
    world.project = replace(world.project, mappings=listeners, tables=heard)
    world.watch, world.watch_table = found.see, found.see_table
    found.result = await sync(world, options, progress, found.look_on)
    found.result.messages += [f"{sentence} Here it goes by the old name." for sentence in coming]
    found.tables_passed_over = [table.case_type for table in tables if options.courses and not found.tables]
    await found.settle(world)
    read = found.result.courses.values()  # none at all when the run came to no course
    whole = not options.courses and bool(read) and all(each.state == "completed" for each in read)
    whole = whole and found.result.state not in (RunState.FAILED, RunState.POSTPONED)
    for mapping in [each for each in chosen if each.name not in found.result.not_due]:
        await found.count_missing(world, mapping, whole=whole)
    found.first = await unwritten(world, chosen)
    new = [mapping for mapping in chosen if mapping.name in found.first]
    found.stops = [stop for mapping in new if (stop := await in_the_way(world, mapping, found.result.other_types))]
    found.stops += [*await under_other_keys(world, chosen), *await under_taken_types(world, chosen)]
    return found


def _listening(mapping: CompiledMapping, hear: Hear) -> Listener:
    return Listener(**{each.name: getattr(mapping, each.name) for each in fields(CompiledMapping)}, hear=hear)
