"""What could not be sent as it is: the list, and a person's word about rows that CommCare refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flows.errors import UsageError
from flows.reasons import problem_words, remedy
from flows.steps.left_open import OPEN
from flows.words import listed, numbered
from state import FeedbackRow, ProblemRow, RefusalRow, RowId, Store

DELETED = frozenset({"target_deleted"})
"""Reasons of which a new case is a way out."""
GOODBYES = frozenset({"left", "withdrawn", "ended"})
"""What was to be said in the last write of a case (`op` of a refusal)."""


@dataclass(frozen=True)
class Listed:
    """One problem of a record, or of its property `name`; times in epoch seconds.

    `reads` found it, `attempts` were refused (0: it was never sent).
    """

    row: RowId
    name: str
    reason: str
    detail: str
    first_at: float
    last_at: float
    reads: int
    attempts: int

    @property
    def sentence(self) -> str:
        """Return what is wrong."""
        return problem_words(self.reason, self.name)

    @property
    def remedy(self) -> str:
        """Return what a person can do."""
        return remedy(self.reason, self.name)

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`."""
        return {
            "key": self.row.key,
            "mapping": self.row.mapping,
            "course": self.row.scope,
            "property": self.name,
            "reason": self.reason,
            "sentence": self.sentence,
            "remedy": self.remedy,
            "detail": self.detail,
            "first_at": moment(self.first_at),
            "last_at": moment(self.last_at),
            "reads": self.reads,
            "attempts": self.attempts,
            "waits_for_retry": bool(self.attempts),
        }


def moment(seconds: float) -> str:
    """Return a time as UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Meant:
    """Which records somebody means; what is not given leaves all of them. `course` 0: those of the site itself."""

    key: str = ""
    reason: str = ""
    course: int | None = None

    def fits(self, row: RowId, reason: str) -> bool:
        """Say whether a record that has a problem of some reason is meant."""
        key = self.key in ("", row.key)
        return key and self.reason in ("", reason) and self.course in (None, row.scope)

    @property
    def words(self) -> str:
        """Return what is meant, to stand behind "record"; "" for everything."""
        key = f" of '{self.key}'" if self.key else ""
        place = f" of course {self.course}" if self.course else " of the site itself"
        reason = f" with the reason '{self.reason}'" if self.reason else ""
        return key + ("" if self.course is None else place) + reason


def list_problems(store: Store, mapping: str = "", reason: str = "", course: int | None = None) -> list[Listed]:
    """Return the problems of all mappings or of one, of a reason, of a course, in the order of their rows."""
    meant = Meant(reason=reason, course=course)
    refusals = {one.row: one for one in store.refusals() if not one.dropped}
    found = [_found(one, refusals) for one in store.problems()]
    told = {one.row for one in found if one.attempts}
    found += [_refused(one) for row, one in refusals.items() if row not in told]
    found += [_not_told(one) for one in store.feedback(open_only=True).values()]
    return [
        one
        for one in sorted(found, key=lambda one: (one.row, one.name, one.reason))
        if mapping in ("", one.row.mapping) and meant.fits(one.row, one.reason)
    ]


def _found(one: ProblemRow, refusals: dict[RowId, RefusalRow]) -> Listed:
    """Return a problem that a read found; of a refused row with how often it was sent."""
    refusal = None if one.property else refusals.get(one.row)
    sent = refusal if refusal is not None and refusal.reason == one.reason else None
    return Listed(
        one.row,
        one.property,
        one.reason,
        one.detail,
        one.first_at,
        one.last_at,
        one.runs,
        0 if sent is None else sent.attempts,
    )


def _refused(one: RefusalRow) -> Listed:
    return Listed(one.row, "", one.reason, "", one.first_at, one.last_at, 0, one.attempts)


def _not_told(one: FeedbackRow) -> Listed:
    """Return a coach's text that is not in Moodle; each look counts as a read."""
    return Listed(one.holder.row, one.name, one.reason, "", one.first_at, one.last_at, one.tries, 0)


def count_reasons(found: Iterable[Listed]) -> dict[str, int]:
    """Return how many problems each reason has, the most frequent first."""
    return dict(Counter(one.reason for one in found).most_common())


def show_problem(store: Store, key: str) -> list[Listed]:
    """Return the problems of one key; UsageError when it has none."""
    found = [one for one in list_problems(store) if one.row.key == key]
    if not found:
        raise UsageError(f"No problem of '{key}' is listed. `moodle-commcare problems list` names all keys.")
    return found


def retry(
    store: Store, now: float, *, key: str = "", reason: str = "", course: int | None = None, recreate: bool = False
) -> str:
    """Have refused rows sent again: those of a key, of a reason, of a course, or all; returns a sentence.

    What was dropped is sent again by its key alone. With `recreate` rows whose case was deleted become new cases.
    Where records are only held back there, for a parent or an owner, they are read again. Raises UsageError when
    no row is refused there either.
    """
    meant = Meant(key, reason, course)

    def wanted(one: RefusalRow) -> bool:
        return meant.fits(one.row, one.reason) and (bool(key) or not one.dropped)

    held = {} if recreate or any(map(wanted, store.refusals())) else _held_back(store, meant)
    if held:
        store.read_anew(held.values())
        return (
            f"{numbered(len(held), 'record')} held back, not refused: the next run reads Moodle for "
            f"{listed(sorted({*held.values()}))} again, whatever the intervals say."
        )
    rows = _refused_rows(store, wanted, meant)
    if recreate:
        kept = sorted(one.reason for one in rows if one.reason not in DELETED)
        if kept:
            raise UsageError(
                f"Only a case that was deleted in CommCare is made anew; this one is '{kept[0]}'. "
                f"{remedy(kept[0])}"
            )
        store.recreate([one.row for one in rows], now)
    else:
        store.retry([one.row for one in rows], now)
    # A row that was to say goodbye has nothing to say any more.
    still = " whose person is neither gone nor kept out" if any(one.op in GOODBYES for one in rows) else ""
    what = f"makes a new case of each{still}" if recreate else "sends them whole"
    return f"{numbered(len(rows), 'record')} taken off the list: the next run {what}."


def drop(store: Store, key: str, now: float) -> str:
    """Take the refusal of a key off the list; returns a sentence. UsageError when no row of it is refused."""
    rows = [one for one in _refused_rows(store, lambda one: one.row.key == key, Meant(key)) if not one.dropped]
    if not rows:
        raise UsageError(f"The problem of '{key}' was dropped already.")
    store.drop([one.row for one in rows], now)
    return f"{numbered(len(rows), 'record')} dropped: not sent until the record or its mapping changes."


def _held_back(store: Store, meant: Meant) -> dict[RowId, str]:
    """Return the records that wait for something else than for their own values, with their mappings."""
    found = [one for one in store.problems() if one.reason in OPEN]
    return {one.row: one.row.mapping for one in found if meant.fits(one.row, one.reason)}


def _refused_rows(store: Store, wanted: Callable[[RefusalRow], bool], meant: Meant) -> Sequence[RefusalRow]:
    """Return the refused rows that are wanted."""
    rows = [one for one in store.refusals() if wanted(one)]
    if rows:
        return rows
    found = [one for one in list_problems(store) if meant.fits(one.row, one.reason)]
    if found:
        raise UsageError(
            "CommCare refused none of these: each read looks at them anew, so there is nothing to retry or drop. "
            f"{found[0].remedy}"
        )
    there = listed(sorted({one.reason for one in store.refusals() if not one.dropped})) or "none at all"
    raise UsageError(f"No refused record{meant.words} is listed. Reasons of those that are: {there}.")
