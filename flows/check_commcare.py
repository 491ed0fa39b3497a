"""What `check` finds out about CommCare: access, upserts, cases that are there already, owners."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence

from adaptors.commcare.screens import GROUPS, LOCATIONS, MOBILE_WORKERS
from flows.probe import Finding, Probe, fail, note, ok
from flows.steps.approvals import WRITTEN
from flows.steps.linked import is_matched
from flows.words import numbered
from mappings.engine import CompiledMapping, Draft, OwnerReference

KINDS = {"user": "mobile worker", "location": "location", "group": "case-sharing group"}
SCREENS = {
    "user": MOBILE_WORKERS,
    "location": LOCATIONS,
    "group": GROUPS,
}
STATES = {
    "unknown": "is not in the project space",
    "deactivated": "is deactivated",
    "not_sharing": "does not share cases",
}
GONE = "CommCare counts a little late: check again in a minute. Changes to cases that were deleted are refused."


async def check_commcare(probe: Probe) -> AsyncIterator[Finding]:
    """Look at the project space; raises AdaptorError."""
    settings = probe.settings
    upsert = await probe.commcare.probe_upsert()
    yield ok("CommCare", f"project space '{settings.commcare_domain}' lets '{settings.commcare_username}' in")
    if not upsert:
        what = f"the server at {settings.commcare_url} cannot create or update cases in one request (upsert)"
        remedy = "Syncs work, with one request more for each new case. An update of that server saves them."
        yield note("CommCare", what, remedy)
    if probe.project is None:
        return
    by_type: dict[str, list[CompiledMapping]] = defaultdict(list)
    for mapping in probe.project.mappings:
        by_type[mapping.case_type].append(mapping)
    for case_type, mappings in by_type.items():
        yield await _existing(probe, case_type, mappings)
    async for finding in _owners(probe):
        yield finding


async def _existing(probe: Probe, case_type: str, mappings: Sequence[CompiledMapping]) -> Finding:
    """Compare the cases that are there with those that the books know."""
    there = await probe.commcare.count_cases(case_type)
    store = probe.store
    known = sum(store.count_known(mapping.name) for mapping in mappings) if store else 0
    if not there and not known:
        return ok("CommCare", f"no '{case_type}' case yet")
    cases = numbered(there, f"'{case_type}' case")
    text = f"{cases}, {known:,} known to the books"
    if there == known or store is None:
        return ok("CommCare", text)
    if there < known:
        return note("CommCare", f"{text}: {known - there:,} fewer than were made", GONE)
    stops = [
        mapping.name
        for mapping in mappings
        if mapping.existing_cases != "ignore" and store.get(WRITTEN.format(name=mapping.name)) is None
    ]
    if not stops:
        return ok("CommCare", text)
    remedy = f"If new cases may stand beside them, write 'existing_cases: ignore' into {stops[0]}.yaml."
    if any(mapping.name == stops[0] and is_matched(mapping) for mapping in mappings):
        remedy = f"`moodle-commcare match` finds out whose they are. {remedy}"
    return note("CommCare", f"{text}: the first run of {stops[0]}.yaml will stop", remedy)


async def _owners(probe: Probe) -> AsyncIterator[Finding]:
    """Look up the project's owner by name, and the owners of the sample without saying whose they are."""
    owner = probe.project.owner if probe.project else None
    if owner is not None:
        yield await _project_owner(probe, owner)
    for name, drafts in probe.drafts.items():
        own = [draft for draft in drafts if not draft.owner.same_as]
        if own and not all(draft.owner.candidates == (owner,) for draft in own):
            yield await _sample_owners(probe, name, own)


async def _sample_owners(probe: Probe, name: str, drafts: Sequence[Draft]) -> Finding:
    states = Counter([await _owner_state(probe, draft) for draft in drafts])
    good = states.pop("ok", 0)
    text = f"{name}.yaml finds an owner for {good or 'none'} of the {numbered(len(drafts), 'case')} looked at"
    if not states:
        return ok("Owners", text)
    why = ", ".join(f"{reason} ({count})" for reason, count in states.most_common())
    remedy = _owner_remedy(probe, name)
    return (note if good else fail)("Owners", f"{text}; the others would be held back: {why}", remedy)


def _owner_remedy(probe: Probe, name: str) -> str:
    """Say what gives the cases an owner; where each is a person's own, no shared one is proposed."""
    mappings = probe.project.mappings if probe.project else ()
    owners = [mapping.spec.owner for mapping in mappings if mapping.name == name]
    if any(one and not one.otherwise and all(rule.user for rule in one.first_of) for one in owners):
        return (
            "Make the mobile workers who are missing (`moodle-commcare workers create --dry-run` says how many; "
            f"see docs/students-offline.md), or correct 'owner:' in {name}.yaml."
        )
    rest = "" if probe.project and probe.project.owner else " and name that owner in project.yaml"
    return f"Correct 'owner:' in {name}.yaml, or write 'otherwise: project' there for the rest{rest}."


async def _project_owner(probe: Probe, owner: OwnerReference) -> Finding:
    found = await probe.commcare.owners.resolve(owner.kind, owner.value)
    text = f"the {KINDS[owner.kind]} '{owner.value}' in project.yaml"
    if found.state == "ok":
        return ok("Owners", f"{text} can own cases")
    remedy = f"Compare with {SCREENS[owner.kind]}, then correct 'owner:' in project.yaml."
    return fail("Owners", f"{text} {STATES[found.state]}", remedy)


async def _owner_state(probe: Probe, draft: Draft) -> str:
    """Return "ok" when one of the candidates can own the case, else what is wrong with them."""
    wrong = []
    for candidate in draft.owner.candidates:
        owner = await probe.commcare.owners.resolve(candidate.kind, candidate.value)
        if owner.state == "ok":
            return "ok"
        wrong.append(f"the {KINDS[candidate.kind]} {STATES[owner.state]}")
    return " and ".join(dict.fromkeys(wrong)) or "no rule gives them one"
