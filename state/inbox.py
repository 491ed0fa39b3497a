"""The inbox: hints that something happened, as ids and times; kept until a run has looked, and a week after that.

A hint never says what is so now, only where to look. One that came twice is one hint; when too many wait, one
hint about the whole site stands for those that find no room.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from state.care import HINTS_KEPT
from state.database import Database, there
from state.moved import stay_here
from state.people import People
from state.schema import VERSION_TABLE
from state.tables import inbox, occasion

ROOM = 20_000
"""Hints that may wait at the same time, and as many done ones are kept at most."""
OURS, WHOLE_SITE = "ours", "whole_site"
"""Source and event of the hint that stands for those that found no room."""
HERE = inbox.c.id == bindparam("number")
UNUSED = "unused"
"""Outcome of hints that nothing here has a use for: they are not kept."""


@dataclass(frozen=True, slots=True)
class Hint:
    """Something happened: `event` about a course, a person (Moodle's numbers, 0 for none) or a CommCare case.

    `mark` is the same for the same event told twice; `occurred_at` is the other system's time (epoch seconds).
    """

    source: str
    event: str
    mark: bytes
    occurred_at: float = 0.0
    course_id: int = 0
    user_id: int = 0
    case_id: str = ""
    form_id: str = ""


@dataclass(frozen=True, slots=True)
class HintRow:
    """A hint in the inbox: its number, when it came, and how many drains have begun work on it."""

    number: int
    hint: Hint
    received_at: float
    attempts: int


@dataclass(frozen=True, slots=True)
class InboxState:
    """How the inbox is: hints waiting (by source), seconds the oldest has waited, when the last one came (epoch).

    `outcomes` counts the hints done in the last seven days by what became of them, as far as they are kept.
    """

    waiting: Mapping[str, int]
    oldest_s: float
    last_received_at: float | None
    outcomes: Mapping[str, int]


class Inbox(People):
    """The hints."""

    def inbox_add(self, hints: Sequence[Hint], now: float, room: int = ROOM) -> int:
        """Take hints in, all in one transaction; returns how many, from the first on: the others find no room.

        Nobody who was erased gets in; what happened in the course does. StateError when the books moved away since
        they were opened, since nobody would look for a hint in the old ones, or when their key was changed.
        """
        with self._database.writing() as connection:
            stay_here(connection, self._database.place, inbox)
            erased = self._erased(connection)
            kept = [_about_nobody(hint) if hint.user_id and hint.user_id in erased else hint for hint in hints]
            taken = max(0, min(len(kept), room - _count(connection, inbox.c.done_at.is_(None))))
            rows = [_row(hint, now) for hint in kept[:taken] if hint.source]
            if rows:
                again = {"posts": inbox.c.posts + 1}
                connection.execute(
                    self._database.insert(inbox).on_conflict_do_update(
                        index_elements=["source", "mark"], set_=again
                    ),
                    rows,
                )
            if taken < len(kept):
                _ask_for_the_whole_site(connection, now)
        return taken

    def inbox_claim(self, claim: str, now: float, before: float) -> list[HintRow]:
        """Begin work on all hints that came until `before`; each counts one attempt more, in the order they came.

        Only who holds the lease works on hints, so those that a drain which crashed had begun are begun again.
        """
        due = or_(inbox.c.received_at <= before, inbox.c.received_at > now)  # the clock was set back since
        begun = update(inbox).where(inbox.c.done_at.is_(None), due)
        found = select(inbox).where(inbox.c.claim == claim, inbox.c.done_at.is_(None)).order_by(inbox.c.id)
        with self._database.writing() as connection:
            connection.execute(begun.values(claim=claim, attempts=inbox.c.attempts + 1))
            rows = connection.execute(found).all()
        return [
            HintRow(
                row.id,
                Hint(
                    row.source, row.event, bytes(row.mark), row.occurred_at, row.course_id, row.user_id,
                    row.case_id, row.form_id,
                ),
                row.received_at,
                row.attempts,
            )
            for row in rows
        ]  # fmt: skip

    def inbox_release(self, numbers: Sequence[int], *, tried: bool = False) -> None:
        """Leave hints for later; unless they were `tried`, this attempt does not count."""
        values = {"claim": ""} if tried else {"claim": "", "attempts": inbox.c.attempts - 1}
        if numbers:
            with self._database.writing() as connection:
                connection.execute(update(inbox).where(HERE).values(**values), _each(numbers))

    def inbox_finish(self, outcomes: Mapping[str, Sequence[int]], now: float) -> None:
        """Note what became of hints: outcome (a code) -> their numbers; unused ones are deleted at once."""
        found = {outcome: _each(numbers) for outcome, numbers in outcomes.items() if numbers}
        if not found:
            return
        with self._database.writing() as connection:
            for outcome, numbers in found.items():
                done = update(inbox).values(done_at=now, outcome=outcome, claim="")
                connection.execute((delete(inbox) if outcome == UNUSED else done).where(HERE), numbers)
            old = select(inbox.c.id).where(inbox.c.done_at.is_not(None)).order_by(inbox.c.id.desc())
            oldest = connection.scalar(old.limit(1).offset(ROOM))
            if oldest is not None:
                connection.execute(delete(inbox).where(inbox.c.done_at.is_not(None), inbox.c.id <= oldest))

    def own_forms(self, form_ids: Collection[str]) -> set[str]:
        """Return which of these forms of CommCare are writes of ours, by the log."""
        found = set[str]()
        wanted = sorted(set(filter(None, form_ids)))
        with self._database.reading() as connection:
            for start in range(0, len(wanted), 500):
                some = occasion.c.form_id.in_(wanted[start : start + 500])
                found.update(connection.scalars(select(occasion.c.form_id).where(some)))
        return found

    def inbox_state(self, now: float) -> InboxState:
        """Return how the inbox is."""
        waiting = select(inbox.c.source, func.count(), func.min(inbox.c.received_at))
        waiting = waiting.where(inbox.c.done_at.is_(None)).group_by(inbox.c.source)
        done = (
            select(inbox.c.outcome, func.count())
            .where(inbox.c.done_at > now - HINTS_KEPT)
            .group_by(inbox.c.outcome)
        )
        with self._database.reading() as connection:
            found = connection.execute(waiting).all()
            outcomes = {row[0]: row[1] for row in connection.execute(done)}
            last = connection.scalar(select(func.max(inbox.c.received_at)))
        oldest = min((row[2] for row in found), default=now)
        return InboxState({row[0]: row[1] for row in found}, max(0.0, now - oldest), last, outcomes)


def hints_wait(url: str) -> bool:
    """Say whether hints wait in the books at this address, without opening the books as a run does.

    Costs a millisecond where there are none; no books, or books from before there was an inbox, hold no hints.
    """
    if not there(url):
        return False
    database = Database(url)
    try:
        with database.reading() as connection:
            tables = connection.dialect.get_table_names(connection)
            if not {inbox.name, VERSION_TABLE} <= set(tables):
                return False
            return connection.scalar(select(inbox.c.id).where(inbox.c.done_at.is_(None)).limit(1)) is not None
    finally:
        database.close()


def _each(numbers: Sequence[int]) -> list[dict[str, int]]:
    """Return the parameters of HERE for each of these hints."""
    return [{"number": number} for number in numbers]


def _count(connection: Connection, condition: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(inbox).where(condition)) or 0


def _ask_for_the_whole_site(connection: Connection, now: float) -> None:
    """Put in the hint that stands for all that find no room, unless one waits already."""
    waits = inbox.c.source == OURS, inbox.c.done_at.is_(None)
    if connection.scalar(select(inbox.c.id).where(*waits).limit(1)) is None:
        mark = hashlib.sha256(repr(now).encode()).digest()[:16]
        connection.execute(insert(inbox), _row(Hint(OURS, WHOLE_SITE, mark, now), now))


def _about_nobody(hint: Hint) -> Hint:
    """Return a hint without its person; without a course nothing is left of it."""
    about = f"{hint.event} {hint.course_id} {hint.occurred_at}".encode()
    source = hint.source if hint.course_id else ""
    return replace(hint, source=source, user_id=0, mark=hashlib.sha256(about).digest()[:16])


def _row(hint: Hint, now: float) -> dict[str, object]:
    return {
        "source": hint.source,
        "event": hint.event,
        "mark": hint.mark,
        "occurred_at": hint.occurred_at,
        "course_id": hint.course_id,
        "user_id": hint.user_id,
        "case_id": hint.case_id,
        "form_id": hint.form_id,
        "received_at": now,
        "posts": 1,
        "claim": "",
        "attempts": 0,
        "outcome": "",
    }
