"""What `check` finds out by mapping the sample: roles nobody has, people left out and held back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adaptors.moodle.normalise import course_record, grade_item_records
from flows.check_shown import check_fields, check_groups
from flows.probe import Finding, Probe, fail, note, ok
from flows.run import context_of
from flows.words import listed, numbered
from mappings.engine import REASONS, CompiledMapping, Draft, Excluded, HeldBack, ValueProblem

PARTS = {"@include": "'include'", "@owner": "'owner'", "@key": "'external_id'", "@name": "'case_name'"}


def check_mappings(probe: Probe) -> Iterator[Finding]:
    """Map the sample and say what would become of it."""
    project = probe.project
    if project is None or not probe.rosters or probe.hidden_people:
        return
    seen = Counter(role for roster in probe.rosters.values() for member in roster for role in member.roles)
    if seen:
        yield ok("Roles", ", ".join(f"{role} ({count})" for role, count in seen.most_common()))
    yield from check_fields(probe, project.mappings)
    context = context_of(project, project.site_url or probe.settings.moodle_url, probe.clock.now())
    for mapping in project.mappings:
        records = _records(probe, mapping.source)
        found = [mapping.draft(record, context) for record in records]
        probe.drafts[mapping.name] = [outcome for outcome in found if isinstance(outcome, Draft)]
        roles = list(_roles(probe, mapping, frozenset(seen)))
        yield from roles
        if not any(finding.level == "fail" for finding in roles):
            yield from _outcomes(probe, mapping, found)
            yield from check_groups(probe, mapping, list(zip(records, found, strict=True)))


def _roles(probe: Probe, mapping: CompiledMapping, seen: frozenset[str]) -> Iterator[Finding]:
    """Name the roles that a mapping names and nobody has."""
    included, excluded = named_roles(mapping)
    remedy = f"Roles go by their short names; these were seen: {', '.join(sorted(seen))}."
    for word, names in (("includes", included), ("excludes", excluded)):
        for role in sorted(names - seen) if seen else ():
            what = f"{mapping.name}.yaml {word} the role '{role}', and nobody in {probe.where} has it"
            makes_nothing = word == "includes" and not names & seen
            yield fail("Roles", what, remedy) if makes_nothing else note("Roles", what, remedy)


def named_roles(mapping: CompiledMapping) -> tuple[frozenset[str], frozenset[str]]:
    """Return the roles that a mapping's `include` and `exclude` name."""
    none = frozenset[str]()
    return mapping.included.get("roles", none), mapping.excluded.get("roles", none)


def _records(probe: Probe, source: str) -> Sequence[Mapping[str, Any]]:
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
        what = f"{mapping.name}.yaml leaves out everybody in {probe.where}: no '{mapping.case_type}' case"
        yield note("Mappings", what, f"Look at {words} in {mapping.name}.yaml.")
        return
    if mapping.source != "users":
        return
    held = [outcome for outcome in found if isinstance(outcome, HeldBack)]
    kept = numbered(len(found) - left_out.total() - len(held), "case")
    text = f"{mapping.name}.yaml makes {kept} of the {numbered(len(found), 'person', 'people')} looked at"
    if not held:
        yield ok("Mappings", text)
        return
    reasons = Counter(_told(problem) for outcome in held for problem in outcome.problems)
    why = listed([f"{reason} ({count})" for reason, count in reasons.most_common()], 4)
    remedy = "Complete the profiles in Moodle, or see whether the account may see these fields."
    yield note("Mappings", f"{text}; {len(held)} would be held back: {why}", remedy)


def _told(problem: ValueProblem) -> str:
    """Return why a record is held back: what is wanted of which field, never a value."""
    part = PARTS.get(problem.property, problem.property)
    field = f", the field {problem.detail}," if problem.reason == "not_sent" and problem.detail else ""
    return f"{part}{field} {REASONS.get(problem.reason, problem.reason)}"
