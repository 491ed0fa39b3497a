"""The shape of project.yaml: what all mappings of a site share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mappings.engine.fields import Flag, Number, Strict, Whole, refuse
from mappings.engine.spec import OwnerTextSpec


class CoursesSpec(Strict):
    """Which courses are read; nothing is chosen by default."""

    ids: tuple[Whole, ...] = ()
    categories: tuple[Whole, ...] = ()
    shortname_like: str = ""
    only_running: Flag = False
    custom_field: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_field(self) -> CoursesSpec:
        if len(self.custom_field) > 1:
            refuse(
                "'custom_field' names more than one field", "keep one, as in {region: Siaya}", at="custom_field"
            )
        return self


class LookupSpec(Strict):
    """A CSV table: the column to look in, the column to take, and a value for what is not in it."""

    file: str
    key: str
    value: str
    otherwise: str | None = None


class GuardsSpec(Strict):
    """How many people may disappear before a person is asked."""

    leavers_percent: Number = 20.0
    leavers_people: Whole = 3
    run_percent: Number = 5.0
    run_cases: Whole = 5


class IntervalsSpec(Strict):
    """Hours between two reads of a stream."""

    people: Number | None = None
    enrolments: Number | None = None
    grades: Number | None = None
    courses: Number | None = None
    engagement: Number | None = None
    assignments: Number | None = None


class NamesSpec(Strict):
    """How Moodle writes names: with its own text filters applied (`filters`), and then in which `language`."""

    filters: Flag = False
    language: str = ""

    @model_validator(mode="after")
    def _language_needs_filters(self) -> NamesSpec:
        if self.language and not self.filters:
            remedy = "add 'filters: true': names are told in one language by Moodle's own filters"
            refuse("a language is chosen, but Moodle's filters are off", remedy, at="language")
        return self


class CodeListsSpec(Strict):
    """The shape of code_lists.yaml: code lists that are too many for project.yaml."""

    language: Literal["1"]
    code_lists: dict[str, dict[str, str]] = Field(default_factory=dict)


class ProjectSpec(Strict):
    """The shape of project.yaml."""

    language: Literal["1"]
    site: str
    site_url: str = ""
    time_zone: str
    country: str
    courses: CoursesSpec = CoursesSpec()
    code_lists: dict[str, dict[str, str]] = Field(default_factory=dict)
    lookups: dict[str, LookupSpec] = Field(default_factory=dict)
    transforms_file: str = ""
    plugins: tuple[str, ...] = ()
    owner: OwnerTextSpec | None = None
    parked_owner: OwnerTextSpec | None = None
    names: NamesSpec = NamesSpec()
    guards: GuardsSpec = GuardsSpec()
    intervals: IntervalsSpec = IntervalsSpec()
    moodle_key_property: str = "moodle_key"
