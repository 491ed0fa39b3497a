"""One person in the books: what is known, how it is erased, and how the next read leaves him or her out.

From the first step of an erasure on no run reads the person any more; the rows stay, as "erasing", until CommCare
was told to empty the cases, so that a stop in the middle loses none of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, or_, select, union, update
from sqlalchemy.sql.elements import ColumnElement

from state.audits import Audits
from state.cases import COLUMNS
from state.courses import Courses, packed_members, read_members
from state.digest import carried, chained
from state.errors import StateError
from state.facts import DELETED_ACCOUNTS, KEYS_KEPT_OUT, LOOKED_FOR, Facts, Objects, have_read
from state.history import forget_rows, rows_in_log
from state.key import Keys
from state.opened import ANOTHER_KEY
from state.rotation import key_mark, known_keys
from state.rows import Held, RowId
from state.runs import forget_messages
from state.tables import (
    at_row,
    case_row,
    course,
    course_people,
    erased,
    feedback,
    inbox,
    intent,
    lacking,
    match_row,
    meta,
    problem,
    refusal,
    row_parameters,
)

ERASING = "erasing"
MARK = "@erased"
ADMITTED = "admitted"
"""Fact: people who were let in again, by number, and when: CommCare has cases of theirs that the books forgot."""
OF_PEOPLE = (ADMITTED, DELETED_ACCOUNTS)
"""Facts that name people by their number."""
OF_KEYS = tuple(form.partition(":")[0] for form in (KEYS_KEPT_OUT, LOOKED_FOR))
"""Facts that name people by their keys, also people of whom there is no row."""
ADDRESS = ("mapping", "scope", "key")
KNOWN = ("case_id", "owner_id", "digests", "status", "user_id", "generation", "linked")
NEVER_HEARD_OF = {
    "case_id": "", "owner_id": "", "digests": None, "status": ERASING, "generation": 1, "linked": False,
    "missing_count": 0, "missing_run": "", "pushed_at": 0.0,
}  # fmt: skip
"""What books say of a case that may have been sent, and whose person is being erased."""
MARKS = select(erased.c.mark)
OF_ROWS = (problem, refusal, lacking)
"""Tables that name people by their keys, also people of whom there is no row."""
IsTheirs = Callable[[str, str], bool | None]
"""Whether a key of a mapping is somebody's; None where nobody can tell."""
HELD = select(*COLUMNS, case_row.c.mapping, case_row.c.scope, case_row.c.pushed_at)


@dataclass(frozen=True)
class Erased:
    """The people who were erased: `number in erased` tells, and nothing else does."""

    marks: frozenset[bytes] = frozenset()
    keys: Keys = ()

    def __contains__(self, number: object) -> bool:
        return bool(self.marks) and _mark(self.keys, number) in self.marks

    def __len__(self) -> int:
        return len(self.marks)


@dataclass(frozen=True)
class PersonRows:
    """What the books hold of one person: cases, writes not answered yet (rows), and courses he or she is in."""

    cases: tuple[Held, ...]
    unanswered: tuple[RowId, ...]
    courses: tuple[int, ...]

    @property
    def rows(self) -> set[RowId]:
        """Return the addresses of all rows."""
        return {held.row for held in self.cases} | set(self.unanswered)


class People(Audits, Courses, Facts):
    """The rows of one person, over all mappings."""

    def person(self, user_id: int) -> PersonRows:
        """Return what the books hold of a person: a walk through all rows, and through the lists of courses."""
        with self._database.reading() as connection:
            found = connection.execute(HELD.where(case_row.c.user_id == user_id)).all()
            cases = tuple(sorted(self._read_held(connection, found), key=lambda held: held.row))
            unanswered = tuple(sorted(_addresses(connection, intent, user_id)))
            courses = tuple(number for number, people in _lists(connection) if user_id in people)
        return PersonRows(cases, unanswered, courses)

    def courses_of(self, people: Collection[int]) -> dict[int, set[int]]:
        """Return the courses in which these people were last seen, by person: a walk through all lists."""
        found: dict[int, set[int]] = {person: set() for person in people}
        wanted = frozenset(people)
        with self._database.reading() as connection:
            for number, members in _lists(connection) if wanted else ():
                for person in members & wanted if number else ():
                    found[person].add(number)
        return found

    def hints_about(self, user_id: int) -> list[tuple[str, int, float]]:
        """Return event, course and time (epoch) of each hint about a person, or about a case of his or hers."""
        query = select(inbox.c.event, inbox.c.course_id, inbox.c.received_at).order_by(inbox.c.id)
        with self._database.reading() as connection:
            found = connection.execute(query.where(_about(user_id))).all()
        return [(row.event, row.course_id, row.received_at) for row in found]

    def erased(self) -> Erased:
        """Return who was erased; StateError when only keys tell that were made since the books were opened."""
        with self._database.reading() as connection:
            return self._erased(connection)

    def _erased(self, connection: Connection) -> Erased:
        """Return who was erased, inside a transaction.

        The books may be open for weeks, in a receiver, and somebody rotates the key meanwhile.
        """
        marks, mark = frozenset(map(bytes, connection.scalars(MARKS))), key_mark(connection)
        keys = self._keys if mark == self._key_mark else known_keys(mark, self._given)
        if marks and keys is None:
            raise StateError(ANOTHER_KEY)
        return Erased(marks, keys or self._keys)

    def begin_erasure(self, user_id: int, now: float) -> None:
        """Leave a person out of all reads from now on; the cases are known as being erased."""
        statement = self._database.insert_new(erased)
        with self._database.writing() as connection:
            connection.execute(statement, {"mark": _mark(self._keys, user_id), "at": now})
            _set_erasing(connection, [user_id])

    def unfinished_erasures(self) -> list[int]:
        """Return the people whose erasure was begun and not finished."""
        query = select(case_row.c.user_id).where(case_row.c.status == ERASING).distinct()
        with self._database.reading() as connection:
            return sorted(connection.scalars(query))

    def keep_erased(self) -> None:
        """Treat rows of erased people as being erased: a write that was under way may have brought some back."""
        marks = self.erased()
        if not marks:
            return
        query = select(case_row.c.user_id).where(case_row.c.status != ERASING, case_row.c.user_id != 0).distinct()
        with self._database.reading() as connection:
            back = [number for number in connection.scalars(query) if number in marks]
        if back:
            with self._database.writing() as connection:
                _set_erasing(connection, back)

    def finish_erasure(self, user_id: int, is_theirs: IsTheirs = lambda *_: False) -> None:
        """Delete everything about a person but the mark, in one transaction.

        `is_theirs` says of a mapping and a key whether that is the person's, of whom there may be no row.
        """
        with self._database.writing() as connection:
            if self._database.file is not None:
                connection.exec_driver_sql("PRAGMA secure_delete=ON")  # what is deleted is overwritten
            rows = _addresses(connection, case_row, user_id) | _addresses(connection, intent, user_id)
            rows |= rows_in_log(connection, user_id)  # among them what CommCare never took
            rows |= _rows_of(connection, is_theirs)
            forget_rows(connection, rows)
            addresses = [row_parameters(row) for row in sorted(rows)]
            self._forget_hints(connection, user_id)
            self._forget_number(connection, user_id)
            self._forget_keys(connection, rows, is_theirs)
            forget_messages(connection, user_id, {row.key for row in rows})
            for table in (case_row, intent, *OF_ROWS) if addresses else ():
                connection.execute(delete(table).where(at_row(table)), addresses)
            connection.execute(delete(match_row).where(match_row.c.user_id == user_id))
            connection.execute(delete(feedback).where(feedback.c.user_id == user_id))
            for number, people in list(_lists(connection)):
                if user_id in people:
                    self._write_members(connection, number, packed_members(sorted(people - {user_id})))
                    connection.execute(
                        update(course)
                        .where(course.c.course_id == number, course.c.people > 0)
                        .values(people=course.c.people - 1)
                    )

    def _forget_hints(self, connection: Connection, user_id: int) -> None:
        """Delete the hints about a person and his or her cases, which are still known."""
        connection.execute(delete(inbox).where(_about(user_id)))

    def take_over_erased(self, other: People) -> None:
        """Leave out whom other books leave out, made with the same keys or fewer of them.

        What these know of cases that may not be empty yet comes along: no read would find it any more.
        """
        marks = other.erased()
        rows = [{"mark": carried(self._keys[len(marks.keys) :], mark), "at": 0.0} for mark in sorted(marks.marks)]
        if not rows:
            return
        cases, matches = other._not_forgotten(marks)
        with self._database.writing() as connection:
            connection.execute(self._database.insert_new(erased), rows)
            if cases:
                connection.execute(self._database.upsert(case_row, *KNOWN), cases)
            if matches:
                connection.execute(self._database.insert_new(match_row), matches)

    def _not_forgotten(self, marks: Erased) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the rows of the cases, and of the matches, of erased people whom these books still know."""
        with self._database.reading() as connection:
            query = union(select(case_row.c.user_id), select(intent.c.user_id))
            people = sorted(number for number in connection.scalars(query) if number and number in marks)
            sent = select(intent.c.mapping, intent.c.scope, intent.c.key, intent.c.user_id)
            held = select(*(case_row.c[name] for name in (*ADDRESS, *KNOWN)))
            found = dict[tuple[Any, ...], dict[str, Any]]()
            for one in people:
                for row in connection.execute(sent.where(intent.c.user_id == one)):
                    found[tuple(row[:3])] = {**NEVER_HEARD_OF, **row._mapping}
                for row in connection.execute(held.where(case_row.c.user_id == one)):
                    found[tuple(row[:3])] = {**NEVER_HEARD_OF, **row._mapping, "digests": None, "status": ERASING}
            theirs = [
                dict(row._mapping)
                for one in people
                for row in connection.execute(select(match_row).where(match_row.c.user_id == one))
            ]
        return [*found.values()], theirs

    def take_over_admitted(self, other: People, now: float) -> None:
        """Let in whom newer books let in again: the erasure that these know of was over by then."""
        left_out = other.erased()
        for number in sorted(other.admitted()):
            if number not in left_out and number in self.erased():
                self.finish_erasure(number)
                self.admit(number, now)

    def admit(self, user_id: int, now: float) -> bool:
        """Let a person who was erased be read again, by the next run; False when nobody of that number was."""
        mark = _mark(self._keys, user_id)
        with self._database.writing() as connection:
            if not connection.execute(delete(erased).where(erased.c.mark == mark)).rowcount:
                return False
            people = json.loads(self._locked_fact(connection, ADMITTED) or "{}")
            self._put(connection, ADMITTED, json.dumps(people | {str(user_id): now}, sort_keys=True))
            self._read_all_anew(connection)  # whatever the intervals say
            return True

    def admitted(self) -> frozenset[int]:
        """Return the people who were let in again after an erasure."""
        return frozenset(int(number) for number in json.loads(self.get(ADMITTED) or "{}"))

    def _forget_number(self, connection: Connection, user_id: int) -> None:
        """Take a person out of the facts that name people."""
        for name in OF_PEOPLE:
            people = json.loads(self._locked_fact(connection, name) or "{}")
            if people.pop(str(user_id), None) is not None:
                self._put(connection, name, json.dumps(people, sort_keys=True))

    def _forget_keys(self, connection: Connection, rows: Collection[RowId], is_theirs: IsTheirs) -> None:
        """Take the keys of some rows, and those that may be theirs, out of the facts that hold keys.

        These facts are no more than what the last reads showed; the next ones show it again.
        """
        known = {(row.mapping, row.key) for row in rows}
        named = or_(*(meta.c.name.startswith(f"{kind}:", autoescape=True) for kind in OF_KEYS))
        for name in connection.scalars(select(meta.c.name).where(named).order_by(meta.c.name)).all():
            held: dict[str, int] | list[str] = json.loads(self._locked_fact(connection, name) or "{}")
            mapping = name.split(":")[1]
            gone = {key for key in held if (mapping, key) in known or is_theirs(mapping, key) is not False}
            for key in gone:
                held.pop(key) if isinstance(held, dict) else held.remove(key)
            if gone:
                self._put(connection, name, json.dumps(held, sort_keys=True))

    def noted(self, is_theirs: IsTheirs) -> list[tuple[str, str, str]]:
        """Return what else the books hold of a person's keys: kind, mapping, and course ("0": the site)."""
        named = or_(*(meta.c.name.startswith(f"{kind}:", autoescape=True) for kind in OF_KEYS))
        places = select(lacking.c.mapping, lacking.c.scope, lacking.c.key).distinct()
        with self._database.reading() as connection:
            facts = connection.execute(select(meta.c.name, meta.c.value).where(named)).tuples().all()
            lacked = connection.execute(places).all()
        found = {("element", row.mapping, str(row.scope)) for row in lacked if is_theirs(row.mapping, row.key)}
        for name, value in facts:
            kind, mapping, *scope = name.split(":")
            if any(is_theirs(mapping, key) for key in json.loads(value or "[]")):
                found.add((kind, mapping, scope[0] if scope else "0"))
        return sorted(found)

    def take_word(
        self,
        word: str,
        rows: Sequence[RowId],
        names: Collection[str],
        change: Callable[[Objects, Erased], None],
        now: float,
    ) -> None:
        """Log what a person said about rows, and change the facts that follow from it, in one transaction.

        `change` is as in `change_facts`, and is told who was erased; what it raises undoes all. The next run reads
        for the mappings of the rows, whatever the intervals say.
        """
        with self._database.writing() as connection:
            who = self._erased(connection)
            self._change(connection, names, lambda facts: change(facts, who))
            have_read(self._database, connection, (row.mapping for row in rows))
            self._note_word(connection, word, rows, now)


def _mark(keys: Keys, number: object) -> bytes:
    return chained(keys, "", MARK, str(number))


def _about(user_id: int) -> ColumnElement[bool]:
    """Return the condition of hints about a person, or about a case of his or hers."""
    cases = select(case_row.c.case_id).where(case_row.c.user_id == user_id, case_row.c.case_id != "")
    return or_(inbox.c.user_id == user_id, inbox.c.case_id.in_(cases))


def _addresses(connection: Connection, table: Table, user_id: int) -> set[RowId]:
    """Return the addresses of a person's rows in a table."""
    query = select(table.c.mapping, table.c.scope, table.c.key).where(table.c.user_id == user_id)
    return {RowId(*row) for row in connection.execute(query)}


def _rows_of(connection: Connection, is_theirs: IsTheirs) -> set[RowId]:
    """Return what the books know to be wrong with a person's records, be they never sent."""
    found = set[RowId]()
    for table in OF_ROWS:
        query = select(table.c.mapping, table.c.scope, table.c.key).distinct()
        found |= {RowId(*row) for row in connection.execute(query) if is_theirs(row.mapping, row.key)}
    return found


def _set_erasing(connection: Connection, people: Collection[int]) -> None:
    these = or_(*(case_row.c.user_id == number for number in people))
    connection.execute(update(case_row).where(these).values(status=ERASING))


def _lists(connection: Connection) -> Iterable[tuple[int, frozenset[int]]]:
    """Yield each course with its people, as far as the lists can be read."""
    for number in list(connection.scalars(select(course_people.c.course_id).order_by(course_people.c.course_id))):
        people = read_members(connection, number)
        if people:
            yield number, people
