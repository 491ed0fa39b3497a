"""The books in numbers, for a status page: counted by the database, so that no row has to be read.

Only the few rows that went a way which somebody asks about are listed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, and_, case, exists, func, or_, select

from state.doubts import Doubts
from state.lease import AT_WORK, LEASE_TTL, NAME, at_work
from state.rows import ProblemCount, RowCount, RowId, RunRow, Standing
from state.runs import read_counts
from state.tables import case_row, lease, problem, refusal, run


class Counts(Doubts):
    """Counts of rows and problems; the last runs; who is at work."""

    @property
    def place(self) -> str:
        """Return where the books are, fit for a message: no password in it."""
        return self._database.place

    def count_rows(self) -> list[RowCount]:
        """Return how many rows each mapping has, by status, whether CommCare has them, and whether they are dirty.

        Two walks: one through all rows that only counts, one that sorts the few which are not as they should be.
        """
        odd = or_(case_row.c.status != "active", case_row.c.case_id == "", case_row.c.digests.is_(None))
        there = case((case_row.c.case_id != "", 1), else_=0).label("there")
        dirty = case((case_row.c.digests.is_(None), 1), else_=0).label("dirty")
        others = select(case_row.c.mapping, case_row.c.status, there, dirty, func.count()).where(odd)
        others = others.group_by(case_row.c.mapping, case_row.c.status, there, dirty)
        rows = [RowCount(row[0], row[1], bool(row[2]), bool(row[3]), row[4]) for row in self._rows(others)]
        every = select(case_row.c.mapping, func.count()).group_by(case_row.c.mapping)
        for mapping, count in self._rows(every):
            plain = count - sum(row.count for row in rows if row.mapping == mapping)
            rows += [RowCount(mapping, "active", True, False, plain)] if plain > 0 else []
        return sorted(rows, key=lambda row: (row.mapping, row.status, row.there, row.dirty))

    def standing(self, statuses: Collection[str]) -> list[Standing]:
        """Return the rows that have one of some statuses, in the order of their addresses."""
        row = case_row.c
        query = select(row.mapping, row.scope, row.key, row.user_id, row.case_id, row.status, row.pushed_at)
        query = query.where(row.status.in_(sorted(statuses))).order_by(*case_row.primary_key.columns)
        return [Standing(RowId(*one[:3]), *one[3:]) for one in self._rows(query)]

    def count_problems(self) -> list[ProblemCount]:
        """Return the problems by mapping, property and reason, as often as `problems` and `refusals` list them.

        A row that CommCare refused and that no read has listed since counts as well, unless a person dropped it.
        """
        of_read = select(problem.c.mapping, problem.c.property, problem.c.reason, *_span(problem))
        of_read = of_read.group_by(problem.c.mapping, problem.c.property, problem.c.reason)
        refused = select(refusal.c.mapping, refusal.c.reason, *_span(refusal)).where(~refusal.c.dropped, ~_told())
        refused = refused.group_by(refusal.c.mapping, refusal.c.reason)
        found = [ProblemCount(*row) for row in self._rows(of_read)]
        found += [ProblemCount(row[0], "", *row[1:]) for row in self._rows(refused)]
        return sorted(found, key=lambda one: (one.mapping, one.property, one.reason))

    def last_runs(self, most: int) -> list[RunRow]:
        """Return the runs that started last, the newest first; `finished_at` None while one is at work."""
        query = select(run).order_by(run.c.started_at.desc(), run.c.id.desc()).limit(most)
        return [
            RunRow(row.id, row.started_at, row.finished_at, row.state, row.revision, read_counts(row.counts))
            for row in self._rows(query)
        ]

    def lease_holder(self, now: float, ttl: float = LEASE_TTL) -> tuple[str, float] | None:
        """Return who holds the lease and until when, None when nobody does.

        One that holds for much longer than `ttl` seconds was taken when the clock was ahead, and holds nobody up.
        """
        query = select(lease.c.holder, lease.c.expires_at).where(lease.c.name == NAME, AT_WORK)
        found = self._rows(query.params(**at_work(now, ttl)))
        return (found[0].holder, found[0].expires_at) if found else None

    def _rows(self, query: Select[Any]) -> list[Any]:
        with self._database.reading() as connection:
            return list(connection.execute(query).all())


def _span(table: Any) -> tuple[Any, ...]:
    """Return the columns that say how many, since when, and when last."""
    return func.count(), func.min(table.c.first_at), func.max(table.c.last_at)


def _told() -> Any:
    """Return the condition that a refused row stands among the problems, with the same reason."""
    same = and_(*(problem.c[name] == refusal.c[name] for name in ("mapping", "scope", "key", "reason")))
    return exists(select(problem.c.key).where(same, problem.c.property == ""))
