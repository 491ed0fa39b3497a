"""Many questions of one kind in one sentence: a new term asks about each course, and nobody reads 300 messages.

The books, `status` and Prefect's page of questions have each of them still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from flows.need import Kind, Need
from flows.needs import LOST_RIGHT, MAYBE_LOST
from flows.words import listed, numbered

MOST = 3
"""So many questions of a kind are told one by one."""
LISTS = "`moodle-commcare status` lists them"


def in_short(questions: Sequence[Need]) -> list[Need]:
    """Return the questions with one in the place of each kind of which there are more than `MOST`.

    Questions of a kind stand together. The one has the sum of their counts, which `--all` takes.
    """
    found = list[Need]()
    for kind, group in groupby(questions, key=lambda need: need.kind):
        alike = [*group]
        found += alike if len(alike) <= MOST or kind not in SUMS else [_summed(kind, alike)]
    return found


def _summed(kind: Kind, questions: Sequence[Need]) -> Need:
    """Return the one question about all of them."""
    count = sum(need.count for need in questions)
    empty = [need for need in questions if need.shows_nobody and need.course]
    sentence, command = SUMS[kind]
    return Need(
        kind,
        f"{sentence(questions, count)}{_nobody(empty)}",
        f"{command} --count {count}",
        count=count,
        if_so="If they have left" if empty else "If that is right",
        everything=True,
        shows_nobody=bool(empty),
    )


def _leavers(questions: Sequence[Need], people: int) -> str:
    return (
        f"{numbered(people, 'person', 'people')}, counted in each course, are missing from {_places(questions)}, "
        f"more than is usual ({_first(questions, _place)}); nobody was marked as left there."
    )


def _withdrawn(questions: Sequence[Need], people: int) -> str:
    return (
        f"{numbered(people, 'person', 'people')} with a case, counted in each course, are kept out of "
        f"{_places(questions)} by the mappings now, more than is usual ({_first(questions, _place)}); nothing of "
        "theirs was emptied."
    )


def _blanks(questions: Sequence[Need], values: int) -> str:
    return (
        f"{MAYBE_LOST} {numbered(values, 'value')} of {numbered(len(questions), 'property', 'properties')} would "
        f"be lost, more than is usual ({_first(questions, _property)}); nothing was emptied."
    )


SUMS: dict[Kind, tuple[Callable[[Sequence[Need], int], str], str]] = {
    "leavers": (_leavers, "moodle-commcare confirm-leavers --all"),
    "withdrawn": (_withdrawn, "moodle-commcare confirm-withdrawn --all"),
    "blanks": (_blanks, "moodle-commcare confirm-blanks --all"),
}
"""Kind -> what says many questions of it at once, given them and their sum, and what answers them."""


def _nobody(empty: Sequence[Need]) -> str:
    """Return what is to be looked at first when Moodle shows nobody any more in some of the courses."""
    if not empty:
        return ""
    where, look = f"course {empty[0].course}", "it"
    if len(empty) > 1:
        where, look = f"{len(empty):,} of them ({listed([_place(need) for need in empty], MOST)})", "one of these"
    return f" In {where} Moodle shows nobody any more who has a case. Look at {look} in Moodle first: {LOST_RIGHT}"


def _places(questions: Sequence[Need]) -> str:
    """Return where they are: 4 courses and the people of the site."""
    courses = sum(need.course != 0 for need in questions)
    site = " and the people of the site" if courses < len(questions) else ""
    return f"{numbered(courses, 'course')}{site}"


def _first(questions: Sequence[Need], name: Callable[[Need], str]) -> str:
    """Return the first ones with their counts, and how many more there are."""
    named = ", ".join(f"{name(need)}: {need.count:,}" for need in questions[:MOST])
    return f"{named} and {numbered(len(questions) - MOST, 'other')}: {LISTS}"


def _place(need: Need) -> str:
    return f"course {need.course}" if need.course else "the site"


def _property(need: Need) -> str:
    return f"{need.property_name} of {need.mapping}"
