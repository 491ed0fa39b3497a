"""Moodle's bad days through whole runs: web pages in the place of data, and a function that gives no answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs

import httpx
import pytest

from adaptors.moodle.client import BATCH_FUNCTION
from adaptors.moodle.course_list import COURSES
from adaptors.moodle.grades import GRADES
from adaptors.moodle.sizes import Sizes
from flows.needs import needs
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, Lab, written

MakeLab = Callable[..., Lab]
INFO = "core_webservice_get_site_info"
ENROLLED = "core_enrol_get_enrolled_users"
EVER = 10_000
MINUTE = 60.0


def too_slow(lab: Lab, *functions: str) -> None:
    """Let Moodle answer some functions too late: each such question takes three minutes and brings nothing."""
    answer = lab._to_moodle

    def answering(request: httpx.Request) -> httpx.Response:
        asked = parse_qs(request.content.decode())["wsfunction"][0]
        batched = asked == BATCH_FUNCTION and any(name in request.content.decode() for name in functions)
        if asked in functions or batched:
            lab.moodle.calls.append((asked, {}))
            lab.clock.advance(180.0)
            raise httpx.ReadTimeout("too late", request=request)
        return answer(request)

    lab._to_moodle = answering  # type: ignore[method-assign]


async def test_the_cause_of_a_run_that_is_postponed_comes_first(make_lab: MakeLab) -> None:
    """What is read only now and then is said behind it."""
    lab = make_lab(site_of(2)[0], project=f"{PROJECT}intervals: {{enrolments: 48, grades: 48}}\n")
    await lab.sync()
    lab.site.maintenance = "web"
    result = await lab.sync()
    assert ("postponed", ["enrolment"]) == (result.state, result.not_due)
    assert ["Moodle is", "Read a sh"] == [message[:9] for message in result.messages]


@pytest.mark.parametrize("kind", ["200_html", "403_html"])
@pytest.mark.parametrize("after", [0, 5, 9])
async def test_a_page_postpones_the_run(make_lab: MakeLab, kind: str, after: int) -> None:
    """Maintenance, a firewall: nobody is marked, nothing is asked, and the next run goes on."""
    site, courses, learners = site_of(3, 3)
    lab = make_lab(site)
    await lab.sync()
    site.update_user(learners[0], firstname="Renamed")
    site.grade(site.set_grade_item(courses[1], "Quiz"), learners[4], 50)
    lab.moodle.fail_next(None, kind, times=EVER, after=after)
    result = await lab.sync()
    assert ("postponed", 3) == (result.state, result.state.exit_code)
    (message,) = result.messages
    assert "answers with a web page at the moment (maintenance, a firewall or a login page)" in message
    assert message.endswith("If this stays, check MOODLE_URL. The run is postponed; nothing is lost.")
    assert ([], {}) == (needs(lab.store), lab.store.intents())
    lab.use_site(site)
    sent = written(result).get("updated", 0)
    result = await lab.sync()
    assert ("completed", 2) == (result.state, sent + written(result).get("updated", 0))
    assert ("Renamed Last0", 12) == (lab.case(f"test-user-{learners[0]}").case_name, len(lab.project.cases))


async def test_a_page_on_the_first_contact_is_a_wrong_address(make_lab: MakeLab) -> None:
    """Nobody has read this Moodle yet: more likely it is none."""
    lab = make_lab(site_of(3)[0])
    lab.moodle.fail_next(None, "200_html", times=EVER)
    result = await lab.sync()
    assert ("failed", {"moodle": {INFO: 1}, "commcare": {}}) == (result.state, result.requests)
    assert "Check that MOODLE_URL is the address of Moodle's front page" in result.messages[0]


@pytest.mark.parametrize("kind", ["refused", "timeout"])
@pytest.mark.parametrize("after", [0, 5, 9])
async def test_a_line_that_is_down_postpones_the_run(make_lab: MakeLab, kind: str, after: int) -> None:
    """Moodle was there before and is out of reach, from the start or in the middle: the next run catches up."""
    site, _, learners = site_of(3, 3)
    lab = make_lab(site)
    await lab.sync()
    site.update_user(learners[0], firstname="Renamed")
    lab.moodle.fail_next(None, kind, times=EVER, after=after)
    result = await lab.sync()
    assert ("postponed", 3) == (result.state, result.state.exit_code)
    assert ([], {}) == (needs(lab.store), lab.store.intents())
    lab.use_site(site)
    assert ("completed", "Renamed Last0") == (
        (await lab.sync()).state,
        lab.case(f"test-user-{learners[0]}").case_name,
    )


async def test_nobody_there_on_the_first_contact_is_a_wrong_address(make_lab: MakeLab) -> None:
    """Nobody has read this Moodle yet: a person looks at the address."""
    lab = make_lab(site_of(3)[0])
    lab.moodle.fail_next(None, "refused", times=EVER)
    result = await lab.sync()
    assert "failed" == result.state
    assert "Check the address in MOODLE_URL and the network. The next run catches up." in result.messages[0]


async def test_a_preview_promises_no_run(make_lab: MakeLab) -> None:
    """Nothing runs after it by itself."""
    lab = make_lab(site_of(3)[0])
    await lab.sync()
    lab.moodle.fail_next(None, "refused", times=EVER)
    (message,) = (await lab.sync(preview=True)).messages
    assert message.endswith("Check the address in MOODLE_URL and the network.")


async def test_one_page_costs_no_course(make_lab: MakeLab) -> None:
    """A notice of PHP before the JSON, once, is asked about once more."""
    site, courses, learners = site_of(3, 3)
    lab = make_lab(site)
    await lab.sync()
    site.grade(site.set_grade_item(courses[0], "Quiz"), learners[0], 50)
    lab.moodle.fail_next(GRADES, "php_warning")
    result = await lab.sync()
    assert ("completed", {"updated": 1}, 3) == (result.state, written(result), result.requests["moodle"][GRADES])


async def test_an_upgrade_postpones_the_run(make_lab: MakeLab) -> None:
    """As maintenance does."""
    lab = make_lab(site_of(3)[0])
    lab.moodle.fail_next(None, "upgraderunning", times=EVER)
    result = await lab.sync()
    assert ("postponed", {INFO: 1}) == (result.state, result.requests["moodle"])
    assert ["Moodle is being upgraded. The run is postponed; nothing is lost."] == result.messages


@pytest.mark.parametrize(("count", "whole"), [(60, True), (12, False)], ids=["whole courses", "person by person"])
async def test_grades_that_are_too_slow(make_lab: MakeLab, count: int, whole: bool) -> None:
    """A run of sixty courses ends within the hour, tells what it did not read, and does all else."""
    site, courses, learners = site_of(*([1] * (count - 1)), 4)
    lab = make_lab(site)
    if not whole:
        lab.sizes = lambda: replace(Sizes.fixed(), whole_course=0)
    await lab.sync()
    known = lab.store.courses()
    site.update_user(learners[0], firstname="Renamed")
    site.unenrol(courses[-1], learners[-1])
    too_slow(lab, GRADES)
    began = lab.clock.now()
    result = await lab.sync(later=0.0)
    assert lab.clock.now() - began < 60 * MINUTE
    assert ("degraded", {"updated": 1}) == (result.state, written(result))
    (message,) = result.messages
    first = ", ".join(str(number) for number in courses[:8])
    assert f"Not read: courses {first} and {count - 8} more. Moodle answers, but not {GRADES}: after 8 " in message
    assert "The next run tries again." in message
    assert "too slow for the grades of large courses?" in message
    asked = result.requests["moodle"]
    assert asked.get(GRADES, 0) + asked.get(BATCH_FUNCTION, 0) <= 20
    assert [] == needs(lab.store)
    marks = lab.store.courses()
    assert [known[one].complete_at for one in courses] == [marks[one].complete_at for one in courses]
    del lab._to_moodle  # type: ignore[method-assign]
    result = await lab.sync()
    assert ("completed", {"completed"}) == (result.state, {course.state for course in result.courses.values()})


async def test_lists_of_people_that_are_too_slow(make_lab: MakeLab) -> None:
    """Where nobody's course is read, nobody has left, however often."""
    site, _, _ = site_of(*([2] * 12))
    lab = make_lab(site)
    await lab.sync()
    sent = len(lab.rows_sent())
    too_slow(lab, ENROLLED)
    for _ in range(3):
        result = await lab.sync()
        assert ("degraded", {}, []) == (result.state, written(result), needs(lab.store))
        assert result.requests["moodle"][ENROLLED] <= 20
    del lab._to_moodle  # type: ignore[method-assign]
    assert ("completed", sent) == ((await lab.sync()).state, len(lab.rows_sent()))


@pytest.mark.parametrize("function", [COURSES, GRADES])
async def test_an_answer_with_warnings_marks_nobody(make_lab: MakeLab, function: str) -> None:
    """Moodle leaves out what it warns of: the course fails, or the whole run, as often as that happens."""
    site, courses, learners = site_of(3, 3)
    item = site.set_grade_item(courses[1], "Quiz")
    for learner in learners[3:]:
        site.grade(item, learner, 80)
    lab = make_lab(site)
    lab.edit("grade_item", "enabled: false\n", "")
    assert {"created": 6 + 6 + 3} == written(await lab.sync())
    for _ in range(3):
        lab.moodle.fail_next(function, "warnings", times=2)
        result = await lab.sync()
        assert ({}, []) == (written(result), needs(lab.store))
        states = {course: found.state for course, found in result.courses.items()}
        whole = ("failed", {}) if function == COURSES else ("degraded", dict.fromkeys(courses, "failed"))
        assert whole == (result.state, states)
    lab.use_site(site)
    result = await lab.sync()
    assert ("completed", {}) == (result.state, written(result))
