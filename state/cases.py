"""What is known of each case, and which ones a complete read no longer shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, case, func, or_, select, update

from state.log import Entry, Log
from state.rows import CaseRow, Missing, Ours, RowId
from state.statuses import CLOSED, GONE, LIVING, MARKED, MAYBE_CLOSED, UNSETTLED
from state.tables import at_row, case_row, row_parameters

CHUNK = 500  # keys in one IN
RENEWED = (*CLOSED, *MAYBE_CLOSED)
FRESH: dict[str, Any] = {
    "case_id": "",
    "digests": None,
    "status": "active",
    "missing_count": 0,
    "missing_run": "",
    "linked": False,
}
"""A row about a next case of its key, of which nothing is known."""
COLUMNS = tuple(
    case_row.c[column]
    for column in (
        "key",
        "case_id",
        "owner_id",
        "digests",
        "status",
        "missing_count",
        "user_id",
        "generation",
        "linked",
    )
)
_SCOPE = and_(case_row.c.mapping == bindparam("mapping"), case_row.c.scope == bindparam("scope"))
# Made once: making a statement takes longer than running it.
READ_SCOPE = select(*COLUMNS).where(_SCOPE)
READ_KEYS = READ_SCOPE.where(case_row.c.key.in_(bindparam("keys", expanding=True)))
SCOPES = (
    select(case_row.c.scope)
    .distinct()
    .where(
        case_row.c.mapping == bindparam("mapping"),
        case_row.c.status.in_(bindparam("statuses", expanding=True)),
    )
)
COUNT_LIVING = (
    select(func.count())
    .select_from(case_row)
    .where(case_row.c.case_id != "", case_row.c.mapping == bindparam("mapping"), case_row.c.status.in_(LIVING))
)
COUNT_LIVING_IN = COUNT_LIVING.where(case_row.c.scope == bindparam("scope"))
BECOMES = bindparam("becomes", type_=case_row.c.status.type)
NOTED = ("key", "status", "missing_count", "missing_run", "user_id")
READ_NOTED = select(*(case_row.c[name] for name in NOTED)).where(_SCOPE).execution_options(yield_per=CHUNK)


@dataclass
class _Noted:
    """The keys of a scope by what a read says of them."""

    back: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    news: list[str] = field(default_factory=list)
    active: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)

    @property
    def is_news(self) -> bool:
        """Whether any row is to be written."""
        return bool(self.back or self.news or self.active or self.again)


def _nobodys(*_: object) -> bool:
    """Say of each key that it is none that a mapping makes."""
    return False


LIVES_AGAIN = case({status: status for status in LIVING}, value=case_row.c.missing_run, else_="active")
"""What a replaced row was, kept in place of the run that lacked it last: no read counts it."""


class _Read:
    """What a complete read of a scope showed."""

    def __init__(
        self, seen: Collection[str], protected: Set[int], run_id: str, scope: int = 0, is_ours: Ours = _nobodys
    ) -> None:
        self._seen = seen if isinstance(seen, Set) else frozenset(seen)
        self._protected = protected
        self._run_id = run_id
        self._is_ours = partial(is_ours, scope)

    def compared(self, rows: Iterable[Row[Any]]) -> _Noted:
        """Compare the rows of `READ_NOTED` with it."""
        noted = _Noted()
        for key, status, missing_count, missing_run, user_id in rows:
            if status == "replaced":
                if key not in self._seen and not self._is_ours(key, user_id):
                    noted.gone.append(key)
                    continue
                noted.active.append(key)
                status = "active"
            if key in self._seen or (user_id and user_id in self._protected):
                noted.back += [key] if missing_count else []
                noted.again += [key] if status in MARKED and key in self._seen else []
            elif status in LIVING or status in UNSETTLED:
                noted.gone.append(key)
                noted.news += [key] if missing_run != self._run_id else []
        return noted


class Cases(Log):
    """The rows of the cases, by mapping and scope (course id, or 0)."""

    def cases(self, mapping: str, scope: int, keys: Collection[str] | None = None) -> dict[str, CaseRow]:
        """Return the known cases of a scope by key: all of them, or those of `keys` that are known."""
        with self._database.reading() as connection:
            return self._cases(connection, mapping, scope, keys)

    def count_known(self, mapping: str) -> int:
        """Return how many cases of a mapping have a case id."""
        return self._count(case_row.c.mapping == mapping)

    def count_active(self, mapping: str, scope: int | None = None) -> int:
        """Return how many cases with a case id are living, in one scope or in all."""
        with self._database.reading() as connection:
            if scope is None:
                return connection.scalar(COUNT_LIVING, {"mapping": mapping}) or 0
            return connection.scalar(COUNT_LIVING_IN, {"mapping": mapping, "scope": scope}) or 0

    def active_keys(self, mapping: str, scope: int) -> dict[str, int]:
        """Return the keys of the active cases of a scope that CommCare is known to have, with their person."""
        query = select(case_row.c.key, case_row.c.user_id).where(case_row.c.status == "active")
        with self._database.reading() as connection:
            rows = connection.execute(query.where(_in_scope(mapping, scope), case_row.c.case_id != ""))
            return {row.key: row.user_id for row in rows}

    def scopes(self, mapping: str, statuses: Collection[str]) -> set[int]:
        """Return the scopes that hold rows of a mapping with one of these statuses."""
        with self._database.reading() as connection:
            return set(connection.scalars(SCOPES, {"mapping": mapping, "statuses": sorted(statuses)}))

    def note_read(
        self,
        mapping: str,
        scope: int,
        seen: Collection[str],
        run_id: str,
        protected: Set[int] = frozenset(),
        is_ours: Ours = _nobodys,
    ) -> list[Missing]:
        """Take in that a complete read of a scope showed the keys `seen`; return the rows it lacked.

        Those are the living ones, and those of which nobody knows whether they are marked as left, or emptied.

        A lacked row counts one more complete read without it, once per run however often it is noted; a seen
        row, and one of a `protected` person, starts again at 0. Rows for which neither is news are not written.
        A seen row that is marked as left, or maybe, joins again, whatever keeps CommCare from being told.
        Replaced rows that were not seen are returned too, uncounted; one that was seen is what it was again, and
        so is one whose key `is_ours`: the mapping makes it again.
        """
        at, read = {"mapping": mapping, "scope": scope}, _Read(seen, protected, run_id, scope, is_ours)
        with self._database.reading() as connection:
            noted = read.compared(connection.execute(READ_NOTED, at))
            found = self._cases(connection, mapping, scope, noted.gone)
        if noted.is_news:  # in most runs it is none, and nothing is written
            with self._database.writing() as connection:
                noted = read.compared(connection.execute(READ_NOTED, at))
                scoped = (connection, mapping, scope)
                self._bring_back(*scoped, noted)
                self._set(*scoped, noted.news, missing_count=case_row.c.missing_count + 1, missing_run=run_id)
                found = self._cases(*scoped, noted.gone)
        return [Missing(RowId(mapping, scope, key), found[key]) for key in sorted(found)]

    def note_seen(self, mapping: str, scope: int, seen: Collection[str]) -> None:
        """Take in the keys that a read of a part of a scope showed; what it lacked is as it was."""
        at, read = {"mapping": mapping, "scope": scope}, _Read(seen, frozenset(), "")
        with self._database.reading() as connection:
            noted = read.compared(connection.execute(READ_NOTED, at))
        if noted.back or noted.active or noted.again:
            with self._database.writing() as connection:
                self._bring_back(connection, mapping, scope, read.compared(connection.execute(READ_NOTED, at)))

    def note_members(self, mapping: str, scope: int, people: Set[int], is_ours: Ours) -> None:
        """Take in who is in a course of which no records were read: their rows, under keys of now, are there."""
        with self._database.reading() as connection:
            rows = connection.execute(READ_NOTED, {"mapping": mapping, "scope": scope})
            found = [row for row in rows if row.user_id in people and _says_gone(row.status, row.missing_count)]
        self.note_seen(mapping, scope, [row.key for row in found if is_ours(scope, row.key, row.user_id)])

    def _bring_back(self, connection: Connection, mapping: str, scope: int, noted: _Noted) -> None:
        """Write down who was seen."""
        self._set(connection, mapping, scope, noted.active, status=LIVES_AGAIN, missing_count=0, missing_run="")
        self._set(connection, mapping, scope, noted.again, status="rejoining")
        self._set(connection, mapping, scope, noted.back, missing_count=0, missing_run="")

    def active_in_courses(self, mappings: Collection[str], people: Collection[int]) -> dict[RowId, int]:
        """Return the living cases that people have in courses, with their person: a walk through all rows.

        Also those that CommCare was not heard to have: their people were seen there.
        """
        query = select(case_row.c.mapping, case_row.c.scope, case_row.c.key, case_row.c.user_id).where(
            case_row.c.mapping.in_(sorted(mappings)),
            case_row.c.scope != 0,
            case_row.c.status.in_(LIVING),
        )
        wanted = frozenset(people)
        with self._database.reading() as connection:
            rows = connection.execute(query.execution_options(yield_per=CHUNK))
            return {RowId(*row[:3]): row.user_id for row in rows if row.user_id in wanted}

    def cases_of(self, mapping: str, people: Collection[int]) -> dict[RowId, CaseRow]:
        """Return the cases of a mapping that belong to these people: a walk through all its rows."""
        query = select(case_row.c.scope, case_row.c.user_id, *COLUMNS).where(case_row.c.mapping == mapping)
        wanted = frozenset(people)
        with self._database.reading() as connection:
            rows = connection.execute(query.execution_options(yield_per=CHUNK))
            found = [row for row in rows if row.user_id in wanted]
            return {RowId(mapping, row.scope, row.key): self._case(connection, row[2:]) for row in found}

    def people_with(
        self, mapping: str, statuses: Collection[str], among: Collection[int] | None = None
    ) -> dict[RowId, int]:
        """Return the rows of a mapping with one of these statuses, and their person: all, or some people's."""
        query = select(case_row.c.scope, case_row.c.key, case_row.c.user_id).where(
            case_row.c.mapping == mapping, case_row.c.status.in_(sorted(statuses)), case_row.c.user_id != 0
        )
        wanted = None if among is None else frozenset(among)
        with self._database.reading() as connection:
            rows = connection.execute(query.execution_options(yield_per=CHUNK))
            return {
                RowId(mapping, row.scope, row.key): row.user_id
                for row in rows
                if wanted is None or row.user_id in wanted
            }

    def gone_people(self, mapping: str, scope: int, people: Collection[int]) -> set[int]:
        """Return those of some people who have cases in a scope that are all gone: left, or closed by us."""
        query = select(case_row.c.user_id, case_row.c.status).where(_in_scope(mapping, scope))
        wanted, there, staying = frozenset(people), set[int](), set[int]()
        with self._database.reading() as connection:
            for user_id, status in connection.execute(query.execution_options(yield_per=CHUNK)):
                if user_id in wanted:
                    (there if status in GONE else staying).add(user_id)
        return there - staying

    def unmarked_people(self, mappings: Collection[str], read: Collection[int]) -> tuple[set[int], set[int]]:
        """Return who has cases of some mappings that are not marked as left for certain: a walk through all rows.

        First those with such a case of the site, then those with one in a course that is not among the `read`.
        """
        query = select(case_row.c.scope, case_row.c.user_id).where(
            case_row.c.mapping.in_(sorted(mappings)),
            case_row.c.status.in_((*LIVING, *UNSETTLED)),
            case_row.c.user_id != 0,
        )
        of_site, of_courses, known = set[int](), set[int](), frozenset(read)
        with self._database.reading() as connection:
            for scope, user_id in connection.execute(query.execution_options(yield_per=CHUNK)):
                if not scope:
                    of_site.add(user_id)
                elif scope not in known:
                    of_courses.add(user_id)
        return of_site, of_courses

    def count_active_people(self, mappings: Collection[str]) -> int:
        """Return how many people have living cases of some mappings that CommCare is known to have."""
        query = select(func.count(case_row.c.user_id.distinct())).where(
            case_row.c.mapping.in_(sorted(mappings)),
            case_row.c.status.in_(LIVING),
            case_row.c.case_id != "",
            case_row.c.user_id != 0,
        )
        with self._database.reading() as connection:
            return connection.scalar(query) or 0

    def settle(self, rows: Mapping[RowId, str]) -> None:
        """Give rows a status of which CommCare need not be told; their digests stay as they are.

        Whoever joins again is missing from no read: it takes two to be gone once more.
        """
        is_back = BECOMES == "rejoining"
        counted = {"missing_count": case((is_back, 0), else_=case_row.c.missing_count)}
        counted |= {"missing_run": case((is_back, ""), else_=case_row.c.missing_run)}
        self._put_each("status", rows, counted)

    def keep_owners(self, rows: Mapping[RowId, str]) -> None:
        """Remember whose cases they are, before they are given to somebody else for a while."""
        self._put_each("owner_id", rows)

    def _put_each(
        self, column: str, rows: Mapping[RowId, str], besides: Mapping[str, ColumnElement[Any]] | None = None
    ) -> None:
        """Set one column of each row to a value of its own, and others to what follows from that."""
        if not rows:
            return
        statement = update(case_row).where(at_row(case_row)).values({column: BECOMES, **(besides or {})})
        with self._database.writing() as connection:
            connection.execute(
                statement, [row_parameters(row) | {"becomes": value} for row, value in sorted(rows.items())]
            )

    def renew(self, rows: Sequence[RowId], now: float) -> None:
        """Let closed cases live again as new ones: without case id and digests, under the next generation."""
        if not rows:
            return
        is_closed = or_(*(case_row.c.status == status for status in RENEWED))  # IN is not for many rows at once
        fresh = update(case_row).where(at_row(case_row), is_closed)
        with self._database.writing() as connection:
            known = self._known(connection, rows)
            closed = [row for row, case in known.items() if case.status in RENEWED]
            connection.execute(
                fresh.values(generation=case_row.c.generation + 1, **FRESH), [row_parameters(row) for row in rows]
            )
            self._note_word(connection, "renew", closed, now)

    def follow(self, row: RowId, generation: int, now: float) -> None:
        """Let a row be about a later case of its key, of which nothing is known but the generation.

        Whatever became of the one before; nothing happens to a row that is as far already.
        """
        fresh = update(case_row).where(at_row(case_row), case_row.c.generation < generation)
        with self._database.writing() as connection:
            if connection.execute(fresh.values(generation=generation, **FRESH), row_parameters(row)).rowcount:
                self._note_word(connection, "renew", [row], now)

    def _note_word(self, connection: Connection, word: str, rows: Sequence[RowId], now: float) -> None:
        """Log a word about rows that is no request, also about rows of which there is no case yet."""
        known = self._known(connection, rows)
        found = {row: (known[row].user_id, known[row].generation) if row in known else (0, 1) for row in rows}
        entries = [Entry(row, user, word, "noted", generation) for row, (user, generation) in found.items()]
        self._note(connection, entries, now)

    def _known(self, connection: Connection, rows: Iterable[RowId]) -> dict[RowId, CaseRow]:
        """Return those of the rows that are known already, read scope by scope."""
        keys = defaultdict(list)
        for row in rows:
            keys[row.mapping, row.scope].append(row.key)
        return {
            RowId(mapping, scope, key): case
            for (mapping, scope), wanted in keys.items()
            for key, case in self._cases(connection, mapping, scope, wanted).items()
        }

    def _cases(
        self, connection: Connection, mapping: str, scope: int, keys: Collection[str] | None
    ) -> dict[str, CaseRow]:
        """Read cases inside a transaction."""
        at = {"mapping": mapping, "scope": scope}
        if keys is None:
            return {row.key: self._case(connection, row) for row in connection.execute(READ_SCOPE, at)}
        found = {}
        for chunk in _chunks(sorted(set(keys))):
            for row in connection.execute(READ_KEYS, {**at, "keys": chunk}).all():
                found[row.key] = self._case(connection, row)
        return found

    def _case(self, connection: Connection, row: Row[Any] | Sequence[Any]) -> CaseRow:
        """Make the record of one row of the table."""
        key, case_id, owner_id, packed, status, missing_count, user_id, generation, linked = row
        digests = None if packed is None else self._names.unpack(connection, packed)
        return CaseRow(key, case_id, owner_id, digests, status, missing_count, user_id, generation, linked)

    def _count(self, *where: ColumnElement[bool]) -> int:
        """Count rows that have a case id."""
        query = select(func.count()).select_from(case_row).where(case_row.c.case_id != "", *where)
        with self._database.reading() as connection:
            return connection.scalar(query) or 0

    def _set(self, connection: Connection, mapping: str, scope: int, keys: list[str], **values: Any) -> None:
        """Set columns of some rows of a scope; nothing happens without rows."""
        if keys:
            statement = update(case_row).where(_in_scope(mapping, scope), case_row.c.key == bindparam("at_key"))
            connection.execute(statement.values(**values), [{"at_key": key} for key in keys])


def _says_gone(status: str, missing_count: int) -> bool:
    """Say whether a row says that its person is gone, or was lacking."""
    return status in MARKED or (missing_count > 0 and status in LIVING)


def _in_scope(mapping: str, scope: int) -> ColumnElement[bool]:
    """Return the condition for the rows of a scope."""
    return and_(case_row.c.mapping == mapping, case_row.c.scope == scope)


def _chunks(keys: list[str]) -> Iterator[list[str]]:
    """Cut keys into pieces that fit into one IN."""
    for start in range(0, len(keys), CHUNK):
        yield keys[start : start + CHUNK]
