"""What was sent and what came of it: an intent before every transmission, one transaction after it.

A row whose outcome is unknown keeps its intent; once it has rested, `void_rested` makes it dirty, so that it is
written again whatever Moodle says meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, delete, literal_column, select, update

from state.cases import Cases
from state.digest import NO_VALUE
from state.lease import Held, require_held
from state.log import Entry, Origin, origin
from state.opened import Opened
from state.rows import Ack, CaseRow, Intent, IntentRow, Resting, RowId
from state.statuses import LEAVING, LIVING
from state.tables import at_row, case_row, intent, lookup_table, refusal, row_parameters

UNSURE = {"left": LEAVING, "withdrawn": "withdrawing", "ended": "rejoining"}
"""What a case is of which books that were put back say how it went away: it may have come back since."""
BACK = {"left": "rejoining", "ended": "rejoining", "withdrawn": "returning"}
"""What a case is whose return nobody knows to have arrived; who is kept out, or gone, since then is so anew."""
STAYING = frozenset(LIVING) - {"withdrawing", "returning"}  # what is to be emptied, or was let in since, stays so
GONE = dict.fromkeys((*STAYING - {"closing"}, "left"), LEAVING)  # a close is remembered, whatever was sent since
SEEN = {"active": "rejoining", "ended": "rejoining", "withdrawn": "withdrawing", "left": LEAVING}
"""The same of somebody whom a read has shown since: he is not gone, but CommCare may have been told so."""
CLOSING = dict.fromkeys((*STAYING, LEAVING, "left"), "closing")
OVER = {"active": "rejoining"}
"""What a case is of which nobody knows whether it says that its course is over, and maybe has another owner."""


def becomes(statuses: Mapping[str, str]) -> ColumnElement[str]:
    """Return the status that follows a row's own, itself where none is given."""
    return case(statuses, value=case_row.c.status, else_=case_row.c.status)


LEFT = case((case_row.c.missing_count > 0, becomes(GONE)), else_=becomes(SEEN))
MARK = {
    op: update(case_row).where(at_row(case_row)).values(status=status)
    for op, status in {
        "create": becomes(BACK), "update": becomes(BACK), "left": LEFT, "ended": becomes(OVER),
        "closed": becomes(CLOSING),
    }.items()
}  # fmt: skip
"""Op of a write of unknown outcome -> the statement that gives its row a status which says so.

Who is to be emptied has such a status before anything is sent.
"""


def _counted(column: str, fresh: Any) -> ColumnElement[Any]:
    """Return what reads have counted of a row; a case that was away and is back is missing from none of them."""
    is_back = and_(case_row.c.status != "active", literal_column("excluded.status") == "active")
    return case((is_back, fresh), else_=case_row.c[column])


COUNTED = {"missing_count": _counted("missing_count", 0), "missing_run": _counted("missing_run", "")}
SETTLE = [delete(table).where(at_row(table)) for table in (intent, refusal)]


class _Sent(NamedTuple):
    """What an intent says of a row."""

    user_id: int
    op: str
    batch: str


NEVER = _Sent(0, "", "")
RETYPE, TYPE = "retype", "@type"
"""Op of a write of nothing but the case type, and how digests name that: without an answer all else stays."""
DOUBTFUL_TABLES = select(lookup_table.c.tag, lookup_table.c.doubt_at).where(lookup_table.c.doubt_at.is_not(None))
REST = (
    update(intent)
    .where(at_row(intent), intent.c.last_sent_at == bindparam("same"))
    .values(last_sent_at=bindparam("moment"))
)
REST_TABLE = (
    update(lookup_table)
    .where(lookup_table.c.tag == bindparam("table"), lookup_table.c.doubt_at == bindparam("same"))
    .values(doubt_at=bindparam("moment"))
)
INTENTS = select(intent).order_by(intent.c.mapping, intent.c.scope, intent.c.key)


class Outcomes(Cases, Opened):
    """The intents, and how answers move them into the rows of the cases."""

    def stamp(self, batch: str, intents: Sequence[Intent], now: float, ours: Held | None = None) -> None:
        """Write down that these rows are about to be sent; durable when it returns.

        A row stamped before counts one more attempt and takes over batch, op and time. Raises StateError, and
        nothing may be sent, when the lease that is `ours` was lost, or the books are not those that were opened.
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
            if ours is not None:
                require_held(connection, ours)
            connection.execute(statement, values)
            self._require_same(connection)  # after the first write: whoever moves the books keeps it waiting

    def acknowledge(
        self, acks: Sequence[Ack], now: float, batch: str = "", form_id: str = "", ours: Held | None = None
    ) -> None:
        """Take in CommCare's answers: one transaction writes the cases, removes their intents and old refusals.

        Digests are merged over the stored ones. A dirty row has exactly the given ones if these are whole, else it
        stays dirty. The log is told the batch, as it was stamped, and the form that CommCare made of it. Raises
        StateError when the lease that is `ours` was lost: who took it may have written something newer since.
        """
        if not acks:
            return
        with self._database.writing() as connection:
            if ours is not None:
                require_held(connection, ours)
            known = self._known(connection, [ack.row for ack in acks])
            merged = _merged(known, acks)
            numbers = self._names.numbers(connection, {name for one in merged.values() for name in one})
            values = [
                _case_values(ack)
                | {"digests": self._names.pack(merged[ack.row], numbers) if ack.row in merged else None}
                | {"pushed_at": now}
                for ack in acks
            ]
            self._upsert(connection, values, ("case_id", "owner_id", "digests", "status", "user_id", "pushed_at"))
            taken = [row_parameters(ack.row) for ack in acks]
            for statement in SETTLE:
                connection.execute(statement, taken)
            self._note(connection, [_entry(ack, known) for ack in acks], now, origin(batch, form_id))

    def acknowledge_earlier(
        self, acks: Sequence[Ack], now: float, batch: str = "", form_id: str = "", ours: Held | None = None
    ) -> None:
        """Take in CommCare's answers about cases that others followed: what is known of their rows stays."""
        if not acks:
            return
        with self._database.writing() as connection:
            if ours is not None:
                require_held(connection, ours)
            _forget(connection, [ack.row for ack in acks])
            self._note(connection, [_entry(ack, {}) for ack in acks], now, origin(batch, form_id))

    def release(self, rows: Sequence[RowId], batch: str = "") -> None:
        """Remove the intents of rows that were certainly not applied; what is known of the cases stays.

        With a `batch` only as far as they are of it: who took over meanwhile may have announced them anew.
        """
        if not rows:
            return
        with self._database.writing() as connection:
            _forget(connection, rows, *([intent.c.batch == batch] if batch else []))

    def adopt(self, row: RowId, case: CaseRow, now: float, run: str = "") -> None:
        """Take in a case that CommCare has and the books did not know; it is dirty, so that it is sent whole."""
        values = _case_values(Ack(row, case.case_id, case.owner_id, {}, case.status, case.user_id))
        values |= {"digests": None, "pushed_at": 0.0, "generation": case.generation, "linked": case.linked}
        with self._database.writing() as connection:
            connection.execute(self._database.insert_new(case_row), values)
            self._note(connection, [Entry(row, case.user_id, "adopt", "found", case.generation)], now, Origin(run))

    def void_rested(self, rested: Sequence[IntentRow], now: float, ours: Held | None = None) -> None:
        """Make rows of unknown outcome dirty and remove their intents, those that are still as they were read.

        One that was announced anew since is under way, whoever did it. A row never heard of gets a place without
        case id, so that it is known to have been sent once. A case that may have gone away, or come back, by now
        is marked as such. Raises StateError when the lease that is `ours` was lost.
        """
        with self._database.writing() as connection:
            if ours is not None:
                require_held(connection, ours)
            still = {(one.row, one.batch, one.last_sent_at) for one in _intents(connection)}
            rows = [one.row for one in rested if (one.row, one.batch, one.last_sent_at) in still]
            if rows:
                self._void_rows(connection, rows, now)

    def _void_rows(self, connection: Connection, rows: Sequence[RowId], now: float) -> None:
        columns = ("mapping", "scope", "key", "user_id", "op", "batch")
        query = select(*(intent.c[name] for name in columns))
        sent = {RowId(*row[:3]): _Sent(*row[3:]) for row in connection.execute(query)}
        values = [
            _case_values(Ack(row, "", "", {}, "active", sent.get(row, NEVER).user_id))
            | {"digests": None, "pushed_at": 0.0}
            for row in rows
            if sent.get(row, NEVER).op != RETYPE
        ]
        self._note_unknown(connection, {row: sent[row] for row in rows if row in sent}, now)
        if values:
            self._upsert(connection, values, ("digests",))
        self._doubt_types(connection, [row for row in rows if sent.get(row, NEVER).op == RETYPE])
        for op, statement in MARK.items():
            marked = [row_parameters(row) for row in rows if sent.get(row, NEVER).op == op]
            if marked:
                connection.execute(statement, marked)
        _forget(connection, rows)

    def _doubt_types(self, connection: Connection, rows: Sequence[RowId]) -> None:
        """Take in that nobody knows which type cases have, also when their mapping makes the old one again."""
        known = self._known(connection, rows)
        held = {row: case.digests for row, case in known.items() if TYPE in (case.digests or {})}
        numbers = self._names.numbers(connection, {name for digests in held.values() for name in digests or ()})
        for row, digests in held.items():
            packed = self._names.pack({**(digests or {}), TYPE: NO_VALUE}, numbers)
            here = update(case_row).where(at_row(case_row)).values(digests=packed)
            connection.execute(here, row_parameters(row))

    def _note_unknown(self, connection: Connection, rows: Mapping[RowId, _Sent], now: float) -> None:
        """Log that no answer came, each batch by itself."""
        known, batches = self._known(connection, rows), defaultdict[str, list[Entry]](list)
        for row, sent in rows.items():
            generation = known[row].generation if row in known else 1
            batches[sent.batch].append(Entry(row, sent.user_id, sent.op, "unknown", generation))
        for batch, entries in batches.items():
            self._note(connection, entries, now, origin(batch))

    def rest_anew(self, resting: Resting, now: float, ours: Held | None = None) -> None:
        """Let writes that were not answered rest from now on: how long they have rested is not certain.

        Those that were announced anew since they were read stay as they are. Raises StateError when the lease that
        is `ours` was lost.
        """
        with self._database.writing() as connection:
            if ours is not None:
                require_held(connection, ours)
            for statement, same in (
                (REST, [{**row_parameters(one.row), "same": one.last_sent_at} for one in resting.intents]),
                (REST_TABLE, [{"table": tag, "same": at} for tag, at in resting.tables.items()]),
            ):
                if same:
                    connection.execute(statement, [{**one, "moment": now} for one in same])

    def resting(self) -> Resting:
        """Return all that was sent and not answered yet."""
        with self._database.reading() as connection:
            tables = {row.tag: row.doubt_at for row in connection.execute(DOUBTFUL_TABLES)}
            return Resting(tuple(_intents(connection)), tables)

    def intents(self) -> dict[RowId, IntentRow]:
        """Return the rows that were sent and not answered yet."""
        with self._database.reading() as connection:
            return {one.row: one for one in _intents(connection)}

    def _upsert(self, connection: Connection, values: list[dict[str, Any]], overwrite: tuple[str, ...]) -> None:
        """Write cases; those that are known take over only the columns of `overwrite`."""
        insert = self._database.insert(case_row)
        statement = insert.on_conflict_do_update(
            index_elements=["mapping", "scope", "key"],
            set_={column: insert.excluded[column] for column in overwrite}
            | (COUNTED if "status" in overwrite else {}),
        )
        connection.execute(statement, values)


def _intents(connection: Connection) -> Iterator[IntentRow]:
    for row in connection.execute(INTENTS):
        yield IntentRow(RowId(row.mapping, row.scope, row.key), row.batch, row.op, row.last_sent_at, row.attempts)


def _merged(known: Mapping[RowId, CaseRow], acks: Sequence[Ack]) -> dict[RowId, dict[str, bytes]]:
    """Return the digests of each row as they are after these answers, without those that stay dirty."""
    merged = dict[RowId, dict[str, bytes]]()
    for ack in acks:
        held = known[ack.row].digests if ack.row in known else {}
        if held is not None or ack.whole:
            merged[ack.row] = {**(held or {}), **merged.get(ack.row, {}), **ack.digests}
    return merged


def _entry(ack: Ack, known: Mapping[RowId, CaseRow]) -> Entry:
    """Return what the log says of an answer."""
    op = "erase" if ack.status == "erasing" else ack.op
    generation = ack.earlier or (known[ack.row].generation if ack.row in known else 1)
    sent = ack.digests if ack.sent is None else ack.sent
    return Entry(ack.row, ack.user_id, op, "closed" if ack.closed else "taken", generation, sent)


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


def _forget(connection: Connection, rows: Sequence[RowId], *only: ColumnElement[bool]) -> None:
    """Delete the intents of rows."""
    connection.execute(delete(intent).where(at_row(intent), *only), [row_parameters(row) for row in rows])
