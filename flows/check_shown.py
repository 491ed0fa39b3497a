"""What `check` says of people as Moodle shows them: fields and groups that nobody has, or that are hidden.

Moodle leaves both out without a word. A run that asks about a field names it; so does this, with what shows it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from adaptors.moodle.normalise import can_hide_groups
from adaptors.moodle.screens import HIDDEN_FIELDS, IDENTITY, PROFILE_FIELDS, ROLES
from flows.needs import UNSHOWN_BLANKS
from flows.probe import Finding, Probe, note, ok
from flows.steps.groups import goes_by_groups
from flows.steps.pull import IN_COURSE
from flows.words import numbered
from mappings.engine import CompiledMapping, Draft, Excluded, HeldBack

# What the account is shown of people: fields, how people call them, and what brings them to light.
SHOWN = f"Tick them under {IDENTITY}, and give the role 'moodle/site:viewuseridentity'."
DETAILS = f"Give the role 'moodle/user:viewalldetails' ({ROLES})."
RIGHTS = f"give the role 'moodle/user:viewhiddendetails' and 'moodle/course:viewhiddenuserfields' ({ROLES})."
HIDDEN = f"Take them out of the list {HIDDEN_FIELDS}, or {RIGHTS}"
ADDRESSES = f"In a Moodle older than 4.5, {RIGHTS}"
CUSTOM = (
    f"Compare its short name, and 'Who is this field visible to?' ({PROFILE_FIELDS}), or give the role "
    "'moodle/user:viewalldetails'."
)
FIELDS = (
    ("phone numbers", ("phone1", "phone2"), SHOWN),
    ("e-mail addresses", ("email",), SHOWN),
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
)
SELDOM = {"idnumber", "institution", "address"}
"""Fields that often nobody has: that nobody shows one is told only while a run asks about it."""
BLANK = {"firstaccess", "lastaccess"}
"""Fields that people show although they have none."""
GROUPS = (
    f"If there are some, give the role 'moodle/course:viewhiddengroups' ({ROLES}): without it Moodle shows no "
    "group whose visibility is 'Hidden'."
)


def check_fields(probe: Probe, mappings: Sequence[CompiledMapping]) -> Iterator[Finding]:
    """Say of the fields that may be hidden whether any person looked at shows them, in profiles and in courses."""
    if not probe.people:
        return
    people = numbered(len(probe.people), "person", "people")
    of_profiles = _read_of_people(mappings, ("users", "engagement"))
    of_rows = _read_of_people(mappings, IN_COURSE)
    lacking = of_profiles - _seen(probe.people)
    lacking |= of_rows - _seen([record["user"] for record in probe.enrolments]) if probe.enrolments else set()
    read, asked = of_profiles | of_rows, _asked_about(probe)
    told = {words: _to_tell(read.intersection(names), lacking, asked) for words, names, _ in FIELDS}
    if shown := [words for words, names, _ in FIELDS if (read.intersection(names) - lacking) and not told[words]]:
        yield ok("Profiles", f"shown: {', '.join(shown)}")
    for remedy in (SHOWN, DETAILS, HIDDEN, ADDRESSES):
        hidden = [
            f"{words} ({', '.join(told[words])})" for words, _, way in FIELDS if way == remedy and told[words]
        ]
        if hidden:
            what = f"no {' and no '.join(hidden)} among {people}: nobody has any, or they are hidden"
            yield note("Profiles", what, remedy)
    for path in sorted(lacking):
        name = path.removeprefix("profile.")
        if name not in (path, "*"):
            yield note("Profiles", f"nobody of {people} shows the custom profile field '{name}'", CUSTOM)


def _read_of_people(mappings: Iterable[CompiledMapping], sources: Collection[str]) -> set[str]:
    """Return the fields of a person that the mappings of some sources read."""
    paths = {path for mapping in mappings if mapping.source in sources for path in mapping.reads}
    if "users" in sources:
        return {path.removeprefix("user.") for path in paths}
    return {path.removeprefix("user.") for path in paths if path.startswith("user.")}


def _seen(people: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the fields that anybody shows."""
    seen = set[str]()
    for person in people:
        seen |= {name for name, value in person.items() if value not in (None, "") or name in BLANK}
        seen |= {f"profile.{name}" for name in person.get("profile") or ()}
    return seen


def _asked_about(probe: Probe) -> set[str]:
    """Return the fields that nobody shows any more, of which a run has asked a person."""
    asked: dict[str, str] = json.loads((probe.store and probe.store.get(UNSHOWN_BLANKS)) or "{}")
    return {name for names in asked.values() for name in names.split(", ")}


def _to_tell(read: set[str], lacking: set[str], asked: set[str]) -> list[str]:
    """Return those of the fields of one kind to tell of: nobody shows any, or a run asks about the one."""
    nobody = read <= lacking
    return sorted(name for name in read & lacking if name in asked or (nobody and name not in SELDOM))


def check_groups(
    probe: Probe, mapping: CompiledMapping, found: Sequence[tuple[Mapping[str, Any], Draft | Excluded | HeldBack]]
) -> Iterator[Finding]:
    """Note records without a group where a mapping reads groups: from Moodle 4.3 on some may be hidden."""
    if "groups" not in mapping.reads or probe.site is None or not can_hide_groups(probe.site.release):
        return
    made = [record for record, outcome in found if isinstance(outcome, Draft)]
    without = sum(not record.get("groups") for record in made)
    if not without or not (without == len(made) or goes_by_groups(mapping)):
        return
    reads = "finds owners by groups" if goes_by_groups(mapping) else "reads groups"
    have = len(made) - without
    count = f"only {have:,}" if have else "none"
    show = "show" if have > 1 else "shows"
    what = f"{mapping.name}.yaml {reads}, and {count} of the {numbered(len(made), 'record')} looked at {show} one"
    yield note("Groups", what, GROUPS)
