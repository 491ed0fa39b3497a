"""Courses with people whom Moodle itself cannot show: all others were read, and nobody counts as missing there.

Such an account is in each of its courses, and in none that was read: nobody knows who it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from adaptors.moodle.errors import REPAIR
from adaptors.moodle.roster import Roster
from flows.result import Result, RunState
from flows.words import listed, numbered


def unshowable_in(rosters: Mapping[int, Roster]) -> str:
    """Return which courses have how many people whom Moodle cannot show, in words; "" where there are none."""
    found = [
        f"course {number} ({numbered(len(roster.places), 'account')})"
        for number, roster in sorted(rosters.items())
        if not roster.is_whole
    ]
    return listed(found)


def tell_unshowable(result: Result, rosters: Mapping[int, Roster]) -> None:
    """Say where they are and what an administrator does about it; the others of these courses are up to date."""
    if where := unshowable_in(rosters):
        wanted = any(roster.teachers is None for roster in rosters.values() if not roster.is_whole)
        teachers = " What comes from the teachers there stays as it is: one may be among them." if wanted else ""
        result.worse(
            RunState.DEGRADED,
            f"Moodle itself cannot show accounts of {where}, for a value in them. Everybody else there was read; "
            f"until it can show them, nobody is marked as gone from there.{teachers} {REPAIR}",
        )
