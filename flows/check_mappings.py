"""What `check` finds out by mapping the sample: roles nobody has, fields nobody shows, people left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from adaptors.moodle.normalise import course_record, grade_item_records
from flows.probe import IDENTITY_SCREEN, ROLE_SCREEN, Finding, Probe, fail, listed, note, numbered, ok
from flows.run import context_of
from mappings.engine import REASONS, CompiledMapping, Draft, Excluded, HeldBack

# What the account is shown of people: fields, how people call them, and what brings them to light.
IDENTITY = f"Tick them under {IDENTITY_SCREEN}, and give the role 'moodle/site:viewuseridentity'."
DETAILS = f"Give the role 'moodle/user:viewalldetails' ({ROLE_SCREEN})."
FIELDS = (
    (("phone1", "phone2"), "phone numbers", IDENTITY),
    (("email",), "e-mail addresses", IDENTITY),
    (("username",), "login names", DETAILS),
    (("lang",), "languages", DETAILS),
)


def check_mappings(probe: Probe) -> Iterator[Finding]:
    """Map the sample and say what would become of it."""
    project = probe.project
    if project is None or not probe.rosters:
        return
    yield from _roles(probe, project.mappings)
    yield from _fields(probe, project.mappings)
    context = context_of(project, project.site_url or probe.settings.moodle_url, probe.clock.now())
    for mapping in project.mappings:
        found = [mapping.draft(record, context) for record in _records(probe, mapping.source)]
        probe.drafts[mapping.name] = [outcome for outcome in found if isinstance(outcome, Draft)]
        yield from _outcomes(probe, mapping, found)


def _roles(probe: Probe, mappings: Iterable[CompiledMapping]) -> Iterator[Finding]:
    """Name the roles that were seen, and those that a mapping asks for and nobody has."""
    seen = Counter(role for roster in probe.rosters.values() for member in roster for role in member.roles)
    if not seen:
        return
    yield ok("Roles", ", ".join(f"{role} ({count})" for role, count in seen.most_common()))
    there = f"There are {', '.join(sorted(seen))}: roles go by their short names."
    for mapping in mappings:
        wanted, unwanted = named_roles(mapping)
        for role in sorted(wanted - seen.keys()):
            what = f"{mapping.name}.yaml includes the role '{role}', and nobody in {probe.where} has it"
            yield note("Roles", what, there) if wanted & seen.keys() else fail("Roles", what, there)
        for role in sorted(unwanted - seen.keys()):
            what = f"{mapping.name}.yaml excludes the role '{role}', and nobody in {probe.where} has it"
            yield note("Roles", what, there)


def named_roles(mapping: CompiledMapping) -> tuple[frozenset[str], frozenset[str]]:
    """Return the roles that a mapping's `include` and `exclude` name."""
    none = frozenset[str]()
    return mapping.included.get("roles", none), getattr(mapping, "excluded", {}).get("roles", none)


def _fields(probe: Probe, mappings: Iterable[CompiledMapping]) -> Iterator[Finding]:
    """Say of the fields that may be hidden whether any person looked at shows them."""
    if not probe.people:
        return
    read = {path for mapping in mappings if mapping.source == "users" for path in mapping.reads}
    looked_at = numbered(len(probe.people), "person", "people")
    seen = {name for person in probe.people for name, value in person.items() if value not in (None, "")}
    for names, word, remedy in FIELDS:
        if wanted := read.intersection(names):
            yield (
                ok("Profiles", f"{word} are shown")
                if wanted & seen
                else note("Profiles", f"no {word} among {looked_at}: nobody has one, or they are hidden", remedy)
            )
    custom = {name for person in probe.people for name in person.get("profile", ())}
    for path in sorted(read):
        if path.startswith("profile.") and path.removeprefix("profile.") not in custom:
            what = f"nobody of {looked_at} shows the custom profile field '{path.removeprefix('profile.')}'"
            remedy = (
                "Compare its short name (Site administration > Users > User profile fields) and its visibility."
            )
            yield note("Profiles", what, remedy)


def _records(probe: Probe, source: str) -> Iterable[Mapping[str, Any]]:
    """Return the sample as records of a source; without grades an enrolment stands for its grade items."""
    if source == "users":
        return probe.people
    if source == "courses":
        return [course_record(course) for course in probe.courses]
    if source == "enrolments":
        return probe.enrolments
    if source == "grade_items":
        return [item for record in probe.enrolments for item in grade_item_records(record) or [record]]
    return []


def _outcomes(
    probe: Probe, mapping: CompiledMapping, found: list[Draft | Excluded | HeldBack]
) -> Iterator[Finding]:
    """Say how many records become cases, and why others do not."""
    if not found:
        return
    left_out = Counter(outcome.reason for outcome in found if isinstance(outcome, Excluded))
    if left_out.total() == len(found):
        words = " and ".join(f"'{reason}'" for reason in left_out)
        what = (
            f"{mapping.name}.yaml leaves out everybody in {probe.where} ({words}): no '{mapping.case_type}' case"
        )
        yield note("Mappings", what, f"Look at {words} in {mapping.name}.yaml.")
        return
    if mapping.source != "users":
        return
    kept = len(found) - left_out.total()
    people = numbered(len(found), "person", "people")
    text = f"{mapping.name}.yaml makes {numbered(kept, 'case')} of the {people} looked at"
    held = [outcome for outcome in found if isinstance(outcome, HeldBack)]
    if not held:
        yield ok("Mappings", text)
        return
    reasons = Counter(
        f"{p.property} {REASONS.get(p.reason, p.reason)}" for outcome in held for p in outcome.problems
    )
    why = listed([f"{reason} ({count})" for reason, count in reasons.most_common()], 4)
    yield note("Mappings", f"{text}; {len(held)} would be held back: {why}", "Complete these profiles in Moodle.")
