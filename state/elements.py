"""Elements of lists that a complete read lacked: emptied only when a second one lacks them too (decision 26)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple

from sqlalchemy import and_, bindparam, delete, distinct, func, insert, select

from state.books import Books
from state.tables import lacking

HERE = and_(lacking.c.mapping == bindparam("of_mapping"), lacking.c.scope == bindparam("in_scope"))
LACKING = select(lacking.c.key, lacking.c.property, lacking.c.run).where(HERE)
BACK = delete(lacking).where(
    HERE, lacking.c.key == bindparam("of_key"), lacking.c.property == bindparam("of_property")
)


class Lacking(NamedTuple):
    """What waits for a second look in a scope: of how many rows, and which properties."""

    rows: int
    properties: frozenset[str]


class Elements(Books):
    """Which properties wait for a second look, row by row; never more than what vanished lately."""

    def note_lacking(
        self,
        mapping: str,
        scope: int,
        read: Collection[str] | None,
        lacked: Mapping[str, Collection[str]],
        run_id: str,
    ) -> dict[str, frozenset[str]]:
        """Take in what complete reads of the keys `read` (None: all) lacked; return what another run lacked too.

        `lacked` and the answer hold property names by key. What is there again is forgotten.
        """
        here = {"of_mapping": mapping, "in_scope": scope}
        with self._database.reading() as connection:
            found = connection.execute(LACKING, here).all()
        known = {(row.key, row.property): row.run for row in found if read is None or row.key in read}
        now = {(key, name) for key, names in lacked.items() for name in names}
        if now != known.keys():
            with self._database.writing() as connection:
                for key, name in sorted(known.keys() - now):
                    connection.execute(BACK, {**here, "of_key": key, "of_property": name})
                rows = [
                    {"mapping": mapping, "scope": scope, "key": key, "property": name, "run": run_id}
                    for key, name in sorted(now - known.keys())
                ]
                if rows:
                    connection.execute(insert(lacking), rows)
        due = defaultdict(set)
        for key, name in now & known.keys():
            if known[key, name] != run_id:
                due[key].add(name)
        return {key: frozenset(names) for key, names in due.items()}

    def lacking_in(self, mapping: str) -> dict[int, Lacking]:
        """Return the scopes of a mapping in which elements wait for a second look."""
        here, rows = lacking.c.mapping == mapping, func.count(distinct(lacking.c.key))
        counted = select(lacking.c.scope, rows).where(here).group_by(lacking.c.scope)
        named = select(lacking.c.scope, lacking.c.property).where(here).distinct()
        with self._database.reading() as connection:
            names = defaultdict[int, set[str]](set)
            for scope, name in connection.execute(named).tuples():
                names[scope].add(name)
            return {
                scope: Lacking(count, frozenset(names[scope]))
                for scope, count in connection.execute(counted).tuples()
            }
