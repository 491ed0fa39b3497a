"""Dates for the transforms: epoch seconds and typed dates, in the project's time zone."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, tzinfo
from typing import Final

from mappings.engine.texts import Invalid, to_number

FORMAT_CODES: Final = "YmdyHMSj"
"""The letters a date format may use after `%`; the others depend on the machine's language."""

_SPREADSHEET: Final = {"y{3,4}": "%Y", "yy": "%y", "m{1,2}": "%m", "d{1,2}": "%d"}
"""How spreadsheets write the parts of a date, which people try first."""

_CODE = re.compile(r"%(.?)")


def format_refusal(layout: str) -> str:
    """Return why a date format cannot be used, or ""."""
    wrong = [code for code in _CODE.findall(layout) if code not in FORMAT_CODES or not code]
    if wrong:
        return f"'%{wrong[0]}' is not a part of a date"
    if "%M" in layout and "%H" not in layout:
        return f"'%M' stands for minutes; with months it is '{layout.replace('%M', '%m')}'"
    if "%" in layout:
        return ""
    meant = layout
    for word, code in _SPREADSHEET.items():
        meant = re.sub(word, code, meant, flags=re.IGNORECASE)
    like = f": write '{meant}' for '{layout}'" if "%" in meant else ""
    return f"a date format has parts like %d, %m and %Y{like}"


def moment(value: object, zone: tzinfo) -> datetime | None:
    """Return epoch seconds (a number, or a text of digits) as a time in a zone; None for 0, Moodle's "no date"."""
    try:
        seconds = value if value.__class__ is int else int(to_number(value))
        return datetime.fromtimestamp(seconds, zone) if seconds else None
    except (Invalid, OverflowError, ValueError, OSError):
        raise Invalid("not_a_date") from None


def day(value: object, zone: tzinfo) -> date | None:
    """Return the day of epoch seconds in a zone, or of a text like 2026-01-31."""
    if isinstance(value, str) and "-" in value[1:]:
        try:
            return date.fromisoformat(value.strip()[:10])
        except ValueError:
            raise Invalid("not_a_date") from None
    found = moment(value, zone)
    return found.date() if found else None


def day_text(when: datetime, layout: str) -> str:
    """Return a time written after a format of FORMAT_CODES, the same on every machine."""
    if layout == "%Y-%m-%d":
        return when.date().isoformat()
    parts = {
        "Y": f"{when.year:04}",
        "y": f"{when.year % 100:02}",
        "m": f"{when.month:02}",
        "d": f"{when.day:02}",
        "H": f"{when.hour:02}",
        "M": f"{when.minute:02}",
        "S": f"{when.second:02}",
        "j": f"{when.timetuple().tm_yday:03}",
    }
    return _CODE.sub(lambda code: parts[code.group(1)], layout)


def day_writer(layout: str, zone: tzinfo) -> Callable[[object], str | None]:
    """Return `moment` and `day_text` in one function, for the time of every person."""
    is_usual = layout == "%Y-%m-%d"

    def write(value: object) -> str | None:
        if is_usual and value.__class__ is int and value:
            try:
                return datetime.fromtimestamp(value, zone).date().isoformat()
            except (OverflowError, ValueError, OSError):
                raise Invalid("not_a_date") from None
        when = moment(value, zone)
        return day_text(when, layout) if when else None

    return write


def utc_text(when: datetime) -> str:
    """Return a time as CommCare itself stores it, so that it is not rewritten there."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def typed_day(text: str, layout: str) -> str:
    """Return a date that somebody typed, as 2026-01-31."""
    try:
        return datetime.strptime(text.strip(), layout).replace(tzinfo=UTC).date().isoformat()
    except ValueError:
        raise Invalid("not_a_date") from None
