"""What was sent and what came of it: an intent before every transmission, one transaction after it.

A row whose outcome is unknown keeps its intent; once it has rested, `void` makes it dirty, so that it is written
again whatever Moodle says meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, delete, select, update

from state.cases import IS_LIVING, Cases
from state.rows import Ack, CaseRow, Intent, IntentRow, RowId
from state.tables import at_row, case_row, intent, refusal, row_parameters

UNDER_WAY = {"closed": "closing", "withdrawn": "withdrawing"}  # what a write may have done, by its op


class Outcomes(Cases):
    """The intents, and how answers move them into the rows of the cases."""

    def stamp(self, batch: str, intents: Sequence[Intent], now: float) -> None:
        """Write down that these rows are about to be sent; durable when it returns.

        A row stamped before counts one more attempt and takes over batch, op and time.
        """
        if not intents:
            return
        insert = self._database.insert(intent)
        again = {column: insert.excluded[column] for column in ("batch", "op", "user_id", "last_sent_at")}
        statement = insert.on_conflict_do_update(
            index_elements=["mapping", "scope", "key"], set_=again | {"attempts": intent.c.attempts + 1}
        )
        values = [
            {**one.row._asdict(), "batch": batch, "op": one.op, "user_id": one.user_id}
            | {"last_sent_at": now, "attempts": 1}
            for one in intents
        ]
        with self._database.writing() as connection:
            connection.execute(statement, values)

    def acknowledge(self, acks: Sequence[Ack], now: float) -> None:
        """Take in CommCare's answers: one transaction writes the cases, removes their intents and old refusals.

        Digests are merged over the stored ones; a dirty or new row has exactly the given ones.
        """
        if not acks:
            return
        with self._database.writing() as connection:
            merged = self._merged(connection, acks)
            numbers = self._names.numbers(connection, {name for one in merged.values() for name in one})
            values = [
                _case_values(ack) | {"digests": self._names.pack(merged[ack.row], numbers), "pushed_at": now}
                for ack in acks
            ]
            self._upsert(connection, values, ("case_id", "owner_id", "digests", "status", "user_id", "pushed_at"))
            taken = [row_parameters(ack.row) for ack in acks]
            for table in (intent, refusal):
                connection.execute(delete(table).where(at_row(table)), taken)

    def release(self, rows: Sequence[RowId]) -> None:
        """Remove the intents of rows that were certainly not applied; what is known of the cases stays."""
        if not rows:
            return
        with self._database.writing() as connection:
            _forget(connection, rows)

    def adopt(self, row: RowId, case: CaseRow) -> None:
        """Take in a case that CommCare has and the books did not know; it is dirty, so that it is sent whole."""
        values = _case_values(Ack(row, case.case_id, case.owner_id, {}, case.status, case.user_id))
        values |= {"digests": None, "pushed_at": 0.0, "generation": case.generation, "linked": case.linked}
        with self._database.writing() as connection:
            connection.execute(self._database.insert(case_row).on_conflict_do_nothing(), values)

    def void(self, rows: Sequence[RowId]) -> None:
        """Make rows of unknown outcome dirty and remove their intents, in one transaction.

        A row never heard of gets a place without case id, so that it is known to have been sent once. A case that
        may be closed, or emptied, by now is marked as such.
        """
        if not rows:
            return
        with self._database.writing() as connection:
            query = select(intent.c.mapping, intent.c.scope, intent.c.key, intent.c.user_id, intent.c.op)
            sent = {RowId(*row[:3]): (row.user_id, row.op) for row in connection.execute(query)}
            values = [
                _case_values(Ack(row, "", "", {}, "active", sent.get(row, (0, ""))[0]))
                | {"digests": None, "pushed_at": 0.0}
                for row in rows
            ]
            self._upsert(connection, values, ("digests",))
            for op, status in UNDER_WAY.items():
                self._mark(connection, [row for row in rows if sent.get(row, (0, ""))[1] == op], status)
            _forget(connection, rows)

    @staticmethod
    def _mark(connection: Connection, rows: Sequence[RowId], status: str) -> None:
        """Give living rows a status."""
        if rows:
            marked = update(case_row).where(at_row(case_row), IS_LIVING).values(status=status)
            connection.execute(marked, [row_parameters(row) for row in rows])

    def rest_anew(self, now: float) -> None:
        """Let every write that was not answered rest from now on: how long it has rested is not certain."""
        with self._database.writing() as connection:
            connection.execute(update(intent).values(last_sent_at=now))

    def intents(self) -> dict[RowId, IntentRow]:
        """Return the rows that were sent and not answered yet."""
        query = select(intent).order_by(intent.c.mapping, intent.c.scope, intent.c.key)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        found = (
            IntentRow(RowId(row.mapping, row.scope, row.key), row.batch, row.op, row.last_sent_at, row.attempts)
            for row in rows
        )
        return {one.row: one for one in found}

    def _merged(self, connection: Connection, acks: Sequence[Ack]) -> dict[RowId, dict[str, bytes]]:
        """Return the digests of each row as they are after these answers."""
        merged = {row: dict(case.digests or {}) for row, case in self._stored(connection, acks).items()}
        for ack in acks:
            merged.setdefault(ack.row, {}).update(ack.digests)
        return merged

    def _stored(self, connection: Connection, acks: Iterable[Ack]) -> dict[RowId, CaseRow]:
        """Return the cases of these answers that are known already, read scope by scope."""
        keys = defaultdict(list)
        for ack in acks:
            keys[ack.row.mapping, ack.row.scope].append(ack.row.key)
        return {
            RowId(mapping, scope, key): case
            for (mapping, scope), wanted in keys.items()
            for key, case in self._cases(connection, mapping, scope, wanted).items()
        }

    def _upsert(self, connection: Connection, values: list[dict[str, Any]], overwrite: tuple[str, ...]) -> None:
        """Write cases; those that are known take over only the columns of `overwrite`."""
        insert = self._database.insert(case_row)
        statement = insert.on_conflict_do_update(
            index_elements=["mapping", "scope", "key"],
            set_={column: insert.excluded[column] for column in overwrite},
        )
        connection.execute(statement, values)


def _case_values(ack: Ack) -> dict[str, Any]:
    """Return the columns of a case as an answer gives them, with the counters of a new row."""
    return {
        **ack.row._asdict(),
        "case_id": ack.case_id,
        "owner_id": ack.owner_id,
        "status": ack.status,
        "user_id": ack.user_id,
        "missing_count": 0,
        "missing_run": "",
    }


def _forget(connection: Connection, rows: Sequence[RowId]) -> None:
    """Delete the intents of rows."""
    connection.execute(delete(intent).where(at_row(intent)), [row_parameters(row) for row in rows])
