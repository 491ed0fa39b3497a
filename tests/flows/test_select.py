"""Which courses are chosen by a custom field, whose values Moodle writes for a page."""

from __future__ import annotations

import httpx
import pytest

from adaptors.moodle.answers import Course
from adaptors.moodle.client import Login, MoodleClient
from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.streams import MoodleReader, Wanted
from flows.steps.select import select_courses
from mappings.engine import CourseChoice
from tests.clocks import VirtualClock


@pytest.mark.parametrize(
    "wanted",
    [("region", "Nyanza & Coast"), ("offered", "1"), ("offered", "Yes"), ("level", "Tutors & nurses")],
)
async def test_courses_are_chosen_by_a_custom_field(wanted: tuple[str, str]) -> None:
    """As the mappings have it, or as it stands on Moodle's page."""
    site = FakeSite()
    fields = {
        "region": "Nyanza & Coast",
        "offered": {"type": "checkbox", "value": "Yes", "valueraw": 1},
        "level": {"type": "select", "value": "Tutors & nurses", "valueraw": 2},
    }
    chosen = site.add_course("C1", "Chosen", customfields=fields)
    site.add_course("C2", "Other", customfields={"region": "Coast"})
    fake = FakeMoodle(site)
    transport = httpx.MockTransport(fake)
    client = MoodleClient(site.url, Login(fake.token), clock=VirtualClock(), transport=transport)
    courses = await MoodleReader(client, Wanted()).courses()
    selection = select_courses(courses, (), CourseChoice(custom_field=wanted), now=site.now)
    assert [chosen] == [course.id for course in selection.courses]


def test_a_course_that_goes_on_past_its_end_is_read() -> None:
    """Its end date was moved into the past, and counts a day later; the others past theirs are over."""
    courses = [Course(id=n, shortname=f"C{n}", fullname=f"Course {n}", enddate=50) for n in (2, 3)]
    found = select_courses(courses, (), CourseChoice(shortname_like="*"), now=100.0, going_on={2})
    assert ([2], [3], frozenset({2, 3})) == ([course.id for course in found.courses], found.ended, found.listed)


@pytest.mark.parametrize(
    ("choice", "read"),
    [
        (CourseChoice(ids=(2,)), [2]),
        (CourseChoice(ids=(2,), shortname_like="*"), [2, 4]),
        (CourseChoice(shortname_like="*"), [4]),
        (CourseChoice(categories=(7,)), [4]),
    ],
)
def test_a_hidden_course_is_read_when_its_id_is_named(choice: CourseChoice, read: list[int]) -> None:
    """A pattern and a category mean only those that are shown; nothing is missing either way."""
    courses = [
        Course(id=n, shortname=f"C{n}", fullname=f"Course {n}", categoryid=7, visible=int(n == 4))
        for n in (2, 3, 4)
    ]
    found = select_courses(courses, (), choice, now=100.0)
    assert (read, [], []) == ([course.id for course in found.courses], found.unknown, found.ended)
