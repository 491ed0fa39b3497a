"""What could not be sent as it is, row by row; each complete read replaces the list of its scope."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, insert, or_, select, update

from state.books import Books
from state.rows import ProblemRow, RowId
from state.statuses import LEAVING, TO_BE_EMPTIED
from state.tables import case_row, problem

Found = dict[tuple[str, str, str], str]  # key, property, reason -> detail
GOING = "@departure"
"""In the place of a property: the problem is that a case cannot go away, which no read of a scope tells."""
STILL = (*TO_BE_EMPTIED, LEAVING)
"""Statuses of cases that are still to go away, beside those that reads lack."""

_OF_READS = and_(
    problem.c.mapping == bindparam("of_mapping"),
    problem.c.scope == bindparam("in_scope"),
    problem.c.property != GOING,
)
IN_SCOPE = select(problem.c.key, problem.c.property, problem.c.reason).where(_OF_READS)
_PLACE = (problem.c.mapping, problem.c.scope, problem.c.key)
STUCK = select(*_PLACE, problem.c.reason).where(problem.c.property == GOING)
STILL_TO_GO = (
    select(*_PLACE)
    .join(case_row, and_(*(case_row.c[column.name] == column for column in _PLACE)))
    .where(problem.c.property == GOING, or_(case_row.c.missing_count > 0, case_row.c.status.in_(STILL)))
)


class Problems(Books):
    """The problems, with how long they last."""

    def set_problems(
        self, mapping: str, scope: int, found: Collection[tuple[str, str, str, str]], now: float
    ) -> None:
        """Replace the problems of a scope by (key, property, reason, detail) as a complete read found them.

        Those that were there before keep their first time and count one more read; vanished ones go. What
        `set_stuck` wrote is no part of them.
        """
        details: Found = {(key, name, reason): detail for key, name, reason, detail in found}
        here = {"of_mapping": mapping, "in_scope": scope}
        if not found:
            with self._database.reading() as connection:
                if connection.execute(IN_SCOPE, here).first() is None:  # as in most scopes: nothing is written
                    return
        where = and_(problem.c.mapping == mapping, problem.c.scope == scope, problem.c.property != GOING)
        with self._database.writing() as connection:
            before = {(row.key, row.property, row.reason) for row in connection.execute(IN_SCOPE, here)}
            _insert(connection, mapping, scope, _only(details, details.keys() - before), now)
            _continue(connection, where, _only(details, details.keys() & before), now)
            gone = [_at(address) for address in sorted(before - details.keys())]
            if gone:
                connection.execute(delete(problem).where(where, _same()), gone)

    def set_stuck(self, tried: Collection[RowId], found: Mapping[RowId, str], now: float) -> None:
        """Replace the problems of cases that cannot go away by `found`, row -> reason, as far as they were tried.

        Those of rows that nobody has to let go any more, since they came back, go as well.
        """
        with self._database.reading() as connection:
            if not found and connection.execute(STUCK).first() is None:
                return
        with self._database.writing() as connection:
            before = {RowId(*row[:3]): row.reason for row in connection.execute(STUCK)}
            waiting = {RowId(*row) for row in connection.execute(STILL_TO_GO)}
            gone = {
                row for row in before if found.get(row) != before[row] and (row in tried or row not in waiting)
            }
            for row in sorted(gone | found.keys()):
                place = row.mapping, row.scope
                where = and_(problem.c.mapping == row.mapping, problem.c.scope == row.scope)
                one = {(row.key, GOING, found[row]): ""} if row in found else {}
                if row in gone:
                    old = and_(where, problem.c.key == row.key, problem.c.property == GOING)
                    connection.execute(delete(problem).where(old))
                if row in before and row not in gone:
                    _continue(connection, where, one, now)
                else:
                    _insert(connection, *place, one, now)

    def problems(self, mapping: str | None = None) -> list[ProblemRow]:
        """Return the problems of one mapping or of all, in the order of their rows."""
        query = select(problem).order_by(*problem.primary_key.columns)
        if mapping is not None:
            query = query.where(problem.c.mapping == mapping)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [ProblemRow(RowId(*row[:3]), *row[3:]) for row in rows]

    def problems_for(self, mappings: Collection[str], reasons: Collection[str]) -> list[ProblemRow]:
        """Return the problems of some mappings that have one of some reasons, in no order."""
        query = select(problem).where(problem.c.mapping.in_([*mappings]), problem.c.reason.in_([*reasons]))
        with self._database.reading() as connection:
            return [ProblemRow(RowId(*row[:3]), *row[3:]) for row in connection.execute(query)]


def _insert(connection: Connection, mapping: str, scope: int, found: Found, now: float) -> None:
    """Write problems that are new."""
    rows = [
        {"mapping": mapping, "scope": scope, "key": key, "property": name, "reason": reason, "detail": detail}
        | {"first_at": now, "last_at": now, "runs": 1}
        for (key, name, reason), detail in found.items()
    ]
    if rows:
        connection.execute(insert(problem), rows)


def _continue(connection: Connection, where: ColumnElement[bool], found: Found, now: float) -> None:
    """Count one more read for problems that last."""
    values: dict[str, Any] = {"detail": bindparam("new_detail"), "last_at": now, "runs": problem.c.runs + 1}
    rows = [_at(address) | {"new_detail": detail} for address, detail in found.items()]
    if rows:
        connection.execute(update(problem).where(where, _same()).values(values), rows)


def _only(found: Found, wanted: Collection[tuple[str, str, str]]) -> Found:
    """Return the wanted part, in a steady order."""
    return {address: found[address] for address in sorted(wanted)}


def _same() -> ColumnElement[bool]:
    """Return the condition that finds one problem of a scope by the parameters of `_at`."""
    return and_(*(problem.c[column] == bindparam(f"at_{column}") for column in ("key", "property", "reason")))


def _at(address: tuple[str, str, str]) -> dict[str, str]:
    """Return the parameters of `_same`."""
    return dict(zip(("at_key", "at_property", "at_reason"), address, strict=True))
