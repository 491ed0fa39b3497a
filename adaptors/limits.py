"""What a person allows us to ask of a system, however much more it could bear."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo


@dataclass(frozen=True)
class QuietHours:
    """Spans of the day in which nothing is asked: minutes since midnight, from and until, in a time zone.

    A span whose end is before its start goes over midnight.
    """

    spans: tuple[tuple[int, int], ...]
    zone: tzinfo = UTC

    def span(self, now: float) -> tuple[int, int] | None:
        """Return the span that a moment (epoch seconds) lies in, or None."""
        moment = datetime.fromtimestamp(now, self.zone)
        minute = moment.hour * 60 + moment.minute
        return next((span for span in self.spans if _lies_in(minute, *span)), None)


@dataclass(frozen=True)
class Limits:
    """The limits of one system; what is None has none.

    `at_once` requests in flight at most; `share` of the time, at most, that each slot keeps the server busy (0.5:
    after each answer a pause as long as the answer took); `per_minute` requests at most; `quiet` hours.
    """

    at_once: int | None = None
    share: float = 1.0
    per_minute: int | None = None
    quiet: QuietHours | None = None


def _lies_in(minute: int, start: int, end: int) -> bool:
    return start <= minute < end if start <= end else minute >= start or minute < end


def clock_time(minutes: int) -> str:
    """Write minutes since midnight as people do: `08:30`."""
    return f"{minutes // 60:02}:{minutes % 60:02}"
