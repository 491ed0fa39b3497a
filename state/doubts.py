"""Rows in doubt as the log tells of them: since when, and how often in a row, their writes were not answered.

A row that was voided is sent again and its announcement begins anew; what the log says of it goes on.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import and_, bindparam, func, select

from state.books import Books
from state.log import ANSWERS, WRITTEN
from state.rows import DoubtCount, DoubtRow, RowId
from state.tables import change, intent, occasion, run

UNKNOWN = ANSWERS.index("unknown")
HEARD = tuple(ANSWERS.index(answer) for answer in (*WRITTEN, "refused"))
ADDRESS = tuple(intent.c[name] for name in RowId._fields)
BEGUN = func.coalesce(run.c.started_at, occasion.c.at)  # the log has no answer only once a row was given up
OF_ROW = and_(*(change.c[name] == intent.c[name] for name in RowId._fields))
LOGGED = (
    intent.join(change, and_(OF_ROW, change.c.answer.in_((UNKNOWN, *HEARD))))
    .join(occasion, occasion.c.id == change.c.occasion)
    .outerjoin(run, run.c.id == occasion.c.run)
)
EARLIER = select(*ADDRESS, change.c.answer, BEGUN).select_from(LOGGED).order_by(change.c.occasion)

GIVEN_UP = (
    select(change.c.key, change.c.answer, change.c.generation, occasion.c.run, occasion.c.batch)
    .select_from(change.join(occasion, occasion.c.id == change.c.occasion))
    .where(
        change.c.mapping == bindparam("mapping"),
        change.c.scope == bindparam("scope"),
        change.c.key.in_(bindparam("keys", expanding=True)),
        change.c.answer.in_((UNKNOWN, *HEARD)),
    )
    .order_by(change.c.occasion)
)
AT_ONCE = 500  # keys in one IN


class Doubts(Books):
    """Questions about rows that were sent and not answered yet; without any they cost nothing."""

    def doubts(self) -> list[DoubtRow]:
        """Return the rows in doubt: how often they were sent in vain, since when, and when last."""
        with self._database.reading() as connection:
            sent = connection.execute(select(*ADDRESS, intent.c.last_sent_at).order_by(*ADDRESS)).all()
            logged = connection.execute(EARLIER).all() if sent else []
        before = dict[RowId, list[float]]()
        for *address, answer, at in logged:
            before.setdefault(RowId(*address), []).append(at)
            if answer != UNKNOWN:
                before.pop(RowId(*address))
        found = ((RowId(*one[:3]), one.last_sent_at) for one in sent)
        return [
            DoubtRow(row, 1 + len(earlier), min([*earlier, last]), last)
            for row, last in found
            for earlier in [before.get(row, [])]
        ]

    def count_in_doubt(self) -> list[DoubtCount]:
        """Return the rows that were sent and not answered yet, by mapping, and since when the oldest waits."""
        found = dict[str, list[float]]()
        for one in self.doubts():
            found.setdefault(one.row.mapping, []).append(one.first_at)
        return [DoubtCount(mapping, len(times), min(times)) for mapping, times in sorted(found.items())]

    def unheard(
        self, mapping: str, scope: int, generations: Mapping[str, int]
    ) -> dict[str, frozenset[tuple[str, int]]]:
        """Return by key the requests (run, number) that had a case of a scope and were given up without an answer.

        Those since the last answer about it; `generations` are the keys with the number of their present case.
        """
        found = dict[str, set[tuple[str, int]]]()
        keys = sorted(generations)
        with self._database.reading() as connection:
            for start in range(0, len(keys), AT_ONCE):
                at = {"mapping": mapping, "scope": scope, "keys": keys[start : start + AT_ONCE]}
                for row in connection.execute(GIVEN_UP, at):
                    if row.answer != UNKNOWN:
                        found.pop(row.key, None)
                    elif row.generation == generations[row.key]:
                        found.setdefault(row.key, set()).add((row.run, row.batch))
        return {key: frozenset(requests) for key, requests in found.items()}
