"""The shape of `match`: by what people of Moodle are recognised in cases that are there already."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from mappings.engine.fields import Strict, refuse


class MatchPairSpec(Strict):
    """`{moodle: profile.dni, commcare: national_id}`: a field of Moodle and a case property that mean the same."""

    moodle: str = Field(description="The field of the source, as in profile.dni or idnumber.")
    commcare: str = Field(description="The case property that holds the same; external_id for the case's own id.")


class MatchSpec(Strict):
    """How people of Moodle are recognised in cases that others made."""

    by: tuple[MatchPairSpec, ...] = Field(
        (), description="Pairs that tell one person from all others, the surest first; both must be filled."
    )
    email: str | None = Field(
        None, description="The case property of the e-mail address; else the one made of Moodle's email."
    )
    phone: str | None = Field(
        None, description="The case property of the phone number; else the one made of phone1 or phone2."
    )
    auto: tuple[str, ...] = Field(
        ("key",),
        description="What links without a person's word: key, email, or the case property of a pair.",
    )
    ignore_emails: tuple[str, ...] = Field(
        (), description="Further patterns of addresses that are nobody's own, as in clinic@*."
    )

    @model_validator(mode="after")
    def _each_once(self) -> MatchSpec:
        names = [pair.commcare for pair in self.by]
        for name in names:
            if names.count(name) > 1:
                refuse(f"two pairs compare the case property '{name}'", "keep one of them", at="by")
        return self


def _opened(value: Any) -> Any:
    """Return a bare list of pairs as the block it stands for."""
    return {"by": value} if isinstance(value, list) else value


Match = Annotated[
    MatchSpec | None,
    BeforeValidator(_opened, json_schema_input_type=MatchSpec | tuple[MatchPairSpec, ...] | None),
]
