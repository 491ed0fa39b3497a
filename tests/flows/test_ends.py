"""End dates of courses: one that passes ends its course at once, one that was moved into the past a day later."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flows.steps.ends import ENDS
from tests.flows.test_deleted import beside
from tests.flows.test_departures import ENROL_LEFT
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]
HOUR, DAY, YEAR = 3600.0, 86_400.0, 365 * 86_400
OVER = "{set: {enrolment_status: over}}"
CLOSED = "{set: {enrolment_status: over}, close: true}"


async def running(make_lab: MakeLab, words: str = OVER) -> tuple[Lab, int, list[int]]:
    """Return a lab with two courses and the first of them; `words` are when_course_ends, "" for none."""
    site, courses, learners = site_of(4, 4)
    lab = make_lab(site)
    if words:
        lab.edit("enrolment", ENROL_LEFT, f"{ENROL_LEFT}\nwhen_course_ends: {words}")
    await lab.sync()
    return lab, courses[0], learners


def end(lab: Lab, course: int, later: float) -> None:
    """Give a course an end date, so many seconds from now."""
    lab.site.courses[course]["enddate"] = int(lab.clock.now() + later)


@pytest.mark.parametrize("words", [OVER, CLOSED, ""])
async def test_a_slip_that_is_corrected_within_a_day_ends_nothing(make_lab: MakeLab, words: str) -> None:
    """Last year's date was typed: the run says until when it can be corrected, and nothing is written for it."""
    lab, course, learners = await running(make_lab, words)
    end(lab, course, -YEAR)
    first = await lab.sync()
    then = "its enrolments are ended" if words else "it counts as over"
    said = f"The end date of course {course} was moved into the past; {then} on "
    (message,) = first.messages
    assert ("completed", {}, True) == (first.state, written(first), message.startswith(said))
    assert message.endswith(" unless it is corrected in Moodle.")
    lab.site.update_user(learners[0], city="Bondo")
    assert ({"updated": 1}, [message]) == (written(again := await lab.sync(20 * HOUR)), again.messages)
    lab.site.courses[course]["enddate"] = 0
    assert ("completed", [], {}) == ((last := await lab.sync(10 * HOUR)).state, last.messages, written(last))
    assert not any(case.closed for case in lab.project.cases.values())


@pytest.mark.parametrize("words", [OVER, CLOSED])
async def test_an_end_that_stays_in_the_past_ends_the_course_a_day_later(make_lab: MakeLab, words: str) -> None:
    """Once, and the date may be moved about in the past: the day counts from when it was first seen there."""
    lab, course, learners = await running(make_lab, words)
    end(lab, course, -YEAR)
    await lab.sync()
    end(lab, course, -2 * YEAR)
    assert 0 == (await lab.sync(DAY - HOUR)).of("enrolment").ended
    result = (await lab.sync(HOUR)).of("enrolment")
    assert 4 == result.closed if words == CLOSED else 4 == result.ended
    assert "over" == lab.case(f"test-enrol-{course}-{learners[0]}").properties["enrolment_status"]
    for _ in range(2):
        assert ("completed", {}, {}) == (
            (quiet := await lab.sync()).state,
            written(quiet),
            quiet.requests["commcare"],
        )
    end(lab, course, -YEAR)  # a course that is over stays so, whatever date in the past it has
    assert {} == written(await lab.sync())
    assert course not in (await lab.sync()).courses


async def test_who_comes_into_a_course_on_that_day_has_a_case(make_lab: MakeLab) -> None:
    """Until the day is over the course is read like any other."""
    lab, course, _ = await running(make_lab)
    end(lab, course, -YEAR)
    await lab.sync()
    lab.site.enrol(course, lab.site.add_user("New", "Comer", lastaccess=lab.site.now))
    assert {"created": 2} == written(await lab.sync())


async def test_a_date_that_passes_ends_the_course_at_once(make_lab: MakeLab) -> None:
    """Also one that was given since the course was last read and lay ahead then."""
    lab, course, _ = await running(make_lab)
    end(lab, course, HOUR / 2)
    result = await lab.sync()
    said = f"Not read any more: course {course} (over)."
    assert (4, [said]) == (result.of("enrolment").ended, beside(result))
    assert [] == (await lab.sync()).messages


async def test_a_course_that_went_on_has_its_day_again(make_lab: MakeLab) -> None:
    """It was over, was extended, and has a date in the past again."""
    lab, course, _ = await running(make_lab)
    end(lab, course, HOUR / 2)
    await lab.sync()
    end(lab, course, YEAR)
    assert {"updated": 4} == written(await lab.sync())
    end(lab, course, -YEAR)
    assert 0 == (await lab.sync()).of("enrolment").ended
    assert 4 == (await lab.sync(DAY)).of("enrolment").ended


async def test_a_date_in_the_past_at_the_first_run(make_lab: MakeLab) -> None:
    """Nobody knows of another one: the course is over."""
    site, courses, _ = site_of(2, 2)
    lab = make_lab(site)
    end(lab, courses[0], -YEAR)
    await lab.sync()
    assert [courses[1]] == [*(await lab.sync()).courses]


async def test_a_hidden_course_has_its_day_as_well(make_lab: MakeLab) -> None:
    """Nobody has read it for long, and a date of the week before last was moved there all the same."""
    lab, course, _ = await running(make_lab)
    lab.site.courses[course]["visible"] = 0
    await lab.sync()
    await lab.sync(14 * DAY)
    end(lab, course, -7 * DAY)
    result = await lab.sync()
    assert (0, True) == (result.of("enrolment").ended, "moved into the past" in " ".join(result.messages))
    assert 4 == (await lab.sync(DAY)).of("enrolment").ended


async def test_two_slips_are_one_sentence(make_lab: MakeLab) -> None:
    """A category whose dates were all moved."""
    lab, course, _ = await running(make_lab)
    other = max(lab.site.courses)
    for number in (course, other):
        end(lab, number, -YEAR)
    (message,) = (await lab.sync()).messages
    said = f"The end dates of courses {course}, {other} were moved into the past; their enrolments are ended on "
    assert (True, True) == (message.startswith(said), message.endswith("unless they are corrected in Moodle."))


async def test_a_run_for_another_course_and_a_preview_start_and_end_no_day(make_lab: MakeLab) -> None:
    """A preview writes nothing down; a run for some courses notes when it saw the date first."""
    lab, course, _ = await running(make_lab)
    end(lab, course, -YEAR)
    before = lab.store.get(ENDS)
    assert 0 == (await lab.sync(preview=True)).of("enrolment").ended
    assert before == lab.store.get(ENDS)
    await lab.sync(courses=(max(lab.site.courses),))
    assert before != lab.store.get(ENDS)
    assert 0 == (await lab.sync(DAY - HOUR)).of("enrolment").ended
    assert 4 == (await lab.sync(HOUR)).of("enrolment").ended


async def test_an_account_without_the_right_to_see_dates(make_lab: MakeLab) -> None:
    """Dates that are not shown for a while are no dates that were moved."""
    lab, course, _ = await running(make_lab)
    end(lab, course, HOUR / 2)
    await lab.sync()
    lab.moodle.revoke("moodle/course:view")
    await lab.sync()
    lab.moodle.allow("moodle/course:view")
    assert course not in (await lab.sync()).courses


async def test_a_clock_that_was_ahead(make_lab: MakeLab) -> None:
    """The day is counted anew by the right clock, and is no longer than a day."""
    lab, course, _ = await running(make_lab)
    end(lab, course, -YEAR)
    lab.clock.advance(5 * DAY)
    await lab.sync()
    lab.clock.step(-5 * DAY)
    await lab.sync(HOUR)
    assert 0 == (await lab.sync(DAY - HOUR)).of("enrolment").ended
    assert 4 == (await lab.sync(HOUR)).of("enrolment").ended


async def test_books_put_back_end_no_course_twice(make_lab: MakeLab) -> None:
    """A course that got its date after the backup, and is over since, does not go on for a day."""
    lab, course, _ = await running(make_lab, CLOSED)
    lab.in_a_file()
    backup = lab.store.back_up(lab.clock.now())
    assert backup is not None
    end(lab, course, HOUR / 2)
    assert 4 == (await lab.sync()).of("enrolment").closed
    lab.restore(backup)
    for _ in range(3):
        await lab.sync()
    assert 4 == len(
        [one for one in lab.project.cases.values() if (one.external_id or "").startswith("test-enrol-2")]
    )
