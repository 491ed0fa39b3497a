"""The shape of a mapping file, key by key, in the order people should write them.

Short forms (a bare text for `source`, one condition instead of a list) are opened up before validation, so that
no model has a union and every finding points at one key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from mappings.engine.fields import Day, Flag, Number, Strict, refuse
from mappings.engine.problems import one_of, quoted
from mappings.engine.words import Words

OPERATORS = ("is", "is_not", "any_of", "none_of", "like", "at_least", "below", "is_empty")
WAYS = ("source", "first_of", "template", "value", "cases", "one_property_per")
OWNER_KINDS = ("user", "location", "group")

_WITH_RETIRE = frozenset(("retire", "label", "group", "description"))


class ConditionSpec(Strict):
    """`{source: suspended, is: true}`: one field and one comparison."""

    source: str
    is_: str | None = Field(None, alias="is")
    is_not: str | None = None
    any_of: tuple[str, ...] | None = None
    none_of: tuple[str, ...] | None = None
    like: str | None = None
    at_least: Number | None = None
    below: Number | None = None
    is_empty: Flag | None = None

    @property
    def operators(self) -> list[str]:
        """The comparisons that were written."""
        return [name for name in OPERATORS if getattr(self, "is_" if name == "is" else name) is not None]

    @model_validator(mode="after")
    def _one_comparison(self) -> ConditionSpec:
        found = self.operators
        if not found:
            refuse("this condition compares with nothing", f"add one of {one_of(OPERATORS)}", at="source")
        if len(found) > 1:
            refuse(f"this condition has two comparisons: {one_of(found, last='and')}", "keep one", at=found[1])
        return self


def _conditions(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


Conditions = Annotated[
    tuple[ConditionSpec, ...],
    BeforeValidator(_conditions, json_schema_input_type=ConditionSpec | tuple[ConditionSpec, ...]),
]


class CaseSpec(Strict):
    """`{when: ..., value: ...}`: a value for a situation."""

    when: Conditions
    value: str


class StepSpec(Strict):
    """One transform of a list: `lower`, or `split: {by: "_", take: 1}`; `settings` is None, a text or a block."""

    name: str
    settings: Any = None


def _step(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and len(value) == 1:
        name, settings = next(iter(value.items()))
        return {"name": name, "settings": settings}
    refuse("this is not a transform", "write '- lower' or '- number: {decimals: 1}', one to a line")


Step = Annotated[StepSpec, BeforeValidator(_step)]


def _as_source(value: Any) -> Any:
    return {"source": value} if isinstance(value, str) else value


class ElementKeySpec(Strict):
    """What names the property of an element; an id that never changes."""

    source: str
    transform: tuple[Step, ...] = ()


class ElementsSpec(Strict):
    """`one_property_per`: a property for each element of a list in the record."""

    each: str
    key: Annotated[ElementKeySpec, BeforeValidator(_as_source, json_schema_input_type=str | ElementKeySpec)]
    name: str
    source: str
    transform: tuple[Step, ...] = ()


class PropertySpec(Strict):
    """How one case property gets its value."""

    source: str | None = None
    first_of: tuple[str, ...] | None = None
    template: str | None = None
    value: str | None = None
    cases: tuple[CaseSpec, ...] | None = None
    otherwise: str | None = None
    one_property_per: ElementsSpec | None = None
    transform: tuple[Step, ...] = ()
    default: str | None = None
    required: Flag = False
    when_blank: Literal["keep", "clear", "reject"] | None = None
    when_not_sent: Literal["keep", "clear", "reject"] | None = None
    when_invalid: Literal["keep", "clear", "original", "reject"] = "keep"
    write: Literal["once"] | None = None
    retire: Literal["clear"] | None = None
    personal: Flag | None = None
    data_type: (
        Literal["date", "plain", "number", "select", "barcode", "gps", "phone_number", "password"] | None
    ) = None
    label: Words = Field(default_factory=dict)
    group: str = ""
    description: Words = Field(default_factory=dict)

    @property
    def ways(self) -> list[str]:
        """The ways of taking a value that were written; a right property has one."""
        return [way for way in WAYS if getattr(self, way) is not None]

    @model_validator(mode="after")
    def _one_way(self) -> PropertySpec:
        found = self.ways
        if self.retire is not None:
            self._refuse_beside_retire()
            return self
        if not found:
            refuse("nothing says where this value comes from", f"add one of {one_of(WAYS)}")
        if len(found) > 1:
            refuse(f"this takes its value in two ways: {one_of(found, last='and')}", "keep one", at=found[1])
        if self.otherwise is not None and self.cases is None:
            refuse(
                "'otherwise' belongs to 'cases'", "use 'default' for a value when there is none", at="otherwise"
            )
        if self.one_property_per is not None and self.transform:
            refuse("'transform' stands beside 'one_property_per'", "put it inside", at="transform")
        return self

    def _refuse_beside_retire(self) -> None:
        beside = [name for name in type(self).model_fields if name in self.model_fields_set - _WITH_RETIRE]
        if beside:
            sentence = f"'retire' empties this property, so {quoted(beside[0])} has nothing to do"
            refuse(sentence, f"take out 'retire' or {quoted(beside[0])}", at=beside[0])


class OwnerRuleSpec(Strict):
    """One rule: a kind of owner, the field that names it and, if need be, the lookup that translates it."""

    user: str | None = None
    location: str | None = None
    group: str | None = None
    lookup: str | None = None

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

    user: str | None = None
    location: str | None = None
    group: str | None = None
    project: Flag = False

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

    first_of: tuple[OwnerRuleSpec, ...] = ()
    otherwise: Annotated[
        OwnerTextSpec | None,
        BeforeValidator(_otherwise, json_schema_input_type=Literal["project"] | OwnerTextSpec),
    ] = None
    same_as: str | None = None
    write: Literal["once"] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> OwnerSpec:
        if self.same_as is None and not self.first_of and self.otherwise is None:
            refuse("nothing says who owns the case", "add 'first_of', 'otherwise' or 'same_as'")
        if self.same_as is not None and (self.first_of or self.otherwise is not None):
            refuse("'same_as' leaves no room for other rules", "keep 'same_as', or the rules", at="same_as")
        return self


class IndexSpec(Strict):
    """A parent (`child`) or host (`extension`) of the case."""

    case_type: str
    external_id: str
    relationship: Literal["child", "extension"]
    when_parent_unknown: Literal["wait", "skip", "reject"] = "wait"


class DepartureSpec(Strict):
    """What happens to a case when its record is gone: properties to set; park or close the case as well.

    `park` gives the case to `parked_owner` of project.yaml, so that no phone holds it, and can be undone. `close`
    cannot: CommCare's API opens no closed case again, and somebody who returns gets a new one.
    """

    set: dict[str, str] = Field(default_factory=dict)
    park: Flag = False
    close: Flag = False

    @model_validator(mode="after")
    def _something(self) -> DepartureSpec:
        if self.park and self.close:
            refuse("a case is parked or closed, not both", "keep 'park': it can be undone", at="close")
        if not (self.set or self.park or self.close):
            refuse("this changes nothing", "write {set: {property: value}}, {park: true} or {close: true}")
        return self


class ExpectSpec(Strict):
    """What a test looks at; what is left out is not looked at."""

    external_id: str | None = None
    case_name: str | None = None
    owner: str | None = None
    indices: dict[str, str] = Field(default_factory=dict)
    properties: dict[str, str] = Field(default_factory=dict)
    not_sent: tuple[str, ...] = ()
    excluded: Flag = False
    held_back: Flag = False


class TestSpec(Strict):
    """One record and what the mapping must make of it."""

    __test__ = False  # not a test class for pytest

    name: str
    today: Day | None = None
    given: dict[str, Any]
    expect: ExpectSpec


class MappingSpec(Strict):
    """One mapping file: one case type from one stream of Moodle records."""

    language: Literal["1"]
    enabled: Flag = True
    case_type: str
    description: Words = Field(default_factory=dict)
    source: str
    include: tuple[ConditionSpec, ...] = ()
    exclude: tuple[ConditionSpec, ...] = ()
    external_id: str
    case_name: str
    owner: OwnerSpec
    indices: dict[str, IndexSpec] = Field(default_factory=dict)
    properties: dict[
        str, Annotated[PropertySpec, BeforeValidator(_as_source, json_schema_input_type=str | PropertySpec)]
    ]
    ignore_changes: tuple[str, ...] = ()
    when_left: DepartureSpec | None = None
    when_excluded: DepartureSpec | None = None
    when_course_ends: DepartureSpec | None = None
    recheck_daily: Flag = False
    existing_cases: Literal["stop", "ignore"] = "stop"
    tests: tuple[TestSpec, ...] = ()
