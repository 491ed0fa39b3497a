"""Four short stories of a school with five cases: what Moodle says before each run, and when all is quiet again.

Two learners, two courses, three enrolments: parents and children, and two batches of a level when one holds two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from tests.flows.worlds import TOKEN

BATCH = 2
PASSES = 3
"""Runs that things may go wrong in; the ones after them are left in peace."""

PROJECT = """
language: 1
site: test
time_zone: Africa/Nairobi
country: KE
courses: {shortname_like: "*"}
owner: {group: "Field coaches"}
"""
STUDENT = """
language: 1
case_type: student
source: users
include: [{source: roles, any_of: [student]}]
external_id: "{site}-user-{id}"
case_name: "{firstname} {lastname}"
owner: {otherwise: project, write: once}
properties:
  city: {source: city, personal: true}
when_left: {set: {moodle_status: left}}
"""
ENROLMENT = """
language: 1
case_type: enrolment
source: enrolments
include: [{source: roles, any_of: [student]}]
external_id: "{site}-enrol-{course.id}-{user.id}"
case_name: "{course.fullname}"
owner: {same_as: student}
indices:
  student:
    case_type: student
    external_id: "{site}-user-{user.id}"
    relationship: extension
    when_parent_unknown: wait
properties:
  enrolment_status: status
when_left: {set: {enrolment_status: left}}
"""


@dataclass(frozen=True)
class School:
    """What Moodle says at one moment."""

    city: str = "QanaryBondo"
    suspended: bool = False
    """Whether the second learner's enrolment is suspended."""
    second_learner: bool = True

    @cached_property
    def moodle(self) -> FakeMoodle:
        """Make the fake Moodle of this moment."""
        site = FakeSite()
        first = site.add_user("QanaryAmina", "QanaryOtieno", city=self.city)
        second = site.add_user("QanaryBaraka", "QanaryMwangi", city="QanarySiaya")
        course, other = site.add_course("C1", "Course one"), site.add_course("C2", "Course two")
        site.enrol(course, first)
        site.enrol(other, first)
        if self.second_learner:
            site.enrol(course, second)
            site.suspend_enrolment(course, second, suspended=self.suspended)
        return FakeMoodle(site, token=TOKEN)

    @cached_property
    def cases(self) -> dict[str, dict[str, str]]:
        """Return the cases that there should be, by key: their properties, "@name", and "@parent" as a key."""
        moodle = self.moodle
        found: dict[str, dict[str, str]] = {}
        for course in sorted(moodle.site.members.keys() - {1}):
            for person in moodle.site.members_of(course):
                user = moodle.site.users[person]
                parent = f"test-user-{person}"
                found[parent] = {"@name": f"{user.firstname} {user.lastname}", "city": user.city}
                suspended = moodle.site.members_of(course)[person].suspended
                found[f"test-enrol-{course}-{person}"] = {
                    "@name": moodle.site.courses[course]["fullname"],
                    "@parent": parent,
                    "enrolment_status": "suspended" if suspended else "active",
                }
        return found


@dataclass(frozen=True)
class Story:
    """A school before each of the runs; `loaded` ones begin when CommCare holds the first of it already."""

    name: str
    schools: tuple[School, ...]
    """Of the beginning, and of each run."""
    loaded: bool
    doubtful: bool = False
    """Whether the first write of the load before it all was not answered, and has rested by the first run."""

    def school(self, number: int) -> School:
        """Return the school of a run."""
        return self.schools[min(number, len(self.schools) - 1)]

    @property
    def keys(self) -> frozenset[str]:
        """Return the keys of all cases there ever may be."""
        return frozenset(key for school in self.schools for key in school.cases)


PLAIN, MOVED, AWAY = School(), School("QanaryKisumu", suspended=True), School(second_learner=False)
STORIES = (
    Story("a first load, then changes", (PLAIN, PLAIN, MOVED, School("QanaryKisumu")), loaded=False),
    Story("a change that is taken back", (PLAIN, MOVED, PLAIN, PLAIN), loaded=True),
    Story("somebody leaves and comes back", (PLAIN, AWAY, AWAY, PLAIN), loaded=True),
    Story("writes without an answer that have rested", (PLAIN, PLAIN), loaded=True, doubtful=True),
)
