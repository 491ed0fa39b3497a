"""What a question is made of: people by part, and a word that repeats them part by part.

Who is gone from a course is asked about over its mappings, who loses a value over all courses. A run that looks at
some parts only leaves the question about the others as it is, and the word about them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Parts = dict[str, int]
"""People by part: by mapping, or by course (0: the site)."""
Questions = dict[str, Parts]
Total = Callable[[Iterable[int]], int]
"""How the people of the parts are one number: `max` where they are the same people, `sum` where they are not."""

UNKNOWN = ""
"""The part of a question that books of an older version hold, as one number for all parts."""
COURSE = "@course"
"""The part of a question about a course that Moodle does not list any more: who would be marked as left."""


def parted(fact: Mapping[str, Any]) -> Questions:
    """Return the questions, or words, of a fact with their parts."""
    return {name: {UNKNOWN: one} if isinstance(one, int) else {**one} for name, one in fact.items()}


def unanswered(asked: Questions, given: Questions) -> Questions:
    """Return the questions whose word is not about the same people, part by part."""
    return {name: found for name, found in asked.items() if given.get(name) != found}


def agreed(word: Parts, found: Parts, total: Total) -> set[str]:
    """Return the parts of which a word says the number that was found."""
    if UNKNOWN in word:
        return {*found} if word[UNKNOWN] == total(found.values()) else set()
    return {part for part, people in found.items() if word.get(part) == people}


def part_of(word: Parts, part: str) -> str:
    """Return the part of a word that counts for one part of a question."""
    return part if part in word else UNKNOWN


def take(fact: dict[str, Any], name: str, part: str, people: int) -> None:
    """Take people off a part of a question or word; what comes to nothing goes."""
    found = parted(fact).get(name, {})
    part = part_of(found, part)
    found[part] = found.get(part, 0) - people
    _put(fact, name, {one: left for one, left in found.items() if left > 0})


def end(fact: dict[str, Any], is_over: Callable[[str, str], bool], only: Questions | None = None) -> None:
    """Forget the parts of questions or words that are over; of words `only` those that still say the same."""
    for name, found in parted(fact).items():
        over = {
            part
            for part, people in found.items()
            if is_over(name, part) and (only is None or only.get(name, {}).get(part) == people)
        }
        _put(fact, name, {part: people for part, people in found.items() if part not in over})


def ask(
    asked: dict[str, Any], given: Mapping[str, Any], found: Questions, stays: Callable[[str, str], bool]
) -> Questions:
    """Write down what was found and return what has to be told; a part that was asked about and `stays` is kept.

    Of questions that only stayed, those are told that nobody has answered.
    """
    before, words = parted(asked), parted(given)
    for name, new in found.items():
        old = {part: people for part, people in before.get(name, {}).items() if part != UNKNOWN}
        asked[name] = old | {part: n for part, n in new.items() if part not in old or not stays(name, part)}
    told = {name for name, new in found.items() if not all(stays(name, part) for part in new)}
    return {name: asked[name] for name in found if name in told or words.get(name) != asked[name]}


def _put(fact: dict[str, Any], name: str, found: Parts) -> None:
    """Write a question or word back as it is now."""
    fact[name] = found
    if not found:
        del fact[name]
