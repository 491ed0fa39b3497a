"""What people in Moodle lack and the mappings need: telephone, e-mail address, group, owner; for Moodle's admin.

Moodle is read as in a preview, without grades and completion; what is kept of a person is the number and what is
missing. Nothing is sent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flows.live import look, watch, watch_source
from flows.masked import Eyes
from flows.world import Progress, World, silent
from mappings.engine import CompiledMapping, Context, Draft, Excluded, HeldBack, Project
from mappings.engine.draft import OwnerReference
from mappings.engine.paths import getter
from mappings.engine.reads import value_paths
from mappings.engine.texts import ABSENT

PHONE, EMAIL, GROUP, OWNER = KINDS = ("phone", "e-mail", "group", "owner")
FIELDS = {"phone1": PHONE, "phone2": PHONE, "email": EMAIL, "groups": GROUP}
INVALID = {"invalid_phone": PHONE, "invalid_email": EMAIL}
NOT_ENTERED = frozenset({"id", "roles", "lastaccess", "firstaccess", "suspended", "confirmed", "auth", "lang"})
FRAME = frozenset(
    {"id", "user.id", "course.id"} | {f"{at}{part}name" for at in ("", "user.") for part in ("first", "last")}
)
"""What keys and names of cases are made of; without them a mapping makes nothing of a record."""
EVERYWHERE = 0  # stands for all courses of a person

See = Callable[[Mapping[str, Any], Context], None]


@dataclass(frozen=True)
class Need:
    """One thing that a mapping needs of a person: the first of some fields that is filled."""

    kind: str
    paths: tuple[str, ...]

    def is_met(self, record: Mapping[str, Any]) -> bool:
        """Say whether any of the fields has a value."""
        return any(getter(path)(record) not in (ABSENT, None, "", []) for path in self.paths)


@dataclass
class Person:
    """What somebody lacks, by course (0: in all of them), and the courses that the mappings look at."""

    lacks: dict[int, set[str]] = field(default_factory=dict)
    courses: set[int] = field(default_factory=set)
    name: str = field(default="", repr=False)

    def missing(self) -> list[str]:
        """Return everything that is missing, anywhere."""
        return sorted(set().union(*self.lacks.values()), key=_rank)

    def missing_in(self, course: int) -> set[str]:
        """Return what is missing in one course."""
        return self.lacks.get(EVERYWHERE, set()) | self.lacks.get(course, set())


@dataclass
class Gaps:
    """The people that the mappings make cases of, and what they lack; `courses` are short names by number."""

    site_url: str
    people: dict[int, Person] = field(default_factory=dict)
    courses: dict[int, str] = field(default_factory=dict)
    needs: set[str] = field(default_factory=set)
    requests: int = 0
    notes: list[str] = field(default_factory=list)

    def incomplete(self) -> Iterator[tuple[int, Person]]:
        """Yield who lacks something, by number."""
        for number, person in sorted(self.people.items()):
            if any(person.lacks.values()):
                yield number, person

    def kinds(self) -> list[str]:
        """Return what the mappings need, and what else is missing."""
        return sorted(self.needs | {kind for _, one in self.incomplete() for kind in one.missing()}, key=_rank)

    def by_course(self) -> Iterator[tuple[int, int, Counter[str]]]:
        """Yield each course with its people, and how many of them lack what."""
        for course in sorted(self.courses):
            there = [person for person in self.people.values() if course in person.courses]
            counts = Counter(kind for person in there for kind in person.missing_in(course))
            yield course, len(there), counts

    def address(self, number: int) -> str:
        """Return the page of a person in Moodle."""
        return f"{self.site_url}/user/profile.php?id={number}"

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`: numbers and no names."""
        return {
            "needed": sorted(self.needs, key=_rank),
            "people": len(self.people),
            "courses": [
                {"course": course, "shortname": self.courses[course], "people": people, "missing": dict(counts)}
                for course, people, counts in self.by_course()
            ],
            "incomplete": [
                {"user": number, "courses": sorted(one.courses), "missing": one.missing()}
                | {"page": self.address(number)}
                for number, one in self.incomplete()
            ],
            "requests": self.requests,
            "messages": self.notes,
        }


def _rank(kind: str) -> tuple[int, str]:
    return (KINDS.index(kind) if kind in KINDS else len(KINDS), kind)


def needs_of(mapping: CompiledMapping, *, everything: bool = False) -> list[Need]:
    """Return what a mapping needs that people enter in Moodle: of its properties, owner rules and conditions.

    `everything` adds fields other than telephone, e-mail address and group.
    """
    spec = mapping.spec
    used = [value_paths(one) for one in spec.properties.values() if one.one_property_per is None]
    used += [[rule.source] for rule in spec.owner.first_of]
    used += [[condition.source] for condition in spec.include if FIELDS.get(condition.source) == GROUP]
    found = dict[Need, None]()
    for paths in used:
        if paths and all(_is_entered(mapping.source, path) for path in paths):
            last = paths[0].removeprefix("user.")
            if last in FIELDS or everything:
                found[Need(FIELDS.get(last, last), tuple(paths))] = None
    return [*found]


def _is_entered(source: str, path: str) -> bool:
    """Say whether a path holds what somebody enters about a person: of a profile, or a group."""
    if source == "users":
        return path not in NOT_ENTERED
    return path == "groups" or (
        path.startswith(("profile.", "user.")) and path.removeprefix("user.") not in NOT_ENTERED
    )


class _Look:
    """One read of Moodle: what each record shows."""

    def __init__(self, gaps: Gaps, *, everything: bool, named: bool) -> None:
        self._gaps = gaps
        self._everything = everything
        self._named = named
        self.unowned: dict[tuple[OwnerReference, ...], set[tuple[int, int]]] = defaultdict(set)
        """Candidates for an owner -> who (person, course) depends on them."""

    def watchers(self, mappings: Sequence[CompiledMapping], around: Project) -> list[CompiledMapping]:
        """Return a watcher of each mapping of people or enrolments, which reads no more than is looked at here."""
        found = [self._watcher(mapping) for mapping in mappings if mapping.source in ("users", "enrolments")]
        found += [self._of_learners(mapping, around) for mapping in mappings if mapping.source == "engagement"]
        found.append(watch_source(around, "enrolments", self._place, reads=("user.id", "course.shortname")))
        return found

    def _watcher(self, mapping: CompiledMapping) -> CompiledMapping:
        needs = needs_of(mapping, everything=self._everything)
        self._gaps.needs |= {need.kind for need in needs}
        owned = not mapping.spec.owner.same_as
        self._gaps.needs |= {OWNER} if owned else set()
        reads = {path for need in needs for path in need.paths}
        reads |= {one.source for one in (*mapping.spec.include, *mapping.spec.exclude)}
        reads |= {rule.source for rule in mapping.spec.owner.first_of}
        reads |= mapping.reads & FRAME
        see = self._seer(needs, mapping)
        return replace(watch(mapping, see), reads=frozenset(reads))

    def _of_learners(self, mapping: CompiledMapping, around: Project) -> CompiledMapping:
        """Return the watcher of what `engagement` needs of a person: on the profile it costs no call a person."""
        needs = [
            replace(need, paths=tuple(path.removeprefix("user.") for path in need.paths))
            for need in needs_of(mapping, everything=self._everything)
        ]
        self._gaps.needs |= {need.kind for need in needs}
        conditions = {one.source.removeprefix("user.") for one in (*mapping.spec.include, *mapping.spec.exclude)}

        def see(record: Mapping[str, Any], _: Context) -> None:
            if not mapping.excludes({**record, "user": record}):
                self._note(record, {need.kind for need in needs if not need.is_met(record)})

        reads = conditions.union(*(need.paths for need in needs))
        return replace(watch_source(around, "users", see, reads=reads), name=f"={mapping.name}")

    def _seer(self, needs: Sequence[Need], mapping: CompiledMapping) -> See:
        """Return what notes the gaps of one record."""

        def see(record: Mapping[str, Any], context: Context) -> None:
            outcome = mapping.draft(record, context)
            if not isinstance(outcome, Excluded):
                whose = None if mapping.spec.owner.same_as else _whose(record)
                lacks = {need.kind for need in needs if not need.is_met(record)}
                self._note(record, lacks | set(self._of_draft(outcome, whose)))

        return see

    def _note(self, record: Mapping[str, Any], lacks: set[str]) -> None:
        """Note what the person of a record lacks there."""
        number, course = _whose(record)
        person = self._gaps.people.setdefault(number, Person())
        person.lacks.setdefault(course, set()).update(lacks)
        if self._named and not person.name:
            person.name = _name(record)

    def _of_draft(self, outcome: Draft | HeldBack, whose: tuple[int, int] | None) -> Iterator[str]:
        """Yield what the mapping itself finds missing; owners are looked up when all is read."""
        if isinstance(outcome, HeldBack):
            yield from (one.property.lstrip("@") for one in outcome.problems if one.reason == "blank")
        if isinstance(outcome, Draft):
            yield from (INVALID[one.reason] for one in outcome.problems if one.reason in INVALID)
            if whose is not None:
                self.unowned[outcome.owner.candidates].add(whose)

    def _place(self, record: Mapping[str, Any], _: Context) -> None:
        """Note that somebody is in a course."""
        number, course = _whose(record)
        self._gaps.courses.setdefault(course, str(record["course"].get("shortname") or ""))
        self._gaps.people.setdefault(number, Person()).courses.add(course)


def _whose(record: Mapping[str, Any]) -> tuple[int, int]:
    """Return the numbers of a record's person and course."""
    course = record.get("course")
    who = record.get("user", record)
    return int(who.get("id") or 0), int(course["id"]) if isinstance(course, Mapping) else EVERYWHERE


def _name(record: Mapping[str, Any]) -> str:
    who = record.get("user", record)
    return " ".join(str(who.get(part) or "") for part in ("firstname", "lastname")).strip()


async def gaps(
    world: World,
    courses: Sequence[int] = (),
    *,
    everything: bool = False,
    eyes: Eyes,
    progress: Progress = silent,
) -> Gaps:
    """Read Moodle and tell who lacks what; raises NotRead, UsageError for a course that is not selected."""
    project = world.project
    found = Gaps(world.site_url)
    view = _Look(found, everything=everything, named=eyes.sees_values)
    before = world.moodle.requests.total()
    result = await look(world, view.watchers(project.mappings, project), courses=courses, progress=progress)
    found.requests = world.moodle.requests.total() - before
    looked_at = {number for number, person in found.people.items() if person.lacks}
    found.people = {number: found.people[number] for number in looked_at}
    found.notes = list(result.messages)
    await _find_owners(world, found, view)
    return found


async def _find_owners(world: World, found: Gaps, view: _Look) -> None:
    """Look up the owners that the rules came to; who has none lacks one."""
    for candidates, whose in view.unowned.items():
        states = [(await world.commcare.owners.resolve(one.kind, one.value)).state for one in candidates]
        if "ok" in states:
            continue
        for number, course in whose:
            found.people[number].lacks.setdefault(course, set()).add(OWNER)
