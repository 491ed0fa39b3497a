"""A Moodle that got another address, and nothing else: the books go on with it, once it is known to be the same.

Two sites have courses and people with the same small numbers. So a few courses are looked into: most of the people
whom the books remember there have to be there, and a person says the rest.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from adaptors.moodle.errors import REPAIR_CONTACT
from adaptors.moodle.roster import read_ids
from adaptors.moodle.streams import MoodleReader, Wanted
from flows.clock import SystemClock
from flows.errors import UsageError
from flows.open import has_books, open_moodle, open_project, open_store
from flows.settings import Settings
from flows.state_care import Done, leased
from flows.steps.planned import SITE_SCOPE
from flows.steps.select import SELECTED
from flows.words import numbered
from mappings.engine import MappingError
from state import Store

LOOKED_INTO = 3  # courses whose people are compared
NAME = 80  # characters of a site's name that are shown
MOODLE = "@moodle_url"

Members = dict[int, frozenset[int]]
"""Course -> the people whom the books remember there."""


@dataclass(frozen=True)
class Move:
    """What the new address shows of what the books know at the old one."""

    old: str
    new: str
    site: str = ""
    courses: int = 0
    courses_there: int = 0
    people: int = 0
    people_there: int = 0
    not_shown: int = 0

    @property
    def is_needed(self) -> bool:
        """Say whether the address is another one."""
        return self.old != self.new

    @property
    def found(self) -> str:
        """Return in a sentence what is there."""
        if not self.courses:
            return f"{self.new} answers as the site '{self.site}'. The books know no course yet to compare."
        lacking = f" Moodle cannot show {numbered(self.not_shown, 'course')} in its list. {REPAIR_CONTACT}"
        people = f", and {self.people_there:,} of {numbered(self.people, 'person', 'people')} in them"
        return (
            f"{self.new} answers as the site '{self.site}'. It has {self.courses_there:,} of the "
            f"{numbered(self.courses, 'course')} that the books know{people if self.people else ''}."
            f"{lacking if self.not_shown else ''}"
        )

    @property
    def is_same(self) -> bool:
        """Say whether most of what the books know is there."""
        return self.courses_there * 2 >= self.courses and self.people_there * 2 >= self.people


def find_move(settings: Settings) -> Move:
    """Compare the Moodle at MOODLE_URL with what the books know, and change nothing.

    Raises UsageError when it cannot be the same one, or no run has read any yet; StateError when the books belong
    to another project space; AdaptorError when that Moodle does not answer.
    """
    if not has_books(settings):
        raise UsageError("There are no books yet: the first run makes them, with the address in MOODLE_URL.")
    with open_store(settings, any_moodle=True) as store:
        old, known = store.get(MOODLE), _members(store)
        is_same = store.knows_moodle(settings.moodle_url)
    if old is None:
        raise UsageError("These books know no Moodle yet: the first run takes the address in MOODLE_URL.")
    if is_same:
        return Move(old, old)
    move = asyncio.run(_look(settings, old, known))
    if not move.is_same:
        raise UsageError(
            f"{move.found} So it is not the Moodle that was at {old}, or its account may not see what it saw: "
            "`moodle-commcare check`. Nothing was changed. Another Moodle needs its own STATE_URL."
        )
    return move


def _members(store: Store) -> Members:
    """Return the people of the courses that the last run was to read, or of all courses that any run read."""
    selected: list[int] = json.loads(store.get(SELECTED) or "[]")
    return {number: store.member_ids(number) for number in selected or store.courses().keys() - {SITE_SCOPE}}


async def _look(settings: Settings, old: str, known: Mapping[int, frozenset[int]]) -> Move:
    """Ask who answers, which courses are there, and who is in the largest of those that the books know."""
    client = open_moodle(settings, SystemClock(), attempts=2)
    reader = MoodleReader(client, Wanted())
    try:
        site = await reader.site()
        there = known.keys() & {course.id for course in await reader.courses(known)}
        unshown = reader.refused_courses
        people, people_there = 0, 0
        for number in sorted(there, key=lambda course: (-len(known[course]), course))[:LOOKED_INTO]:
            if known[number]:
                people += len(known[number])
                people_there += len(known[number].intersection(await read_ids(client, number)))
    finally:
        await client.close()
    name = "".join(character for character in site.sitename if character.isprintable())[:NAME]
    compared = known.keys() - {number for number, is_asked in unshown.items() if not is_asked}
    courses_there = len(there) + len(compared & unshown.keys())  # what is refused alone is there
    return Move(old, settings.moodle_url, name, len(compared), courses_there, people, people_there, len(unshown))


def go_along(settings: Settings, move: Move, now: float) -> Done:
    """Let the books be about the new address; StateError while a run is at work, or when they know another."""
    if move.is_needed:
        with open_store(settings, any_moodle=True) as store, leased(store, now, settings.lease_ttl_s):
            store.move_moodle(move.old, move.new)
        said = [
            f"The books are about {move.new} now, and no more about {move.old}. "
            "The next run goes on where the last one ended."
        ]
    else:
        said = [f"The books are about {move.new} already: nothing is to be done."]
    return Done([*said, *_of_project(settings, move)], asdict(move))


def _of_project(settings: Settings, move: Move) -> list[str]:
    """Return what to edit in project.yaml, where templates take the address from."""
    try:
        site_url = open_project(settings).site_url
    except MappingError:
        return []
    if not site_url or site_url.rstrip("/") != move.old.rstrip("/") or not move.is_needed:
        return []
    return [
        f"project.yaml still has the old address as `site_url`: write {move.new} there too, for links in cases."
    ]
