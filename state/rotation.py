"""Which keys the digests were made with, and how they are carried over to a new one without their values."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, tuple_, update

from state.digest import carried, carried_all, chained
from state.errors import StateError
from state.facts import Facts
from state.feedback import carry_feedback
from state.key import Keys
from state.rows import RowId
from state.tables import FACT, at_row, case_row, erased, feedback, row_parameters

KEY_MARK = "@key"  # fact in the books: a digest of nothing, by which a lost or a new key is noticed
AT_ONCE = 1000  # rows carried over at a time
ADDRESS = tuple_(case_row.c.mapping, case_row.c.scope, case_row.c.key)


class Rotation(Facts):
    """The keys of the books."""

    def take_key(self) -> None:
        """Make the digests fit the key file, in one transaction; only for who holds the lease.

        A key that was added is taken over: every digest is carried over to it, and nothing has to be sent. With
        other keys the digests tell nothing any more, and every row becomes dirty. StateError when people were
        erased under a key that is not there: they would come back.
        """
        known = self.get(KEY_MARK)
        if known == _mark(self._given):
            self._keys = self._given
            return
        with self._database.writing() as connection:
            older = known_keys(key_mark(connection), self._given)
            if older is not None:
                _carry_over(connection, self._given[len(older) :])
            elif known is not None:
                self._void(connection)
            self._put(connection, KEY_MARK, _mark(self._given))
        self._keys = self._given

    @property
    def is_rotating(self) -> bool:
        """Say whether the key file has a key that the digests were not carried over to yet."""
        return self._keys != self._given

    @property
    def has_known_key(self) -> bool:
        """Say whether the digests were made with keys of the key file."""
        with self._database.reading() as connection:
            return known_keys(key_mark(connection), self._given) is not None

    @property
    def has_other_key(self) -> bool:
        """Say whether the digests were made with keys that the key file does not have."""
        return self.get(KEY_MARK) is not None and not self.has_known_key

    def add_keys(self, keys: Keys) -> None:
        """Take over what was added to the key file; only for who holds the lease."""
        self._given = keys
        self.take_key()

    def forget_erased(self) -> int:
        """Forget who was erased, because the key that tells is lost; returns how many people may come back."""
        with self._database.writing() as connection:
            return connection.execute(delete(erased)).rowcount

    def _void(self, connection: Connection) -> None:
        """Make all rows dirty, so that the next run reads for all; StateError when people were erased."""
        people = connection.scalar(select(func.count()).select_from(erased))
        if people:
            raise StateError(
                f"The keys in STATE_KEY_FILE are not those of the books, and only those tell who was erased "
                f"({people}). Put the old key file back; if it is lost for good, run `moodle-commcare state "
                "rotate-key --lost`: those who were erased come back unless they are erased again."
            )
        connection.execute(update(case_row).values(digests=None))
        self._read_all_anew(connection)
        connection.execute(update(feedback).values(told=b"", sent=b""))


def key_mark(connection: Connection) -> str | None:
    """Return what stands in the books for the keys of the digests, None in new books."""
    return connection.scalar(FACT, {"name": KEY_MARK})


def known_keys(mark: str | None, given: Keys) -> Keys | None:
    """Return as many of the given keys as the mark in the books is of; None when it is of none of them."""
    chains = (given[:length] for length in range(len(given), 0, -1))
    return next((keys for keys in chains if mark == _mark(keys)), None)


def _mark(keys: Keys) -> str:
    return chained(keys, "", KEY_MARK, "").hex()


def _carry_over(connection: Connection, keys: Keys) -> None:
    """Carry every digest over to more keys; a row whose digests cannot be read becomes dirty."""
    changed = update(case_row).where(at_row(case_row)).values(digests=bindparam("now"))
    query = select(case_row.c.mapping, case_row.c.scope, case_row.c.key, case_row.c.digests)
    query = query.order_by(case_row.c.mapping, case_row.c.scope, case_row.c.key).limit(AT_ONCE)
    rows = connection.execute(query).all()
    while rows:
        values = [row_parameters(RowId(*row[:3])) | {"now": carried_all(keys, row[3])} for row in rows if row[3]]
        if values:
            connection.execute(changed, values)
        rows = connection.execute(query.where(tuple_(*rows[-1][:3]) < ADDRESS)).all()
    carry_feedback(connection, keys)
    _carry_people(connection, keys)


def _carry_people(connection: Connection, keys: Keys) -> None:
    """Carry the marks of erased people over."""
    people: list[dict[str, Any]] = [
        {"mark": carried(keys, row.mark), "at": row.at} for row in connection.execute(select(erased))
    ]
    if people:
        connection.execute(delete(erased))
        connection.execute(insert(erased), people)
