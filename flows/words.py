"""Numbers and lists in sentences for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def spread(items: Sequence[T], most: int) -> list[T]:
    """Return at most `most` of the items, evenly spread: the first ones alone are often the oldest."""
    if len(items) <= most:
        return list(items)
    return [items[number * len(items) // most] for number in range(most)]


def numbered(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: 1 course, 2 courses."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def courses_named(numbers: Iterable[int]) -> str:
    """Return courses by their ids: course 2, courses 2, 3."""
    found = [str(number) for number in sorted(numbers)]
    return f"{'course' if len(found) == 1 else 'courses'} {listed(found)}"


def listed(words: Sequence[str], most: int = 8) -> str:
    """Join words for a line that must not grow without end."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


def duration(seconds: float) -> str:
    """Return how long something is in its largest unit: 40 seconds, 5 minutes, 3 hours, 2 days."""
    for unit, noun in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if seconds >= unit:
            return numbered(int(seconds // unit), noun)
    return numbered(max(0, int(seconds)), "second")


def ago(then: float, now: float) -> str:
    """Return how long ago a moment was, "never" for 0.0; a moment to come counts as now."""
    if not then:
        return "never"
    return "just now" if now - then < MINUTE else f"{duration(now - then)} ago"
