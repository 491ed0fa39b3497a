"""A person's word: those who are missing are gone, and what would be emptied may be."""

from __future__ import annotations

import json

from flows.errors import UsageError
from flows.needs import EXISTING
from flows.steps.asked import LEAVERS, WITHDRAWN, Asked
from flows.steps.blanks import CONFIRMED_BLANKS, REFUSED_BLANKS
from flows.steps.terms import ANSWERED, ASKED, NEW, SAME
from flows.words import numbered
from state import Store

CONFIRMED_EXISTING = "confirmed_existing_cases"  # fact in the books: mapping -> cases that a person agreed to


def confirm(store: Store, course: int | None, count: int) -> str:
    """Confirm the leavers of a course (0: of the site, None: of all that wait) and return a sentence.

    Raises UsageError when nothing waits there, or when `count` is not the number that the run found.
    """
    words = "missing there, not {count}. Give --count {people} if they left"
    people = _confirmed(store, course, count, LEAVERS, words)
    return f"Confirmed: {people} people. The next run marks them as left, if it still misses the same number."


def confirm_withdrawn(store: Store, course: int | None, count: int) -> str:
    """Confirm that so many people of a course are kept out rightly, as `confirm` does for leavers."""
    words = "kept out there, not {count}. Give --count {people} if that is right"
    people = _confirmed(store, course, count, WITHDRAWN, words)
    return f"Confirmed: {people} people. The next run empties what is personal, if it still finds that number."


def confirm_term(store: Store, course: int, same: bool) -> str:
    """Say whether a course is in a new term or still in the same, and return a sentence.

    Raises UsageError when nobody asked that about the course.
    """
    asked = json.loads(store.get(ASKED) or "{}")
    if str(course) not in asked:
        there = ", ".join(sorted(asked, key=int)) or "none"
        raise UsageError(f"Nobody has asked about a new term of course {course}. Courses that wait: {there}.")
    answered = json.loads(store.get(ANSWERED) or "{}")
    answered[str(course)] = [asked[str(course)], SAME if same else NEW]
    store.put(ANSWERED, json.dumps(answered, sort_keys=True))
    what = "goes on with the cases there are" if same else "ends the old cases and makes new ones"
    return f"Confirmed. The next run {what} in course {course}."


def _confirmed(store: Store, course: int | None, count: int, asked: Asked, words: str) -> int:
    """Write down a person's word about one place or all, and return how many people it is about."""
    waiting = {int(number): int(people) for number, people in json.loads(store.get(asked.refused) or "{}").items()}
    chosen = waiting if course is None else {number: waiting[number] for number in [course] if number in waiting}
    if not chosen:
        there = ", ".join(f"{number} ({people} people)" for number, people in sorted(waiting.items()))
        raise UsageError(f"Nothing waits to be confirmed there. Waiting: {there or 'nothing at all'}.")
    people = sum(chosen.values())
    if people != count:
        raise UsageError(f"The run found {people} people {words.format(count=count, people=people)}.")
    confirmed = json.loads(store.get(asked.confirmed) or "{}")
    store.put(asked.confirmed, json.dumps(confirmed | {str(number): n for number, n in chosen.items()}))
    return people


def confirm_blanks(store: Store, mapping: str, name: str, count: int) -> str:
    """Confirm that so many people really lost a property, and return a sentence; raises UsageError as above."""
    waiting = json.loads(store.get(REFUSED_BLANKS) or "{}")
    what = f"{mapping} {name}"
    if what not in waiting:
        there = ", ".join(f"{found} ({people} people)" for found, people in sorted(waiting.items()))
        raise UsageError(f"Nothing waits to be emptied there. Waiting: {there or 'nothing at all'}.")
    if waiting[what] != count:
        raise UsageError(
            f"The run found {waiting[what]} people, not {count}. Give --count {waiting[what]} if that is right."
        )
    confirmed = json.loads(store.get(CONFIRMED_BLANKS) or "{}")
    store.put(CONFIRMED_BLANKS, json.dumps(confirmed | {what: count}))
    return f"Confirmed: {count} people. The next run empties their {name} in CommCare."


def confirm_existing(store: Store, mapping: str, count: int) -> str:
    """Confirm that a first run may set new cases beside those there; a sentence, or UsageError as above."""
    waiting = {name: int(asked["cases"]) for name, asked in json.loads(store.get(EXISTING) or "{}").items()}
    if mapping not in waiting:
        there = ", ".join(f"{name} ({numbered(cases, 'case')})" for name, cases in sorted(waiting.items()))
        raise UsageError(f"No mapping '{mapping}' waits because of existing cases. Waiting: {there or 'none'}.")
    if waiting[mapping] != count:
        raise UsageError(
            f"The run found {numbered(waiting[mapping], 'case')}, not {count}. "
            f"Give --count {waiting[mapping]} if they may stay beside new ones."
        )
    confirmed = json.loads(store.get(CONFIRMED_EXISTING) or "{}")
    store.put(CONFIRMED_EXISTING, json.dumps(confirmed | {mapping: count}))
    return f"Confirmed. The first run of {mapping} makes its cases beside the {numbered(count, 'case')} there."
