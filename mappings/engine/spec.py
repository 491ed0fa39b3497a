"""The shape of a mapping file, key by key, in the order people should write them.

Short forms (a bare text for `source`, one condition instead of a list) are opened up before validation, so that
no model has a union and every finding points at one key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from mappings.engine.fields import Day, Flag, Strict, refuse
from mappings.engine.problems import quoted
from mappings.engine.spec_match import Match, MatchPairSpec, MatchSpec
from mappings.engine.spec_property import (
    CaseSpec,
    Conditions,
    ConditionSpec,
    ElementKeySpec,
    ElementsSpec,
    PropertySpec,
    Step,
    StepSpec,
    as_source,
)
from mappings.engine.spec_write_back import WriteBackSpec
from mappings.engine.words import Words

__all__ = [
    "CaseSpec",
    "ConditionSpec",
    "Conditions",
    "DepartureSpec",
    "ElementKeySpec",
    "ElementsSpec",
    "ExpectSpec",
    "IndexSpec",
    "MappingSpec",
    "MatchPairSpec",
    "MatchSpec",
    "OwnerRuleSpec",
    "OwnerSpec",
    "OwnerTextSpec",
    "PropertySpec",
    "Step",
    "StepSpec",
    "TestSpec",
    "WriteBackSpec",
]

OWNER_KINDS = ("user", "location", "group")


class OwnerRuleSpec(Strict):
    """One rule: a kind of owner, the field that names it and, if need be, the lookup that translates it."""

    user: str | None = Field(None, description="The field that holds the user name of a mobile worker.")
    location: str | None = Field(None, description="The field that holds the site code of a location.")
    group: str | None = Field(None, description="The field that holds the name of a case-sharing group.")
    lookup: str | None = Field(None, description="A lookup of project.yaml that translates the field first.")

    @property
    def kind(self) -> str:
        """Which of user, location, group this rule makes."""
        return next(kind for kind in OWNER_KINDS if getattr(self, kind) is not None)

    @property
    def source(self) -> str:
        """The path of the field that names the owner."""
        return str(getattr(self, self.kind))

    @model_validator(mode="after")
    def _one_kind(self) -> OwnerRuleSpec:
        if sum(getattr(self, kind) is not None for kind in OWNER_KINDS) != 1:
            refuse("an owner is one of 'user', 'location' or 'group'", "write {group: the field that names it}")
        return self


class OwnerTextSpec(Strict):
    """A fixed owner, by its name in CommCare; `project` stands for the owner that project.yaml names."""

    user: str | None = Field(None, description="The user name of a mobile worker.")
    location: str | None = Field(None, description="The site code of a location.")
    group: str | None = Field(None, description="The name of a case-sharing group.")
    project: Flag = Field(False, description="true stands for the owner that project.yaml names.")

    @property
    def kind(self) -> str:
        """Which of user, location, group it is; "project" for the one in project.yaml."""
        return next((kind for kind in OWNER_KINDS if getattr(self, kind) is not None), "project")

    @model_validator(mode="after")
    def _one_kind(self) -> OwnerTextSpec:
        if sum(getattr(self, kind) is not None for kind in OWNER_KINDS) + self.project != 1:
            refuse("a fixed owner is one of 'user', 'location' or 'group'", "write {group: its name in CommCare}")
        return self


def _otherwise(value: Any) -> Any:
    if value == "project":
        return {"project": True}
    if isinstance(value, str):
        refuse(f"{quoted(value)} does not say what kind of owner it is", "write project, or {group: its name}")
    return value


class OwnerSpec(Strict):
    """Who owns the case."""

    first_of: tuple[OwnerRuleSpec, ...] = Field(
        (), description="Rules in order; the first that names an owner whom CommCare knows is taken."
    )
    otherwise: Annotated[
        OwnerTextSpec | None,
        BeforeValidator(_otherwise, json_schema_input_type=Literal["project"] | OwnerTextSpec),
    ] = Field(None, description="The owner when no rule fits: project, or a fixed one.")
    same_as: str | None = Field(None, description="The parent whose owner this case follows, by its case type.")
    write: Literal["once"] | None = Field(
        None, description="once sets the owner when the case is made; people may move it afterwards."
    )

    @model_validator(mode="after")
    def _one_way(self) -> OwnerSpec:
        if self.same_as is None and not self.first_of and self.otherwise is None:
            refuse("nothing says who owns the case", "add 'first_of', 'otherwise' or 'same_as'")
        if self.same_as is not None and (self.first_of or self.otherwise is not None):
            refuse("'same_as' leaves no room for other rules", "keep 'same_as', or the rules", at="same_as")
        return self


class IndexSpec(Strict):
    """A parent (`child`) or host (`extension`) of the case."""

    case_type: str = Field(description="The case type of the parent.")
    external_id: str = Field(description="The parent's key, in the form that its own mapping makes.")
    relationship: Literal["child", "extension"] = Field(
        description="child for a case of its own, extension for one that lives and travels with its host."
    )
    when_parent_unknown: Literal["wait", "skip", "reject"] = Field(
        "wait", description="wait until the parent is there, skip the parent, or reject: hold the record back."
    )


class DepartureSpec(Strict):
    """What happens to a case when its record is gone: properties to set; park or close the case as well.

    `park` gives the case to `parked_owner` of project.yaml, so that no phone holds it, and can be undone. `close`
    cannot: CommCare's API opens no closed case again, and somebody who returns gets a new one.
    """

    set: dict[str, str] = Field(default_factory=dict, description="Properties and the values that they get.")
    park: Flag = Field(
        False,
        description="true gives the case to parked_owner of project.yaml: no phone holds it; can be undone.",
    )
    close: Flag = Field(False, description="true closes the case; cannot be undone.")

    @model_validator(mode="after")
    def _something(self) -> DepartureSpec:
        if self.park and self.close:
            refuse("a case is parked or closed, not both", "keep 'park': it can be undone", at="close")
        if not (self.set or self.park or self.close):
            refuse("this changes nothing", "write {set: {property: value}}, {park: true} or {close: true}")
        return self


class ExpectSpec(Strict):
    """What a test looks at; what is left out is not looked at."""

    external_id: str | None = Field(None, description="The key that is expected.")
    case_name: str | None = Field(None, description="The case name that is expected.")
    owner: str | None = Field(
        None, description="The first owner that is expected, as in location:siaya-02 or same_as:student."
    )
    indices: dict[str, str] = Field(
        default_factory=dict, description="The keys of parents that are expected, by the name of the index."
    )
    properties: dict[str, str] = Field(
        default_factory=dict,
        description='Properties with the values that are expected; "" expects an emptied one.',
    )
    not_sent: tuple[str, ...] = Field((), description="Properties that stay as they are in CommCare.")
    excluded: Flag = Field(False, description="true expects that the record is left out.")
    held_back: Flag = Field(False, description="true expects that the record is held back.")


class TestSpec(Strict):
    """One record and what the mapping must make of it."""

    __test__ = False  # not a test class for pytest

    name: str = Field(description="What is tested, in a few words.")
    today: Day | None = Field(None, description="The day on which the test plays, for days_ago and date_once.")
    given: dict[str, Any] = Field(description="A made-up record, with the fields of the source.")
    expect: ExpectSpec = Field(description="What should come out; what is left out is not looked at.")


class MappingSpec(Strict):
    """One mapping file: one case type from one stream of Moodle records."""

    language: Literal["1"] = Field(description="The version of the mapping language: 1.")
    enabled: Flag = Field(True, description="false switches the mapping off.")
    case_type: str = Field(description="The case type in CommCare.")
    description: Words = Field(
        default_factory=dict, description="What this kind of case is; one text, or one for each language."
    )
    source: str = Field(description="Which Moodle records are read: one record makes one case.")
    include: tuple[ConditionSpec, ...] = Field(
        (), description="Conditions that a record has to meet, all of them."
    )
    exclude: tuple[ConditionSpec, ...] = Field(
        (), description="Conditions that keep a record out, any one of them."
    )
    external_id: str = Field(
        description="The key by which a case is found again, made of {site} and ids; never change it."
    )
    case_name: str = Field(description="The name of the case, as a text with fields in it.")
    owner: OwnerSpec = Field(description="Who owns the case, and so on whose phone it is.")
    indices: dict[str, IndexSpec] = Field(
        default_factory=dict, description="Parents of the case, by the name of the index."
    )
    properties: dict[
        str, Annotated[PropertySpec, BeforeValidator(as_source, json_schema_input_type=str | PropertySpec)]
    ] = Field(description="The case properties: the name in CommCare, and where its value comes from.")
    ignore_changes: tuple[str, ...] = Field(
        (), description="Properties whose change alone is no reason to send a case."
    )
    write_back: tuple[WriteBackSpec, ...] = Field(
        (), description="Texts of coaches in these cases that go back to Moodle as feedback for an assignment."
    )
    when_left: DepartureSpec | None = Field(
        None, description="What happens to a case when its record is gone from Moodle."
    )
    when_excluded: DepartureSpec | None = Field(
        None, description="What happens to a case when include and exclude now keep its record out."
    )
    when_course_ends: DepartureSpec | None = Field(
        None, description="What happens to a case when its course is past its end date."
    )
    recheck_daily: Flag = Field(
        False,
        description="true looks at every record once a day; needed where today matters (days_ago, date_once).",
    )
    existing_cases: Literal["stop", "ignore"] = Field(
        "stop", description="ignore lets a first run write although CommCare has other cases of this type."
    )
    match: Match = Field(
        None, description="How people are recognised in cases that are there already; for the command match."
    )
    tests: tuple[TestSpec, ...] = Field(
        (), description="Made-up records and what should come out, run by every check."
    )
