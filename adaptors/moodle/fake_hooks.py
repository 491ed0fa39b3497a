"""A made-up plugin local_webhooks: tells of what happens in the fake Moodle, as the recorded one does.

One post an event, inside the change itself, with the shared token in the body: no signature, no second try.
Numbers come as text or not, as recorded; one grade is told three times (item, category, course total).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from adaptors.moodle.fake_site import FakeSite

AGENT = "MoodleBot/4.5 (+{url})"
ACTOR = "2"  # the administrator does it all
TOTALS = 2  # grades of the category and of the course, which follow that of an item
Post = Callable[[dict[str, Any]], None]


def silent(event: dict[str, Any]) -> None:
    """Tell nobody."""


@dataclass
class HookedSite(FakeSite):
    """A site that gives each event to `post`; nothing is told until that is set."""

    post: Post = silent
    events: int = 0

    def enrol(
        self, course: int, user: int, roles: Sequence[str] = ("student",), groups: Collection[int | str] = ()
    ) -> None:
        """Put somebody into a course: the enrolment and the role are told."""
        super().enrol(course, user, roles, groups)
        number = self._next()
        self._tell("user_enrolment", "created", course, user, number, {"enrol": "manual"})
        self._tell("role", "assigned", course, user, 5, {"id": number, "component": "", "itemid": 0})

    def unenrol(self, course: int, user: int) -> None:
        """Take somebody out of a course: told with the row that is no more."""
        there = user in self.members[course]
        super().unenrol(course, user)
        if there:
            row = {"id": str(self._next()), "status": "0", "userid": str(user), "courseid": str(course)}
            other = {"userenrolment": {**row, "enrol": "manual", "lastenrol": True}, "enrol": "manual"}
            self._tell("user_enrolment", "deleted", course, user, row["id"], other)

    def suspend_enrolment(self, course: int, user: int, *, suspended: bool = True) -> None:
        """Suspend an enrolment, or make it active again."""
        super().suspend_enrolment(course, user, suspended=suspended)
        self._tell("user_enrolment", "updated", course, user, str(self._next()), {"enrol": "manual"})

    def update_user(self, user: int, **values: Any) -> None:
        """Change fields of an account; it is told without a course."""
        super().update_user(user, **values)
        self._next()
        self._tell("user", "updated", 0, user, str(user), None)

    def grade(self, item: int, user: int, raw: float | None, **values: Any) -> None:
        """Grade somebody: the item, its category and the course are each told."""
        super().grade(item, user, raw, **values)
        course = self._course_of_item[item]
        self._next()
        for number in range(item, item + 1 + TOTALS):
            other = {"itemid": str(number), "overridden": False, "finalgrade": raw}
            self._tell("user", "graded", course, user, str(number * 1000 + user), other)

    def _next(self) -> int:
        """Return a new number; each change has a second of its own, though the site's clock stands still."""
        self.events += 1
        return 5000 + self.events

    def _tell(
        self, target: str, action: str, course: int, user: int, number: int | str, other: dict[str, Any] | None
    ) -> None:
        """Post one event."""
        tables = {"user_enrolment": "user_enrolments", "role": "role"}
        table = "grade_grades" if action == "graded" else tables.get(target, "user")
        self.post(
            {
                "eventname": f"\\core\\event\\{target}_{action}",
                "component": "core",
                "action": action,
                "target": target,
                "objecttable": table,
                "objectid": number,
                "crud": {"created": "c", "assigned": "c", "deleted": "d"}.get(action, "u"),
                "edulevel": 1 if action == "graded" else 0,
                "contextid": 16 + course if course else 23 + user,
                "contextlevel": 50 if course else 30,
                "contextinstanceid": str(course or user),
                "userid": ACTOR,
                "courseid": str(course) if course else 0,
                "relateduserid": str(user),
                "anonymous": 0,
                "other": other,
                "timecreated": self.now + self.events,
            }
        )


class Hook:
    """Posts events to an address, once each; what does not arrive is lost, as with the real plugin."""

    def __init__(self, url: str, token: str, site_url: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url
        self.statuses: list[int] = []
        """What was answered; 0 where nothing was."""
        self._token = token
        agent = {"User-Agent": AGENT.format(url=site_url), "Content-Type": "application/json"}
        self._client = httpx.Client(headers=agent, transport=transport, trust_env=False, timeout=10)

    def __call__(self, event: dict[str, Any]) -> None:
        body = {**event, "host": "127.0.0.1", "token": self._token, "extra": ""}
        try:
            self.statuses.append(self._client.post(self.url, content=json.dumps(body)).status_code)
        except httpx.TransportError:
            self.statuses.append(0)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
