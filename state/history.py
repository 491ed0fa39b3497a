"""Reading the log: what happened to a case, what a run did, how much changed for whom; and forgetting it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from itertools import takewhile
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select

from state.log import ANSWERS, OPS, REASON, WRITTEN, Log, words
from state.rows import Change, RowId
from state.tables import at_row, case_row, change, intent, occasion, row_parameters, run

AT_ONCE = 500  # keys in one IN
AHEAD = 86_400.0  # seconds that a clock may be ahead; no occasion lies further in the future
TAKEN = tuple(ANSWERS.index(answer) for answer in WRITTEN)
OF_OWNER = (case_row.c.owner_id, case_row.c.mapping, case_row.c.status)
COLUMNS = (
    *(change.c[name] for name in ("mapping", "scope", "key", "op", "answer", "reason", "generation", "names")),
    *(occasion.c[name] for name in ("at", "run", "batch", "form_id")),
    func.coalesce(run.c.revision, "").label("revision"),
)
OLDEST = select(occasion.c.at).order_by(occasion.c.id).limit(1)
JOINED = change.join(occasion, occasion.c.id == change.c.occasion).outerjoin(run, run.c.id == occasion.c.run)


class Kind(NamedTuple):
    """What changes have in common: the mapping, what was meant, and the answer."""

    mapping: str
    op: str
    answer: str


class Share(NamedTuple):
    """What cases have in common for those who carry them: owner (CommCare's id), mapping and status."""

    owner_id: str
    mapping: str
    status: str


class History(Log):
    """Questions about the past; each is one walk through the log, which has no index but its own order."""

    def history(self, key: str) -> list[Change]:
        """Return all that is known to have happened to the cases of a key, the newest last."""
        return self._changes(change.c.key == key)

    def may_have_closed(self, row: RowId, generation: int) -> bool:
        """Say whether a close of a case was sent, and since then CommCare has not answered to any write of it."""
        here = change.c.mapping == row.mapping, change.c.scope == row.scope, change.c.key == row.key
        answers = [ANSWERS.index(answer) for answer in (*WRITTEN, "unknown")]
        mine = change.c.generation == generation, change.c.answer.in_(answers)
        query = select(change.c.op, change.c.answer).where(*here, *mine).order_by(change.c.occasion.desc())
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        unanswered = takewhile(lambda one: ANSWERS[one.answer] == "unknown", rows)
        return any(OPS[one.op] == "closed" for one in unanswered)

    def history_of_run(self, run_id: str, most: int) -> tuple[list[Change], Counter[Kind]]:
        """Return the first `most` changes of a run, the oldest first, and how many of each kind it made."""
        mine = change.c.occasion.in_(select(occasion.c.id).where(occasion.c.run == run_id))
        columns = change.c.mapping, change.c.op, change.c.answer
        query = select(*columns, func.count()).where(mine).group_by(*columns)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        counts = Counter({Kind(row[0], OPS[row[1]], ANSWERS[row[2]]): row[3] for row in rows})
        return self._changes(mine, most), counts

    def history_of_person(self, user_id: int, rows: Collection[RowId]) -> list[Change]:
        """Return what happened to a person's cases: those logged under the number, and those of these rows."""
        keys = sorted({row.key for row in rows})
        parts = [keys[start : start + AT_ONCE] for start in range(0, len(keys), AT_ONCE)]
        return self._changes(or_(change.c.user_id == user_id, *(change.c.key.in_(part) for part in parts)))

    def runs_like(self, run_id: str, most: int = 10) -> list[str]:
        """Return the runs in the log whose name begins or ends like this, the newest first."""
        name = occasion.c.run
        like = or_(name.startswith(run_id, autoescape=True), name.endswith(run_id, autoescape=True))
        query = select(name).where(like, name != "").group_by(name)
        with self._database.reading() as connection:
            return list(connection.scalars(query.order_by(func.max(occasion.c.id).desc()).limit(most)))

    def keys_like(self, text: str, most: int = 8) -> list[str]:
        """Return keys of the books that begin like a text, end like its last part, or are of that person."""
        tail, column = text.rpartition("-")[2] or text, case_row.c.key
        like = [column.startswith(text, autoescape=True), column.endswith(f"-{tail}", autoescape=True)]
        if tail.isdecimal() and len(tail) < 19:
            like.append(case_row.c.user_id == int(tail))
        query = select(case_row.c.key).where(or_(*like)).distinct().order_by(case_row.c.key).limit(most)
        with self._database.reading() as connection:
            return list(connection.scalars(query))

    def example_keys(self) -> dict[str, str]:
        """Return one key of each mapping, which shows the form that they have."""
        query = select(case_row.c.mapping, func.min(case_row.c.key)).group_by(case_row.c.mapping)
        with self._database.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query.order_by(case_row.c.mapping))}

    def rows_of_key(self, key: str) -> list[RowId]:
        """Return where the cases, and the writes not answered yet, of a key are."""
        found = set[RowId]()
        with self._database.reading() as connection:
            for table in (case_row, intent):
                query = select(table.c.mapping, table.c.scope, table.c.key).where(table.c.key == key)
                found |= {RowId(*row) for row in connection.execute(query)}
        return sorted(found)

    def key_of_case(self, case_id: str) -> str | None:
        """Return the key of the case that has this id in CommCare, None when the books know no such case."""
        with self._database.reading() as connection:
            return connection.scalar(select(case_row.c.key).where(case_row.c.case_id == case_id).limit(1))

    def carried(self) -> Counter[Share]:
        """Return how many cases CommCare is known to have, by what they have in common."""
        query = select(*OF_OWNER, func.count()).where(case_row.c.case_id != "").group_by(*OF_OWNER)
        with self._database.reading() as connection:
            return Counter({Share(*row[:3]): row[3] for row in connection.execute(query)})

    def written_since(self, moment: float) -> Counter[Share]:
        """Return how often cases were written since a moment, by what they have in common now."""
        same = and_(*(change.c[name] == case_row.c[name] for name in ("mapping", "scope", "key")))
        late = change.c.occasion.in_(select(occasion.c.id).where(occasion.c.at >= moment))
        query = select(*OF_OWNER, func.count()).select_from(change.join(case_row, same))
        query = query.where(late, change.c.answer.in_(TAKEN)).group_by(*OF_OWNER)
        with self._database.reading() as connection:
            return Counter({Share(*row[:3]): row[3] for row in connection.execute(query)})

    def log_begins(self) -> float | None:
        """Return the time of the oldest occasion in the log, None when it is empty."""
        with self._database.reading() as connection:
            begins: float | None = connection.scalar(select(func.min(occasion.c.at)))
        return begins

    def _changes(self, where: ColumnElement[bool], most: int | None = None) -> list[Change]:
        query = select(*COLUMNS).select_from(JOINED).where(where)
        query = query.order_by(change.c.occasion, change.c.mapping, change.c.scope, change.c.key).limit(most)
        with self._database.reading() as connection:
            names = self._names.by_number(connection)
            return [_change(names, row) for row in connection.execute(query)]


def _change(names: dict[int, str], row: Any) -> Change:
    """Make the record of one row of the table."""
    return Change(
        row=RowId(row.mapping, row.scope, row.key),
        at=row.at,
        op=OPS[row.op],
        answer=ANSWERS[row.answer],
        reason=names.get(row.reason, "").removeprefix(REASON),
        names=words(names, bytes(row.names)),
        generation=row.generation,
        run=row.run,
        batch=row.batch,
        form_id=row.form_id,
        revision=row.revision,
    )


# --- what is forgotten, inside the transactions of others ------------------------------------------------------


def rows_in_log(connection: Connection, user_id: int) -> set[RowId]:
    """Return the rows that the log has of a person, among them those that CommCare never took."""
    query = select(change.c.mapping, change.c.scope, change.c.key).where(change.c.user_id == user_id)
    return {RowId(*row) for row in connection.execute(query.distinct())}


def forget_rows(connection: Connection, rows: Iterable[RowId]) -> None:
    """Delete all that the log has of some rows."""
    if addresses := [row_parameters(row) for row in sorted(rows)]:
        connection.execute(delete(change).where(at_row(change)), addresses)


def is_due(connection: Connection, moment: float, now: float) -> bool:
    """Say whether the oldest occasion of the log is from before a moment."""
    oldest = connection.scalar(OLDEST)
    return oldest is not None and not moment <= oldest <= now + AHEAD


def forget_before(connection: Connection, moment: float, now: float) -> None:
    """Delete what happened before a moment: all that has a lower number than the first occasion that is kept.

    Numbers rise with time; an occasion that a wrong clock put far into the future is none that is kept.
    """
    kept = select(occasion.c.id).where(occasion.c.at.between(moment, now + AHEAD))
    first = connection.scalar(kept.order_by(occasion.c.id).limit(1))
    for table, number in ((change, change.c.occasion), (occasion, occasion.c.id)):
        old = delete(table) if first is None else delete(table).where(number < first)
        connection.execute(old)
