"""The shape of one property of a mapping file: where its value comes from, and what nothing means.

Short forms (a bare text for `source`, one condition instead of a list) are opened up before validation, so that
no model has a union and every finding points at one key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from mappings.engine.fields import Flag, Number, Strict, refuse
from mappings.engine.problems import one_of, quoted
from mappings.engine.words import Words

OPERATORS = ("is", "is_not", "any_of", "none_of", "like", "at_least", "below", "is_empty")
WAYS = ("source", "first_of", "template", "value", "cases", "one_property_per")

_WITH_RETIRE = frozenset(("retire", "label", "group", "description"))


class ConditionSpec(Strict):
    """`{source: suspended, is: true}`: one field and one comparison."""

    source: str = Field(description="The field that is compared.")
    is_: str | None = Field(
        None, alias="is", description="Holds when the field is this text; write true or false for a flag."
    )
    is_not: str | None = Field(None, description="Holds when the field is not this text.")
    any_of: tuple[str, ...] | None = Field(
        None, description="Holds when the field is one of these texts; of a list, one entry is enough."
    )
    none_of: tuple[str, ...] | None = Field(None, description="Holds when the field is none of these texts.")
    like: str | None = Field(
        None, description="Holds when the field looks like this; * stands for any text, ? for one letter."
    )
    at_least: Number | None = Field(None, description="Holds when the field is this number or more.")
    below: Number | None = Field(None, description="Holds when the field is less than this number.")
    is_empty: Flag | None = Field(None, description="true holds when the field is blank, false when it is filled.")

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

    when: Conditions = Field(description="One condition, or a list of conditions that all hold.")
    value: str = Field(description="The value for this situation.")


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
    if isinstance(value, dict) and value and next(iter(value.values())) is None:
        name = quoted(next(iter(value)))
        remedy = 'indent them by two spaces more, or write them in brackets: - split: {by: "_", take: 1}'
        refuse(f"the settings of {name} do not stand under it", remedy)
    refuse("this is not a transform", "write '- lower' or '- number: {decimals: 1}', one to a line")


Step = Annotated[StepSpec, BeforeValidator(_step)]


def as_source(value: Any) -> Any:
    """Return a bare text as the block that it is short for."""
    return {"source": value} if isinstance(value, str) else value


class ElementKeySpec(Strict):
    """What names the property of an element; an id that never changes."""

    source: str = Field(description="The element's field that names its property.")
    transform: tuple[Step, ...] = Field(
        (), description="What is done to the key, such as a code list that makes it readable."
    )


class ElementsSpec(Strict):
    """`one_property_per`: a property for each element of a list in the record."""

    each: str = Field(description="The list in the record, such as items.")
    key: Annotated[ElementKeySpec, BeforeValidator(as_source, json_schema_input_type=str | ElementKeySpec)] = (
        Field(description="What names the property of an element: an id that never changes.")
    )
    name: str = Field(description="The name of the property, with {key} in it.")
    source: str = Field(description="The field of the element that holds the value.")
    transform: tuple[Step, ...] = Field((), description="What is done to the value, step by step.")


class PropertySpec(Strict):
    """How one case property gets its value."""

    source: str | None = Field(None, description="The Moodle field that the value is taken from.")
    first_of: tuple[str, ...] | None = Field(
        None, description="Several fields; the first that is filled is taken."
    )
    template: str | None = Field(
        None,
        description="A text with fields in it, such as {firstname} {lastname}; blank as soon as one of them is.",
    )
    value: str | None = Field(None, description="The same value for everybody.")
    cases: tuple[CaseSpec, ...] | None = Field(
        None, description="Values for situations; the first case that holds gives its value."
    )
    otherwise: str | None = Field(None, description="The value when none of the cases holds.")
    one_property_per: ElementsSpec | None = Field(
        None, description="A property for each element of a list, such as one for each graded activity."
    )
    transform: tuple[Step, ...] = Field((), description="What is done to the value, step by step.")
    default: str | None = Field(None, description="What is sent when Moodle has nothing.")
    required: Flag = Field(False, description="true holds the whole record back when Moodle has nothing.")
    when_blank: Literal["keep", "clear", "reject"] | None = Field(
        None, description="What happens when the field is blank; usually the property is emptied (clear)."
    )
    when_not_sent: Literal["keep", "clear", "reject"] | None = Field(
        None,
        description="What happens when Moodle does not send the field; usually the property stays (keep).",
    )
    when_invalid: Literal["keep", "clear", "original", "reject"] = Field(
        "keep",
        description="What happens when a transform cannot use the value; original sends it as Moodle has it.",
    )
    write: Literal["once"] | None = Field(
        None, description="once sends the value when the case is made, and never again."
    )
    retire: Literal["clear"] | None = Field(
        None, description="clear empties a property that is no longer used in every case that has it."
    )
    personal: Flag | None = Field(
        None,
        description="Whether the value is personal: kept out of logs and lists, emptied when consent ends.",
    )
    data_type: (
        Literal["date", "plain", "number", "select", "barcode", "gps", "phone_number", "password"] | None
    ) = Field(None, description="The type in CommCare's data dictionary.")
    label: Words = Field(
        default_factory=dict,
        description="What people read instead of the name; one text, or one for each language.",
    )
    group: str = Field("", description="The group in CommCare's data dictionary.")
    description: Words = Field(
        default_factory=dict, description="What the property is for; one text, or one for each language."
    )

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
