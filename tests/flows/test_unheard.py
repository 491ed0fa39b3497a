"""Who was to be marked as left when the course stopped being read, and CommCare had not answered yet."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adaptors.moodle.fake_site import FakeSite
from flows.confirm import confirm, confirm_term
from flows.needs import ALLOWED_LEAVERS
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
CLOSE = ("when_left: {set: {enrolment_status: left}", "when_left: {close: true, set: {enrolment_status: left}")
DAY = 86_400.0
LATER = 40 * 86_400


def read_no_more(lab: Lab, course: int, how: str) -> None:
    """Have nobody read a course from now on."""
    if how == "hidden":
        lab.site.courses[course]["visible"] = 0
    elif how == "not chosen":
        others = [number for number in lab.site.courses if number not in (1, course)]
        lab.edit("project", 'shortname_like: "*"', f"ids: {others}")
    else:
        lab.site.courses.pop(course)


def says(lab: Lab, course: int, people: list[int]) -> set[str]:
    """Return what the enrolments of some people say."""
    return {str(lab.case(f"test-enrol-{course}-{one}").properties["enrolment_status"]) for one in people}


async def rests(lab: Lab, times: int = 3) -> None:
    """Run so often, and twice more without a request to CommCare."""
    for _ in range(times):
        await lab.sync(later=DAY)
    for _ in range(2):
        result = await lab.sync(later=DAY)
        assert ({}, {}) == (written(result), result.requests["commcare"]), result.messages


async def unanswered(
    make_lab: MakeLab, site: FakeSite, course: int, gone: list[int], kind: str = "timeout"
) -> Lab:
    """Return a lab in which people left a course, which a person confirmed where they are many, in vain so far."""
    lab = make_lab(site)
    await lab.sync()
    for one in gone:
        site.unenrol(course, one)
    await lab.sync()
    if len(gone) > 1:
        await lab.sync()
        confirm(lab.store, course, len(gone))
    lab.commcare.fail_next(kind, times=8 if kind == "429" else 1, where="write")
    await lab.sync()
    lab.commcare.faults.clear()
    assert {"active"} == says(lab, course, gone)
    return lab


@pytest.mark.parametrize("kind", ["timeout", "429"])
@pytest.mark.parametrize("people", [1, 4])
@pytest.mark.parametrize("how", ["hidden", "not chosen", "not listed"])
async def test_a_decision_outlives_the_read_of_its_course(
    make_lab: MakeLab, how: str, people: int, kind: str
) -> None:
    """A guard or a person let them go, CommCare took nothing, nobody reads the course: they are marked once."""
    site, (course, _), learners = site_of(8, 8)
    lab = await unanswered(make_lab, site, course, learners[:people], kind)
    read_no_more(lab, course, how)
    await rests(lab)
    gone = learners[:people]
    assert ({"left"}, {"active"}) == (says(lab, course, gone), says(lab, course, learners[people:8]))
    assert {"left"} == {lab.case(f"test-user-{one}").properties["moodle_status"] for one in gone}
    assert "{}" == lab.store.get(ALLOWED_LEAVERS)


async def test_the_only_course(make_lab: MakeLab) -> None:
    """Nothing is read any more, and who had left it is marked all the same."""
    site, (course,), learners = site_of(8)
    lab = await unanswered(make_lab, site, course, learners[:1])
    read_no_more(lab, course, "hidden")
    await rests(lab)
    assert ({"left"}, {"active"}) == (says(lab, course, learners[:1]), says(lab, course, learners[1:]))


async def test_a_close_without_an_answer(make_lab: MakeLab) -> None:
    """It was decided to close the case, nothing arrived, and the course was hidden: it is closed."""
    site, (course, _), learners = site_of(8, 8, shared=True)
    lab = make_lab(site)
    lab.edit("enrolment", *CLOSE)
    await lab.sync()
    site.unenrol(course, learners[0])
    await lab.sync()
    lab.commcare.fail_next("timeout", where="write")
    await lab.sync()
    read_no_more(lab, course, "hidden")
    await rests(lab)
    assert lab.case(f"test-enrol-{course}-{learners[0]}").closed


async def test_back_in_the_hidden_course(make_lab: MakeLab) -> None:
    """Nobody can know that while it is hidden; once it is shown the case lives again."""
    site, (course, _), learners = site_of(8, 8)
    lab = await unanswered(make_lab, site, course, learners[:1])
    read_no_more(lab, course, "hidden")
    site.enrol(course, learners[0])
    await rests(lab)
    assert {"left"} == says(lab, course, learners[:1])
    site.courses[course]["visible"] = 1
    await rests(lab)
    assert {"active"} == says(lab, course, learners[:1])


@pytest.mark.parametrize("why", ["one read", "a question", "seen since", "put back", "a word"])
async def test_nobody_is_marked_who_was_not_to_go(make_lab: MakeLab, why: str) -> None:
    """One read lacked him, a person was asked, he was seen since, or the books do not know: he stays."""
    site, (course, _), learners = site_of(8, 8)
    lab = await unanswered(make_lab, site, course, learners[:1])
    one = learners[:1] if why in ("seen since", "put back") else learners[1:2]
    if why == "seen since":
        site.enrol(course, one[0])
        lab.commcare.fail_next("timeout", where="write")
        await lab.sync()
    elif why == "put back":
        lab.in_a_file()
        lab.restore(lab.store.back_up(lab.clock.now()))
    elif why == "one read":
        site.unenrol(course, one[0])
        await lab.sync()
    else:
        one = learners[1:7]
        for each in one:
            site.unenrol(course, each)
        for _ in range(3):
            await lab.sync()
        if why == "a word":  # it is for a run that reads the course
            confirm(lab.store, course, len(one))
    read_no_more(lab, course, "hidden")
    await rests(lab)
    assert {"active"} == says(lab, course, one)


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("how", ["hidden", "not chosen"])
@pytest.mark.parametrize("kind", ["timeout", "429"])
async def test_back_in_a_new_term_that_was_asked_about(make_lab: MakeLab, kind: str, how: str, same: bool) -> None:
    """Runs saw somebody there while a person was asked; then nobody reads the course: the case waits for it."""
    site, (course, _), learners = site_of(8, 8)
    site.courses[course]["startdate"] = int(site.now) - LATER
    lab = await unanswered(make_lab, site, course, learners[:1], kind)
    site.courses[course]["startdate"] += LATER
    site.enrol(course, learners[0])
    await lab.sync()
    chosen = lab.mappings.joinpath("project.yaml").read_text()
    read_no_more(lab, course, how)
    await rests(lab)
    assert {"active"} == says(lab, course, learners[:1])
    site.courses[course]["visible"] = 1
    lab.mappings.joinpath("project.yaml").write_text(chosen)
    await lab.sync()
    confirm_term(lab.store, course, same=same)
    await rests(lab)
    key = f"test-enrol-{course}-{learners[0]}{'' if same else '~2'}"
    assert "active" == lab.case(key).properties["enrolment_status"]


@pytest.mark.parametrize("wait", ["fails", "a new term"])
async def test_a_course_that_is_read_again(make_lab: MakeLab, wait: str) -> None:
    """It failed, or waits for a word about its term: until it is read nothing of it is sent."""
    site, (course, _), learners = site_of(8, 8)
    site.courses[course]["startdate"] = int(site.now) - LATER
    lab = await unanswered(make_lab, site, course, learners[:1])
    if wait == "fails":
        lab.denied = {course}
    else:
        site.courses[course]["startdate"] += LATER
    for _ in range(3):
        await lab.sync()
    assert {"active"} == says(lab, course, learners[:1])
    if wait == "fails":
        lab.denied = set()
    else:
        confirm_term(lab.store, course, same=True)
    await rests(lab)
    assert {"left"} == says(lab, course, learners[:1])
