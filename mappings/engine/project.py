"""The project as the rest of the program sees it: what project.yaml says, and all mappings compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from mappings.engine.compile import CompiledMapping
from mappings.engine.draft import OwnerReference
from mappings.engine.project_spec import CoursesSpec, IntervalsSpec
from mappings.engine.spec import OwnerTextSpec


@dataclass(frozen=True)
class CourseChoice:
    """Which courses a run reads; `shortname_like` is a shell pattern, `custom_field` a shortname and its value."""

    ids: tuple[int, ...] = ()
    categories: tuple[int, ...] = ()
    shortname_like: str = ""
    only_running: bool = False
    custom_field: tuple[str, str] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether project.yaml chooses no course at all."""
        return not (self.ids or self.categories or self.shortname_like or self.only_running or self.custom_field)


@dataclass(frozen=True)
class Guards:
    """Limits on disappearance, per course (`leavers_*`) and per run (`run_*`), and on problems of a run."""

    leavers_percent: float = 20.0
    leavers_people: int = 3
    run_percent: float = 5.0
    run_cases: int = 5
    problems_degraded: int = 0
    problems_failed: int = 20
    problems_failed_percent: float = 5.0


@dataclass(frozen=True)
class NamesChoice:
    """How names are asked for: with Moodle's text filters applied or not; `language` "" is the account's own."""

    filters: bool = False
    language: str = ""


@dataclass(frozen=True)
class Project:
    """All mappings of a folder, checked and compiled; `mappings` holds the enabled ones, parents first.

    `intervals` is hours by stream; `revision` changes with every edit of a file; `owner` is the default owner,
    `parked_owner` the one whose cases no phone syncs. `switched_off` (the mappings with `enabled: false` that are
    right) and `lookup_files` (the CSV file of each lookup) are for documents about the project. `tables` are
    CommCare's lookup tables that are kept in step: their drafts are rows, `case_type` the table's ID;
    `tables_off` are those with `enabled: false`. `files` names all mapping files, also those that are not right.
    """

    site: str
    site_url: str
    time_zone: ZoneInfo
    country: str
    courses: CourseChoice
    mappings: tuple[CompiledMapping, ...]
    revision: str
    owner: OwnerReference | None
    guards: Guards
    intervals: Mapping[str, float]
    moodle_key_property: str
    parked_owner: OwnerReference | None = None
    names: NamesChoice = NamesChoice()
    switched_off: tuple[CompiledMapping, ...] = ()
    lookup_files: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[CompiledMapping, ...] = ()
    tables_off: tuple[CompiledMapping, ...] = ()
    files: frozenset[str] = frozenset()

    @property
    def everything(self) -> tuple[CompiledMapping, ...]:
        """All mappings and lookup tables, those that are switched off after the others of their kind."""
        return (*self.mappings, *self.switched_off, *self.tables, *self.tables_off)


def course_choice(spec: CoursesSpec) -> CourseChoice:
    """Return the choice of courses as a plain value."""
    field = next(iter(spec.custom_field.items()), None)
    return CourseChoice(tuple(spec.ids), tuple(spec.categories), spec.shortname_like, spec.only_running, field)


def fixed_owner(spec: OwnerTextSpec | None) -> OwnerReference | None:
    """Return an owner that project.yaml names, if it names one."""
    if spec is None or spec.project:
        return None
    return OwnerReference(spec.kind, str(getattr(spec, spec.kind)))


def intervals(spec: IntervalsSpec) -> dict[str, float]:
    """Return the intervals that were given, in hours."""
    return {name: hours for name, hours in spec.model_dump().items() if hours is not None}
