"""What an audit asks of the books: whose a listed case is, which known cases were not listed, what it found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from math import inf
from typing import Any

from sqlalchemy import Connection, bindparam, func, literal, or_, select, tuple_, update

from state.cases import CHUNK, COLUMNS, Cases
from state.facts import have_read
from state.log import Entry
from state.rows import Held, RowId
from state.statuses import LIVING
from state.tables import at_row, case_row, row_parameters
from state.tables import name as name_table

AT_ONCE = 5_000  # case ids in one walk through the rows
NO_DIGEST = bytes(16)
"""Stands for "not what we sent": a missing digest would say that the case never had the property."""


class Audits(Cases):
    """The cases by CommCare's ids."""

    def mappings_with_cases(self) -> set[str]:
        """Return the mappings of which the books know cases, also those that are switched off or gone."""
        with self._database.reading() as connection:
            return set(connection.scalars(select(case_row.c.mapping).distinct()))

    def mappings_in(self, scopes: Collection[int]) -> set[str]:
        """Return the mappings that have cases in these scopes: courses, or 0 for the site."""
        with self._database.reading() as connection:
            query = select(case_row.c.mapping).where(case_row.c.scope.in_(sorted(scopes))).distinct()
            return set(connection.scalars(query))

    def property_names(self) -> set[str]:
        """Return the names of everything that was ever sent."""
        with self._database.reading() as connection:
            return set(connection.scalars(select(name_table.c.name)))

    def at_rows(self, rows: Collection[RowId]) -> dict[str, Held]:
        """Return those of some rows that are known and have a case id, by case id; each scope is a look-up."""
        found, keys = dict[str, Held](), defaultdict[tuple[str, int], list[str]](list)
        for row in rows:
            keys[row.mapping, row.scope].append(row.key)
        with self._database.reading() as connection:
            for (mapping, scope), wanted in sorted(keys.items()):
                for start in range(0, len(wanted), CHUNK):
                    at = {"mapping": mapping, "scope": scope, "keys": wanted[start : start + CHUNK]}
                    there = self._read_held(connection, connection.execute(_HELD_AT, at).all())
                    found |= {one.case.case_id: one for one in there if one.case.case_id}
        return found

    def by_case_ids(self, mappings: Collection[str], case_ids: Collection[str]) -> dict[str, Held]:
        """Return the rows of some mappings that have these case ids, by case id.

        Each 5,000 ids are one walk through the rows: an index would cost every write of every run, and an audit
        is weekly.
        """
        found, ids = dict[str, Held](), sorted(set(case_ids))
        with self._database.reading() as connection:
            for start in range(0, len(ids), AT_ONCE):
                query = _held().where(case_row.c.mapping.in_(sorted(mappings)))
                query = query.where(case_row.c.case_id.in_(ids[start : start + AT_ONCE]))
                rows = connection.execute(query).all()
                found |= {one.case.case_id: one for one in self._read_held(connection, rows)}
        return found

    def generations(self, mappings: Collection[str], keys: Collection[str]) -> dict[str, int]:
        """Return which generation the cases under these keys are of now, in whatever scope; it walks as well."""
        found, wanted = dict[str, int](), sorted(set(keys))
        with self._database.reading() as connection:
            for start in range(0, len(wanted), AT_ONCE):
                query = select(case_row.c.key, func.max(case_row.c.generation)).group_by(case_row.c.key)
                query = query.where(case_row.c.mapping.in_(sorted(mappings)))
                rows = connection.execute(query.where(case_row.c.key.in_(wanted[start : start + AT_ONCE])))
                found |= {row.key: row[1] for row in rows}
        return found

    def known_and_not(
        self,
        mapping: str,
        listed: Callable[[str], bool],
        before: float,
        *,
        ahead: float = inf,
        statuses: Collection[str] = LIVING,
        after: RowId | None = None,
        most: int | None = None,
    ) -> list[Held]:
        """Return the cases of a mapping with these statuses whose case id is not `listed`, in order.

        Only those last written before a moment, or past the moment `ahead`, when the clock was; the first `most`
        of them `after` a row.
        """
        query = _held().where(case_row.c.mapping == mapping, case_row.c.case_id != "")
        query = query.where(case_row.c.status.in_(sorted(statuses)))
        query = query.where(or_(case_row.c.pushed_at < before, case_row.c.pushed_at > ahead))
        if after is not None:
            here = tuple_(literal(after.scope), literal(after.key))
            query = query.where(tuple_(case_row.c.scope, case_row.c.key) > here)
        query = query.order_by(case_row.c.scope, case_row.c.key)
        with self._database.reading() as connection:
            with connection.execute(query.execution_options(yield_per=AT_ONCE)) as rows:
                unlisted = list(islice((row for row in rows if not listed(row.case_id)), most))
            return list(self._read_held(connection, unlisted))

    def note_owners(self, owners: Mapping[RowId, str]) -> None:
        """Take in who owns these cases now: their children follow in the next run."""
        if owners:
            moved = update(case_row).where(at_row(case_row)).values(owner_id=bindparam("now_of"))
            values = [row_parameters(row) | {"now_of": owner_id} for row, owner_id in owners.items()]
            with self._database.writing() as connection:
                connection.execute(moved, values)

    def void_values(self, names: Mapping[RowId, Collection[str]], now: float) -> None:
        """Make the books doubt single values, so that the next run, whatever is due, writes only these again."""
        noted = list[Entry]()
        with self._database.writing() as connection:
            for row, doubted in names.items():
                known = self._cases(connection, row.mapping, row.scope, [row.key]).get(row.key)
                if known is None or not known.digests:
                    continue
                held = known.digests.keys() & set(doubted)
                digests = known.digests | dict.fromkeys(held, NO_DIGEST)
                packed = self._names.pack(digests, self._names.numbers(connection, digests))
                changed = update(case_row).where(at_row(case_row)).values(digests=packed)
                connection.execute(changed, row_parameters(row))
                noted.append(Entry(row, known.user_id, "doubt", "noted", known.generation, held))
            have_read(self._database, connection, (one.row.mapping for one in noted))
            self._note(connection, noted, now)

    def _read_held(self, connection: Connection, rows: Iterable[Any]) -> Iterator[Held]:
        """Make the records of rows of the table."""
        for row in rows:
            case = self._case(connection, row[: len(COLUMNS)])
            yield Held(RowId(row.mapping, row.scope, row.key), case, row.pushed_at)


def _held() -> Any:
    return select(*COLUMNS, case_row.c.mapping, case_row.c.scope, case_row.c.pushed_at)


_HELD_AT = _held().where(
    case_row.c.mapping == bindparam("mapping"),
    case_row.c.scope == bindparam("scope"),
    case_row.c.key.in_(bindparam("keys", expanding=True)),
)
