"""What a mapping makes of one record: a case to be, a reason to leave it out, or a reason to hold it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

NAME_LIMIT = 255  # CommCare refuses a longer case name or external id

REASONS: Final[Mapping[str, str]] = {
    "blank": "is required and blank",
    "not_sent": "is needed and was not sent by Moodle",
    "too_long": "is longer than 255 characters",
    "invalid_phone": "is not a telephone number",
    "invalid_email": "is not an e-mail address",
    "over_length": "is longer than the mapping allows",
    "not_a_number": "is not a number",
    "not_a_date": "is not a date",
    "unknown_code": "is in neither the code list nor the lookup table",
    "unexpected_list": "is a list where one value was expected",
    "unexpected_value": "is not a text, number or flag",
    "name_collision": "is of two elements that would make the same property, so neither is sent",
    "illegal_name": "makes no property name that CommCare takes",
    "transform_failed": "makes a transform of this project's own stop",
    "not_looked_at": "needs a plug-in, and plug-ins were not loaded",
    "missing_element_key": "an element has no key to name its property by",
}
"""Every `ValueProblem.reason`, with the end of a sentence that starts with the property's name."""


@dataclass(frozen=True)
class Context:
    """What a run knows and a record does not; `today` is the date in the project's time zone when it started."""

    site: str
    site_url: str
    today: date


@dataclass(frozen=True)
class OwnerReference:
    """A possible owner; `kind` is user (CommCare username), location (site code) or group (name)."""

    kind: str
    value: str


@dataclass(frozen=True)
class OwnerRule:
    """Who should own the case: `candidates` in order, `otherwise` last, or the owner of the parent `same_as`.

    `certain` is how many candidates come before a field that Moodle did not send; None when it sent all of them.
    """

    candidates: tuple[OwnerReference, ...]
    same_as: str
    write_once: bool
    certain: int | None = None

    @property
    def not_sent(self) -> bool:
        """Say whether the first rule's field was not sent, so that an owner that stands is better left alone."""
        return self.certain == 0


@dataclass(frozen=True)
class IndexReference:
    """A parent or host, by the key our mapping gave it."""

    name: str
    case_type: str
    key: str
    relationship: str
    when_parent_unknown: str


@dataclass(frozen=True)
class ValueProblem:
    """A value that could not be used; `reason` is a code of REASONS.

    `property` is a name, or "@key", "@name", "@owner", "@include", "@index:<name>". `detail` never holds a
    person's value: it is a field's path, an id, or a code that no list has.
    """

    property: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Departure:
    """What happens to a case whose record is gone: properties to set, a parked owner, or closing for good."""

    set: Mapping[str, str]
    park: bool = False
    close: bool = False


@dataclass(frozen=True)
class Draft:
    """A case as the mapping wants it; `properties` holds only what is to be sent, blank ones as ""."""

    case_type: str
    key: str
    name: str
    owner: OwnerRule
    properties: Mapping[str, str]
    once: frozenset[str]
    ignored: frozenset[str]
    indices: tuple[IndexReference, ...]
    problems: tuple[ValueProblem, ...]
    listed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """For each `one_property_per` whose list was sent whole: the properties that its elements stand for."""


@dataclass(frozen=True)
class Excluded:
    """A record that `include` or `exclude` keeps out; `key` is "" when none could be made."""

    key: str
    reason: str = ""


@dataclass(frozen=True)
class HeldBack:
    """A record that is not sent until its data or the mapping changes; `key` is "" when none could be made."""

    key: str
    problems: tuple[ValueProblem, ...]
