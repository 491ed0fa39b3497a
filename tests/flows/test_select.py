"""Which courses are chosen, by a custom field too, and those of which Moodle does not say whether to read them."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from adaptors.moodle.answers import Course
from adaptors.moodle.client import Login, MoodleClient
from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.streams import MoodleReader, Wanted
from flows.check_moodle import of_selection
from flows.steps.select import UNTOLD, select_courses
from mappings.engine import CourseChoice
from tests.clocks import VirtualClock
from tests.flows.test_tables import FILES, campus, course_ids, names
from tests.flows.worlds import PROJECT, SHIPPED, Lab, written

VIEW = "moodle/course:view"
LIST = {
    "course": (SHIPPED / "course.yaml").read_text("utf-8").replace("enabled: false\n", ""),
    "code_lists": (SHIPPED / "code_lists.yaml").read_text("utf-8"),
}


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


def with_a_hidden_course(make_lab: Callable[..., Lab], files: dict[str, str], project: str = PROJECT) -> Lab:
    """Return a lab of three courses, of which the first one is hidden, with a case for each of the others."""
    lab = campus(make_lab, project=project, **files)
    lab.site.courses[course_ids(lab)[0]]["visible"] = 0
    return lab


def listed(lab: Lab) -> tuple[set[str], list[str]]:
    """Return the external ids of the cases of courses, and the names in the lookup table."""
    table = names(lab) if lab.commcare.shelf.tables else []
    return {case.external_id for case in lab.project.of_type("course")}, table


@pytest.mark.parametrize("files", [LIST, {**FILES, **LIST}])
async def test_a_course_that_may_be_hidden_is_not_read(
    make_lab: Callable[..., Lab], files: dict[str, str]
) -> None:
    """Without a right Moodle leaves out whether a course is hidden or over: nothing is made of it till then."""
    lab = with_a_hidden_course(make_lab, files)
    await lab.sync()
    before = listed(lab)
    lab.moodle.revoke(VIEW)
    for _ in range(3):
        result = await lab.sync()
        assert ("degraded", {}, {}, before) == (result.state, written(result), result.tables, listed(lab))
    numbers = ", ".join(map(str, course_ids(lab)))
    assert f"Not read: courses {numbers}. {UNTOLD}" in result.messages
    lab.moodle.allow(VIEW)
    result = await lab.sync()
    assert ("completed", {}, before) == (result.state, written(result), listed(lab))


async def test_a_preview_of_a_course_that_may_be_hidden(make_lab: Callable[..., Lab]) -> None:
    """It announces nothing for such a course, and says why."""
    lab = with_a_hidden_course(make_lab, LIST)
    lab.moodle.revoke(VIEW)
    result = await lab.sync(preview=True)
    assert ("degraded", {}) == (result.state, written(result))


def test_single_courses_that_may_be_hidden_are_named_by_check() -> None:
    """As in a category where the account has another role; of all courses at once another line tells."""
    courses = [
        Course(id=n, shortname=f"C{n}", fullname=f"Course {n}", categoryid=7, visible=None if n == 4 else 1)
        for n in (2, 3, 4)
    ]
    choice = CourseChoice(categories=(7,))
    found = [*of_selection(select_courses(courses, (), choice, 0.0), courses, choice)]
    assert [("ok", "3 of 3 chosen: 2 C2, 3 C3, 4 C4"), ("fail", "course 4 is not read")] == [
        (finding.level, finding.what) for finding in found
    ]
    assert UNTOLD == found[1].remedy
    courses = [course.model_copy(update={"visible": None}) for course in courses]
    assert ["ok"] == [one.level for one in of_selection(select_courses(courses, (), choice, 0.0), courses, choice)]


async def test_a_course_that_is_named_may_be_hidden(make_lab: Callable[..., Lab]) -> None:
    """Whose id project.yaml names is chosen, hidden or not."""
    project = PROJECT.replace('{shortname_like: "*"}', "{ids: [2]}")
    lab = with_a_hidden_course(make_lab, LIST, project)
    lab.moodle.revoke(VIEW)
    await lab.sync()
    assert {"test-course-2"} == listed(lab)[0]
