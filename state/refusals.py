"""Rows that CommCare refused: what was sent is remembered as a digest, so that it is not sent again as it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, delete, select, update

from state.cases import Cases
from state.facts import have_read
from state.log import Entry, Origin
from state.rows import CaseRow, Refusal, RefusalRow, RowId
from state.tables import at_row, case_row, problem, refusal, row_parameters

OF_THE_KEPT_OUT = "withdrawn"
"""The op of records that a complete read shows and the mapping keeps out: having read them settles nothing."""


ALL = select(refusal).order_by(*refusal.primary_key.columns)


class Refusals(Cases):
    """The refusals, row by row; an acknowledged row has none any more."""

    def note_refusals(self, refused: Sequence[Refusal], now: float, run: str = "") -> None:
        """Take in that a run sent rows and they were refused; one refused before counts one more attempt.

        Unless that is told `anew`.
        """
        if not refused:
            return
        insert = self._database.insert(refusal)
        again = {name: insert.excluded[name] for name in ("reason", "op", "content", "last_at", "dropped")}
        statement = insert.on_conflict_do_update(
            index_elements=["mapping", "scope", "key"], set_=again | {"attempts": refusal.c.attempts + 1}
        )
        values = [
            {**one.row._asdict(), "reason": one.reason, "op": one.op, "content": one.content}
            | {"first_at": now, "last_at": now, "attempts": 1, "dropped": False}
            for one in refused
        ]
        anew = [row_parameters(one.row) for one in refused if one.anew]
        with self._database.writing() as connection:
            if anew:
                connection.execute(delete(refusal).where(at_row(refusal)), anew)
            connection.execute(statement, values)
            known = self._known(connection, [one.row for one in refused])
            self._note(connection, [_entry(one, known.get(one.row)) for one in refused], now, Origin(run))

    def meet_refusals(self, rows: Sequence[RowId], now: float) -> None:
        """Take in that these rows are still as they were refused, and were not sent."""
        if rows:
            met = update(refusal).where(at_row(refusal)).values(last_at=now)
            with self._database.writing() as connection:
                connection.execute(met, [row_parameters(row) for row in rows])

    def refusals(self) -> list[RefusalRow]:
        """Return all refusals, dropped ones included, in the order of their rows."""
        with self._database.reading() as connection:
            rows = connection.execute(ALL).all()
        return [RefusalRow(RowId(*row[:3]), row.op, row.reason, row.content, *row[6:]) for row in rows]

    def settle_refusals(self, mapping: str, scope: int, rows: Collection[str]) -> int:
        """Forget the refusals of these keys, of which nothing has to be sent any more; returns how many."""
        if not rows:
            return 0
        settled = delete(refusal).where(
            refusal.c.mapping == mapping,
            refusal.c.scope == scope,
            refusal.c.key == bindparam("settled_key"),
            refusal.c.op != OF_THE_KEPT_OUT,
        )
        with self._database.writing() as connection:
            return connection.execute(settled, [{"settled_key": key} for key in rows]).rowcount

    def lift_refusals(self, rows: Sequence[RowId]) -> None:
        """Forget that rows were refused, and no more than that: what is known of their cases stays."""
        if rows:
            with self._database.writing() as connection:
                connection.execute(delete(refusal).where(at_row(refusal)), [row_parameters(row) for row in rows])

    def retry(self, rows: Sequence[RowId], now: float) -> None:
        """Forget that rows were refused and make them dirty: the next run sends them whole, whatever is due."""
        self._retry(rows, "retry", now)

    def recreate(self, rows: Sequence[RowId], now: float) -> None:
        """Forget rows that were refused because their case was deleted: the next run makes new cases.

        They are of the next generation: CommCare goes on finding a deleted case by its external id.
        """
        self._retry(rows, "recreate", now)

    def drop(self, rows: Sequence[RowId], now: float) -> None:
        """Take refusals off the list; the rows stay unsent until their content changes."""
        if not rows:
            return
        parameters = [row_parameters(row) for row in rows]
        with self._database.writing() as connection:
            connection.execute(update(refusal).where(at_row(refusal)).values(dropped=True), parameters)
            connection.execute(delete(problem).where(at_row(problem), problem.c.property == ""), parameters)
            self._note_word(connection, "drop", rows, now)

    def _retry(self, rows: Sequence[RowId], word: str, now: float) -> None:
        if not rows:
            return
        parameters = [row_parameters(row) for row in rows]
        here = at_row(case_row)
        with self._database.writing() as connection:
            if word == "recreate":
                fresh = {"case_id": "", "linked": False, "status": "active", "missing_count": 0, "missing_run": ""}
                again = update(case_row).where(here).values(generation=case_row.c.generation + 1, **fresh)
                connection.execute(again, parameters)
            connection.execute(update(case_row).where(here).values(digests=None), parameters)
            connection.execute(delete(refusal).where(at_row(refusal)), parameters)
            connection.execute(delete(problem).where(at_row(problem), problem.c.property == ""), parameters)
            have_read(self._database, connection, (row.mapping for row in rows))
            self._note_word(connection, word, rows, now)


def _entry(refused: Refusal, case: CaseRow | None) -> Entry:
    """Return what the log says of a refused row."""
    generation = 1 if case is None else case.generation
    return Entry(refused.row, refused.user_id, refused.op, "refused", generation, refused.sent, refused.reason)
