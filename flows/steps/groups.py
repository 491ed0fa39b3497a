"""Groups that Moodle does not show: what comes from them stays as it is, and nobody gets an owner without them.

So with login names where the owner is written once; else a new case has the owner that is there for whoever has
none, until they are shown again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adaptors.moodle.roster import Roster
from flows.result import RunState
from flows.words import courses_named
from mappings.engine import CompiledMapping, Draft
from mappings.engine.paths import getter
from mappings.engine.texts import ABSENT

if TYPE_CHECKING:
    from flows.run import Run

GROUPS_NOT_SHOWN = "groups_not_shown"
OWNER_NOT_SHOWN = "owner_not_shown"
RIGHT = "moodle/site:accessallgroups"
DETAILS = "moodle/user:viewalldetails"


_LOGIN_NAMES = frozenset({"username", "user.username", "teachers"})
_WHOLE_PROFILES = frozenset({"users", "engagement"})
"""Sources whose records have the login name of their person when it is shown, whether it is read or not."""


def goes_by_groups(mapping: CompiledMapping) -> bool:
    """Say whether the owner of a mapping's cases may be found by the groups of a person."""
    return any(rule.source == "groups" for rule in mapping.spec.owner.first_of)


def hidden_owner(mapping: CompiledMapping, record: Mapping[str, Any]) -> str:
    """Return the reason to wait of a record whose owner goes by what is hidden; "" when nothing is hidden."""
    if goes_by_groups(mapping) and "groups" not in record:
        return GROUPS_NOT_SHOWN
    paths = [rule.source for rule in mapping.spec.owner.first_of]
    absent = {path for path in paths if getter(path)(record) is ABSENT}
    if absent & _LOGIN_NAMES:
        return OWNER_NOT_SHOWN
    # A field that nobody shows may be one that nobody fills in; it is hidden where login names are, too.
    if absent and mapping.source in _WHOLE_PROFILES:
        person = record["user"] if mapping.source == "engagement" else record
        return "" if "username" in person else OWNER_NOT_SHOWN
    return ""


def waits_for_owner(draft: Draft, hidden: str) -> bool:
    """Say whether a new case is to wait, for what `hidden_owner` gave as the reason.

    Who has no group is to have another owner than whose groups are not shown, whatever becomes of it later. What
    else is hidden matters where the owner is written once: it would be the wrong one for good.
    """
    return hidden == GROUPS_NOT_SHOWN or draft.owner.write_once


def hidden_in(rosters: Mapping[int, Roster]) -> list[int]:
    """Return the courses in which Moodle keeps somebody's groups back."""
    return sorted(number for number, roster in rosters.items() if roster.hides_groups)


def without_teachers(rosters: Mapping[int, Roster]) -> list[int]:
    """Return the courses in which Moodle keeps a teacher's login name back, where mappings read these.

    Where it cannot show somebody at all, no right brings that one to light.
    """
    return sorted(number for number, roster in rosters.items() if roster.teachers is None and roster.is_whole)


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
