"""The shape of a lookup table file: one row for each chosen course, kept in step in CommCare.

It is a mapping without a case: its checks, transforms and tests are those of a mapping.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from mappings.engine.fields import Flag, Strict
from mappings.engine.spec import ConditionSpec, MappingSpec, OwnerSpec, OwnerTextSpec, TestSpec
from mappings.engine.spec_property import PropertySpec, as_source
from mappings.engine.words import Words

NOBODY = "-"  # rows have no owner; a mapping has to name one


class TableSpec(Strict):
    """One lookup table file: a table in CommCare from the records of one source."""

    language: Literal["1"] = Field(description="The version of the mapping language: 1.")
    enabled: Flag = Field(True, description="false switches the table off.")
    lookup_table: str = Field(description="The ID of the table in CommCare: letters, digits and _.")
    description: Words = Field(
        default_factory=dict, description="What the rows are; one text, or one for each language."
    )
    source: Literal["courses"] = Field(description="What the rows are made of: courses.")
    include: tuple[ConditionSpec, ...] = Field(
        (), description="Conditions that a record has to meet, all of them."
    )
    exclude: tuple[ConditionSpec, ...] = Field(
        (), description="Conditions that keep a record out, any one of them."
    )
    external_id: str = Field(
        description="The key of a row, made of {site} and ids; it is the field key in CommCare."
    )
    properties: dict[
        str, Annotated[PropertySpec, BeforeValidator(as_source, json_schema_input_type=str | PropertySpec)]
    ] = Field(description="The fields of a row: the name in CommCare, and where its value comes from.")
    recheck_daily: Flag = Field(
        False, description="Needed where today matters (days_ago, date_once); a table is looked at in each run."
    )
    tests: tuple[TestSpec, ...] = Field(
        (), description="Made-up records and what should come out, run by every check."
    )

    def mapping(self) -> MappingSpec:
        """Return it as a mapping, whose drafts are the rows."""
        return MappingSpec.model_construct(
            language=self.language,
            enabled=self.enabled,
            case_type=self.lookup_table,
            description=self.description,
            source=self.source,
            include=self.include,
            exclude=self.exclude,
            external_id=self.external_id,
            case_name="{id}",
            owner=OwnerSpec(otherwise=OwnerTextSpec(group=NOBODY)),
            properties=self.properties,
            recheck_daily=self.recheck_daily,
            tests=self.tests,
        )
