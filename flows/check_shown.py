"""What `check` says of people as Moodle shows them: fields and groups that nobody has, or that are hidden.

Moodle leaves both out without a word. A run that asks about a field names it; so does this, with what shows it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from adaptors.moodle.normalise import can_hide_groups
from adaptors.moodle.screens import PROFILE_FIELDS, ROLES
from flows.needs import UNSHOWN_BLANKS
from flows.probe import Finding, Probe, fail, note, ok
from flows.steps.groups import goes_by_groups
from flows.steps.hiding import FIELDS, SUSPENDED
from flows.steps.pull import IN_COURSE
from flows.words import numbered
from mappings.engine import CompiledMapping, Draft, Excluded, HeldBack

CUSTOM = (
    f"Compare its short name, and 'Who is this field visible to?' ({PROFILE_FIELDS}), or give the role "
    "'moodle/user:viewalldetails'."
)
SELDOM = {"idnumber", "institution", "address"}
"""Fields that often nobody has: that nobody shows one is told only while a run asks about it."""
BLANK = {"firstaccess", "lastaccess"}
"""Fields that people show although they have none."""
ALWAYS = BLANK | {"suspended"}
"""Fields that everybody shows unless they are hidden."""
PLACES = (
    "among {people}: {why}",
    "in the profiles of {people}, though lists of the people of courses show some: they are hidden there",
    "in the lists of the people of courses, though profiles show some: they are hidden there",
)
"""Where no field of a kind is shown: anywhere, in profiles only, in courses only."""
GROUPS = (
    f"If there are some, give the role 'moodle/course:viewhiddengroups' ({ROLES}): without it Moodle shows no "
    "group whose visibility is 'Hidden'."
)


def check_fields(probe: Probe, mappings: Sequence[CompiledMapping]) -> Iterator[Finding]:
    """Say of the fields that may be hidden whether any person looked at shows them, in profiles and in courses."""
    if not probe.people:
        return
    people = numbered(len(probe.people), "person", "people")
    found = _find_fields(probe, mappings)
    read, lacking, asked = found.read, found.lacking, _asked_about(probe)
    told = {words: _to_tell(read.intersection(names), lacking, asked) for words, names, _ in FIELDS}
    if shown := [words for words, names, _ in FIELDS if (read.intersection(names) - lacking) and not told[words]]:
        yield ok("Profiles", f"shown: {', '.join(shown)}")
    kinds = dict[tuple[str, str], dict[str, list[str]]]()
    for words, _, remedy in FIELDS:
        if names := told[words]:
            kinds.setdefault((remedy, found.place_of(names)), {})[words] = names
    for (remedy, place), fields in kinds.items():
        hidden = " and no ".join(f"{words} ({', '.join(names)})" for words, names in fields.items())
        is_hidden = ALWAYS.issuperset(name for names in fields.values() for name in names)
        why = "they are hidden" if is_hidden else "nobody has any, or they are hidden"
        # Without that mark nobody can tell who is not to be sent messages.
        say = fail if any(SUSPENDED in names for names in fields.values()) else note
        yield say("Profiles", f"no {hidden} {place.format(people=people, why=why)}", remedy)
    for path in sorted(lacking):
        name = path.removeprefix("profile.")
        if name not in (path, "*"):
            yield note("Profiles", f"nobody of {people} shows the custom profile field '{name}'", CUSTOM)


@dataclass(frozen=True)
class _Fields:
    """The fields that mappings read of profiles and of the people of courses, and which nobody shows there."""

    of_profiles: frozenset[str]
    of_courses: frozenset[str]
    lacking_in_profiles: frozenset[str]
    lacking_in_courses: frozenset[str]
    seen: frozenset[str]
    """What anybody shows, in profiles or of the same people in courses."""

    @property
    def read(self) -> frozenset[str]:
        return self.of_profiles | self.of_courses

    @property
    def lacking(self) -> frozenset[str]:
        return self.lacking_in_profiles | self.lacking_in_courses

    def place_of(self, names: Collection[str]) -> str:
        """Return in words where fields that are lacking are not shown."""
        anywhere, profiles, courses = PLACES
        if self.seen.intersection(names):
            return profiles if self.lacking_in_profiles.intersection(names) else courses
        return anywhere


def _find_fields(probe: Probe, mappings: Sequence[CompiledMapping]) -> _Fields:
    """Return what the mappings read of people, and what of it is shown."""
    of_profiles = frozenset(_read_of_people(mappings, ("users", "engagement")))
    of_courses = frozenset(_read_of_people(mappings, IN_COURSE) if probe.enrolments else ())
    rows = [record["user"] for record in probe.enrolments]
    looked_at = {person["id"] for person in probe.people}
    in_profiles, in_courses = _seen(probe.people), _seen(rows)
    of_the_same = _seen(row for row in rows if row.get("id") in looked_at)
    lacking = of_profiles - in_profiles, of_courses - in_courses
    return _Fields(of_profiles, of_courses, *lacking, frozenset(in_profiles | of_the_same))


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


def _to_tell(read: Set[str], lacking: Set[str], asked: Set[str]) -> list[str]:
    """Return those of the fields of one kind to tell of: nobody shows any, or a run asks about the one."""
    nobody = read <= lacking
    return sorted(name for name in read & lacking if name in asked or (nobody and name not in SELDOM))


def check_groups(
    probe: Probe, mapping: CompiledMapping, found: Sequence[tuple[Mapping[str, Any], Draft | Excluded | HeldBack]]
) -> Iterator[Finding]:
    """Say where a mapping reads groups and some show none: from Moodle 4.3 on these may be hidden.

    Whoever is in no group looks like somebody in hidden ones, so a right is named only where nobody shows any.
    """
    if "groups" not in mapping.reads or probe.site is None or not can_hide_groups(probe.site.release):
        return
    made = [record for record, outcome in found if isinstance(outcome, Draft)]
    have = sum(bool(record.get("groups")) for record in made)
    records = f"of the {numbered(len(made), 'record')} looked at"
    by_groups = goes_by_groups(mapping)
    if made and not have:
        reads = "finds owners by groups" if by_groups else "reads groups"
        yield note("Groups", f"{mapping.name}.yaml {reads}, and none {records} shows one", GROUPS)
    elif have < len(made) and by_groups:
        rest = "the owner of the others is found by other rules, or they are held back"
        show = "shows" if have == 1 else "show"
        yield ok("Groups", f"{mapping.name}.yaml finds owners by groups: {have:,} {records} {show} one; {rest}")
