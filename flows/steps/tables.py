"""Lookup tables in CommCare, kept in step with the chosen courses: rows added, changed and taken away.

CommCare has no key for a row, so each row carries its own in the field `key`. Before anything is written the rows
are listed; a write of unknown outcome rests, and then they are listed again, so that no row is made twice; one
that is there twice all the same is taken away, and so is one of a course that went before its row was known. What
goes wrong with a table never touches the cases, and what goes wrong with a row no other row.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from adaptors.commcare.lookup_tables import GONE, LookupRow, LookupTable
from adaptors.errors import AccessDenied, AdaptorError, InDoubt, Maintenance, Refused, Retriable
from adaptors.moodle.answers import Course
from adaptors.moodle.normalise import course_record
from flows.reasons import problem_words
from flows.result import RunState
from flows.steps.approvals import print_of
from flows.steps.clocks import sure_now
from flows.steps.planned import TablePlan
from flows.words import listed, numbered
from flows.world import World
from mappings.engine import CompiledMapping, Draft, HeldBack
from mappings.engine.check_table import KEY
from state import NO_VALUE, TableRowKnown

if TYPE_CHECKING:
    from flows.run import Run

READS = 2  # complete reads in a row that lack a course, before its row is taken away
LATE = "table_late:{tag}"  # fact: the key of the row whose write was not answered; the next time it comes last
PRINT = "table_print:{tag}"  # fact: what the mapping of a table was when it was last kept in step
DONE = {"added": "added", "changed": "changed", "removed": "taken away"}


@dataclass
class Wanted:
    """What a table is to hold: fields by key, the keys of rows that could not be made, and digests."""

    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    held_back: list[str] = field(default_factory=list)
    digests: dict[str, bytes] = field(default_factory=dict)
    left_out: int = 0
    """Records that include and exclude keep out."""
    problems: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(field, reason) -> rows of which a value cannot be used."""


async def sync_tables(run: Run, courses: Iterable[Course]) -> None:
    """Keep all tables in step with the chosen courses; a run for some courses only, or none, leaves them."""
    selected = [course for course in courses if course.id not in run.untold]
    if not run.whole_site or not selected:
        return
    records = records_of(selected)
    for mapping in run.world.project.tables:
        await run.lease.hold()
        try:
            await _Keeper(run, mapping).keep(_wanted(run, mapping, records))
        except Maintenance:
            raise
        except AdaptorError as error:
            run.result.worse(RunState.DEGRADED, f"Lookup table {mapping.case_type} is not in step. {error}")
            if isinstance(error, Retriable):
                continue
        if not run.preview:
            await _remember_print(run.world, mapping)


async def are_open(world: World) -> bool:
    """Say whether a table was edited since it was last kept, or what came of a write to it can be looked up."""
    store, now = world.books.store, world.clock.now()
    for mapping in world.project.tables:
        if await world.books.do(store.get, PRINT.format(tag=mapping.case_type)) != print_of(mapping):
            return True
        doubt = await world.books.do(store.table_in_doubt, mapping.case_type)
        if doubt is not None and now - doubt >= world.in_doubt_rest:
            return True
    return False


async def _remember_print(world: World, mapping: CompiledMapping) -> None:
    fact, now = PRINT.format(tag=mapping.case_type), print_of(mapping)
    if now != await world.books.do(world.books.store.get, fact):
        await world.books.do(world.books.store.put, fact, now)


def records_of(courses: Sequence[Course]) -> list[dict[str, Any]]:
    """Return the records that tables are made of: the source `courses`."""
    names = {found.shortname for course in courses for found in course.customfields}
    return [course_record(course, names) for course in courses]


def _wanted(run: Run, mapping: CompiledMapping, records: Iterable[Mapping[str, Any]]) -> Wanted:
    """Return the rows that a table is to have; fields that Moodle did not send are left out."""
    found, digest = Wanted(), run.world.books.store.digest
    for record in records:
        made = mapping.draft(record, run.context)
        if isinstance(made, HeldBack):
            found.held_back.append(made.key)
        elif isinstance(made, Draft):
            found.problems.update({(problem.property, problem.reason) for problem in made.problems})
            found.rows[made.key] = {KEY: made.key, **made.properties}
            text = json.dumps(found.rows[made.key], sort_keys=True)
            found.digests[made.key] = digest(made.key, "@row", text)
        else:
            found.left_out += 1
    return found


class _Keeper:
    """Keeps one table: compares with the books first, and asks CommCare only when something differs."""

    def __init__(self, run: Run, mapping: CompiledMapping) -> None:
        self._run = run
        self._world = run.world
        self._tables = run.world.commcare.tables
        self._store = run.world.books.store
        self._mapping = mapping
        self._tag = mapping.case_type
        self._fields = (KEY, *(name for name in mapping.spec.properties))
        self._done = Counter[str]()
        self._doubt: float | None = None
        self._late = ""
        self._at = ""
        """The key of the row that is being written."""
        self._refused: list[str] = []

    async def keep(self, wanted: Wanted) -> None:
        """Bring the table in step; raises AdaptorError."""
        if not self._run.preview:
            await self._sure_now()  # whoever sets the clock from here on is noticed before a write
        known = await self._world.books.do(self._store.table_rows, self._tag)
        doubt = self._doubt = await self._world.books.do(self._store.table_in_doubt, self._tag)
        changed = [
            key for key, digest in wanted.digests.items() if key not in known or known[key].digest != digest
        ]
        lacked = {key for key in known if key not in wanted.rows and key not in wanted.held_back}
        # A right was lost, maybe, or the list is not whole: until that is clear nothing is lacked.
        if self._run.unlisted.many or self._run.untold or not self._run.lists_all:
            lacked = set()
        gone = {key for key in lacked if known[key].missing_count + 1 >= READS}
        self._tell_held_back(wanted)
        rests = doubt is not None and self._world.clock.now() - doubt < self._world.in_doubt_rest
        if self._run.preview:
            added = [key for key in changed if key not in known]
            plan = self._plan(wanted, (added, [key for key in changed if key in known], sorted(gone)))
            self._world.watch_table(replace(plan, missing=len(lacked - gone), rests=rests))
            self._done.update(added=len(added), changed=len(changed) - len(added), removed=len(gone))
        elif rests:
            self._tell_doubt()
        else:
            await self._note_reads(known, lacked, gone)
            if changed or gone or doubt is not None:
                await self._write(wanted, known, gone)
        self._tell()

    def _plan(self, wanted: Wanted, keys: tuple[Sequence[str], Sequence[str], Sequence[str]]) -> TablePlan:
        added, changed, removed = map(tuple, keys)
        held_back, left_out = len(wanted.held_back), wanted.left_out
        return TablePlan(
            self._mapping, wanted.rows, added, changed, removed, held_back=held_back, left_out=left_out
        )

    async def _note_reads(
        self, known: Mapping[str, TableRowKnown], lacked: Iterable[str], gone: Iterable[str]
    ) -> None:
        """Count the reads that lacked a course; one that is there again starts at none."""
        still = set(lacked) - set(gone)
        counts = {key: known[key].missing_count + 1 for key in still}
        counts |= {key: 0 for key, row in known.items() if row.missing_count and key not in {*still, *gone}}
        saved = {key: TableRowKnown(known[key].row_id, known[key].digest, count) for key, count in counts.items()}
        if saved:
            await self._world.books.do(self._store.save_table_rows, self._tag, saved)

    async def _sure_now(self) -> float:
        return await sure_now(self._world, self._run.lease.held)

    async def _write(self, wanted: Wanted, known: Mapping[str, TableRowKnown], gone: Iterable[str]) -> None:
        """List what there is, write what differs, and write down what was answered; raises AdaptorError."""
        await self._announce()
        late = await self._world.books.do(self._store.get, LATE.format(tag=self._tag))
        self._late, self._tables.announce = late or "", self._announce
        try:
            table = await self._table()
            rows = await self._tables.rows(table)
            await self._take_in_strays(rows, wanted, known)
            there, surplus = _by_key(rows, {*wanted.rows, *known}, known)
            others = [key for key in wanted.rows if key != self._late]
            await self._keep_rows(table, wanted, known, there, others)
            for key in sorted(gone):
                await self._remove(key, [there[key].row_id] if key in there else [])
            for row_id in surplus:
                await self._remove("", [row_id])
            await self._keep_rows(table, wanted, known, there, wanted.rows.keys() - {*others})
        except InDoubt:
            await self._note_doubt()
            return  # what was begun is still written down: the next run waits, and lists anew
        except (AccessDenied, Refused, Retriable):
            await self._all_answered()
            raise
        finally:
            self._tables.announce = None
        await self._all_answered()
        self._tell_refused()

    async def _announce(self) -> None:
        """Write down that something is about to be written: what is not answered rests from then on."""
        held, now = self._run.lease.held, await self._sure_now()
        await self._world.books.do(self._store.note_table_write, self._tag, now, ours=held)

    async def _keep_rows(
        self,
        table: LookupTable,
        wanted: Wanted,
        known: Mapping[str, TableRowKnown],
        there: Mapping[str, LookupRow],
        keys: Iterable[str],
    ) -> None:
        """Write those of the rows that differ; one that CommCare refuses holds up no other."""
        for self._at in keys:
            try:
                saved = await self._keep_row(
                    table, wanted.rows[self._at], wanted.digests[self._at], there.get(self._at)
                )
            except Refused as error:
                if error.code == GONE:  # the table, with all of its rows
                    raise
                self._refused.append(self._at)
                continue
            if saved != known.get(self._at):
                await self._world.books.do(self._store.save_table_rows, self._tag, {self._at: saved})
        self._at = ""

    async def _note_doubt(self) -> None:
        """Remember which row was not answered, and say so; a person has to look when it is the same again."""
        if self._at and self._at == self._late:
            self._run.result.worse(
                RunState.DEGRADED,
                f"Lookup table {self._tag}: CommCare does not answer when the row {self._at} is written, again. "
                "The other rows are in step.",
            )
        else:
            self._tell_doubt()
        await self._world.books.do(self._store.put, LATE.format(tag=self._tag), self._at)

    async def _take_in_strays(
        self, rows: Iterable[LookupRow], wanted: Wanted, known: Mapping[str, TableRowKnown]
    ) -> None:
        """Take in rows of ours that the books do not know and that no course asks for, as lacked by this read.

        The answer to making them was lost, or the books were, and their courses are gone since: the next complete
        read without them takes them away, like any other row.
        """
        makes_key, site = self._mapping.makes_key, self._world.project.site
        expected = {*wanted.rows, *wanted.held_back, *known}
        strays = {
            key: TableRowKnown(row.row_id, NO_VALUE, missing_count=1)
            for row in rows
            if (key := row.fields.get(KEY, "")) not in expected and makes_key(key, site)
        }
        if strays:
            await self._world.books.do(self._store.save_table_rows, self._tag, strays)

    async def _all_answered(self) -> None:
        """Write down that nothing is in doubt, and when rows were written: now, or by the write that was."""
        if self._late:
            await self._world.books.do(self._store.put, LATE.format(tag=self._tag), "")
        written = self._world.clock.now() if self._done.total() else self._doubt
        await self._world.books.do(self._store.note_table_write, self._tag, None, written=written)

    async def _table(self) -> LookupTable:
        """Return the table with all fields it needs; one that is not there is made."""
        table = await self._tables.find(self._tag)
        if table is None:
            await self._tables.make(self._tag, self._fields)
            table = await self._tables.find(self._tag)
        if table is None:
            raise Retriable(
                f"CommCare does not list the table {self._tag} that was made just now.",
                system="CommCare",
                operation="make a lookup table",
            )
        if KEY not in table.fields and await self._tables.rows(table):
            raise Refused(
                f"There is a table {self._tag} in CommCare already, with rows of somebody else's.",
                system="CommCare",
                operation="keep a lookup table",
                remedy="Give the one in the mappings folder another ID (lookup_table).",
            )
        lacking = [name for name in self._fields if name not in table.fields]
        if lacking:
            await self._tables.set_fields(table, (*table.fields, *lacking))
        return table

    async def _keep_row(
        self, table: LookupTable, row: Mapping[str, str], digest: bytes, there: LookupRow | None
    ) -> TableRowKnown:
        """Add or change one row, unless CommCare holds it already, and return what is known of it then."""
        await self._run.lease.hold()
        if there is None:
            row_id = await self._tables.add(table, row)
            self._done["added"] += 1
            return TableRowKnown(row_id, digest)
        if not there.single or {**there.fields, **row} != there.fields:
            await self._tables.change(table, there.row_id, {**there.fields, **row})
            self._done["changed"] += 1
        return TableRowKnown(there.row_id, digest)

    async def _remove(self, key: str, row_ids: Iterable[str]) -> None:
        for row_id in row_ids:
            await self._tables.remove(row_id)
            self._done["removed"] += 1
        if key:
            await self._world.books.do(self._store.save_table_rows, self._tag, {}, [key])

    def _tell(self) -> None:
        if self._done.total():
            counts = {words: self._done[name] for name, words in DONE.items() if self._done[name]}
            self._run.result.tables[self._tag] = {name: self._done[name] for name in DONE}
            would = "would be " if self._run.preview else ""
            parts = [f"{numbered(count, 'row')} {would}{words}" for words, count in counts.items()]
            self._run.result.worse(RunState.COMPLETED, f"Lookup table {self._tag}: {', '.join(parts)}.")

    def _tell_held_back(self, wanted: Wanted) -> None:
        for (name, reason), count in sorted(wanted.problems.items()):
            rows = f"{count:,} × {problem_words(reason, name)}"
            self._run.result.worse(RunState.COMPLETED, f"Lookup table {self._tag}: {rows}.")
        if wanted.held_back:
            keys = listed(sorted(wanted.held_back))
            self._run.result.worse(
                RunState.DEGRADED, f"Lookup table {self._tag}: no row could be made for {keys}."
            )

    def _tell_refused(self) -> None:
        if self._refused:
            self._run.result.worse(
                RunState.DEGRADED,
                f"Lookup table {self._tag}: CommCare refuses {numbered(len(self._refused), 'row')} "
                f"({listed(self._refused)}); the others are in step.",
            )

    def _tell_doubt(self) -> None:
        self._run.result.worse(
            RunState.COMPLETED,
            f"Lookup table {self._tag}: CommCare did not answer a write, so the table rests until it has surely "
            "been dealt with; a later run looks what came of it.",
        )


def _by_key(
    rows: Iterable[LookupRow], keys: set[str], known: Mapping[str, TableRowKnown]
) -> tuple[dict[str, LookupRow], list[str]]:
    """Return our rows by key, and the ids of those that are there twice; rows of others are not looked at."""
    found, surplus = dict[str, LookupRow](), list[str]()
    for row in rows:
        key = row.fields.get(KEY, "")
        if key not in keys:
            continue
        if key not in found:
            found[key] = row
        elif key in known and row.row_id == known[key].row_id:
            surplus.append(found[key].row_id)
            found[key] = row
        else:
            surplus.append(row.row_id)
    return found, surplus
