"""Groups that Moodle does not show: what comes from them stays as it is, and nobody gets an owner without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from adaptors.moodle.roster import Roster
from flows.result import RunState
from flows.words import courses_named
from mappings.engine import CompiledMapping

if TYPE_CHECKING:
    from flows.run import Run

GROUPS_NOT_SHOWN = "groups_not_shown"
RIGHT = "moodle/site:accessallgroups"


def goes_by_groups(mapping: CompiledMapping) -> bool:
    """Say whether the owner of a mapping's cases may be found by the groups of a person."""
    return any(rule.source == "groups" for rule in mapping.spec.owner.first_of)


def hidden_in(rosters: Mapping[int, Roster]) -> list[int]:
    """Return the courses in which Moodle keeps somebody's groups back."""
    return sorted(number for number, roster in rosters.items() if roster.hides_groups)


def tell_hidden_groups(run: Run, courses: Iterable[int]) -> None:
    """Say once of which courses Moodle does not show the groups."""
    if numbers := sorted(courses):
        run.result.worse(
            RunState.COMPLETED,
            f"Moodle does not show the groups of {courses_named(numbers)}: what comes from them stays as it is in "
            f"CommCare. Give the role of the account '{RIGHT}' (`moodle-commcare check`).",
        )
