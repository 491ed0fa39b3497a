"""The list of courses around a teacher whose name Moodle cannot show: few requests, and no course is made up."""

from __future__ import annotations

import httpx
import pytest

from adaptors.errors import AccessDenied, Unexpected
from adaptors.moodle.client import Login, MoodleClient
from adaptors.moodle.course_list import COURSES, read_courses
from adaptors.moodle.errors import REPAIR_CONTACT
from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.streams import MoodleReader, Wanted
from adaptors.moodle.unshowable import Budget
from tests.clocks import VirtualClock

BROKEN = "T<rainer"


def site_with_a_broken_teacher(count: int, *, of: int) -> tuple[FakeSite, list[int]]:
    """Return a site of so many courses, and their ids: in one of them is the teacher."""
    site = FakeSite()
    courses = [site.add_course(f"C{number}", f"Course {number}") for number in range(count)]
    site.enrol(courses[of], site.add_user("Tizita", BROKEN), ("editingteacher",))
    return site, courses


def client_of(site: FakeSite) -> tuple[MoodleClient, FakeMoodle]:
    """Return a client of a fake, and the fake."""
    fake = FakeMoodle(site)
    transport = httpx.MockTransport(fake)
    return MoodleClient(site.url, Login(fake.token), clock=VirtualClock(), transport=transport, attempts=1), fake


async def test_known_courses_are_asked_for_in_halves() -> None:
    """Only the one with the teacher is not shown; of 32 it takes eleven requests, and the site is no course."""
    site, courses = site_with_a_broken_teacher(32, of=5)
    client, _ = client_of(site)
    reader = MoodleReader(client, Wanted())
    found = await reader.courses({1, *courses})
    assert [*courses[:5], *courses[6:]] == [course.id for course in found]
    assert ({courses[5]: True}, False) == (reader.refused_courses, reader.lists_all)
    assert 1 + 11 == client.requests[COURSES]
    site.update_user(next(iter(site.members[courses[5]])), lastname="Trainer")
    assert courses == [course.id for course in await reader.courses(courses)]
    assert ({}, True) == (reader.refused_courses, reader.lists_all)


async def test_a_known_course_that_is_no_more() -> None:
    """Moodle breaks off where one of many is not there: it is neither shown nor refused."""
    site, courses = site_with_a_broken_teacher(5, of=1)
    site.delete_course(courses[3])
    found, refused = await read_courses(client_of(site)[0], courses, Budget())
    assert ([courses[0], courses[2], courses[4]], {courses[1]: True}) == ([course.id for course in found], refused)


async def test_a_budget_that_is_used_up() -> None:
    """What was not asked for alone is told apart from what is refused; the oldest courses are asked for last."""
    site, courses = site_with_a_broken_teacher(8, of=7)
    budget = Budget(4)
    found, unshown = await read_courses(client_of(site)[0], courses, budget)
    assert (courses[:6], dict.fromkeys(courses[6:], False)) == ([course.id for course in found], unshown)
    site.enrol(courses[0], site.add_user("Tizita", BROKEN), ("editingteacher",))
    found, unshown = await read_courses(client_of(site)[0], courses, Budget(7))
    told = {courses[7]: True} | dict.fromkeys(courses[:2], False)
    assert (courses[2:7], told) == ([course.id for course in found], unshown)


async def test_a_part_of_the_budget_is_for_the_people() -> None:
    """A list that takes all it may leaves a quarter of it for the lists of people."""
    site, courses = site_with_a_broken_teacher(64, of=0)
    for course in courses[::2]:
        site.enrol(course, site.add_user("Tizita", BROKEN), ("editingteacher",))
    budget, (client, _) = Budget(40), client_of(site)
    await read_courses(client, courses, budget)
    assert (10, 1 + 1 + 40) == (budget.left, client.requests[COURSES])


async def test_courses_that_may_be_no_more_are_asked_for_last() -> None:
    """Each of them costs as much as one that is refused, so the others come first."""
    site, courses = site_with_a_broken_teacher(8, of=0)
    gone = courses[1::2]
    for course in gone:
        site.delete_course(course)
    found, unshown = await read_courses(client_of(site)[0], courses, Budget(6), gone)
    assert [courses[2], courses[4], courses[6]] == [course.id for course in found]
    assert {courses[0]: True} | dict.fromkeys(gone, False) == unshown


async def test_some_courses_by_their_ids() -> None:
    """One request where Moodle shows all of them, be its list refused or not; none at all for none."""
    site, courses = site_with_a_broken_teacher(8, of=7)
    client, _ = client_of(site)
    reader = MoodleReader(client, Wanted())
    assert (courses[:3], {}) == (
        [course.id for course in await reader.these_courses(courses[:3])],
        reader.refused_courses,
    )
    assert ([], 1) == (await reader.these_courses(()), client.requests[COURSES])
    assert ([], {courses[7]: True}) == (await reader.these_courses(courses[7:]), reader.refused_courses)


@pytest.mark.parametrize("knows", [True, False])
async def test_no_course_that_is_shown(knows: bool) -> None:
    """Then, and where none is known, the refusal goes up and says what to do."""
    site, courses = site_with_a_broken_teacher(1, of=0)
    with pytest.raises(Unexpected) as caught:
        await read_courses(client_of(site)[0], courses if knows else (), Budget())
    assert REPAIR_CONTACT in str(caught.value)


async def test_other_trouble_goes_up() -> None:
    """Only a value that is not valid is searched for."""
    site, courses = site_with_a_broken_teacher(3, of=0)
    client, fake = client_of(site)
    fake.functions.remove(COURSES)
    with pytest.raises(AccessDenied):
        await read_courses(client, courses, Budget())
    assert 1 == client.requests[COURSES]


async def test_a_name_that_stays_in_the_cache() -> None:
    """A corrected name stops the list all the same, until the cache is purged."""
    site, courses = site_with_a_broken_teacher(2, of=0)
    (teacher,) = site.members[courses[0]]
    site.courses[courses[0]]["contacts"] = [{"id": teacher, "fullname": f"Tizita {BROKEN}"}]
    site.update_user(teacher, lastname="Trainer")
    client, _ = client_of(site)
    found, refused = await read_courses(client, courses, Budget())
    assert ([courses[1]], {courses[0]: True}) == ([course.id for course in found], refused)
    site.courses[courses[0]]["contacts"] = None
    assert (2, None) == (len((answer := await read_courses(client, courses, Budget()))[0]), answer[1])


async def test_a_hidden_course_with_such_a_teacher() -> None:
    """It stops the list only for an account to whom Moodle shows hidden courses."""
    site, courses = site_with_a_broken_teacher(2, of=0)
    site.courses[courses[0]]["visible"] = 0
    client, fake = client_of(site)
    assert {courses[0]: True} == (await read_courses(client, courses, Budget()))[1]
    fake.revoke("moodle/course:viewhiddencourses")
    assert None is (await read_courses(client, courses, Budget()))[1]
