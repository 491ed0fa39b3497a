"""A desk at a made-up Moodle with assignments of every kind, for the tests of assignments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from adaptors.moodle.client import Login, MoodleClient
from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_marking import plugins
from adaptors.moodle.fake_site import FakeSite
from flows.assignments import Desk, Found
from flows.assignments_feedback import Published, publish
from flows.assignments_list import entries
from flows.assignments_plan import Outcome, Ways
from tests.clocks import VirtualClock

CONTEXT = 330
SETTINGS: dict[str, dict[str, Any]] = {
    "Essay": {},
    "Blind": {"blindmarking": 1},
    "Team": {"teamsubmission": 1},
    "Workflow": {"markingworkflow": 1},
    "Scale": {"grade": -3},
    "Ungraded": {"grade": 0},
}


class MarkingWorld:
    """One course: a teacher, learners in two groups (the last in none), and an assignment of each kind."""

    def __init__(self, learners: int = 5, token: str = "") -> None:
        site = self.site = FakeSite()
        self.course = site.add_course("CHW-1", "Basics")
        self.teacher = site.add_user("Grace", "Wekesa", username="grace")
        site.enrol(self.course, self.teacher, ("editingteacher",))
        self.learners = [site.add_user(f"First{n}", f"Last{n}", username=f"learner{n}") for n in range(learners)]
        for number, learner in enumerate(self.learners):
            groups = [("North", "South")[number % 2]] if number < learners - 1 else []
            site.enrol(self.course, learner, groups=groups)
        site.activities.last_cmid = 100
        self.cmid = {name: site.activities.set(self.course, name, **more) for name, more in SETTINGS.items()}
        for number, name in enumerate(SETTINGS, start=1):
            site.activities.by_course[self.course][self.cmid[name]].instance = number
        self.fake = FakeMoodle(site, **({"token": token} if token else {}))
        self.clock = VirtualClock()
        self.desk = self.new_desk()

    def new_desk(self) -> Desk:
        """Return a desk with a client of its own."""
        client = MoodleClient(
            self.site.url,
            Login(self.fake.token),
            clock=self.clock,
            transport=httpx.MockTransport(self.fake),
        )
        return Desk(client)

    def instance(self, name: str) -> int:
        """Return the id of an assignment."""
        return self.site.activities.instance_of(self.cmid[name])

    async def find(self, name: str) -> Found:
        """Return an assignment by its cmid."""
        return await self.desk.find(self.course, f"cmid:{self.cmid[name]}")

    def hand_in(
        self, name: str, user: int, files: Mapping[str, bytes] | None = None, text: str = "", **values: Any
    ) -> dict[str, Any]:
        """Hand something in and return the row."""
        activities = self.site.activities
        activities.submit(self.cmid[name], user, self.site.now, **values)
        row = next(
            one
            for one in reversed(activities.submissions[self.instance(name)])
            if (one["userid"], one["groupid"]) == (user, values.get("groupid", 0))
        )
        rows = self.site.marking.add_files(CONTEXT, row["id"], files or {}, self.site.now)
        row["plugins"] = plugins(rows, text)
        return row

    def grade(self, name: str, user: int, points: float, comment: str | None = None, attempt: int = 0) -> None:
        """Let a marker have graded somebody, an hour ago."""
        now = self.site.now - 3600
        if not any(row["userid"] == user for row in self.site.activities.submissions[self.instance(name)]):
            self.hand_in(name, user)
        row = self.site.marking.grade_row(self.instance(name), user, attempt, now, self.teacher)
        row.grade, row.comment = points, comment

    def held(self, name: str, user: int, attempt: int = 0) -> tuple[float, str | None] | None:
        """Return what Moodle holds for somebody: points and text feedback."""
        row = self.site.marking.grades[self.instance(name)].get((user, attempt))
        return None if row is None else (row.grade, row.comment)

    async def publish(self, name: str, rows: list[dict[str, Any]], **ways: Any) -> Published:
        """Publish a list."""
        return await publish(self.desk, await self.find(name), entries(rows), Ways(**ways))

    def called(self, function: str) -> int:
        """Return how often a function was called."""
        return self.desk.client.requests[function]


def by_id(done: Published) -> dict[str, Outcome]:
    """Return outcomes by the id of the list."""
    return {one.ext_id: one for one in done.outcomes}


def states(done: Published) -> dict[str, tuple[str, str]]:
    """Return state and reason by the id of the list."""
    return {one.ext_id: (one.state, one.reason) for one in done.outcomes}
