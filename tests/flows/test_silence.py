"""Writes that CommCare does not answer: one is everyday life, but no day without any is passed over in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime

import pytest

from adaptors.moodle.fake_site import FakeSite
from flows.round import sync_round
from flows.status import read_status
from flows.steps.silence import SILENT
from flows.sync import Options
from tests.flows.test_push import doubles, settle
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
HOUR, DAY = 3600.0, 86_400.0
FOREVER = 10**6


async def changed(make_lab: MakeLab) -> tuple[Lab, FakeSite, list[int]]:
    """Return a lab after its first run, with one changed person."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    site.update_user(learners[0], city="Bondo")
    return lab, site, learners


@pytest.mark.parametrize("kind", ["timeout", "500_html", "503", "504_html"])
async def test_days_without_an_answer_are_told(make_lab: MakeLab, kind: str) -> None:
    """From the second run on each one is degraded and names since when; the first answer is the end of it."""
    lab, _, learners = await changed(make_lab)
    lab.commcare.fail_next(kind, times=FOREVER)
    states, told = Counter[str](), Counter[str]()
    first = lab.clock.now() + HOUR
    for _ in range(4):
        result = await lab.sync()
        states[str(result.state)] += 1
        told.update(result.messages)
    since = f"{datetime.fromtimestamp(first, lab.loaded().time_zone):%Y-%m-%d %H:%M}"
    assert ({"completed": 1, "degraded": 3}, [3]) == (states, [*told.values()])
    (sentence,) = told
    assert sentence.startswith(f"CommCare answered no write since {since}; 1 record waits and is sent again by")
    lab.commcare.faults.clear()
    assert ("completed", "{}") == ((await lab.sync()).state, lab.store.get(SILENT))
    assert "Bondo" == lab.case(f"test-user-{learners[0]}").properties["city"]


async def test_a_first_run_that_is_not_answered_is_told(make_lab: MakeLab) -> None:
    """Several requests and no answer: told at once, with how many records wait."""
    site, _, _ = site_of(101)
    lab = make_lab(site)
    lab.commcare.fail_next("504_html", times=FOREVER)
    result = await lab.sync()
    (told,) = result.messages
    assert ("degraded", 1) == (result.state, result.state.exit_code)
    assert "CommCare answered none of 2 write requests; 101 records wait and are sent again" in told
    lab.commcare.faults.clear()
    await settle(lab)
    assert (202, []) == (len(lab.project.cases), doubles(lab))


async def test_one_lost_answer_a_day_is_told_to_nobody(make_lab: MakeLab) -> None:
    """A network that comes and goes: the next run repairs it, and no run of the week is anything but completed."""
    lab, site, learners = await changed(make_lab)
    for day in range(7):
        site.update_user(learners[day % 3], city=f"Town {day}")
        if day % 2:
            lab.commcare.fail_next("timeout")
        else:
            lab.commcare.drop_reply_after_commit()
        for _ in range(3):
            result = await lab.sync(later=DAY / 3)
            assert ("completed", []) == (result.state, result.messages)


async def test_runs_between_two_tries_are_told_too(make_lab: MakeLab) -> None:
    """Every ten minutes: a run in which all rests is no better than the one before, and no alarm is taken back."""
    lab, _, _ = await changed(make_lab)
    lab.commcare.fail_next("503", times=FOREVER)
    states = [str((await lab.sync(later=600.0)).state) for _ in range(8)]
    assert ["completed"] * 2 + ["degraded"] * 6 == states


async def test_what_came_of_it_before_counts_no_more(make_lab: MakeLab) -> None:
    """A request that is lost weeks after another one, which was made up for by a blame, is alone."""
    lab, site, learners = await changed(make_lab)
    lab.commcare.break_over(lambda _: True)
    for _ in range(6):
        await lab.sync()
    assert ["poison"] == [one.reason for one in lab.store.refusals()]
    lab.commcare.accept_rows()
    site.update_user(learners[1], city="Kisumu")
    lab.commcare.fail_next("504_html")
    told = " ".join((await lab.sync()).messages)
    assert "CommCare answered" not in told


async def test_records_that_others_pass_by_are_told(make_lab: MakeLab) -> None:
    """A record that breaks its requests while others arrive: told the third time, until it is found."""
    site, _, learners = site_of(12)
    lab = make_lab(site)
    lab.commcare.break_over(f"test-user-{learners[5]}")
    told = []
    for _ in range(10):
        result = await lab.sync()
        told.append([text.split(" 3 times")[0] for text in result.messages if "3 times or more" in text])
        assert "degraded" == result.state or len(told) <= 1
    assert ["CommCare did not answer 6 records"] == told[2]
    assert [[]] * 2 == told[-2:]
    assert ["poison"] == [one.reason for one in lab.store.refusals()]


async def test_the_age_of_a_doubt_survives_its_voiding(make_lab: MakeLab) -> None:
    """What is sent again and again in vain is as old as its first time: an alert on the age fires."""
    lab, _, _ = await changed(make_lab)
    lab.commcare.fail_next("503", times=FOREVER)
    await lab.sync()
    (first,) = read_status(lab.store, lab.loaded(), lab.clock.now()).in_doubt
    for _ in range(5):
        await lab.sync()
    (then,) = read_status(lab.store, lab.loaded(), lab.clock.now()).in_doubt
    assert (first.mapping, 1, True) == (then.mapping, then.count, abs(first.oldest_at - then.oldest_at) < 60.0)
    assert 6 == lab.store.doubts()[0].times


async def test_an_answer_begins_the_age_anew(make_lab: MakeLab) -> None:
    """A row that arrived and is in doubt again a day later is so since then."""
    lab, site, learners = await changed(make_lab)
    lab.commcare.fail_next("503")
    for _ in range(2):
        await lab.sync()
    site.update_user(learners[0], city="Kisumu")
    lab.commcare.fail_next("503")
    await lab.sync(later=DAY)
    (doubt,) = lab.store.doubts()
    assert (1, doubt.last_at) == (doubt.times, doubt.first_at)


async def test_the_parts_of_a_round_count_together(make_lab: MakeLab) -> None:
    """One request in each of two shards, and none is answered: the run that they are of says so."""
    site, courses, learners = site_of(2, 2)
    lab = make_lab(site)
    await lab.sync()
    item = {course: site.set_grade_item(course, "Quiz") for course in courses}
    for course, learner in zip(courses, learners[::2], strict=True):
        site.grade(item[course], learner, 50)
    lab.commcare.fail_next("503", times=FOREVER)
    lab.clock.advance(HOUR)
    result = await sync_round(lab.world(), Options(yes=True), 2)
    assert ({"in_doubt": 2}, "degraded") == (written(result), result.state)
    assert "CommCare answered none of 2 write requests; 2 records wait" in " ".join(result.messages)
