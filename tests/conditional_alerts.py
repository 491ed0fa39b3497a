"""CommCare's conditional alerts, as far as reminders need them: a rule over case properties, a custom schedule.

As strict as CommCare: the rule is looked at when a case is saved and when the alert is switched on, never by the
passing of time; a case that stops matching loses its schedule and what was left of it; one that matches again, or
has another start date, begins anew; what lies in the past when a schedule begins is skipped; nobody is written to
without a number of digits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from adaptors.commcare.fake_project import Case, FakeProject


@dataclass(frozen=True)
class Ladder:
    """An alert: when all `equals` and `has_value` hold, one message on each of `days` after the day in `start`."""

    case_type: str
    equals: Mapping[str, str]
    has_value: tuple[str, ...]
    start: str
    days: tuple[int, ...]
    at: time = time(10, 0)

    def matches(self, case: Case) -> bool:
        """Say whether an open case meets all conditions; the start has to be a date."""
        found = case.properties
        return (
            case.case_type == self.case_type
            and not case.closed
            and all(found.get(name) == value for name, value in self.equals.items())
            and all(found.get(name) for name in (*self.has_value, self.start))
            and _day(found[self.start]) is not None
        )


@dataclass(frozen=True)
class Message:
    """A text message: to which case, in which language, which day of the ladder, and when (epoch)."""

    external_id: str
    number: str
    language: str
    day: int
    sent: float


@dataclass
class _Instance:
    """The schedule of one case: where it stands."""

    start: date
    rung: int = 0
    active: bool = True


class ConditionalAlert:
    """One alert of a project space, at work from the moment it is made; `zone` is that of the project space."""

    def __init__(self, project: FakeProject, ladder: Ladder, zone: str = "Africa/Nairobi") -> None:
        self.sent: list[Message] = []
        self.without_number: list[str] = []
        self._project = project
        self._ladder = ladder
        self._zone = zone
        self._instances: dict[str, _Instance] = {}
        for case in [*project.cases.values()]:  # an alert that is switched on is run over all cases there are
            self._case_saved(case)
        project.watchers.append(self._case_saved)

    def reached(self) -> list[str]:
        """Return the external ids of the cases that have a message to come."""
        keys = [case_id for case_id, one in self._instances.items() if one.active]
        return sorted(self._project.cases[case_id].external_id or "" for case_id in keys)

    def pass_time(self) -> None:
        """Send what is due."""
        for case_id, one in self._instances.items():
            case = self._project.cases[case_id]
            if one.active and self._due(case, one) < self._project.clock():
                self._send(case, one)
                self._move_on(one)
                self._skip_the_past(case, one)

    def _case_saved(self, case: Case) -> None:
        if not self._ladder.matches(case):
            self._instances.pop(case.case_id, None)
            return
        start = _day(case.properties[self._ladder.start])
        assert start is not None
        known = self._instances.get(case.case_id)
        if known is None or known.start != start:
            self._instances[case.case_id] = _Instance(start)
            self._skip_the_past(case, self._instances[case.case_id])

    def _due(self, case: Case, one: _Instance) -> float:
        zone = ZoneInfo(case.properties.get("time_zone") or self._zone)
        day = one.start + timedelta(days=self._ladder.days[one.rung])
        return datetime.combine(day, self._ladder.at, zone).astimezone(UTC).timestamp()

    def _move_on(self, one: _Instance) -> None:
        one.rung += 1
        one.active = one.rung < len(self._ladder.days)

    def _skip_the_past(self, case: Case, one: _Instance) -> None:
        while one.active and self._due(case, one) < self._project.clock():
            self._move_on(one)

    def _send(self, case: Case, one: _Instance) -> None:
        number = re.sub(r"[+()\-. ]", "", case.properties.get("contact_phone_number", ""))
        if not re.fullmatch(r"\d+", number) or number == "0":
            self.without_number.append(case.external_id or "")
            return
        language = case.properties.get("language_code", "")
        day = self._ladder.days[one.rung]
        self.sent.append(Message(case.external_id or "", number, language, day, self._project.clock()))


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
