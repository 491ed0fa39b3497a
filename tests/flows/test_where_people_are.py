"""Who is in which course is known from the moment on that its people were read, whatever becomes of the rest."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

import httpx
import pytest

from adaptors.moodle.sizes import Sizes
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, Lab, written

MakeLab = Callable[..., Lab]
DAY = 86_400


def without_grades(lab: Lab, course: int) -> None:
    """Let the account lack the right to the grades of a course."""

    def to_moodle(request: httpx.Request) -> httpx.Response:
        form = parse_qs(request.content.decode())
        if form.get("courseid") == [str(course)] and form["wsfunction"] == ["gradereport_user_get_grade_items"]:
            return httpx.Response(200, json={"exception": "x", "errorcode": "nopermissiontoviewgrades"})
        return lab.moodle(request)

    lab._to_moodle = to_moodle  # type: ignore[method-assign]


@pytest.mark.parametrize("how", ["hidden", "taken out"])
async def test_a_course_that_always_failed_is_read_no_more(make_lab: MakeLab, how: str) -> None:
    """People of a course whose grades could never be read have not left when nobody reads it any more."""
    site, (one, two), learners = site_of(20, 2)
    lab = make_lab(site, project=PROJECT.replace('shortname_like: "*"', f"ids: [{one}], shortname_like: 'C*'"))
    without_grades(lab, two)
    assert "degraded" == (await lab.sync()).state
    if how == "hidden":
        site.courses[two]["visible"] = 0
    else:
        lab.edit("project", ", shortname_like: 'C*'", "")
    for _ in range(3):
        assert "completed" == (await lab.sync()).state
    assert "active" == lab.case(f"test-user-{learners[-1]}").properties["moodle_status"]


async def test_a_course_between_terms_is_hidden(make_lab: MakeLab) -> None:
    """Who is new in a course that waits for a word about its term has not left when it is hidden."""
    site, (_, two), _ = site_of(20, 3)
    site.courses[two]["startdate"] = site.now - 100 * DAY
    lab = make_lab(site)
    await lab.sync()
    site.courses[two]["startdate"] = site.now
    new = site.add_user("New", "Comer", lastaccess=site.now)
    site.enrol(two, new)
    assert "waiting" == (await lab.sync()).state
    site.courses[two]["visible"] = 0
    for _ in range(3):
        await lab.sync()
    assert "active" == lab.case(f"test-user-{new}").properties["moodle_status"]


@pytest.mark.parametrize(("has_room", "page"), [(True, 2), (False, 5)])
async def test_somebody_leaves_while_the_course_is_read(make_lab: MakeLab, *, has_room: bool, page: int) -> None:
    """Who leaves between two requests, or two reads of a course, fails no course and has left."""
    site, (course, _), learners = site_of(30, 3)
    lab = make_lab(site)

    def sizes() -> Sizes:
        found = Sizes.fixed(page=10)
        found.kept_rows = 20_000 if has_room else 0
        return found

    lab.sizes = sizes
    line = "  course_shortname: course.shortname\n"
    lab.edit("enrolment", line, f"{line}  city: {{source: user.city, personal: true}}\n")
    await lab.sync()
    pages = 0

    def to_moodle(request: httpx.Request) -> httpx.Response:
        nonlocal pages
        form = parse_qs(request.content.decode())
        pages += form.get("courseid") == [str(course)] and "limitfrom" in str(form)
        if pages == page and learners[25] in site.members_of(course):
            site.unenrol(course, learners[25])
        return lab.moodle(request)

    lab._to_moodle = to_moodle  # type: ignore[method-assign]
    assert ("completed", {}) == ((result := await lab.sync()).state, dict(result.reasons))
    assert learners[25] not in site.members_of(course)
    marked = [written(await lab.sync()).get("marked_left", 0) for _ in range(2)]
    assert 2 == sum(marked)
    assert "left" == lab.case(f"test-enrol-{course}-{learners[25]}").properties["enrolment_status"]
