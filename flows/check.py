"""What works and what is missing, one line each with the screen to open. Reads a little, writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from adaptors.commcare.client import CommCareClient
from adaptors.errors import AdaptorError, Maintenance
from adaptors.moodle.answers import Course, SiteInfo
from adaptors.moodle.client import BATCH_FUNCTION, MoodleClient
from adaptors.moodle.roster import Roster
from adaptors.moodle.streams import MoodleReader
from flows.clock import SystemClock
from flows.errors import UsageError
from flows.open import open_commcare, open_moodle, open_project, open_store
from flows.run import context_of
from flows.settings import Settings
from flows.steps.gate import needed_functions
from flows.steps.pull import People, wanted_by
from flows.steps.select import select_courses
from mappings.engine import Draft, MappingError, Project
from state import StateError

SAMPLE = 100  # people whose owners are looked up
SAMPLE_COURSES = 5
SERVICE_SCREEN = "Site administration > Server > Web services > External services > Functions"
IDENTITY_SCREEN = "Site administration > Users > Permissions > User policies > Show user identity"
READ_BY = {
    "phone1": "phones", "phone2": "phones", "email": "e-mail addresses", "username": "login names",
    "idnumber": "ID numbers",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One line of the check: level ok, warn or fail, what was found, what to do about it."""

    level: str
    what: str
    remedy: str = ""


@dataclass
class Probe:
    """What the checks have learned so far."""

    settings: Settings
    project: Project
    moodle: MoodleClient
    commcare: CommCareClient
    site: SiteInfo | None = None
    courses: Sequence[Course] = ()
    rosters: dict[int, Roster] = field(default_factory=dict)
    profiles: list[dict[str, Any]] = field(default_factory=list)


async def run_checks(settings: Settings) -> list[Finding]:
    """Run all checks; a system that cannot be reached is one finding, not the end."""
    found = [Finding("ok", f"Settings: {settings.moodle_url} → {settings.commcare_domain}")]
    try:
        project = open_project(settings)
    except MappingError as error:
        return [*found, Finding("fail", f"Mappings: {error}", "See `moodle-commcare mappings check`.")]
    found.append(Finding("ok", f"Mappings: {', '.join(mapping.name for mapping in project.mappings)}"))
    found.append(_check_state(settings))
    clock = SystemClock()
    probe = Probe(settings, project, open_moodle(settings, clock, attempts=2), open_commcare(settings, clock))
    try:
        for part in (_check_moodle(probe), _check_commcare(probe)):
            try:
                found += [finding async for finding in part]
            except Maintenance as error:
                found.append(
                    Finding("warn", str(error), "Try again later; scheduled runs are postponed meanwhile.")
                )
            except AdaptorError as error:
                found.append(Finding("fail", f"{error.system}: {error.message}", error.remedy))
            except UsageError as error:
                found.append(Finding("fail", str(error)))
    finally:
        await probe.moodle.close()
        await probe.commcare.close()
    return found


def _check_state(settings: Settings) -> Finding:
    try:
        with open_store(settings) as store:
            last = store.last_run()
    except StateError as error:
        return Finding("fail", f"Books: {error}")
    return Finding("ok", f"Books: {f'last run {last[0]} ended {last[1]}' if last else 'new, no run yet'}")


async def _check_moodle(probe: Probe) -> AsyncIterator[Finding]:
    wanted = wanted_by(probe.project.mappings)
    reader = MoodleReader(probe.moodle, wanted)
    site = probe.site = await reader.site()
    yield Finding("ok", f"Moodle: token accepted, account '{site.username}' (id {site.userid}), {site.release}")
    if site.userissiteadmin:
        yield Finding(
            "warn", "Moodle: the account is a site administrator", "Use an account with a role of its own."
        )
    missing = [name for name in needed_functions(wanted) if name not in site.function_names]
    for name in missing:
        yield Finding("fail", f"Moodle: the service lacks {name}", f"Add it under {SERVICE_SCREEN}.")
    if BATCH_FUNCTION not in site.function_names:
        what = f"Moodle: the service lacks {BATCH_FUNCTION}: grades of large courses take a request a person"
        yield Finding("warn", what, f"Add it under {SERVICE_SCREEN}.")
    if missing:
        return
    async for finding in _check_courses(probe, reader):
        yield finding
    async for finding in _check_people(probe, reader):
        yield finding


async def _check_courses(probe: Probe, reader: MoodleReader) -> AsyncIterator[Finding]:
    choice = probe.project.courses
    categories = await reader.categories() if choice.categories else ()
    everything = await reader.courses()
    selection = select_courses(everything, categories, choice, SystemClock().now())
    probe.courses = selection.courses
    names = ", ".join(f"{course.id} {course.shortname}" for course in selection.courses[:8])
    more = " ..." if len(selection.courses) > 8 else ""
    level = "ok" if selection.courses else "fail"
    remedy = "" if selection.courses else "Change 'courses:' in project.yaml."
    yield Finding(level, f"Courses: {len(selection.courses)} of {len(everything)} chosen: {names}{more}", remedy)
    for number in selection.unknown:
        yield Finding("fail", f"Courses: Moodle has no course {number}", "Take it out of project.yaml.")
    for course in selection.courses[:SAMPLE_COURSES]:
        try:
            probe.rosters[course.id] = await reader.roster(course.id)
        except AdaptorError as error:
            yield Finding("fail", f"Course {course.id}: {error.message}", error.remedy)


async def _check_people(probe: Probe, reader: MoodleReader) -> AsyncIterator[Finding]:
    """Look at roles, visible fields and grades of a sample."""
    roles = Counter(role for roster in probe.rosters.values() for member in roster for role in member.roles)
    if not roles:
        if probe.rosters:
            yield Finding("warn", "People: nobody is enrolled in the first chosen courses")
        return
    listed = ", ".join(f"{role} ({count})" for role, count in roles.most_common())
    yield Finding("ok", f"Roles seen in {len(probe.rosters)} courses: {listed}")
    for mapping in probe.project.mappings:
        for role in sorted(mapping.included.get("roles", frozenset()) - roles.keys()):
            remedy = f"Roles go by their short name; there are {', '.join(sorted(roles))}."
            yield Finding("fail", f"{mapping.name}.yaml: nobody has the role '{role}'", remedy)
    async for finding in _check_fields(probe, reader):
        yield finding
    if wanted_by(probe.project.mappings).grades:
        yield await _check_grades(probe, reader)


async def _check_fields(probe: Probe, reader: MoodleReader) -> AsyncIterator[Finding]:
    ids = sorted({person for roster in probe.rosters.values() for person in roster.ids})[:SAMPLE]
    probe.profiles = [profile async for batch in reader.profiles(ids) for profile in batch]
    seen = {name for profile in probe.profiles for name in profile}
    read = {path for mapping in probe.project.mappings if mapping.source == "users" for path in mapping.reads}
    for what in dict.fromkeys(READ_BY.values()):
        wanted = {name for name, group in READ_BY.items() if group == what and name in read}
        if wanted and not wanted & seen:
            remedy = f"Tick them under {IDENTITY_SCREEN}, and give the role 'moodle/site:viewuseridentity'."
            yield Finding("warn", f"Profiles: no {what} among {len(ids)} people, or they are hidden", remedy)
        elif wanted:
            yield Finding("ok", f"Profiles: {what} are visible")


async def _check_grades(probe: Probe, reader: MoodleReader) -> Finding:
    course = min((roster for roster in probe.rosters.values() if len(roster)), key=len).course_id
    try:
        await reader.enrolments({"id": course}, probe.rosters[course], lambda _: True)
    except AdaptorError as error:
        return Finding("fail", f"Grades of course {course}: {error.message}", error.remedy)
    return Finding("ok", f"Grades: readable in course {course}")


async def _check_commcare(probe: Probe) -> AsyncIterator[Finding]:
    with_state = {mapping.case_type: mapping for mapping in probe.project.mappings}
    with open_store(probe.settings) as store:
        for case_type, mapping in with_state.items():
            there, known = await probe.commcare.count_cases(case_type), store.count_known(mapping.name)
            what = f"CommCare: {there} cases of type '{case_type}', {known} known to the books"
            if there > known and mapping.existing_cases != "ignore":
                remedy = f"If new cases may stand beside them: 'existing_cases: ignore' in {mapping.name}.yaml."
                yield Finding("warn", what, remedy)
            else:
                yield Finding("ok", what)
    if await probe.commcare.probe_upsert():
        yield Finding("ok", "CommCare: cases can be created or found again in one request (upsert)")
    else:
        yield Finding("fail", "CommCare: this server cannot upsert cases", "It needs a version of 2026 or later.")
    async for finding in _check_owners(probe):
        yield finding


async def _check_owners(probe: Probe) -> AsyncIterator[Finding]:
    """Look up the owners of a sample of people, without saying whose they are."""
    people, context = (
        People(probe.rosters.values()),
        context_of(probe.project, probe.settings.moodle_url, SystemClock().now()),
    )
    for mapping in probe.project.mappings:
        if mapping.source != "users":
            continue
        states = Counter[str]()
        for profile in probe.profiles:
            draft = mapping.draft(people.record(profile), context)
            if isinstance(draft, Draft) and not draft.owner.same_as:
                states[await _owner_state(probe, draft)] += 1
        total, good = states.total(), states.pop("ok", 0)
        if total:
            yield Finding("ok" if good else "fail", f"{mapping.name}.yaml: {good} of {total} people have an owner")
        for reason, count in states.items():
            remedy = "Owners are mobile workers, case-sharing groups or locations of the project space."
            yield Finding("warn", f"{mapping.name}.yaml: no owner for {count} people ({reason})", remedy)


async def _owner_state(probe: Probe, draft: Draft) -> str:
    states = []
    for candidate in draft.owner.candidates:
        owner = await probe.commcare.owners.resolve(candidate.kind, candidate.value)
        if owner.state == "ok":
            return "ok"
        states.append(f"{candidate.kind} {owner.state}")
    return ", ".join(states) or "no rule applies"
