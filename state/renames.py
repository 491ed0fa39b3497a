"""A mapping that goes by another name: everything that the books know under the old one is the new one's.

What facts are called, and which of them name mappings inside, the caller knows; all moves in one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy import Connection, Table, and_, delete, exists, select, update

from state.facts import GET_ALL, Facts, Objects
from state.people import ERASING
from state.tables import case_row, intent, meta, metadata

OF_MAPPINGS = tuple(table for table in metadata.sorted_tables if "mapping" in table.primary_key.columns)
"""All tables whose rows are a mapping's."""


@dataclass(frozen=True)
class Named:
    """Where the name of a mapping stands, but for the rows that it has.

    `forms` are names of facts with {name} in them, which may go on behind it; `valued` begin the names of facts
    whose whole value is a mapping's name; `objects` are JSON facts in which `change` puts the new name (old, new,
    the facts) in the place of the old one; `rows` are names with {name} in them under which tables have rows.
    """

    forms: Collection[str]
    valued: Collection[str]
    objects: Collection[str]
    change: Callable[[str, str, Objects], None]
    rows: Collection[str] = ("{name}",)


class Renames(Facts):
    """Takes over what is known under an old name."""

    def has_begun(self, name: str) -> bool:
        """Say whether the books know cases or writes under a name, but for people who are being erased."""
        with self._database.reading() as connection:
            return _has_begun(connection, name)

    def rename_mapping(self, old: str, new: str, named: Named) -> int | None:
        """Give a mapping's rows and facts another name in one transaction; return how many rows of cases it has.

        None, and nothing is done, when the books know cases or writes under the new name already: which of two
        rows is right nobody can tell. Of other rows those that the new name has stay, of facts those of the old
        one.
        """
        with self._database.writing() as connection:
            if _has_begun(connection, new):
                return None
            count = 0
            for table in OF_MAPPINGS:
                for form in named.rows:
                    moved = _move(connection, table, form.format(name=old), form.format(name=new))
                    count += moved if table is case_row else 0
            self._rename_facts(connection, old, new, named)
            self._change_objects(connection, old, new, named)
            return count

    def _rename_facts(self, connection: Connection, old: str, new: str, named: Named) -> None:
        """Give the facts that carry the old name, or hold it, the new one."""
        names = {name for name in connection.scalars(select(meta.c.name)) if not name.startswith("@")}
        found = dict[str, str]()
        for form in named.forms:
            before, after = form.format(name=old), form.format(name=new)
            of_form = {name for name in names if name == before or name.startswith(f"{before}:")}
            found |= {name: after + name.removeprefix(before) for name in of_form}
        for name, now in sorted(found.items()):
            connection.execute(delete(meta).where(meta.c.name == now))
            connection.execute(update(meta).where(meta.c.name == name).values(name=now))
        for name in sorted(name for name in names if name.startswith(tuple(named.valued))):
            is_old = and_(meta.c.name == name, meta.c.value == old)
            connection.execute(update(meta).where(is_old).values(value=new))

    def _change_objects(self, connection: Connection, old: str, new: str, named: Named) -> None:
        """Put the new name into the facts that name mappings inside; those that do not are left alone."""
        found = dict(connection.execute(GET_ALL, {"names": [*named.objects]}).tuples().all())
        before, now = ({name: json.loads(found.get(name) or "{}") for name in named.objects} for _ in range(2))
        named.change(old, new, now)
        if any(before[name] != now[name] for name in before):
            self._change(connection, named.objects, lambda facts: named.change(old, new, facts))


def _has_begun(connection: Connection, name: str) -> bool:
    """Say so inside a transaction. Of people who are being erased other books may have told."""
    cases = select(case_row.c.key).where(case_row.c.mapping == name, case_row.c.status != ERASING).limit(1)
    writes = select(intent.c.key).where(intent.c.mapping == name).limit(1)
    return any(connection.scalar(query) is not None for query in (cases, writes))


def _move(connection: Connection, table: Table, old: str, new: str) -> int:
    """Give the rows of a table another name, but for those that it has under that name; return how many moved."""
    other, rest = table.alias(), [one.name for one in table.primary_key if one.name != "mapping"]
    same = exists().where(other.c.mapping == new, *(other.c[name] == table.c[name] for name in rest))
    connection.execute(delete(table).where(table.c.mapping == old, same))
    return connection.execute(update(table).where(table.c.mapping == old).values(mapping=new)).rowcount
