"""A person's word that two people of Moodle are one: the command `merge`."""

from __future__ import annotations

import json

from flows.errors import UsageError
from flows.steps.merged import PARTED, facts, merged, parted, unmarked
from flows.words import numbered
from state import Store


def merge(store: Store, old: int, new: int, now: float) -> str:
    """Take in that person `old` goes on as `new` (numbers of Moodle), and return a sentence.

    Raises UsageError when that cannot be: one of them is unknown to the books, or was merged before.
    """
    people = merged(store)
    if old == new:
        raise UsageError("Give two numbers: that of the person who is no more, then that of the one who goes on.")
    for number in (old, new):
        if number in people:
            raise UsageError(f"Person {number} was merged into {people[number]} already.")
    cases = store.person(old).cases
    if not cases:
        raise UsageError(f"The books know no case of person {old}: there is nothing to merge.")
    there = store.person(new)
    if not there.cases and not there.courses:
        raise UsageError(f"No run has met person {new}. Let a sync read him or her first, or correct the number.")
    told = facts(people | {old: new}, unmarked(store) | {old})
    store.take_word("merge", [held.row for held in cases], told, now)
    store.read_anew({held.row.mapping for held in cases})  # by the next run, whatever the intervals say
    return (
        f"Merged: the next run marks the {numbered(len(cases), 'case')} of person {old} as left "
        f"(merged_into: {new}) and reads that person no more. The cases of person {new} stay as they are."
    )


def unmerge(store: Store, old: int, new: int, now: float) -> str:
    """Take the word back, and return a sentence; UsageError when it was never given."""
    people = merged(store)
    if people.get(old) != new:
        raise UsageError(f"Person {old} was not merged into {new}.")
    cases = store.person(old).cases
    told = facts({one: into for one, into in people.items() if one != old}, unmarked(store) - {old})
    told[PARTED] = json.dumps(sorted(parted(store) | {old}))
    store.take_word("unmerge", [held.row for held in cases], told, now)
    store.read_anew({held.row.mapping for held in cases})  # by the next run, whatever the intervals say
    return f"Taken back: the next run reads person {old} again; who is in a course there has living cases again."
