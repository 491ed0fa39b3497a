"""Values as CommCare takes them: text. Also what "absent" is, and what a value that cannot be used raises."""

from __future__ import annotations

import enum
import re
from decimal import Decimal
from functools import cache
from math import isfinite
from typing import Final


class Absent(enum.Enum):
    """The one value that says: Moodle did not send this field."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT

_LARGEST_POWER = 15  # of ten; longer ones are codes or mistakes, and cannot be rounded exactly
_ILLEGAL: Final = "[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"


class Invalid(Exception):
    """A value that cannot be used; `reason` is a code of draft.REASONS, `detail` the code that is not known."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def to_text(value: object) -> str:
    """Return a value as text: 80.0 is "80", 73.24 is "73.24", true is "true"; Invalid for lists and blocks."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float | Decimal):
        return _number_text(value)
    if value is None:
        return ""
    raise Invalid("unexpected_list" if isinstance(value, list | tuple) else "unexpected_value")


def _number_text(value: float | Decimal) -> str:
    if not isfinite(value):
        raise Invalid("not_a_number")
    text = format(Decimal(repr(value)) if isinstance(value, float) else value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def to_number(value: object) -> Decimal:
    """Return a value as a number, exactly as its digits say; Invalid for anything but plain digits."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = Decimal(repr(value))
    else:
        text = to_text(value).strip()
        digits = text.removeprefix("-").replace(".", "", 1)
        if isinstance(value, bool) or not (digits.isascii() and digits.isdigit()):
            raise Invalid("not_a_number")
        number = Decimal(text)
    if not number.is_finite() or number.adjusted() > _LARGEST_POWER:
        raise Invalid("not_a_number")
    return number


def clean(text: str) -> str:
    """Return text that a form can hold: line ends as LF, characters that XML forbids removed."""
    if text.isprintable():
        return text
    return _illegal().sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


@cache
def _illegal() -> re.Pattern[str]:
    return re.compile(_ILLEGAL)  # takes a few ms, and only a text with such a character needs it


def squeezed(text: str) -> str:
    """Return text without white space at the ends and with single blanks inside."""
    return " ".join(text.split())
