"""The end dates of courses: one that passes ends its course at once, one that was moved into the past a day later.

A slip of a teacher would end, and with `close` close for good, all enrolments of a course within the hour.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from adaptors.moodle.answers import Course
from flows.result import Result, RunState
from flows.words import courses_named
from flows.world import World

ENDS = "course_ends"
"""Fact in the books: course -> [its end date, 0 for none; since when that is one moved into the past, else 0]."""
GRACE_S = 86_400
"""Seconds for which a course goes on whose end date was moved into the past: time to correct it."""

_Known = dict[str, list[int]]


@dataclass(frozen=True)
class Ends:
    """What is known of the end dates, and the courses that go on for now: course -> until when, epoch."""

    known: _Known = field(default_factory=dict)
    going_on: Mapping[int, float] = field(default_factory=dict)


async def read_ends(world: World, courses: Iterable[Course]) -> Ends:
    """Compare the end dates of a list of courses with those that are known."""
    text = await world.books.do(world.books.store.get, ENDS)
    known: _Known = json.loads(text or "{}")
    if not known:
        return Ends()
    now, rows = world.clock.now(), await world.books.do(world.books.store.courses)
    last_read = max((row.complete_at for row in rows.values()), default=0.0)
    found, going_on = dict(known), dict[int, float]()
    for course in courses:
        if str(course.id) in known and course.enddate is not None:  # None: an account without 'moodle/course:view'
            since = _moved_since(course.enddate, known[str(course.id)], last_read, now)
            found[str(course.id)] = [course.enddate, since]
            if since and now - since < GRACE_S:
                going_on[course.id] = since + GRACE_S
    return Ends(found, going_on)


def _moved_since(end: int, known: list[int], last_read: float, now: float) -> int:
    """Return since when an end date is one that was moved into the past, 0 when it is none."""
    before, since = known
    if not end or end >= now:
        return 0
    if since:
        return since if since <= now else int(now)  # the clock was ahead
    was_over = 0 < before < now
    passed = 0 < last_read < end  # it was still to come when anything was read last
    return 0 if end == before or was_over or passed else int(now)


async def remember_ends(world: World, ends: Ends, courses: Iterable[Course]) -> None:
    """Write down the end dates of the courses that are read, and of those that were."""
    found = {str(course.id): [course.enddate, 0] for course in courses if course.enddate is not None} | ends.known
    text = json.dumps(found, sort_keys=True)
    if text != (await world.books.do(world.books.store.get, ENDS) or "{}"):
        await world.books.do(world.books.store.put, ENDS, text)


def tell_ends(world: World, result: Result, ends: Ends, chosen: Iterable[int]) -> None:
    """Say which of the chosen courses go on past their end date, and until when it can be corrected."""
    later = defaultdict[float, list[int]](list)
    for number in chosen:
        if number in ends.going_on:
            later[ends.going_on[number]].append(number)
    is_told = any(mapping.when_course_ends is not None for mapping in world.project.mappings)
    for until, numbers in sorted(later.items()):
        moment = f"{datetime.fromtimestamp(until, world.project.time_zone):%Y-%m-%d at %H:%M}"
        if len(numbers) == 1:
            dates, them = "date", "it is"
            then = "its enrolments are ended" if is_told else "it counts as over"
        else:
            dates, them = "dates", "they are"
            then = "their enrolments are ended" if is_told else "they count as over"
        result.worse(
            RunState.COMPLETED,
            f"The end {dates} of {courses_named(numbers)} {'was' if len(numbers) == 1 else 'were'} moved into the "
            f"past; {then} on {moment} unless {them} corrected in Moodle.",
        )


async def forget_ends(world: World) -> None:
    """Take each end date as one seen for the first time, but those that wait: books put back know older ones.

    A course that has ended since the backup is not to go on for a day.
    """
    text = await world.books.do(world.books.store.get, ENDS)
    waiting = {number: known for number, known in json.loads(text or "{}").items() if known[1]}
    if text:
        await world.books.do(world.books.store.put, ENDS, json.dumps(waiting, sort_keys=True))
