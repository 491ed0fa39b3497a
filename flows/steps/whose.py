"""Whose a key is: of people of whom nothing was ever sent, the books know no more than their keys."""

from __future__ import annotations

import re
from collections.abc import Callable

from flows.steps.withdraw import LACKING
from mappings.engine import Project


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
