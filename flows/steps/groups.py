"""Groups that Moodle does not show: what comes from them stays as it is, and nobody gets an owner without them.

So with the login names of teachers, but that a new case gets the owner that is there for whoever has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adaptors.moodle.roster import Roster
from flows.result import RunState
from flows.words import courses_named
from mappings.engine import CompiledMapping

if TYPE_CHECKING:
    from flows.run import Run

GROUPS_NOT_SHOWN = "groups_not_shown"
RIGHT = "moodle/site:accessallgroups"
DETAILS = "moodle/user:viewalldetails"


def goes_by_groups(mapping: CompiledMapping) -> bool:
    """Say whether the owner of a mapping's cases may be found by the groups of a person."""
    return any(rule.source == "groups" for rule in mapping.spec.owner.first_of)


def hidden_in(rosters: Mapping[int, Roster]) -> list[int]:
    """Return the courses in which Moodle keeps somebody's groups back."""
    return sorted(number for number, roster in rosters.items() if roster.hides_groups)


def without_teachers(rosters: Mapping[int, Roster]) -> list[int]:
    """Return the courses in which Moodle keeps a teacher's login name back, where mappings read these."""
    return sorted(number for number, roster in rosters.items() if roster.teachers is None)


def tell_hidden(run: Run, rosters: Mapping[int, Roster]) -> None:
    """Say once of which courses Moodle does not show the groups, or the login names of the teachers."""
    for numbers, what, right in (
        (hidden_in(rosters), "groups", RIGHT),
        (without_teachers(rosters), "login names of the teachers", DETAILS),
    ):
        if numbers:
            run.result.worse(
                RunState.COMPLETED,
                f"Moodle does not show the {what} of {courses_named(numbers)}: what comes from them stays as it "
                f"is in CommCare. Give the role of the account '{right}' (`moodle-commcare check`).",
            )
