"""Who is gone from every course by a person's word has left the site: nobody is asked about them a second time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from flows.confirm import confirm
from flows.needs import ALLOWED_LEAVERS, needs
from flows.result import Result
from tests.flows.test_sync import site_of
from tests.flows.test_words import TROUBLES, go
from tests.flows.worlds import PROJECT, Lab, written

MakeLab = Callable[..., Lab]
DAY = 86_400.0


async def gone(make_lab: MakeLab, people: int = 6, *sizes: int, **values: Any) -> tuple[Lab, list[int], list[int]]:
    """Return a lab, its courses (one, or of these sizes), and the people who left all of them, as runs asked."""
    site, courses, learners = site_of(*(sizes or (12,)), shared=True)
    lab = make_lab(site, **values)
    await lab.sync()
    for course in courses:
        go(lab, course, learners[:people])
    for _ in range(2):
        await lab.sync()
    return lab, courses, learners[:people]


def left(lab: Lab, people: list[int]) -> list[int]:
    """Return those whose own case is marked as left."""
    said = {one: lab.case(f"test-user-{one}").properties.get("moodle_status") for one in people}
    return [one for one in people if said[one] == "left"]


def asked(lab: Lab) -> list[int]:
    """Return the courses (0: the site) that somebody is asked about."""
    return [need.course for need in needs(lab.store)]


def marked(result: Result) -> tuple[int, int]:
    """Return how many enrolments and how many people a run marked as left."""
    return result.of("enrolment").marked_left, result.of("student").marked_left


async def test_the_word_about_the_only_course(make_lab: MakeLab) -> None:
    """The run that marks the enrolments marks the people."""
    lab, courses, people = await gone(make_lab)
    assert courses == asked(lab)
    confirm(lab.store, courses[0], 6)
    result = await lab.sync()
    assert ("completed", (6, 6), []) == (result.state, marked(result), asked(lab))
    assert (people, {}, {}) == (
        left(lab, people),
        written(await lab.sync()),
        json.loads(lab.store.get(ALLOWED_LEAVERS) or "{}"),
    )


async def test_a_word_for_each_course(make_lab: MakeLab) -> None:
    """While a course waits, people stay people of the site; the last word is the one about all."""
    lab, courses, people = await gone(make_lab, 6, 12, 12)
    confirm(lab.store, courses[1], 6)
    assert (6, 0) == marked(await lab.sync())
    assert ([courses[0]], []) == (asked(lab), left(lab, people))
    confirm(lab.store, courses[0], 6)
    assert (6, 6) == marked(await lab.sync())
    assert [] == asked(lab)


async def test_who_is_in_another_course_stays(make_lab: MakeLab) -> None:
    """Nobody has left the site who left a course."""
    site, courses, learners = site_of(12, 12, shared=True)
    lab = make_lab(site)
    await lab.sync()
    go(lab, courses[0], learners[:6])
    for _ in range(2):
        await lab.sync()
    confirm(lab.store, courses[0], 6)
    results = [await lab.sync() for _ in range(3)]
    assert ([(6, 0), (0, 0), (0, 0)], []) == ([*map(marked, results)], asked(lab))


async def test_who_was_last_seen_elsewhere_is_not_gone(make_lab: MakeLab) -> None:
    """A course that is not read any more had them last: nothing is known about them."""
    lab, courses, people = await gone_with_a_hidden_course(make_lab)
    confirm(lab.store, courses[0], 6)
    results = [await lab.sync() for _ in range(3)]
    assert ([(6, 0), (0, 0), (0, 0)], []) == ([*map(marked, results)], left(lab, people))
    assert {} == json.loads(lab.store.get(ALLOWED_LEAVERS) or "{}")


async def gone_with_a_hidden_course(make_lab: MakeLab) -> tuple[Lab, list[int], list[int]]:
    """Return a lab in which six left one course, and another one that had them is hidden."""
    site, courses, learners = site_of(12, 12, shared=True)
    lab = make_lab(site)
    await lab.sync()
    site.courses[courses[1]]["visible"] = 0
    go(lab, courses[0], learners[:6])
    for _ in range(2):
        await lab.sync()
    return lab, courses, learners[:6]


async def test_a_teacher_without_a_case_is_there_still(make_lab: MakeLab) -> None:
    """One of them teaches elsewhere and has no enrolment of ours: a course's word is not about the site."""
    site, courses, learners = site_of(12, 12)
    site.enrol(courses[1], learners[0], roles=("editingteacher",))
    lab = make_lab(site)
    lab.edit("student", "any_of: [student]", "any_of: [student, editingteacher]")
    text = (lab.mappings / "student.yaml").read_text().partition("\ntests:")[0]
    (lab.mappings / "student.yaml").write_text(text)
    await lab.sync()
    go(lab, courses[0], learners[:6])
    for _ in range(2):
        await lab.sync()
    confirm(lab.store, courses[0], 6)
    assert (6, 5) == marked(await lab.sync())
    assert ({}, learners[1:6]) == (written(await lab.sync()), left(lab, learners[:6]))


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_whatever_becomes_of_the_answer(make_lab: MakeLab, trouble: str) -> None:
    """The word holds until CommCare has taken it in, for people as for enrolments, and nobody is asked again."""
    lab, courses, people = await gone(make_lab)
    confirm(lab.store, courses[0], 6)
    TROUBLES[trouble](lab)
    for _ in range(5):
        await lab.sync()
        assert [] == asked(lab)
    assert (people, {}) == (left(lab, people), json.loads(lab.store.get(ALLOWED_LEAVERS) or "{}"))


async def test_people_that_are_read_more_rarely(make_lab: MakeLab) -> None:
    """They are marked once two reads lacked them as well; who is back by then is not, and is asked about anew."""
    lab, courses, people = await gone(make_lab, project=f"{PROJECT}intervals: {{people: 48}}\n")
    confirm(lab.store, courses[0], 6)
    assert (6, 0) == marked(await lab.sync())
    lab.site.enrol(courses[0], people[0])
    for _ in range(6):
        await lab.sync(later=DAY)
        assert [] == asked(lab)
    assert people[1:] == left(lab, people)
    assert {} == json.loads(lab.store.get(ALLOWED_LEAVERS) or "{}")


async def test_a_course_that_fails_for_good_may_have_them(make_lab: MakeLab) -> None:
    """They may have moved into it since it was read last: a person is asked about the site all the same."""
    site, courses, learners = site_of(12, 3)
    lab = make_lab(site)
    await lab.sync()
    lab.denied = {courses[1]}
    go(lab, courses[0], learners[:6])
    for later in (3600.0, 25 * 3600.0, 3600.0):
        await lab.sync(later)
    confirm(lab.store, courses[0], 6)
    assert (6, 0) == marked(await lab.sync())
    assert ([], [0]) == (left(lab, learners[:6]), asked(lab))
