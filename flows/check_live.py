"""`mappings check --live`: the names in the mapping files held against the two systems, each with its line.

What only a sample can tell (a custom field that nobody of a hundred people shows) is a warning, what a system says
for certain (an owner that it does not have) a mistake.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from adaptors.moodle.screens import PROFILE_FIELDS
from flows.catalogue import field_catalogue
from flows.check import guarded
from flows.check_commcare import KINDS, SCREENS, STATES
from flows.check_mappings import named_roles
from flows.check_moodle import check_moodle
from flows.check_people import check_people
from flows.check_write_back import REMEDY, absent_assignments
from flows.clock import SystemClock
from flows.open import open_commcare, open_moodle
from flows.places import Places
from flows.probe import Finding, Probe, note
from flows.settings import Settings
from flows.steps.pull import wanted_by
from flows.words import listed, numbered
from mappings.engine import CompiledMapping, OwnerReference, Problem, load_project
from mappings.engine.problems import nearest

COURSE_SCREEN = "Site administration > Courses > Default settings > Course custom fields"
MOST_OWNERS = 2000  # different owners of a lookup that are asked for


@dataclass
class LiveReport:
    """What was found: `problems` with a place in a file, `findings` about the systems, worst first."""

    problems: list[Problem] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_bad(self) -> bool:
        """Whether something has to be put right, or could not be looked at."""
        bad = any(problem.severity == "error" for problem in self.problems)
        return bad or any(finding.level in ("fail", "later") for finding in self.findings)


async def check_live(settings: Settings, *, plugins: bool = True) -> LiveReport:
    """Look at both systems; raises MappingError for mappings that are not right in themselves."""
    clock, report = SystemClock(), LiveReport()
    project = load_project(Path(settings.mappings_dir), field_catalogue(), plugins=plugins)
    moodle, commcare = open_moodle(settings, clock, attempts=2), open_commcare(settings, clock, attempts=2)
    probe = Probe(settings, clock, moodle, commcare)
    probe.use(project, wanted_by(project.mappings))
    look = _Look(probe, Places(Path(settings.mappings_dir)), report)
    try:
        for part in (check_moodle, check_people, look.moodle, look.commcare):
            async for finding in guarded(part, probe):
                if finding.level != "ok":
                    report.findings.append(finding)
    finally:
        await probe.close()
    report.problems.sort(key=lambda problem: (problem.path, problem.line, problem.column))
    return report


class _Look:
    """The mappings of a project, looked at with what was read of the systems."""

    def __init__(self, probe: Probe, places: Places, report: LiveReport) -> None:
        self._probe = probe
        self._places = places
        self._report = report
        self._mappings = probe.project.mappings if probe.project else ()
        self._tables = probe.project.tables if probe.project else ()

    async def moodle(self, _: Probe) -> AsyncIterator[Finding]:
        """Note custom fields and roles that nobody has, and assignments that are not there."""
        if self._probe.hidden_people or not self._probe.rosters:
            yield note("Moodle", "nobody could be looked at, so custom fields and roles were not compared")
            return
        for mapping in self._mappings:
            self._custom_fields(mapping)
            self._roles(mapping)
        for table in self._tables:
            self._custom_fields(table)
        await self._write_back()

    def _custom_fields(self, mapping: CompiledMapping) -> None:
        people = {name for person in self._probe.people for name in person.get("profile") or ()}
        courses = {each.shortname for course in self._probe.courses for each in course.customfields}
        looked_at = numbered(len(self._probe.people), "person", "people")
        for path in sorted(mapping.reads):
            before, dot, name = path.rpartition("profile.")
            if not dot or name == "*":
                continue
            is_course = before.startswith("course.") or (mapping.source == "courses" and not before)
            seen = courses if is_course else people
            if name in seen or (not is_course and not self._probe.people):
                continue
            who = "no selected course" if is_course else f"nobody of {looked_at} looked at"
            kind = "course" if is_course else "profile"
            near = nearest(name, seen)
            there = f"; there are {listed(sorted(seen))}" if seen else ""
            remedy = f"did you mean '{near}'?" if near else _compare(is_course) + there
            self._tell(mapping, path, f"{who} has the custom {kind} field '{name}'", remedy, certain=is_course)

    def _roles(self, mapping: CompiledMapping) -> None:
        seen = {role for roster in self._probe.rosters.values() for member in roster for role in member.roles}
        included, excluded = named_roles(mapping)
        for role in sorted((included | excluded) - seen) if seen else ():
            makes_nothing = role in included and not included & seen
            near = nearest(role, seen)
            remedy = f"did you mean '{near}'?" if near else f"roles seen: {', '.join(sorted(seen))}"
            what = f"nobody in {self._probe.where} has the role '{role}'"
            self._tell(mapping, role, what, remedy, certain=makes_nothing)

    async def _write_back(self) -> None:
        """Tell of assignments that no chosen course shows; one that is hidden looks the same."""
        for one in await absent_assignments(self._probe):
            problem = self._places.problem(
                one.mapping.name, str(one.number), one.what, REMEDY, certain=False, under="write_back"
            )
            self._report.problems.append(problem)

    async def commcare(self, probe: Probe) -> AsyncIterator[Finding]:
        """Note owners that cannot own a case; say which case types are new."""
        for mapping in self._mappings:
            await self._fixed_owner(mapping)
            async for finding in self._lookups(mapping):
                yield finding
        project = probe.project
        for name, owner in (("owner", project.owner), ("parked_owner", project.parked_owner)) if project else ():
            if owner is not None and (wrong := await self._wrong(owner, parked=name == "parked_owner")):
                problem = self._places.problem("project", owner.value, wrong, _compare_owner(owner), under=name)
                self._report.problems.append(problem)
        for case_type in dict.fromkeys(mapping.case_type for mapping in self._mappings):
            if not await probe.commcare.count_cases(case_type):
                yield note("CommCare", f"there is no '{case_type}' case yet; is that its name there?")
        for table in self._tables:
            if await probe.commcare.tables.find(table.case_type) is None:
                yield note("CommCare", f"there is no lookup table '{table.case_type}' yet; the first run makes it")

    async def _fixed_owner(self, mapping: CompiledMapping) -> None:
        last = mapping.spec.owner.otherwise
        if last is None or last.project:
            return
        owner = OwnerReference(last.kind, str(getattr(last, last.kind)))
        if wrong := await self._wrong(owner):
            self._tell(mapping, owner.value, wrong, _compare_owner(owner), certain=True)

    async def _lookups(self, mapping: CompiledMapping) -> AsyncIterator[Finding]:
        """Hold each owner of the lookups that name owners against CommCare."""
        files = self._probe.project.lookup_files if self._probe.project else {}
        for rule in mapping.spec.owner.first_of:
            if rule.lookup is None:
                continue
            names = sorted({value for value in mapping.around.lookups[rule.lookup].values.values() if value})
            if len(names) > MOST_OWNERS:
                yield note(
                    "Owners", f"of the lookup {rule.lookup} the first {MOST_OWNERS:,} owners were looked at"
                )
            for name in names[:MOST_OWNERS]:
                owner = OwnerReference(rule.kind, name)
                if wrong := await self._wrong(owner):
                    self._report.problems.append(
                        self._places.in_table(files.get(rule.lookup, ""), name, wrong, _compare_owner(owner))
                    )

    async def _wrong(self, owner: OwnerReference, *, parked: bool = False) -> str:
        """Say why somebody cannot own cases, "" when he can; `parked` ones need not reach any phone."""
        found = await self._probe.commcare.owners.resolve(owner.kind, owner.value)
        fits = found.state == "ok" or (parked and found.owner_id)
        return "" if fits else f"the {KINDS[owner.kind]} '{owner.value}' {STATES[found.state]}"

    def _tell(self, mapping: CompiledMapping, word: str, what: str, remedy: str, *, certain: bool) -> None:
        problem = self._places.problem(mapping.name, word, what, remedy, certain=certain)
        self._report.problems.append(problem)


def _compare(is_course: bool) -> str:
    return f"compare its short name with {COURSE_SCREEN if is_course else PROFILE_FIELDS}"


def _compare_owner(owner: OwnerReference) -> str:
    return f"compare with {SCREENS[owner.kind]}"
