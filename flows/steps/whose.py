"""Whose a key is: of people of whom nothing was ever sent, the books know no more than their keys."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flows.needs import ALLOWED_BLANKS, ALLOWED_LEAVERS, ALLOWED_WITHDRAWN
from flows.steps.withdraw import LACKING
from flows.world import World
from mappings.engine import Project

MAY = {ALLOWED_LEAVERS: "may_leave", ALLOWED_WITHDRAWN: "may_be_emptied", ALLOWED_BLANKS: "may_lose_a_value"}
"""Fact of what may be done since a person allowed it -> in a word."""


def keys_of(project: Project, person: int) -> Callable[[str, str], bool | None]:
    """Return what says whether a key of a mapping is a person's; None where nobody can tell.

    One that no mapping makes is taken for that of everybody whose number it has in it.
    """
    mappings = {mapping.name: mapping for mapping in project.mappings}

    def is_theirs(name: str, key: str) -> bool | None:
        mapping = mappings.get(name.removesuffix(LACKING.format(name="")))
        number = None if mapping is None else mapping.person_of(key, project.site)
        if number is not None:
            return number == person
        return str(person) in re.findall(r"\d+", key) or None

    return is_theirs


async def noted_of(world: World, people: Sequence[int]) -> list[dict[str, str | int]]:
    """Return what the books keep in mind of people by their keys: that a mapping keeps them out, and so on."""
    theirs, store = [keys_of(world.project, number) for number in people], world.books.store

    def is_theirs(name: str, key: str) -> bool:
        return any(one(name, key) for one in theirs)

    found = set(await world.books.do(store.noted, is_theirs))
    for fact, text in (await world.books.do(store.get_all, [*MAY])).items():
        found.update(
            (MAY[fact], mapping, scope)
            for mapping, scope, keys in _places(json.loads(text))
            if any(is_theirs(mapping, key) for key in keys)
        )
    return [{"what": what, "mapping": mapping, "course": int(scope)} for what, mapping, scope in sorted(found)]


def _places(fact: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Yield mapping, course and keys of what is by course and mapping, or by "mapping property" and course."""
    for outer, places in fact.items():
        for inner, keys in places.items():
            yield (inner, outer, keys) if outer.isdecimal() else (outer.split(" ", 1)[0], inner, keys)
