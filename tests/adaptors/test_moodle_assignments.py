"""Assignments and submissions: complete or refused, groups left out, grades joined by the activity."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from adaptors.errors import AccessDenied, Unexpected
from adaptors.moodle.activity_answers import Warned
from adaptors.moodle.assignment_people import LIST_PARTICIPANTS, read_marked_course, read_participant_list
from adaptors.moodle.assignments import ASSIGNMENTS, SUBMISSIONS, CourseAssignments, refuse_unseen_course
from adaptors.moodle.client import Login, MoodleClient
from adaptors.moodle.errors import is_for_all
from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.records import SOURCES
from adaptors.moodle.sizes import Sizes
from adaptors.moodle.streams import MoodleReader, Wanted
from tests.adaptors.moodle_world import recorded_site
from tests.clocks import VirtualClock


class World:
    """A fake Moodle and a reader of it."""

    def __init__(self, site: FakeSite, *, grades: bool = False) -> None:
        self.fake = FakeMoodle(site)
        login = Login(self.fake.token)
        transport = httpx.MockTransport(self.fake)
        self.client = MoodleClient(site.url, login, clock=VirtualClock(), transport=transport)
        self.reader = MoodleReader(self.client, Wanted(assignments=True, grades=grades), Sizes.fixed())

    async def read(self, course: int, people: int = 3, *, submissions: bool = True) -> CourseAssignments:
        """Read the assignments of a course."""
        return await self.reader.assignments.course(course, people, submissions=submissions)


def made_site() -> tuple[FakeSite, int, int]:
    """Make a site with one course of one learner and two assignments; returns site, course, learner."""
    site = FakeSite()
    course, learner = site.add_course("C1", "Course"), site.add_user("Abeba", "Tesfaye")
    site.enrol(course, learner)
    site.activities.set(course, "Essay", due=site.now, cutoffdate=site.now + 1, maxattempts=2)
    site.activities.set(course, "Practical", grade=-3)
    return site, course, learner


def enrolment(person: int, items: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return the record of an enrolment."""
    record = {"course": {"id": 2}, "user": {"id": person}, "roles": ["student"], "status": "active"}
    return record | ({} if items is None else {"items": items, "grade": {"raw": 1.0}})


async def test_recorded_assignments() -> None:
    """The recorded course has eight assignments; nothing of the one that groups hand in is told of a person."""
    found = await World(recorded_site()).read(2)
    assert 8 == len(found.assignments)
    assert {"Home visit report", "Team submission"} <= {one["name"] for one in found.assignments}
    team = next(one for one in found.assignments if one["teamsubmission"])
    records = list(found.records([enrolment(16)]))
    for record in records:
        SOURCES["assignments"].model_validate(record)
    by_name = {record["assignment"]["name"]: record for record in records}
    assert "submission" not in by_name[team["name"]]
    assert ("submitted", "graded") == tuple(
        by_name["Home visit report"]["submission"][name] for name in ("status", "gradingstatus")
    )


async def test_assignment_and_submission() -> None:
    """Dates that are not set and points of a scale are blank; who handed nothing in has a blank submission."""
    site, course, learner = made_site()
    stranger = site.add_user("Bruno", "Abate")
    essay = next(iter(site.activities.by_course[course]))
    site.activities.submit(essay, learner, site.now, status="draft", attemptnumber=1)
    found = await World(site).read(course)
    first, second = found.assignments
    assert (site.now, site.now + 1, None, 100, 2) == tuple(
        first[name] for name in ("duedate", "cutoffdate", "gradingduedate", "grademax", "maxattempts")
    )
    assert (None, None) == (second["duedate"], second["grademax"])
    records = list(found.records([enrolment(learner), enrolment(stranger)]))
    assert ["draft", None, None, None] == [(r["submission"] or {}).get("status") for r in records]
    assert 1 == records[0]["submission"]["attemptnumber"]


async def test_what_was_handed_in_stays_when_somebody_is_suspended() -> None:
    """Moodle leaves the work of who is suspended in the course out without a word: it is absent, and not blank."""
    site, course, learner = made_site()
    essay = next(iter(site.activities.by_course[course]))
    site.activities.submit(essay, learner, site.now)
    site.suspend_enrolment(course, learner)
    found = await World(site).read(course)
    records = list(found.records([enrolment(learner) | {"status": "suspended"}]))
    assert [False, False] == ["submission" in record for record in records]


def test_grades_come_from_the_gradebook() -> None:
    """A grade is joined by the activity it belongs to; without grades there is none, not a blank one."""
    found = CourseAssignments([{"id": 5, "cmid": 50}, {"id": 6, "cmid": 60}])
    item = {"item": {"cmid": 60}, "grade": {"raw": 8.0}}
    graded, plain = list(found.records([enrolment(7, [item])])), list(found.records([enrolment(8)]))
    assert [None, {"raw": 8.0}] == [record.get("grade") for record in graded]
    assert ["grade" in record for record in (*graded, *plain)] == [False, True, False, False]
    assert not any("items" in record for record in graded)


@pytest.mark.parametrize("at", [0, 1])
async def test_the_grade_of_an_outcome_is_another_one(at: int) -> None:
    """Moodle's report has it under the cmid of its assignment, in the order that teachers gave the gradebook."""
    site = FakeSite()
    course, learner = site.add_course("C1", "Course"), site.add_user("Abeba", "Tesfaye")
    site.enrol(course, learner)
    essay = site.set_grade_item(course, "Essay")
    items = site.gradebooks[course].items
    cmid = next(item.cmid for item in items if item.id == essay)
    outcome = site.set_grade_item(course, "Writes clearly", cmid=cmid, maximum=3, outcomeid=4)
    items.insert(at, items.pop(next(n for n, item in enumerate(items) if item.id == outcome)))
    site.grade(essay, learner, 80)
    site.grade(outcome, learner, 2)
    world = World(site, grades=True)
    roster = await world.reader.roster(course)
    enrolments = await world.reader.enrolments({"id": course}, roster, lambda _: True)
    records = list((await world.read(course)).records(enrolments))
    assert [(cmid, 80)] == [(record["assignment"]["cmid"], record["grade"]["raw"]) for record in records]
    assert {None: 80, 4: 2} == {one["item"]["outcomeid"]: one["grade"]["raw"] for one in enrolments[0]["items"]}


async def test_submissions_are_not_asked_for_nothing() -> None:
    """A mapping without submission fields costs one call a course; a course without assignments as well."""
    site, course, learner = made_site()
    world = World(site)
    found = await world.read(course, submissions=False)
    assert "submission" not in next(found.records([enrolment(learner)]))
    assert [] == list((await world.read(site.add_course("C2", "Empty"))).assignments)
    assert (2, 0) == (world.client.requests[ASSIGNMENTS], world.client.requests[SUBMISSIONS])


async def test_large_courses_are_asked_in_parts() -> None:
    """Submissions of 600 people are asked for one assignment at a time, of 300 for three."""
    for people, requests in ((600, 7), (300, 3), (3, 1)):
        world = World(recorded_site())
        await world.read(2, people)
        assert requests == world.client.requests[SUBMISSIONS]


@pytest.mark.parametrize(
    ("lost", "capability"),
    [("moodle/course:view", "moodle/course:view"), ("mod/assign:grade", "mod/assign:viewgrades")],
)
async def test_missing_right_is_named(lost: str, capability: str) -> None:
    """What Moodle leaves out with a warning is no empty course: the right is named."""
    site, course, _ = made_site()
    world = World(site)
    world.fake.revoke(lost, "mod/assign:viewgrades")
    with pytest.raises(AccessDenied) as caught:
        await world.read(course)
    assert capability in str(caught.value)


def test_a_policy_that_waits_is_not_taken_for_a_missing_right() -> None:
    """Moodle puts its words into the warning about the course, in the site's language: every course is shut."""
    inside = 'Politique du site : <a href="https://moodle.example.org/user/policy.php">QanaryText</a>'
    about = {"item": "course", "itemid": 5, "warningcode": "1"}
    with pytest.raises(AccessDenied, match="has not agreed to the site policy") as caught:
        refuse_unseen_course([Warned(**about, message=f"No access rights in course context {inside}")])
    assert (True, False) == (is_for_all(caught.value), "Qanary" in repr(caught.value))
    with pytest.raises(AccessDenied, match="no course 5") as caught:
        refuse_unseen_course([Warned(**about, message="No access rights in course context Not enrolled")])
    assert not is_for_all(caught.value)


async def test_an_assignment_that_is_hidden_is_left_out() -> None:
    """Moodle warns of it, and tells the others: the course is read all the same, as its grades are."""
    site, course, _ = made_site()
    site.activities.set(course, "Later", visible=0)
    world = World(site)
    assert 3 == len((await world.read(course)).assignments)
    world.fake.revoke("moodle/course:viewhiddenactivities")
    assert ["Essay", "Practical"] == [one["name"] for one in (await world.read(course)).assignments]
    world.fake.revoke("mod/assign:view")
    assert [] == (await world.read(course)).assignments


async def test_other_warnings_are_not_complete() -> None:
    """Any other warning makes the read incomplete."""
    site, course, _ = made_site()
    world = World(site)
    world.fake.fail_next(SUBMISSIONS, "warnings")
    with pytest.raises(AccessDenied):
        await world.read(course)


async def test_assignment_that_vanished_is_not_complete() -> None:
    """An assignment deleted between the two calls is not mentioned at all: the read is not complete."""
    site, course, _ = made_site()
    world = World(site)
    essay = next(iter(site.activities.by_course[course]))

    def deleting(request: httpx.Request) -> httpx.Response:
        answer = world.fake(request)
        site.activities.by_course[course].pop(essay, None)
        return answer

    client = MoodleClient(
        site.url, Login(world.fake.token), clock=VirtualClock(), transport=httpx.MockTransport(deleting)
    )
    with pytest.raises(Unexpected, match="lacks 1 of the assignments"):
        await MoodleReader(client, Wanted(), Sizes.fixed()).assignments.course(course, 3, submissions=True)


def site_with_participants() -> tuple[FakeSite, int, list[int]]:
    """Make a site with one assignment for learners whose last names run against their ids; the third has a '<'."""
    site = FakeSite()
    course = site.add_course("C1", "Course")
    learners = [site.add_user(f"First{n}", f"Last{9 - n}") for n in range(6)]
    for learner in learners:
        site.enrol(course, learner)
    site.activities.set(course, "Essay")
    site.update_user(learners[2], firstname="<First2")
    return site, course, learners


async def test_the_fake_cuts_participants_before_it_shows_them() -> None:
    """As measured on Moodle 4.5.6: by last name, a row each, one is refused, and behind the last are none."""
    site, course, learners = site_with_participants()
    client = World(site).client
    (assignment,) = (await read_marked_course(client, course)).assignments

    async def at(skip: int) -> list[int]:
        asked = {"assignid": assignment.id, "groupid": 0, "filter": "", "onlyids": 1, "skip": skip, "limit": 1}
        return [row["id"] for row in await client.call(LIST_PARTICIPANTS, **asked)]

    by_name = learners[::-1]
    with pytest.raises(Unexpected, match="invalidresponse"):
        await at(by_name.index(learners[2]))
    shown_at = [0, 1, 2, 4, 5]
    assert [[by_name[one]] for one in shown_at] == [await at(one) for one in shown_at]
    assert [] == await at(6)
    shown, count = await read_participant_list(client, assignment)
    assert ([one for one in by_name if one != learners[2]], 1) == ([one.id for one in shown], count)


async def test_participants_who_come_while_they_are_read() -> None:
    """A list that shifts between two parts is refused: nobody stands in it twice, and nobody is lost."""
    site, course, _ = site_with_participants()
    world = World(site)
    (assignment,) = (await read_marked_course(world.client, course)).assignments
    fake, seen = world.fake, list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.content.decode())
        if len(seen) == 9:
            site.enrol(course, site.add_user("Zoe", "Aa"))
        return fake(request)

    login = Login(fake.token)
    client = MoodleClient(site.url, login, clock=VirtualClock(), transport=httpx.MockTransport(answer))
    with pytest.raises(Unexpected, match="invalidresponse"):
        await read_participant_list(client, assignment)
    shown, count = await read_participant_list(client, assignment)
    assert (6, 6, 1) == (len(shown), len({one.id for one in shown}), count)
