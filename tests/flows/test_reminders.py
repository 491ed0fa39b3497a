"""Thirty days of reminders: the real engine by day, CommCare's rule beside it, and learners of every kind."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adaptors.moodle.fake_site import FakeSite
from tests.conditional_alerts import ConditionalAlert, Ladder
from tests.flows.worlds import SHIPPED, Lab

MakeLab = Callable[..., Lab]
DAY = 86_400
HOUR = 3600.0
START = 1_795_219_200  # midnight UTC before the first run, as the virtual clock has it
DAYS = 30

LADDER = Ladder(
    "engagement",
    {"sms_live": "yes", "send_sms": "yes", "sms_consent": "yes"},
    ("contact_phone_number",),
    "quiet_since",
    (7, 14, 21),
)
EVERY_OTHER_DAY = range(-2, DAYS, 2)

LEARNERS: dict[str, dict[str, Any]] = {
    "active": {"visits": EVERY_OTHER_DAY},
    "every_four_days": {"visits": range(-2, DAYS, 4)},
    "lapses_once": {"visits": [-1, 1]},
    "lapses_twice": {"visits": [-1, 8, 9]},
    "returns": {"visits": [-1, *range(11, DAYS, 2)], "phone1": "0722 000 107"},
    "returns_before_any": {"visits": [-1, *range(5, DAYS, 2)]},
    "long_lapsed": {"visits": [-60]},
    "lapsed_for_ten_days": {"visits": [-8]},
    "never_came": {"visits": []},
    "no_consent": {"visits": [-1, 1], "profile": {"sms_consent": "0"}},
    "withdraws_consent": {"visits": [-1, 1], "withdraws": 11},
    "no_phone": {"visits": [-1, 1], "phone1": ""},
    "bad_phone": {"visits": [-1, 1], "phone1": "12"},
    "suspended": {"visits": [-1, 1], "suspended": True},
    "all_done": {"visits": [-1, 1], "done": True},
    "leaves": {"visits": [-1, 1], "leaves": 10},
    "elsewhere": {"visits": [-1, 1], "timezone": "Pacific/Auckland", "lang": "sw_ke"},
}
"""On which noons each visits Moodle (day 0 is that of the first run), and what else is special."""

EXPECTED = {
    "lapses_once": [(8, 7), (15, 14), (22, 21)],
    "lapses_twice": [(6, 7), (16, 7), (23, 14)],
    "returns": [(6, 7)],
    "lapsed_for_ten_days": [(6, 14), (13, 21)],
    "withdraws_consent": [(8, 7)],
    "leaves": [(8, 7)],
    "elsewhere": [(7, 7), (14, 14), (21, 21)],  # where the learner is, it is the morning of the next day
}
"""Who gets which reminder on which day."""


class Month:
    """Thirty days of a site with one course, a run each night at one o'clock UTC, and the alert from day 0."""

    def __init__(self, make_lab: MakeLab, *, live_from: int | None) -> None:
        self.site = FakeSite()
        self.site.add_profile_field("sms_consent", type="checkbox")
        self.course = self.site.add_course("C1", "Community Health")
        self.site.activities.set(self.course, "Essay", tracking=2, due=START + 12 * DAY)
        self.site.activities.set(self.course, "Report", tracking=2, due=START + 90 * DAY)
        self.people = {name: self._add(name, **habits) for name, habits in LEARNERS.items()}
        files = {name: (SHIPPED / f"{name}.yaml").read_text() for name in ("student", "engagement", "code_lists")}
        self.lab = make_lab(self.site, **files)
        self.lab.edit("engagement", "enabled: false\n", "")
        uncomment_consent(self.lab.mappings / "engagement.yaml")
        self.alert = ConditionalAlert(self.lab.project, LADDER)
        self.live_from = live_from
        self.states: list[str] = []

    def _add(self, name: str, **habits: Any) -> int:
        values = {
            key: value for key, value in habits.items() if key not in ("visits", "done", "leaves", "withdraws")
        }
        number = f"07220001{len(self.site.users):02}"
        person = self.site.add_user(
            name, "Learner", **{"phone1": number, "profile": {"sms_consent": "1"}, **values}
        )
        self.site.enrol(self.course, person)
        if habits.get("done"):
            for activity in self.site.activities.by_course[self.course]:
                self.site.activities.complete(activity, person, self.site.now)
        before = [day for day in habits["visits"] if day < 0]
        self.site.update_user(person, lastaccess=START + max(before) * DAY + DAY // 2 if before else 0)
        return person

    def key(self, name: str) -> str:
        """Return the number of a learner, as text."""
        return str(self.people[name])

    async def live(self, days: int) -> None:
        """Live through the first days."""
        for day in range(days):
            if day == self.live_from:
                self.lab.edit("engagement", 'value: "no"\n', 'value: "yes"\n')
            await self.night(day)
            for hour in range(2, 25):
                self.lab.clock.advance(START + day * DAY + hour * HOUR - self.lab.clock.now())
                if hour == 12:
                    self._visits(day)
                self.alert.pass_time()

    async def night(self, day: int) -> None:
        """Run once, an hour after midnight; a run that is repeated changes nothing."""
        for name, habits in LEARNERS.items():
            if habits.get("leaves") == day:
                self.site.unenrol(self.course, self.people[name])
            if habits.get("withdraws") == day:
                self.site.update_user(self.people[name], profile={"sms_consent": "0"})
        self.states.append((await self.lab.sync(later=HOUR)).state)
        if day % 10 == 4:
            self.states.append((await self.lab.sync(later=1.0, full=True)).state)

    def _visits(self, day: int) -> None:
        for name, habits in LEARNERS.items():
            if day in habits["visits"]:
                self.site.update_user(self.people[name], lastaccess=int(self.lab.clock.now()))

    def messages(self) -> dict[str, list[tuple[int, int]]]:
        """Return the day of each message and which day of the ladder it is for, by learner."""
        names = {f"test-engage-{person}": name for name, person in self.people.items()}
        found: dict[str, list[tuple[int, int]]] = {}
        for one in self.alert.sent:
            found.setdefault(names[one.external_id], []).append((int((one.sent - START) // DAY), one.day))
        return found

    def writes(self) -> Counter[str]:
        """Return how often each learner's case was written."""
        names = {self.lab.case(f"test-engage-{person}").case_id: name for name, person in self.people.items()}
        keys = {f"test-engage-{person}": name for name, person in self.people.items()}
        rows = self.lab.rows_sent()
        found = [names.get(row.get("case_id", "")) or keys.get(row.get("external_id", "")) for row in rows]
        return Counter(name for name in found if name)


def uncomment_consent(file: Path) -> None:
    """Take away the # in front of the consent that the mapping offers."""
    lines = file.read_text().splitlines()
    first = lines.index("  # sms_consent:")
    last = next(number for number in range(first, len(lines)) if not lines[number].startswith("  #"))
    lines[first:last] = [line.replace("# ", "", 1) for line in lines[first:last]]
    file.write_text("\n".join(lines) + "\n")


async def test_once_per_lapse_and_nobody_else(make_lab: MakeLab) -> None:
    """Each reminder comes once in each lapse; without consent, number or things to do there is none."""
    month = Month(make_lab, live_from=3)
    await month.live(DAYS)
    assert {"completed"} == set(month.states)
    assert EXPECTED == month.messages()
    assert [] == month.alert.without_number
    assert {("254722000107", "en")} == {
        (one.number, one.language) for one in month.alert.sent if one.external_id.endswith(month.key("returns"))
    }
    assert {"sw"} == {one.language for one in month.alert.sent if one.external_id.endswith(month.key("elsewhere"))}
    # Each case is written when it is made, when reminders go live, and when the essay becomes overdue. Beyond
    # that a lapse may cost five writes, however long it is: the day it began, three bands, and its end.
    lapses = {name: _lapses(habits["visits"]) for name, habits in LEARNERS.items()}
    special = {"leaves": 1, "withdraws_consent": 1}
    assert [] == [
        (name, count)
        for name, count in month.writes().items()
        if count > 3 + 5 * lapses[name] + special.get(name, 0)
    ]
    assert {"active": 3, "every_four_days": 3, "never_came": 3} == {
        name: month.writes()[name] for name in ("active", "every_four_days", "never_came")
    }


async def test_a_first_load_is_silent(make_lab: MakeLab) -> None:
    """While sms_live is "no" the alert reaches nobody, however long somebody has been away."""
    month = Month(make_lab, live_from=None)
    await month.live(8)
    assert ({}, []) == (month.messages(), month.alert.reached())


async def test_an_alert_made_late_sends_no_burst(make_lab: MakeLab) -> None:
    """Made when all is live already, it writes to nobody at once, and goes on with what is still to come."""
    month = Month(make_lab, live_from=0)
    month.lab.project.watchers.clear()
    await month.live(10)
    month.alert = ConditionalAlert(month.lab.project, LADDER)
    month.alert.pass_time()
    assert {} == month.messages()
    still = ["lapses_once", "returns", "lapsed_for_ten_days", "withdraws_consent", "leaves", "elsewhere"]
    assert sorted(f"test-engage-{month.key(name)}" for name in still) == month.alert.reached()


def _lapses(visits: Sequence[int]) -> int:
    """Return how often somebody stayed away for five days or more."""
    days = [*visits, DAYS] if visits else []
    return sum(later - earlier >= 5 for earlier, later in itertools.pairwise(days))
