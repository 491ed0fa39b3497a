"""Intervals: what a run reads, what waits, and what is read all the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adaptors.moodle.streams import GRADES
from tests.flows.test_sync import ENROLLED, PROFILES, site_of
from tests.flows.worlds import PROJECT, Lab, written

MakeLab = Callable[..., Lab]
HOUR = 3600.0
DAY = 24 * HOUR


async def daily(make_lab: MakeLab, intervals: str = "{people: 24}") -> tuple[Lab, list[int], int]:
    """Return a lab with intervals that has run once: lab, learners, a grade item."""
    site, courses, learners = site_of(3)
    item = site.set_grade_item(courses[0], "Quiz")
    lab = make_lab(site, project=f"{PROJECT}intervals: {intervals}\n")
    await lab.sync()
    return lab, learners, item


async def test_a_stream_is_read_in_its_interval(make_lab: MakeLab) -> None:
    """People read less than a day ago are not read, and said to wait; enrolments are; a day later all are."""
    lab, learners, item = await daily(make_lab)
    lab.site.update_user(learners[0], city="Bondo")
    lab.site.grade(item, learners[0], 80)
    result = await lab.sync()
    assert (["student"], {"updated": 1}, 0) == (
        result.not_due,
        written(result),
        result.requests["moodle"].get(PROFILES, 0),
    )
    assert any("student" in message and "--full" in message for message in result.messages)
    result = await lab.sync(later=DAY)
    assert ([], 1) == (result.not_due, result.of("student").updated)


async def test_nothing_due_reads_nothing(make_lab: MakeLab) -> None:
    """When every stream waits neither system is asked anything, and the run is completed."""
    lab, _, _ = await daily(make_lab, "{people: 24, enrolments: 24, grades: 24}")
    result = await lab.sync()
    assert ("completed", {"moodle": {}, "commcare": {}}) == (result.state, result.requests)
    assert result.run_id == (lab.store.last_run() or ("",))[0]


async def test_a_schedule_that_comes_a_little_early_is_heard(make_lab: MakeLab) -> None:
    """An hourly run of an hourly stream is not skipped for some seconds."""
    lab, _, _ = await daily(make_lab, "{people: 1}")
    assert [] == (await lab.sync(later=HOUR - 60)).not_due


@pytest.mark.parametrize(
    "options", [{"full": True}, {"mappings": ("student",)}, {"courses": (2,)}, {"preview": True}]
)
async def test_who_asks_by_name_is_not_put_off(make_lab: MakeLab, options: dict[str, object]) -> None:
    """`--full`, a mapping or course by name, and a preview read at once."""
    lab, learners, _ = await daily(make_lab)
    lab.site.update_user(learners[0], city="Bondo")
    result = await lab.sync(**options)
    assert ([], 1) == (result.not_due, result.of("student").updated)


async def test_an_edit_is_due_at_once(make_lab: MakeLab) -> None:
    """An edited mapping is read again whatever its interval says, once."""
    lab, _, _ = await daily(make_lab)
    lab.edit("student", "source: lang, transform: [{split", "source: lang, transform: [upper, {split")
    lab.edit("student", "language: sw", "language: sw")
    result = await lab.sync()
    assert ([], ["language"]) == (result.not_due, result.edits["student"]["edited"])
    assert ["student"] == (await lab.sync()).not_due


async def test_what_failed_is_due_at_once(make_lab: MakeLab) -> None:
    """A read that was not complete does not start an interval."""
    lab, _, _ = await daily(make_lab)
    lab.denied = {2}
    await lab.sync(later=DAY)
    lab.denied = set()
    assert [] == (await lab.sync()).not_due
    assert ["student"] == (await lab.sync()).not_due


async def test_writes_in_doubt_are_due_at_once(make_lab: MakeLab) -> None:
    """A row whose outcome is unknown does not wait for the interval of its mapping, but for its rest."""
    lab, learners, _ = await daily(make_lab)
    lab.site.update_user(learners[0], city="Bondo")
    lab.commcare.fail_next("timeout")
    assert {"in_doubt": 1, "held_back": 1} == written(await lab.sync(full=True))
    assert 1 == (await lab.sync()).of("student").updated
    assert ["student"] == (await lab.sync()).not_due


async def test_a_new_day_is_due(make_lab: MakeLab) -> None:
    """With recheck_daily a mapping is read once on each day of the project's time zone."""
    lab, _, _ = await daily(make_lab, "{people: 240}")
    lab.edit("student", "when_left:", "recheck_daily: true\nwhen_left:")
    waits = [(await lab.sync(later=6 * HOUR)).not_due for _ in range(8)]
    assert 2 == waits.count([])


async def test_a_child_that_waits_is_due(make_lab: MakeLab) -> None:
    """An enrolment that waits for its student is sent in the run in which the student is there."""
    site, _, learners = site_of(3)
    site.update_user(learners[0], lastname="")
    lab = make_lab(site, project=f"{PROJECT}intervals: {{enrolments: 24}}\n")
    await lab.sync()
    site.update_user(learners[0], lastname="Otieno")
    assert {"created": 2} == written(await lab.sync())


async def test_grades_wait_alone(make_lab: MakeLab) -> None:
    """When enrolments are due and grades are not, no grade is read, and those in CommCare stay."""
    lab, learners, item = await daily(make_lab, "{grades: 24}")
    lab.site.grade(item, learners[0], 80)
    await lab.sync(later=DAY)
    lab.site.grade(item, learners[0], 30)
    result = await lab.sync()
    assert ({}, 0, 3) == (
        written(result),
        sum(count for name, count in result.requests["moodle"].items() if "grade" in name),
        result.requests["moodle"][ENROLLED],
    )
    assert "80" == lab.case(f"test-enrol-2-{learners[0]}").properties[f"grade_{item}"]
    result = await lab.sync(later=DAY)
    assert ({"updated": 1}, 1) == (written(result), result.requests["moodle"][GRADES])


async def test_grades_that_decide_are_always_read(make_lab: MakeLab) -> None:
    """A mapping that says something else without grades has them read each time."""
    lab, learners, item = await daily(make_lab, "{grades: 24}")
    total = "    description: Course total, from 0 to 100.\n"
    lab.edit("enrolment", total, f"{total}    when_not_sent: clear\n")
    lab.edit("enrolment", "not_sent: [grade_percent, result", "not_sent: [result")
    await lab.sync()
    lab.site.grade(item, learners[0], 30)
    assert {"updated": 1} == written(await lab.sync())
