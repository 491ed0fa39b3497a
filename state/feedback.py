"""Feedback that goes from cases back to Moodle: whose case it is, what Moodle has of it, and what is in the way.

A fingerprint is two digests, of the text and of the grade; b"" stands for none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, select, update

from state.books import Books
from state.cases import CHUNK
from state.digest import SIZE, carried
from state.rows import RowId
from state.tables import at_row, case_row, feedback, row_parameters

ERASING: Final = "erasing"
FINGERPRINT: Final = 2 * SIZE
_KEY: Final = ("mapping", "scope", "key", "property")


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose case it is: the row that has it, and the person's number in Moodle."""

    row: RowId
    case_id: str
    user_id: int


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """What is known of one text of a coach: `name` is the case property.

    `told` is the fingerprint of what Moodle was seen to hold, `sent` of what was sent last (whether it arrived may
    be unknown); `reason` why the present text is not in Moodle, "" when it is, or when there is none.
    """

    holder: Holder
    name: str
    told: bytes = b""
    sent: bytes = b""
    reason: str = ""
    first_at: float = 0.0
    last_at: float = 0.0
    tries: int = 0

    @property
    def at(self) -> tuple[RowId, str]:
        """Return its address."""
        return self.holder.row, self.name


class Feedback(Books):
    """The table of the feedback."""

    def holders(self, mapping: str, case_ids: Collection[str]) -> dict[str, Holder]:
        """Return whose cases these are, by case id; those of nobody, or of somebody being erased, are left out."""
        found, wanted = dict[str, Holder](), sorted(set(case_ids) - {""})
        query = select(
            case_row.c.mapping, case_row.c.scope, case_row.c.key, case_row.c.case_id, case_row.c.user_id
        )
        query = query.where(case_row.c.mapping == mapping, case_row.c.user_id != 0, case_row.c.status != ERASING)
        with self._database.reading() as connection:
            for start in range(0, len(wanted), CHUNK):
                rows = connection.execute(query.where(case_row.c.case_id.in_(wanted[start : start + CHUNK])))
                found |= {row.case_id: Holder(RowId(*row[:3]), row.case_id, row.user_id) for row in rows}
        return found

    def feedback(self, mapping: str = "", *, open_only: bool = False) -> dict[tuple[RowId, str], FeedbackRow]:
        """Return what is known of texts, of a mapping or of all; only those with something in the way if asked."""
        query = select(feedback).order_by(*(feedback.c[name] for name in _KEY))
        query = query.where(feedback.c.mapping == mapping) if mapping else query
        query = query.where(feedback.c.reason != "") if open_only else query
        with self._database.reading() as connection:
            rows = [_row(row) for row in connection.execute(query)]
        return {row.at: row for row in rows}

    def feedback_of(self, user_id: int) -> list[FeedbackRow]:
        """Return what is known of texts about one person."""
        query = select(feedback).where(feedback.c.user_id == user_id)
        query = query.order_by(*(feedback.c[name] for name in _KEY))
        with self._database.reading() as connection:
            return [_row(row) for row in connection.execute(query)]

    def note_feedback(self, rows: Iterable[FeedbackRow]) -> None:
        """Write what is known of texts now, in one transaction."""
        values = [_values(row) for row in rows]
        if not values:
            return
        statement = self._database.upsert(feedback, *(name for name in values[0] if name not in _KEY))
        with self._database.writing() as connection:
            connection.execute(statement, values)

    def forget_feedback(self, mapping: str, names: Collection[str]) -> None:
        """Take what is in the way of texts off the list whose property the mapping does not send back any more."""
        gone = and_(feedback.c.mapping == mapping, feedback.c.property.not_in(sorted(names)))
        with self._database.writing() as connection:
            connection.execute(update(feedback).where(gone).values(reason=""))


def _row(row: Any) -> FeedbackRow:
    holder = Holder(RowId(row.mapping, row.scope, row.key), row.case_id, row.user_id)
    told, sent = bytes(row.told), bytes(row.sent)
    return FeedbackRow(holder, row.property, told, sent, row.reason, row.first_at, row.last_at, row.tries)


def _values(row: FeedbackRow) -> dict[str, Any]:
    names = ("told", "sent", "reason", "first_at", "last_at", "tries")
    holder = row.holder
    address = {**holder.row._asdict(), "property": row.name, "case_id": holder.case_id, "user_id": holder.user_id}
    return address | {name: getattr(row, name) for name in names}


def carry_feedback(connection: Connection, keys: Sequence[bytes]) -> None:
    """Carry the fingerprints over to a chain of digests that has these keys more."""
    changed = update(feedback).where(at_row(feedback), feedback.c.property == bindparam("at_property"))
    rows = connection.execute(select(feedback)).all()
    values = [
        row_parameters(RowId(row.mapping, row.scope, row.key))
        | {"at_property": row.property, "now": _carried(keys, row.told), "now_sent": _carried(keys, row.sent)}
        for row in rows
    ]
    if values:
        connection.execute(changed.values(told=bindparam("now"), sent=bindparam("now_sent")), values)


def _carried(keys: Sequence[bytes], found: bytes) -> bytes:
    return b"".join(carried(keys, bytes(found[at : at + SIZE])) for at in range(0, len(found), SIZE))
