"""Fields of people that Moodle shows of nobody, though everybody has them: hidden, and what brings them to light.

What Moodle leaves out where it is empty is asked about, see `unshown`; of these fields there is nothing to ask.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from adaptors.moodle.normalise import WITH_ALL_DETAILS
from adaptors.moodle.roster import Roster
from adaptors.moodle.screens import HIDDEN_FIELDS, IDENTITY, ROLES
from flows.result import Result, RunState
from mappings.engine import CompiledMapping
from mappings.engine.reads import reads

if TYPE_CHECKING:
    from flows.run import Run

# What the account is shown of people: fields, how people call them, and what brings them to light.
SHOWN = f"Tick them under {IDENTITY}, and give the role 'moodle/site:viewuseridentity'."
DETAILS = f"Give the role 'moodle/user:viewalldetails' ({ROLES})."
RIGHTS = (
    "give the role 'moodle/user:viewhiddendetails' (for profiles) and 'moodle/course:viewhiddenuserfields' (for "
    f"the people of courses; {ROLES})."
)
HIDDEN = f"Take them out of the list {HIDDEN_FIELDS}, or {RIGHTS}"
EMAILS = f"{SHOWN} If 'Email address' is in the list {HIDDEN_FIELDS}, take it out there too, or {RIGHTS}"
ADDRESSES = f"In a Moodle older than 4.5, {RIGHTS}"
FIELDS = (
    ("phone numbers", ("phone1", "phone2"), SHOWN),
    ("e-mail addresses", ("email",), EMAILS),
    ("login names", ("username",), DETAILS),
    ("languages", ("lang",), DETAILS),
    ("ID numbers", ("idnumber",), DETAILS),
    ("institutions", ("institution",), DETAILS),
    ("towns", ("city",), HIDDEN),
    ("countries", ("country",), HIDDEN),
    ("addresses", ("address",), ADDRESSES),
    ("time zones", ("timezone",), HIDDEN),
    ("first visits", ("firstaccess",), HIDDEN),
    ("last visits", ("lastaccess",), HIDDEN),
    ("marks 'Suspended account'", ("suspended",), HIDDEN),
)
SUSPENDED = "suspended"
LOGIN_NAME = "username"
OF_ROWS = frozenset({LOGIN_NAME, "firstaccess", "lastaccess"})
"""What the row of everybody in a course has unless it is hidden."""


def needed(mappings: Iterable[CompiledMapping]) -> set[str]:
    """Return the fields of people that mappings read, but where they say `when_not_sent: keep`."""
    found = set[str]()
    for mapping in mappings:
        asked = {name: one for name, one in mapping.spec.properties.items() if one.when_not_sent is None}
        paths = reads(mapping.spec.model_copy(update={"properties": asked}))
        found |= {path.removeprefix("user.") for path in paths}
    return found


def tell_hiding(
    run: Run, mappings: Iterable[CompiledMapping], before: Collection[str], unshown: Collection[str]
) -> None:
    """Say which fields Moodle shows of nobody any more; `before` are those that somebody showed once.

    Without the mark of suspended accounts nobody can tell who gets no messages: the run is degraded, whenever that
    began. `unshown` are fields that may be empty; where the login names are gone as well, that is the reason.
    """
    fields = needed(mappings)
    hidden = (fields | {LOGIN_NAME}) & run.reader.hidden
    with_it = WITH_ALL_DETAILS.intersection(unshown) & fields if LOGIN_NAME in hidden else frozenset[str]()
    if not with_it:
        hidden &= fields
    told = {SUSPENDED, *before} & hidden | with_it
    gone = dict[str, list[str]]()
    for words, names, remedy in FIELDS:
        if told.intersection(names) - {SUSPENDED}:
            gone.setdefault(remedy, []).append(f"{words} ({', '.join(sorted(told.intersection(names)))})")
    for remedy, kinds in gone.items():
        run.result.worse(
            RunState.COMPLETED,
            f"Moodle does not show the account any {' and '.join(kinds)} any more: it lost a right, or they are "
            f"hidden. What comes from them stays as it is in CommCare. {remedy} If that is meant, give the "
            "properties `when_not_sent: keep`.",
        )
    if SUSPENDED in told:
        run.result.worse(
            RunState.DEGRADED,
            "Moodle does not show the account who is suspended (suspended): whoever is suspended now still counts "
            f"as active in CommCare, and may be sent messages. {HIDDEN}",
        )


def tell_hiding_in_courses(
    result: Result, mappings: Iterable[CompiledMapping], rosters: Mapping[int, Roster]
) -> None:
    """Say which fields that everybody has no list of the people of a course carries, though mappings read them."""
    hidden = [roster.hidden for roster in rosters.values() if roster.hidden is not None]
    fields = needed(mapping for mapping in mappings if mapping.source not in ("users", "engagement"))
    told = (OF_ROWS & fields).intersection(*hidden) if hidden else frozenset[str]()
    for words, names, remedy in FIELDS:
        if told.intersection(names):
            result.worse(
                RunState.COMPLETED,
                f"Moodle does not show the account any {words} ({names[0]}) in the lists of the people of "
                f"courses. What comes from them there stays as it is in CommCare. {remedy}",
            )
