"""The activities of the fake Moodle's courses: which are tracked, when they are due, who has done what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from adaptors.moodle.fake_gradebook import Item

UNTRACKED, MANUAL, AUTOMATIC = 0, 1, 2
_RULES = {"page": ("completionview", "View"), "assign": ("completionsubmit", "Make a submission")}


@dataclass(slots=True)
class Activity:
    """An activity; `due` is epoch seconds, 0 for none; `restricted`: it has conditions under 'Restrict access'.

    `settings` are further keys of an assignment's row.
    """

    cmid: int
    course: int
    name: str
    module: str = "assign"
    instance: int = 0
    tracking: int = UNTRACKED
    due: int = 0
    restricted: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    def status(self, state: int, time: int, *, is_tracked_user: bool) -> dict[str, Any]:
        """Return the activity as it stands in a completion report; state 2 is passed, 3 failed."""
        done = state in (1, 2)
        name, words = _RULES.get(self.module, ("completionview", "View"))
        rule = {"rulename": name, "rulevalue": {"status": int(done), "description": words}}
        return {
            "cmid": self.cmid,
            "modname": self.module,
            "instance": self.instance,
            "state": state,
            "timecompleted": time,
            "tracking": self.tracking,
            "overrideby": None,
            "valueused": False,
            "hascompletion": True,
            "isautomatic": self.tracking == AUTOMATIC,
            "istrackeduser": is_tracked_user,
            "uservisible": True,
            "details": [rule] if self.tracking == AUTOMATIC else [],
            "isoverallcomplete": done,
        }


_KNOWN = {one.name for one in fields(Activity)}


@dataclass
class Activities:
    """All activities of a site by course and number, with completions and submissions."""

    by_course: defaultdict[int, dict[int, Activity]] = field(default_factory=lambda: defaultdict(dict))
    completions: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    """State and time by activity (cmid) and person."""
    submissions: defaultdict[int, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    """Rows by assignment (instance)."""
    criteria: set[int] = field(default_factory=set)
    """Courses that have completion criteria."""
    completed_courses: set[tuple[int, int]] = field(default_factory=set)
    """Course and person, as Moodle's cron found it."""
    sections: dict[int, list[int]] = field(default_factory=dict)
    """Numbers of a course's sections; the first holds all activities."""
    _own: dict[int, tuple[list[dict[str, Any]], int, dict[int, dict[str, Any]]]] = field(default_factory=dict)
    """By assignment: the rows that are indexed, how many of them, and each person's own."""
    last_cmid: int = 0
    last_submission: int = 0

    def next_cmid(self) -> int:
        """Return the number of the next activity."""
        self.last_cmid += 1
        return self.last_cmid

    def set(self, course: int, name: str, **values: Any) -> int:
        """Add an activity, or change the one of that name; what is no field goes into an assignment's row."""
        found = next((one for one in self.by_course[course].values() if one.name == name), None)
        if found is None:
            number = self.next_cmid()
            found = self.by_course[course][number] = Activity(number, course, name, instance=number)
        for key, value in values.items():
            if key in _KNOWN:
                setattr(found, key, value)
            else:
                found.settings[key] = value
        return found.cmid

    def follow(self, course: int, item: Item) -> None:
        """Let a graded activity be there as an activity too."""
        if item.cmid is None or item.module is None or item.instance is None or item.outcomeid is not None:
            return
        there = self.by_course[course].setdefault(item.cmid, Activity(item.cmid, course, item.name or ""))
        there.name, there.module, there.instance = item.name or "", item.module, item.instance

    def complete(self, cmid: int, user: int, time: int, state: int = 1) -> None:
        """Mark an activity as done; state 0 takes it back."""
        self.completions[cmid, user] = (state, time if state else 0)

    def submit(self, cmid: int, user: int, time: int, **values: Any) -> None:
        """Hand something in, or change what was; `values` are keys of the row."""
        instance, group = self.instance_of(cmid), values.get("groupid", 0)
        rows = self.submissions[instance]
        row = self.work_of(instance, user)
        if group or not user:
            row = next((row for row in rows if (row["userid"], row["groupid"]) == (user, group)), None)
        if row is None:
            self.last_submission += 1
            row = {
                "id": self.last_submission,
                "userid": user,
                "attemptnumber": 0,
                "timecreated": time,
                "timemodified": time,
                "timestarted": None,
                "status": "submitted",
                "groupid": 0,
                "plugins": [],
                "gradingstatus": "notgraded",
            }
            rows.append(row)
        row.update({"timemodified": time} | values)

    def assignment(self, instance: int) -> Activity | None:
        """Return an assignment by its number among the assignments."""
        found = (one for each in self.by_course.values() for one in each.values() if one.module == "assign")
        return next((one for one in found if one.instance == instance), None)

    def work_of(self, instance: int, user: int) -> dict[str, Any] | None:
        """Return somebody's own row for an assignment; rows are indexed as they come."""
        rows = self.submissions[instance]
        known, count, own = self._own.get(instance, ([], 0, {}))
        if known is not rows or len(rows) < count:
            count, own = 0, {}
        for row in rows[count:]:
            own.setdefault(row["userid"], row)
        self._own[instance] = rows, len(rows), own
        return own.get(user)

    def instance_of(self, cmid: int) -> int:
        """Return the number that an activity has among those of its kind."""
        return next(each[cmid].instance for each in self.by_course.values() if cmid in each)

    def tracked(self, course: int) -> list[Activity]:
        """Return the activities of a course whose completion is tracked."""
        return [one for one in self.by_course[course].values() if one.tracking]

    def progress(self, course: int, user: int) -> float | None:
        """Return the share that is done, in percent; None where nothing is tracked."""
        tracked = self.tracked(course)
        done = sum(self.completions.get((one.cmid, user), (0, 0))[0] > 0 for one in tracked)
        return done / len(tracked) * 100 if tracked else None

    # Recordings

    def take_assignments(self, courses: Iterable[Mapping[str, Any]]) -> None:
        """Take recorded assignments."""
        for course in courses:
            for row in course["assignments"]:
                there = Activity(row["cmid"], course["id"], row["name"], "assign", row["id"], due=row["duedate"])
                there.settings = dict(row)
                self.by_course[course["id"]][row["cmid"]] = there
                self.last_cmid = max(self.last_cmid, row["cmid"])

    def take_submissions(self, assignments: Iterable[Mapping[str, Any]]) -> None:
        """Take recorded submissions."""
        for one in assignments:
            self.submissions[one["assignmentid"]] = list(one["submissions"])
            self.last_submission = max([self.last_submission, *(row["id"] for row in one["submissions"])])

    def take_statuses(self, params: Mapping[str, Any], statuses: Iterable[Mapping[str, Any]]) -> None:
        """Take one person's recorded completion of a course."""
        for row in statuses:
            there = self.by_course[params["courseid"]].setdefault(
                row["cmid"],
                Activity(
                    row["cmid"], params["courseid"], f"Activity {row['cmid']}", row["modname"], row["instance"]
                ),
            )
            there.tracking = row["tracking"]
            if row["state"]:
                self.completions[row["cmid"], params["userid"]] = row["state"], row["timecompleted"]
            self.last_cmid = max(self.last_cmid, row["cmid"])
