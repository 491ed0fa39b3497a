"""Intervals over weeks: schedules that are not on time, slow and late runs, and clocks that are put forward."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest

from flows.due_times import stream_reads
from flows.steps.due import find_due, remember_reads
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, Lab

MakeLab = Callable[..., Lab]
MINUTE, HOUR = 60.0, 3600.0
DAY = 24 * HOUR
DAILY = "{people: 24, enrolments: 24, grades: 24}"


def with_intervals(make_lab: MakeLab, intervals: str = DAILY, zone: str = "Africa/Nairobi") -> Lab:
    """Return a lab with intervals, that has not run."""
    project = f"{PROJECT}intervals: {intervals}\n".replace("Africa/Nairobi", zone)
    return make_lab(site_of(2)[0], project=project)


async def due_at(lab: Lab, moments: Iterable[float], only: str = "") -> list[float]:
    """Return those of the moments, counted from now, at which a run that reads in no time reads everything."""
    world, read = lab.world(), list[float]()
    mappings, begin = [one for one in world.project.mappings if only in ("", one.name)], lab.clock.now()
    for moment in moments:
        lab.clock.advance(begin + moment - lab.clock.now())
        due = await find_due(world, mappings, {}, ())
        if due.mappings:
            assert not due.waiting
            await remember_reads(world, due, lab.clock.now(), ())
            read.append(moment)
    return read


async def read_at(lab: Lab, moments: Iterable[float]) -> list[float]:
    """Run at some moments, counted from now, unless one is at work then; return when Moodle was read."""
    begin, read = lab.clock.now(), list[float]()
    for moment in moments:
        later = begin + moment - lab.clock.now()
        if later < 0:  # the run before is still at work
            continue
        result = await lab.sync(later=later)
        assert "completed" == result.state
        read += [moment] if result.requests["moodle"] else []
    return read


def jittered(days: int, every: float) -> Iterator[float]:
    """Yield the moments of a schedule whose runs come up to five minutes early or late."""
    chance = random.Random(7)
    for number in range(int(days * DAY / every)):
        yield number * every + chance.uniform(-5, 5) * MINUTE + 5 * MINUTE


@pytest.mark.parametrize("every", [HOUR, DAY])
async def test_a_month_of_runs_that_are_not_on_time(make_lab: MakeLab, every: float) -> None:
    """What is read once a day is read on each of thirty days, once, at the same hour."""
    read = await due_at(with_intervals(make_lab), jittered(30, every))
    assert [*range(30)] == [int(moment / DAY) for moment in read]
    assert max(moment % DAY for moment in read) <= 10 * MINUTE


async def test_engagement_is_read_once_a_night(make_lab: MakeLab) -> None:
    """The hourly schedule reads what nothing is said about once in 24 hours, not after 23."""
    lab = with_intervals(make_lab)
    lab.edit("engagement", "enabled: false\n", "")
    read = await due_at(lab, (hour * HOUR for hour in range(24 * 8)), "engagement")
    # It is three o'clock in Nairobi, and engagement is read once on each day of the calendar.
    assert [0.0, *(day * DAY - 3 * HOUR for day in range(1, 9))] == read


def slow_on(lab: Lab, moment: float, seconds: float) -> None:
    """Let Moodle take so long over the first request after a moment, counted from now."""
    start, done = lab.clock.now() + moment, list[bool]()

    def to_moodle(request: httpx.Request) -> httpx.Response:
        if not done and lab.clock.now() >= start:
            done.append(True)
            lab.clock.advance(seconds)
        return lab.moodle(request)

    lab._to_moodle = to_moodle  # type: ignore[method-assign]


@pytest.mark.parametrize("every", [2 * HOUR, DAY])
async def test_a_run_of_two_hours(make_lab: MakeLab, every: float) -> None:
    """Intervals count from the beginning of a run: one that took long puts off none."""
    lab = with_intervals(make_lab)
    slow_on(lab, DAY, 2 * HOUR + MINUTE)
    read = await read_at(lab, (number * every for number in range(int(3 * DAY / every))))
    assert [day * DAY for day in range(3)] == read


@pytest.mark.parametrize("late", [20 * MINUTE, 6 * HOUR])
async def test_a_run_that_is_late(make_lab: MakeLab, late: float) -> None:
    """A daily run that came late, since the machine was off, does not have the next day go unread."""
    moments = [day * DAY + (late if day == 2 else 0.0) for day in range(6)]
    assert moments == await read_at(with_intervals(make_lab), moments)


async def test_a_late_read_comes_back_to_its_hour(make_lab: MakeLab) -> None:
    """After an outage of a night the next read is in the night again."""
    hours = [hour for hour in range(96) if not 24 <= hour < 30]
    read = await due_at(with_intervals(make_lab), (hour * HOUR for hour in hours))
    assert [0, 30 * HOUR, 48 * HOUR, 72 * HOUR] == read


async def test_a_close_schedule_does_not_wander(make_lab: MakeLab) -> None:
    """Runs every five minutes: the read comes a little early, once, and not earlier each day."""
    read = await due_at(with_intervals(make_lab), (number * 5 * MINUTE for number in range(288 * 2 + 1)))
    assert [0.0, DAY - 10 * MINUTE, 2 * DAY - 10 * MINUTE] == read


@pytest.mark.parametrize(("hours", "every", "step"), [(0.25, 900, 1), (0.5, 900, 2), (1, 900, 4), (0.5, 3600, 1)])
async def test_intervals_of_an_hour_or_less(make_lab: MakeLab, hours: float, every: int, step: int) -> None:
    """Quarter-hourly and hourly schedules read in short intervals, also when they come some seconds early."""
    lab = with_intervals(make_lab, f"{{people: {hours}, enrolments: {hours}, grades: {hours}}}")
    moments = [number * every + (number % 3) * 15.0 for number in range(24)]
    assert moments[::step] == await due_at(lab, moments)


async def test_a_spring_day_of_23_hours(make_lab: MakeLab) -> None:
    """A daily run at one hour of the wall clock reads each day, also when the clocks are put forward and back."""
    lab, zone = with_intervals(make_lab, zone="Europe/Berlin"), ZoneInfo("Europe/Berlin")
    for first in (datetime(2027, 3, 26, 5, tzinfo=zone), datetime(2027, 10, 29, 5, tzinfo=zone)):
        lab.clock.advance(first.timestamp() - lab.clock.now())
        days = [(first + timedelta(days=day)).timestamp() - first.timestamp() for day in range(5)]
        assert days == await due_at(lab, days)


async def test_a_full_read_begins_the_intervals_anew(make_lab: MakeLab) -> None:
    """After `--full` in the afternoon the next read is a day later, at that hour."""
    lab = with_intervals(make_lab)
    await lab.sync()
    await lab.sync(later=10 * HOUR, full=True)
    assert [DAY] == await due_at(lab, (hour * HOUR for hour in range(1, 25)))


@pytest.mark.parametrize("why", ["a word", "a course that failed"])
async def test_what_is_read_in_between_moves_no_hour(make_lab: MakeLab, why: str) -> None:
    """What a person's word or a failure has read again is read at its hour all the same: in the night, say."""
    lab = with_intervals(make_lab)
    await lab.sync()
    if why == "a word":
        lab.store.read_anew(["student", "enrolment"])
        await lab.sync(later=10 * HOUR)
    else:
        lab.denied = {2}
        await lab.sync(later=DAY)
        lab.denied = set()
        await lab.sync(later=10 * HOUR)
    assert [14 * HOUR] == await due_at(lab, (hour * HOUR for hour in range(1, 25)))


async def test_the_status_tells_the_hour_of_the_next_read(make_lab: MakeLab) -> None:
    """A read that came late is told as it was, and the next one at the hour that it is due."""
    lab = with_intervals(make_lab)
    await lab.sync()
    begin = lab.clock.now()
    await lab.sync(later=DAY + HOUR)
    (people,) = [one for one in stream_reads(lab.store, lab.loaded()) if one.mapping == "student"]
    assert (begin + DAY + HOUR, begin + 2 * DAY) == (people.read_at, people.due_at)
