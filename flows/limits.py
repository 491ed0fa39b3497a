"""The limits that people set for a system, from settings to what the clients keep to."""

from __future__ import annotations

import re
from datetime import date, tzinfo
from typing import TYPE_CHECKING

from adaptors.limits import Limits, QuietHours

if TYPE_CHECKING:
    from flows.settings import Settings

_SPAN = re.compile(r"(\d{1,2}):(\d\d)\s*[-\N{EN DASH}]\s*(\d{1,2}):(\d\d)")
_DAY = 24 * 60


def quiet_hours(text: str) -> str:
    """Return quiet hours as they are kept, `08:00-12:00,13:00-17:00`; ValueError when they are none."""
    return ",".join(f"{from_ // 60:02}:{from_ % 60:02}-{to // 60:02}:{to % 60:02}" for from_, to in _spans(text))


def longest_quiet(*texts: str) -> float:
    """Return the hours of the longest quiet span of several settings; 0.0 when there are none."""
    spans = [span for text in texts if text for span in _spans(text)]
    return max(((to - from_) % _DAY / 60 for from_, to in spans), default=0.0)


def last_day(text: str) -> str:
    """Return the last day of a token or key, as 2027-01-31, or "never"; ValueError when it is neither."""
    if text.lower() == "never":
        return "never"
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError("must be a date like 2027-01-31, or never") from None


def moodle_limits(settings: Settings, zone: tzinfo | None = None) -> Limits:
    """Return what we may ask of Moodle; quiet hours count only where a time zone is given: in runs."""
    return Limits(
        at_once=settings.moodle_max_concurrency,
        share=settings.moodle_max_share,
        quiet=_quiet(settings.moodle_quiet_hours, zone),
    )


def commcare_limits(settings: Settings, zone: tzinfo | None = None) -> Limits:
    """Return what we may ask of CommCare; quiet hours as for Moodle."""
    return Limits(
        per_minute=settings.commcare_max_requests_per_minute, quiet=_quiet(settings.commcare_quiet_hours, zone)
    )


def _quiet(text: str, zone: tzinfo | None) -> QuietHours | None:
    return QuietHours(_spans(text), zone) if text and zone is not None else None


def _spans(text: str) -> tuple[tuple[int, int], ...]:
    """Return the spans of a day in minutes since midnight; an end of 24:00 is midnight."""
    found = []
    for part in text.split(","):
        match = _SPAN.fullmatch(part.strip())
        hours = [int(group) for group in match.groups()] if match else []
        start, end = (hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]) if hours else (_DAY, _DAY)
        if start >= _DAY or end > _DAY or max(hours[1::2]) > 59 or start == end % _DAY:
            raise ValueError("must be times of the day like 08:00-17:00, several with commas between them")
        found.append((start, end % _DAY))
    return tuple(found)
