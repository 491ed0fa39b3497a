"""How far each course is: last complete read, who was in it, failures since. Course 0 = the read of the people."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Sequence
from itertools import groupby

from sqlalchemy import Connection, bindparam, delete, select, update

from state.books import Books
from state.rows import CourseRow
from state.tables import course, course_people

CHECK_OFF = update(course).where(course.c.course_id == bindparam("number"))
MEMBERS = select(course_people.c.members).where(course_people.c.course_id == bindparam("course_id"))


class Courses(Books):
    """The checkpoints."""

    def checkpoint(self, course_id: int, run_id: str, now: float, member_ids: Collection[int]) -> None:
        """Write down that a course was read completely and every row of it is settled."""
        members = [member for member, _ in groupby(sorted(member_ids))]  # a set would take eight times the room
        values = {"complete_at": now, "run_id": run_id, "people": len(members), "failures": 0}
        with self._database.writing() as connection:
            if connection.execute(CHECK_OFF, {"number": course_id, **values}).rowcount == 0:
                connection.execute(self._database.upsert(course, *values), {"course_id": course_id, **values})
            self._keep_members(connection, course_id, members)

    def saw_people(self, course_id: int, member_ids: Collection[int]) -> None:
        """Write down who is in a course whose people were read, whether its rows are ever settled or not.

        `member_ids` come in ascending order. A course that was never settled counts as never read.
        """
        new = {"course_id": course_id, "complete_at": 0.0, "run_id": "", "people": 0, "failures": 0}
        members = [*member_ids]
        with self._database.reading() as connection:
            if _packed(connection, course_id) == packed_members(members):
                return
        with self._database.writing() as connection:
            if self._keep_members(connection, course_id, members):
                connection.execute(self._database.insert_new(course), new)

    def course_failed(self, course_id: int) -> None:
        """Count a failure of a course; the time of its last complete read stays."""
        insert = self._database.insert(course)
        statement = insert.on_conflict_do_update(
            index_elements=["course_id"], set_={"failures": course.c.failures + 1}
        )
        new = {"course_id": course_id, "complete_at": 0.0, "run_id": "", "people": 0, "failures": 1}
        with self._database.writing() as connection:
            connection.execute(statement, new)

    def courses(self) -> dict[int, CourseRow]:
        """Return every course that was read or tried, by its id."""
        with self._database.reading() as connection:
            rows = connection.execute(select(course).order_by(course.c.course_id)).all()
        return {
            row.course_id: CourseRow(row.course_id, row.complete_at, row.run_id, row.people, row.failures)
            for row in rows
        }

    def member_ids(self, course_id: int) -> frozenset[int]:
        """Return the Moodle user ids of the last complete read of a course's people; empty when there was none."""
        with self._database.reading() as connection:
            return read_members(connection, course_id) or frozenset()

    def forget_course(self, course_id: int) -> None:
        """Forget a course that is no more, and who was in it; its cases stay."""
        with self._database.writing() as connection:
            for table in (course, course_people):
                connection.execute(delete(table).where(table.c.course_id == course_id))

    def _keep_members(self, connection: Connection, course_id: int, members: Sequence[int]) -> bool:
        """Replace the list of a course's people where it is another one; returns whether it was."""
        packed = packed_members(members)
        is_other = _packed(connection, course_id) != packed
        if is_other:
            self._write_members(connection, course_id, packed)
        return is_other

    def _write_members(self, connection: Connection, course_id: int, packed: bytes) -> None:
        """Replace the list of a course's people."""
        statement = self._database.upsert(course_people, "members")
        connection.execute(statement, {"course_id": course_id, "members": packed})


def read_members(connection: Connection, course_id: int) -> frozenset[int] | None:
    """Read the list of a course's people, None when there is none that can be read."""
    packed = _packed(connection, course_id)
    try:
        return None if packed is None else _unpack(packed)
    except (zlib.error, struct.error):
        return None


def _packed(connection: Connection, course_id: int) -> bytes | None:
    """Read the list of a course's people as it is stored."""
    return connection.scalar(MEMBERS, {"course_id": course_id})


def packed_members(ids: Sequence[int]) -> bytes:
    """Return ids, which come in ascending order, as compressed 8-byte numbers."""
    return zlib.compress(struct.pack(f"<{len(ids)}q", *ids))


def _unpack(packed: bytes) -> frozenset[int]:
    """Return the ids that `packed_members` took."""
    return frozenset(number for (number,) in struct.iter_unpack("<q", zlib.decompress(packed)))
