"""The shape of project.yaml: what all mappings of a site share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mappings.engine.fields import Flag, Number, Strict, Whole, refuse
from mappings.engine.spec import OwnerTextSpec


class CoursesSpec(Strict):
    """Which courses are read; nothing is chosen by default."""

    ids: tuple[Whole, ...] = Field((), description="Courses by the number in their address.")
    categories: tuple[Whole, ...] = Field((), description="Course categories by number, with their subcategories.")
    shortname_like: str = Field(
        "", description="Courses by a pattern of their short name, such as CHW-*; * stands for any text."
    )
    only_running: Flag = Field(False, description="true leaves out courses that have not begun.")
    custom_field: dict[str, str] = Field(
        default_factory=dict,
        description="Of these only the courses with this value in a custom field, as in {region: Siaya}.",
    )

    @model_validator(mode="after")
    def _one_field(self) -> CoursesSpec:
        if len(self.custom_field) > 1:
            refuse(
                "'custom_field' names more than one field", "keep one, as in {region: Siaya}", at="custom_field"
            )
        return self


class LookupSpec(Strict):
    """A CSV table: the column to look in, the column to take, and a value for what is not in it."""

    file: str = Field(description="The CSV file, in the folder lookups.")
    key: str = Field(description="The column to look in.")
    value: str = Field(description="The column to take.")
    otherwise: str | None = Field(
        None, description="The answer for what is not in the table; without it, that is listed instead."
    )


class GuardsSpec(Strict):
    """How much may go wrong, or disappear, before a person is asked or told."""

    leavers_percent: Number = Field(
        20.0, description="In percent, how many people of a course may be missing before somebody is asked."
    )
    leavers_people: Whole = Field(3, description="From how many people of a course on this is looked at.")
    run_percent: Number = Field(
        5.0,
        description="In percent, how many cases may disappear in one run before somebody is asked; of those who "
        "leave, how many people.",
    )
    run_cases: Whole = Field(
        5, description="How many cases may always disappear in one run; of those who leave, how many people."
    )
    problems_degraded: Whole = Field(
        0, description="How many records may be refused or held back before the run is called degraded."
    )
    problems_failed: Whole = Field(
        20, description="How many records CommCare may always refuse before the run is called failed."
    )
    problems_failed_percent: Number = Field(
        5.0, description="In percent of a run's records, how many CommCare may refuse before it is called failed."
    )


class IntervalsSpec(Strict):
    """Hours between two reads of a stream, counted from the first one, or from the last `sync --full`."""

    people: Number | None = Field(None, description="Hours between two readings of people.")
    enrolments: Number | None = Field(None, description="Hours between two readings of enrolments.")
    grades: Number | None = Field(None, description="Hours between two readings of grades.")
    courses: Number | None = Field(None, description="Hours between two readings of courses.")
    engagement: Number | None = Field(None, description="Hours between two readings of what people have done.")
    assignments: Number | None = Field(None, description="Hours between two readings of assignments.")


class NamesSpec(Strict):
    """How Moodle writes names: with its own text filters applied (`filters`), and then in which `language`."""

    filters: Flag = Field(
        False, description="true has Moodle's own text filters applied, such as multi-language content."
    )
    language: str = Field("", description="The language in which names are asked for, such as sw; needs filters.")

    @model_validator(mode="after")
    def _language_needs_filters(self) -> NamesSpec:
        if self.language and not self.filters:
            remedy = "add 'filters: true': names are told in one language by Moodle's own filters"
            refuse("a language is chosen, but Moodle's filters are off", remedy, at="language")
        return self


class CodeListsSpec(Strict):
    """The shape of code_lists.yaml: code lists that are too many for project.yaml."""

    language: Literal["1"] = Field(description="The version of the mapping language: 1.")
    code_lists: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="Lists that translate codes: Moodle's code on the left, CommCare's value on the right.",
    )


class ProjectSpec(Strict):
    """The shape of project.yaml."""

    language: Literal["1"] = Field(description="The version of the mapping language: 1.")
    site: str = Field(description="The short name of this Moodle, a part of every key; never change it.")
    site_url: str = Field("", description="The address of this Moodle, for templates.")
    time_zone: str = Field(
        description="The time zone in which a Moodle time becomes a day, such as Africa/Nairobi."
    )
    country: str = Field(
        description="The country, in two letters, of telephone numbers written without country code."
    )
    courses: CoursesSpec = Field(
        default_factory=CoursesSpec.model_construct,
        description="Which courses are read; nothing is chosen by default.",
    )
    code_lists: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="Lists that translate codes: Moodle's code on the left, CommCare's value on the right.",
    )
    lookups: dict[str, LookupSpec] = Field(
        default_factory=dict, description="Tables that the client keeps in Excel, by name."
    )
    transforms_file: str = Field(
        "", description="A Python file with transforms of your own; it is code, and is run."
    )
    plugins: tuple[str, ...] = Field((), description="Installed packages whose transforms are used, by name.")
    owner: OwnerTextSpec | None = Field(None, description="The owner that mappings mean by otherwise: project.")
    parked_owner: OwnerTextSpec | None = Field(
        None, description="The owner of parked cases: a location or group whose cases no phone syncs."
    )
    names: NamesSpec = Field(
        default_factory=NamesSpec.model_construct,
        description="How Moodle writes names that exist in several languages.",
    )
    guards: GuardsSpec = Field(
        default_factory=GuardsSpec.model_construct,
        description="How much may go wrong, or disappear, before a person is asked or told.",
    )
    intervals: IntervalsSpec = Field(
        default_factory=IntervalsSpec.model_construct,
        description="How often each kind of record is read, in hours.",
    )
    moodle_key_property: str = Field(
        "moodle_key", description="The property that holds our key in a case that was matched, not made."
    )
