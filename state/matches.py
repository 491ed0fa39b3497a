"""People matched with cases that are there already: what was found, what was decided, and what follows.

A linked case is a row of the books like any other, and dirty, so that the next run sends it whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, delete, exists, func, select, update

from state.cases import CHUNK, Cases
from state.log import ANSWERS, Entry, Origin
from state.rows import CaseRow, MatchRow, OpenCount, RowId
from state.tables import at_row, case_row, change, intent, match_row, problem, refusal, row_parameters

BLOCKING = ("duplicate", "unverified", "conflict")
"""Kinds that a person has to decide before a case is made for somebody."""
IN_DOUBT = "in_doubt"
_HAS_CASE = exists().where(
    case_row.c.mapping == match_row.c.mapping,
    case_row.c.scope == 0,  # people have no course; without it the key is looked for in every one
    case_row.c.key == match_row.c.key,
    case_row.c.case_id != "",
)
"""The condition that the books know a case of a match's person."""
OPEN_KEYS = (
    select(match_row.c.key)
    .distinct()
    .where(
        match_row.c.mapping == bindparam("mapping"),
        match_row.c.decision == "",
        match_row.c.kind.in_(BLOCKING),
        ~_HAS_CASE,
    )
)
UNHEARD = (
    select(change.c.key)
    .where(
        at_row(change),
        change.c.generation == bindparam("of_generation"),
        change.c.answer == ANSWERS.index("unknown"),
    )
    .limit(1)
)
_FRESH: dict[str, Any] = {"digests": None, "missing_count": 0, "missing_run": ""}
_FIELDS = tuple(MatchRow.__dataclass_fields__)


class Link(NamedTuple):
    """A case that is to be that of a row: `found` says who decided it and why, `case` is what is known of it."""

    row: RowId
    found: MatchRow
    case: CaseRow

    @property
    def at(self) -> tuple[str, str]:
        """Return the mapping and the case."""
        return self.row.mapping, self.case.case_id


class Rejected(NamedTuple):
    """What became of matches that somebody rejected: those that have to wait, and links that were taken back."""

    waiting: Sequence[MatchRow]
    unlinked: Sequence[MatchRow]


class Matches(Cases):
    """The table of matches, and the links that follow from it."""

    def matches(self, mapping: str = "", kind: str = "", decision: str | None = None) -> list[MatchRow]:
        """Return matches, all or those of a mapping or kind, in the order of people and cases."""
        query = select(*(match_row.c[name] for name in _FIELDS))
        for name, value in (("mapping", mapping), ("kind", kind)):
            query = query.where(match_row.c[name] == value) if value else query
        query = query if decision is None else query.where(match_row.c.decision == decision)
        order = (match_row.c.mapping, match_row.c.user_id, match_row.c.key, match_row.c.case_id)
        with self._database.reading() as connection:
            return [MatchRow(*row) for row in connection.execute(query.order_by(*order))]

    def matches_of(self, user_id: int) -> list[MatchRow]:
        """Return the matches of one person, open and decided ones."""
        query = select(*(match_row.c[name] for name in _FIELDS)).where(match_row.c.user_id == user_id)
        query = query.order_by(match_row.c.mapping, match_row.c.key, match_row.c.case_id)
        with self._database.reading() as connection:
            return [MatchRow(*row) for row in connection.execute(query)]

    def case_ids(self, mapping: str) -> dict[str, str]:
        """Return the cases of a mapping that has no course, by key."""
        query = select(case_row.c.key, case_row.c.case_id)
        query = query.where(case_row.c.mapping == mapping, case_row.c.scope == 0, case_row.c.case_id != "")
        with self._database.reading() as connection:
            return {row.key: row.case_id for row in connection.execute(query)}

    def note_matches(self, mapping: str, found: Sequence[MatchRow]) -> None:
        """Put what was found in the place of what was open; what was decided stays."""
        open_ones = and_(match_row.c.mapping == mapping, match_row.c.decision == "")
        insert = self._database.insert_new(match_row)
        with self._database.writing() as connection:
            connection.execute(delete(match_row).where(open_ones))
            for start in range(0, len(found), CHUNK):
                connection.execute(insert, [_values(one) for one in found[start : start + CHUNK]])

    def add_matches(self, found: Sequence[MatchRow]) -> None:
        """Put what was found beside what is open; what was found before, or decided, stays as it is."""
        insert = self._database.insert_new(match_row)
        with self._database.writing() as connection:
            connection.execute(insert, [_values(one) for one in found])

    def open_keys(self, mapping: str) -> frozenset[str]:
        """Return the keys without a case of which a person has to say whose case there is already."""
        with self._database.reading() as connection:
            return frozenset(connection.scalars(OPEN_KEYS, {"mapping": mapping}))

    def count_open(self) -> list[OpenCount]:
        """Return how many people nobody has decided about, by mapping, kind and whether their case is known."""
        there = case((_HAS_CASE, 1), else_=0).label("there")
        query = select(match_row.c.mapping, match_row.c.kind, there, match_row.c.key)
        found = query.where(match_row.c.decision == "").distinct().subquery()
        by = (found.c.mapping, found.c.kind, found.c.there)
        counts = select(*by, func.count()).group_by(*by).order_by(*by)
        with self._database.reading() as connection:
            return [OpenCount(row[0], row[1], bool(row[2]), row[3]) for row in connection.execute(counts)]

    def count_own(self, mapping: str) -> int:
        """Return how many cases of a mapping are known without having been matched."""
        matched = exists().where(
            match_row.c.mapping == case_row.c.mapping,
            match_row.c.case_id == case_row.c.case_id,
            match_row.c.decision == "linked",
        )
        return self._count(case_row.c.mapping == mapping, ~matched)

    # --- decisions --------------------------------------------------------------------------------------

    def link(self, links: Sequence[Link], run: str = "") -> list[Link]:
        """Make cases that are there those of rows, in one transaction; return the links that have to wait.

        Those are the ones about a write that was not answered yet; nothing of them is done. Whoever had a case in
        its mapping has none any more, and gets one of the next generation on coming back. What else was open
        about a person is rejected with the link. The log is told the run that linked, "" for a person's word.
        """
        with self._database.writing() as connection:
            holders = _holders(connection, links)
            resting = _resting(connection)
            waiting = [one for one in links if resting & {one.row, *holders.get(one.at, ())}]
            done = [one for one in links if one not in waiting]
            losers = [(row, one) for one in done for row in holders.get(one.at, ()) if row != one.row]
            known = self._known(connection, [row for row, _ in losers])
            noted = [_entry(row, known[row], "unlink", one.found.decided_by) for row, one in losers]
            _detach(connection, [row for row, _ in losers])
            for one in done:
                noted += self._link(connection, one)
            self._note(connection, noted, max((one.found.decided_at for one in done), default=0.0), Origin(run))
        return waiting

    def _link(self, connection: Connection, one: Link) -> list[Entry]:
        """Write one link inside a transaction; return what the log says of it, nothing of a case known before."""
        row, found, noted = one.row, one.found, list[Entry]()
        known = self._cases(connection, row.mapping, row.scope, [row.key]).get(row.key)
        if known is None or known.case_id != one.case.case_id:
            case = self._put_case(connection, row, known, one.case)
            noted.append(_entry(row, case, "link", found.decided_by))
        others = and_(_of_key(row.mapping, row.key), match_row.c.case_id != one.case.case_id)
        values = {"decision": "rejected", "decided_by": found.decided_by, "decided_at": found.decided_at}
        connection.execute(update(match_row).where(others, match_row.c.decision == "").values(values))
        connection.execute(delete(match_row).where(others, match_row.c.decision == "linked"))
        statement = self._database.upsert(match_row, "decision", "decided_by", "decided_at", "matched_by")
        connection.execute(statement, _values(found) | {"decision": "linked", "case_id": one.case.case_id})
        return noted

    def reject(self, rows: Sequence[MatchRow], by: str, now: float) -> Rejected:
        """Remember that these cases are not those of these people, in one transaction.

        A case that was linked is taken away again: its person gets one of the next generation. That has to wait
        while a write to it was not answered yet.
        """
        with self._database.writing() as connection:
            linked = self._linked(connection, rows)
            resting = _resting(connection) if linked else set[RowId]()
            waiting = [one for one in rows if one in linked and _place(one) in resting]
            done, noted = [one for one in rows if one not in waiting], list[Entry]()
            for one in done:
                case, row = linked.get(one), _place(one)
                values = {"decision": "rejected", "decided_by": by, "decided_at": now}
                here = and_(_of_key(one.mapping, one.key), match_row.c.case_id == one.case_id)
                connection.execute(update(match_row).where(here).values(values))
                if case is None:
                    noted.append(Entry(row, one.user_id, "reject", "noted", reason=by))
                else:
                    _begin_anew(connection, row)
                    noted.append(_entry(row, case, "unlink", by))
            self._note(connection, noted, now)
        return Rejected(waiting, [one for one in done if one in linked])

    def _linked(self, connection: Connection, rows: Sequence[MatchRow]) -> dict[MatchRow, CaseRow]:
        """Return those matches whose case is that of the row, because it was linked."""
        linked = select(match_row.c.mapping, match_row.c.key, match_row.c.case_id)
        linked = linked.where(match_row.c.decision == "linked")
        known, found = self._known(connection, [_place(one) for one in rows]), dict[MatchRow, CaseRow]()
        for one in rows:
            case = known.get(_place(one))
            here = and_(_of_key(one.mapping, one.key), match_row.c.case_id == one.case_id)
            if case is not None and case.case_id == one.case_id and connection.execute(linked.where(here)).first():
                found[one] = case
        return found

    def make_anew(self, rows: Sequence[RowId], now: float) -> str:
        """Let people whose case was deleted get a new one of the next generation; "" or "in_doubt"."""
        with self._database.writing() as connection:
            waiting = _resting(connection)
            if waiting & set(rows):
                return IN_DOUBT
            self._note_word(connection, "recreate", rows, now)
            for row in rows:
                _begin_anew(connection, row)
                stale = match_row.c.decision.in_(("", "linked"))
                connection.execute(delete(match_row).where(_of_key(row.mapping, row.key), stale))
        return ""

    # --- what a linked case had before --------------------------------------------------------------------

    def kept(self, mapping: str, keys: Collection[str]) -> dict[str, frozenset[str] | None]:
        """Return, by key, properties of linked cases that a blank leaves alone; None: not looked at yet."""
        found, wanted = dict[str, frozenset[str] | None](), sorted(set(keys))
        query = select(match_row.c.key, match_row.c.kept)
        query = query.where(match_row.c.mapping == mapping, match_row.c.decision == "linked")
        with self._database.reading() as connection:
            for start in range(0, len(wanted), CHUNK):
                rows = connection.execute(query.where(match_row.c.key.in_(wanted[start : start + CHUNK])))
                for key, names in rows:
                    found[key] = None if names is None else frozenset(names.split())
        return found

    def keep(self, mapping: str, names: Mapping[str, Collection[str]]) -> None:
        """Remember, by key, which properties of linked cases a blank leaves as they are."""
        with self._database.writing() as connection:
            for key, kept in names.items():
                here = and_(_of_key(mapping, key), match_row.c.decision == "linked")
                connection.execute(update(match_row).where(here).values(kept=" ".join(sorted(kept))))

    # --- whose a case is ----------------------------------------------------------------------------------

    def linked_cases(self, mapping: str, keys: Collection[str]) -> dict[str, str]:
        """Return, by key, the case that was matched with a person, also where one of our own followed it."""
        found, wanted = dict[str, str](), sorted(set(keys))
        query = select(match_row.c.key, match_row.c.case_id)
        query = query.where(match_row.c.mapping == mapping, match_row.c.decision == "linked")
        with self._database.reading() as connection:
            for start in range(0, len(wanted), CHUNK):
                these = query.where(match_row.c.key.in_(wanted[start : start + CHUNK]))
                found |= {row.key: row.case_id for row in connection.execute(these)}
        return found

    def keys_of_cases(self, mapping: str, case_ids: Collection[str]) -> dict[str, set[str]]:
        """Return, by case id, the keys whose case it is, now or by a match: a walk for each 500."""
        found, wanted = dict[str, set[str]](), sorted(set(case_ids))
        linked = match_row.c.decision == "linked"
        with self._database.reading() as connection:
            for start in range(0, len(wanted), CHUNK):
                part = wanted[start : start + CHUNK]
                for table, more in ((case_row, []), (match_row, [linked])):
                    query = select(table.c.case_id, table.c.key)
                    these = query.where(table.c.mapping == mapping, table.c.case_id.in_(part), *more)
                    for row in connection.execute(these):
                        found.setdefault(row.case_id, set()).add(row.key)
        return found

    def _put_case(self, connection: Connection, row: RowId, known: CaseRow | None, case: CaseRow) -> CaseRow:
        """Write the row of a linked case: dirty, and of the next generation where it had another case before."""
        values = {
            **row._asdict(),
            **_FRESH,
            "case_id": case.case_id,
            "owner_id": case.owner_id,
            "status": case.status,
            "user_id": case.user_id,
            "generation": case.generation,
            "linked": case.linked,
            "pushed_at": 0.0,
        }
        if known is not None and case.linked:
            values["generation"] = known.generation + _may_be_there(connection, row, known)
        overwrite = (name for name in values if name not in row._fields)
        connection.execute(self._database.upsert(case_row, *overwrite), values)
        _settle(connection, row)
        return replace(case, generation=values["generation"])


def _may_be_there(connection: Connection, row: RowId, known: CaseRow) -> bool:
    """Say whether CommCare has the case that a row is about, or may have it: a write was given up unheard."""
    return (
        bool(known.case_id)
        or connection.execute(UNHEARD, row_parameters(row) | {"of_generation": known.generation}).first()
        is not None
    )


def _entry(row: RowId, case: CaseRow, op: str, by: str) -> Entry:
    """Return what the log says of a case that became a row's, or is not any more."""
    return Entry(row, case.user_id, op, "found" if op == "link" else "noted", case.generation, reason=by)


def _place(one: MatchRow) -> RowId:
    """Return the row that a match is about: those of people have no course."""
    return RowId(one.mapping, 0, one.key)


def _values(one: MatchRow) -> dict[str, Any]:
    return {name: getattr(one, name) for name in _FIELDS}


def _of_key(mapping: str, key: str) -> ColumnElement[bool]:
    return and_(match_row.c.mapping == mapping, match_row.c.key == key)


def _holders(connection: Connection, links: Sequence[Link]) -> dict[tuple[str, str], list[RowId]]:
    """Return the rows that have the cases of links, by mapping and case id: a walk for each 500."""
    found = dict[tuple[str, str], list[RowId]]()
    query = select(*(case_row.c[name] for name in RowId._fields), case_row.c.case_id)
    for mapping in sorted({one.row.mapping for one in links}):
        ids = sorted({one.case.case_id for one in links if one.row.mapping == mapping})
        for start in range(0, len(ids), CHUNK):
            these = query.where(case_row.c.mapping == mapping, case_row.c.case_id.in_(ids[start : start + CHUNK]))
            for row in connection.execute(these):
                found.setdefault((mapping, row.case_id), []).append(RowId(*row[:3]))
    return found


def _detach(connection: Connection, holders: Iterable[RowId]) -> None:
    """Take their cases from rows: nothing of them is written to those cases any more."""
    gone = {**_FRESH, "case_id": "", "linked": False, "status": "left"}
    taken = update(case_row).where(at_row(case_row)).values(generation=case_row.c.generation + 1, **gone)
    for holder in holders:
        connection.execute(taken, row_parameters(holder))
        _settle(connection, holder)
        linked = and_(_of_key(holder.mapping, holder.key), match_row.c.decision == "linked")
        connection.execute(delete(match_row).where(linked))


def _begin_anew(connection: Connection, row: RowId) -> None:
    """Let a row begin with a new case of the next generation."""
    fresh = {**_FRESH, "case_id": "", "linked": False, "status": "active"}
    again = update(case_row).where(at_row(case_row))
    connection.execute(again.values(generation=case_row.c.generation + 1, **fresh), row_parameters(row))
    _settle(connection, row)


def _settle(connection: Connection, row: RowId) -> None:
    """Forget what CommCare refused of a row about the case that it had before."""
    connection.execute(delete(refusal).where(at_row(refusal)), row_parameters(row))
    connection.execute(delete(problem).where(at_row(problem), problem.c.property == ""), row_parameters(row))


def _resting(connection: Connection) -> set[RowId]:
    """Return the rows of which a write was not answered yet."""
    return {RowId(*row) for row in connection.execute(select(*(intent.c[name] for name in RowId._fields)))}
