"""How far a run reached: what it did not look at, it says nothing about."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from flows.steps.planned import SITE_SCOPE

Place = tuple[str, int]
"""A mapping, and the course that it was looked at in (0: the site)."""


@dataclass(frozen=True)
class Reach:
    """The enabled mappings, the selected courses (None: some of them were meant, or none seen), and who was read.

    `everybody`: all people of the site were read, so that the site is one of the places that were looked at.
    """

    mappings: frozenset[str]
    courses: frozenset[int] | None
    everybody: bool

    def saw(self, place: Place, looked_at: Set[Place]) -> bool:
        """Say whether all of a place was looked at."""
        return place in looked_at and (place[1] != SITE_SCOPE or self.everybody)

    def is_over(self, place: Place, looked_at: Set[Place]) -> bool:
        """Say whether a word about a place is over: it was looked at, or its mapping is switched off."""
        return place[0] not in self.mappings or self.saw(place, looked_at)

    def is_settled(self, place: Place, looked_at: Set[Place]) -> bool:
        """Say whether a question about a place is over: a word is, or nobody reads the course any more."""
        is_read = place[1] == SITE_SCOPE or self.courses is None or place[1] in self.courses
        return not is_read or self.is_over(place, looked_at)

    def is_in_part(self, scope: int) -> bool:
        """Say whether only a part of a place was meant to be read: it can ask, and not correct what was asked."""
        return scope == SITE_SCOPE and self.courses is None
