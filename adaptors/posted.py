"""What other systems post to us: read with care, believed in nothing, kept as ids and times only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_core import from_json

LARGEST = 2**53  # an id or a time beyond this is none
Number = Annotated[int, Field(ge=0, le=LARGEST)]


class NotUnderstood(Exception):
    """What was posted is not what it should be; one sentence, without anything of what was posted."""


@dataclass(frozen=True, slots=True)
class Posted:
    """One thing that happened elsewhere: `event` about a course, a person (numbers in Moodle, 0 for none), a case.

    `mark` is the same for the same thing told twice; `occurred_at` is the other system's time (epoch seconds).
    """

    source: str
    event: str
    mark: bytes
    occurred_at: float = 0.0
    course_id: int = 0
    user_id: int = 0
    case_id: str = ""
    form_id: str = ""


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body; raises NotUnderstood. Nothing nested deeper than 200 levels is read."""
    try:
        found = from_json(body)
    except ValueError:
        raise NotUnderstood("The body is not JSON.") from None
    if not isinstance(found, dict):
        raise NotUnderstood("The body is JSON, but no object.")
    return found


def wrong_fields(error: ValidationError) -> str:
    """Return the names of the fields that are missing or wrong, without what stands in them."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return ", ".join(sorted({str(one["loc"][0]) for one in found}))


def mark_of(*parts: object) -> bytes:
    """Return 16 bytes that are the same for the same parts."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()[:16]
