"""The books of feedback: what Moodle was told by us is known by its digests, and nothing else is written over.

Before each save it is written down what is sent, and what Moodle held: wherever the process dies, the next look
knows both our texts from everybody else's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from adaptors.moodle.assignment_answers import GivenGrade
from adaptors.moodle.assignment_marks import Told
from flows.assignments_list import as_html, said, same_text
from flows.assignments_plan import Outcome, Wish
from flows.fed_back import REASON_OF
from flows.feedback_texts import CoachText
from flows.world import World
from state import FeedbackRow, RowId
from state.digest import SIZE

CONFLICT: Final = "conflict"
ME_OR_NOBODY: Final = frozenset((0, -1))


class FeedbackBooks:
    """The rows of texts, as they were read at the beginning and as they are written since.

    `made_as` is the name with which the fingerprints of a mapping are made, where its file had another one once.
    """

    def __init__(
        self,
        world: World,
        rows: dict[tuple[RowId, str], FeedbackRow],
        made_as: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._world, self._store, self._made_as = world, world.books.store, made_as
        self.rows = rows

    def is_told(self, one: CoachText) -> bool:
        """Say whether Moodle was seen to hold this text and grade already."""
        row = self.rows.get(one.at)
        return row is not None and not row.reason and row.told == self.wanted(one)

    def wanted(self, one: CoachText) -> bytes:
        """Return the fingerprint of a coach's text and grade."""
        return self.fingerprint(one, as_html(one.text), _grade_text(one.grade))

    def fingerprint(self, one: CoachText, html: str, grade: str) -> bytes:
        """Return the fingerprint of feedback for the person of a case, as Moodle holds it or will."""
        made_as = self._made_as.get(one.mapping, one.mapping)
        entity, name = f"{made_as} {one.holder.row.key}", f"{one.name} {one.way} {one.number}"
        digest = self._store.digest
        return digest(entity, f"{name} text", said(html)) + digest(entity, f"{name} grade", grade)

    def row(self, one: CoachText) -> FeedbackRow:
        """Return what is known of a text; it is the case of now that counts."""
        known = self.rows.get(one.at)
        return replace(known, holder=one.holder) if known else FeedbackRow(one.holder, one.name)

    async def write(self, rows: Iterable[FeedbackRow]) -> None:
        """Write rows down."""
        found = list(rows)
        if found:
            await self._world.books.do(self._store.note_feedback, found)
            self.rows |= {row.at: row for row in found}

    async def settle(self, one: CoachText, told: bytes | None, reason: str) -> FeedbackRow:
        """Write down what became of a text: what Moodle holds now, if that is known, and what is in the way."""
        row, now = self.row(one), self._world.clock.now()
        first = row.first_at if row.reason == reason and row.first_at else now
        tries = row.tries + 1 if row.reason == reason else 1
        held = row.told if told is None else told
        found = replace(row, told=held, reason=reason, first_at=first, last_at=now, tries=tries)
        await self.write([found])
        return found

    async def clear(self, addresses: Collection[tuple[RowId, str]]) -> None:
        """Take off the list what was in the way of texts that are empty now; Moodle keeps what it has."""
        await self.write(
            replace(row, reason="", last_at=self._world.clock.now())
            for at, row in self.rows.items()
            if at in addresses and row.reason
        )


class Guard:
    """Keeps the books while one assignment is published, and objects to what is not ours to write over.

    `texts` are by Moodle's number of the person; `overwrite` are keys of which somebody said that CommCare's text
    is the right one; `hold` keeps the lease.
    """

    def __init__(
        self,
        books: FeedbackBooks,
        texts: dict[int, list[CoachText]],
        overwrite: Collection[str],
        hold: Callable[[], Awaitable[None]],
    ) -> None:
        self._books, self._texts = books, texts
        self._overwrite, self._hold = overwrite, hold
        self._held: dict[int, tuple[str, float | None] | None] = {}
        self._booked = set[tuple[RowId, str]]()
        self.me = 0

    def objection(self, wish: Wish, told: Told, grade: GivenGrade | None, *, hidden: bool) -> str:
        """Return `conflict` when Moodle holds feedback, or a grade that we would change, that is not from us.

        Before the release of a marking workflow Moodle tells no text; then it counts who has saved last.
        """
        points = grade.points if grade is not None else None
        self._held[wish.person] = None if hidden else (told.text or "", points)
        texts = self._texts[wish.person]
        if all(one.holder.row.key in self._overwrite for one in texts):
            return ""
        if hidden:
            theirs = grade is not None and grade.grader not in ME_OR_NOBODY | {self.me}
            return CONFLICT if theirs else ""
        is_text_ours = not said(told.text or "") or same_text(told.text or "", wish.text)
        is_grade_ours = wish.points is None or points is None or points == wish.points
        ours = [self._ours(one, told.text or "", points) for one in texts]
        if (is_text_ours or any(text for text, _ in ours)) and (is_grade_ours or any(grade for _, grade in ours)):
            return ""
        return CONFLICT

    def _ours(self, one: CoachText, html: str, points: float | None) -> tuple[bool, bool]:
        """Say whether a text and a grade that Moodle holds are what we told it before, or sent it last."""
        row, held = self._books.row(one), self._fingerprint(one, html, points)
        known = [found for found in (row.told, row.sent) if found]
        texts = {found[:SIZE] for found in known}
        grades = {found[SIZE:] for found in known}
        return held[:SIZE] in texts, held[SIZE:] in grades

    async def sending(self, wishes: Sequence[Wish]) -> None:
        """Write down what is sent next, and as told what Moodle holds until then."""
        await self._hold()
        rows = []
        for wish in wishes:
            held = self._held.get(wish.person)
            for one in self._texts[wish.person]:
                row = self._books.row(one)
                told = row.told if held is None else self._of(one, *held)
                rows.append(replace(row, told=told, sent=self._books.wanted(one)))
        await self._books.write(rows)

    def _of(self, one: CoachText, html: str, points: float | None) -> bytes:
        nothing = not said(html) and points is None
        return b"" if nothing else self._fingerprint(one, html, points)

    def _fingerprint(self, one: CoachText, html: str, points: float | None) -> bytes:
        grade = "" if points is None else _grade_text(str(points))
        return self._books.fingerprint(one, html, grade)

    async def saved(self, outcomes: Sequence[Outcome]) -> None:
        """Write down at once what Moodle holds now; why something was not stored may still be found out."""
        for outcome in outcomes:
            for one in self._texts[int(outcome.ext_id)] if outcome.state == "stored" else ():
                await self.settle(one, outcome)

    async def settle(self, one: CoachText, outcome: Outcome) -> tuple[str, str]:
        """Write down, once, what became of one text, and return its state and reason."""
        reason = REASON_OF.get(outcome.reason, "")
        wanted = self._books.wanted(one)
        if outcome.state in ("stored", "unchanged"):
            if one.at not in self._booked:
                await self._books.settle(one, wanted, "")
                self._booked.add(one.at)
            return ("published" if outcome.state == "stored" else "there_already"), ""
        await self._books.settle(one, None, reason)
        return "not_published", reason


def _grade_text(grade: str) -> str:
    """Return a grade in one form, so that 72.5 and 72.50 are the same; what is no number stays as it was typed."""
    try:
        return f"{float(grade):.5f}" if grade else ""
    except ValueError:
        return grade
