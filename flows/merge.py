"""A person's word that two people of Moodle are one: the command `merge`."""

from __future__ import annotations

from flows.errors import UsageError
from flows.steps.merged import MERGED, PARTED, UNMARKED, merged
from flows.words import numbered
from state import Erased, Held, Store
from state.facts import Objects


def merge(store: Store, old: int, new: int, now: float) -> str:
    """Take in that person `old` goes on as `new` (numbers of Moodle), and return a sentence.

    Raises UsageError when that cannot be: one of them is unknown to the books, was erased, or was merged before.
    """
    cases = _to_merge(store, old, new)

    def change(facts: Objects, erased: Erased) -> None:
        """Take it in beside what others say, or do, meanwhile."""
        _refuse({int(one): into for one, into in facts[MERGED].items()}, erased, old, new)
        facts[MERGED][str(old)] = new
        facts[UNMARKED] = sorted({*facts[UNMARKED], old})

    store.take_word("merge", [held.row for held in cases], (MERGED, UNMARKED), change, now)
    return (
        f"Merged: the next run marks the {numbered(len(cases), 'case')} of person {old} as left "
        f"(merged_into: {new}) and reads that person no more. The cases of person {new} stay as they are."
    )


def asked(store: Store, old: int, new: int, *, undo: bool) -> str:
    """Return the question to whoever says the word at a terminal: what the next run would do.

    Raises UsageError where the word cannot be taken.
    """
    if undo:
        if merged(store).get(old) != new:
            raise UsageError(_not_merged(old, new))
        return f"Take back that person {old} is {new}? The next run reads person {old} again."
    cases = numbered(len(_to_merge(store, old, new)), "case")
    return f"Mark the {cases} of person {old} as left (merged_into: {new}), and read that person no more?"


def _to_merge(store: Store, old: int, new: int) -> tuple[Held, ...]:
    """Return the cases that a merge marks; UsageError when it cannot be."""
    if old == new:
        raise UsageError("Give two numbers: that of the person who is no more, then that of the one who goes on.")
    _refuse(merged(store), store.erased(), old, new)
    person = store.person(old)
    if not person.cases and person.unanswered:
        raise UsageError(f"What was sent of person {old} has no answer yet. Say it again after the next run.")
    if not person.cases:
        raise UsageError(f"The books know no case of person {old}: there is nothing to merge.")
    there = store.person(new)
    if not there.cases and not there.courses:
        raise UsageError(f"No run has met person {new}. Let a sync read him or her first, or correct the number.")
    return person.cases


def _not_merged(old: int, new: int) -> str:
    return f"Person {old} was not merged into {new}."


def _refuse(people: dict[int, int], erased: Erased, old: int, new: int) -> None:
    """Raise UsageError when one of two people was merged into somebody before, or is left out of all runs."""
    for number in (old, new):
        if number in people:
            raise UsageError(f"Person {number} was merged into {people[number]} already.")
        if number in erased:
            raise UsageError(f"Person {number} was erased, or is being erased: nobody is merged with that one.")


def unmerge(store: Store, old: int, new: int, now: float) -> str:
    """Take the word back, and return a sentence; UsageError when it was never given."""
    cases = store.person(old).cases

    def change(facts: Objects, _: Erased) -> None:
        """Take it back beside what others say meanwhile."""
        if facts[MERGED].get(str(old)) != new:
            raise UsageError(_not_merged(old, new))
        del facts[MERGED][str(old)]
        facts[UNMARKED] = sorted({*facts[UNMARKED], old})
        facts[PARTED] = sorted({*facts[PARTED], old})

    store.take_word("unmerge", [held.row for held in cases], (MERGED, UNMARKED, PARTED), change, now)
    return (
        f"Taken back: the next run reads person {old} again, whose cases in courses that are read live again. In "
        f"the others nothing names person {new} any more; those cases say that somebody left, or that the course "
        "is over, until it is read."
    )
