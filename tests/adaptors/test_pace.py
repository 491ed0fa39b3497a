"""How much is asked for at once, how many requests are in flight, and when nothing may go out at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from zoneinfo import ZoneInfo

import pytest

from adaptors.circuit import AT_LEAST, FAILURES, REST, WAITS, RetryBudget
from adaptors.errors import CircuitOpen, QuietTime, Retriable
from adaptors.http import retried
from adaptors.limits import Limits, QuietHours
from adaptors.moodle.sizes import BatchSize, Sizes
from adaptors.pace import Pace
from adaptors.slots import WINDOW, Slots
from tests.clocks import VirtualClock
from tests.virtual_loop import LoopClock, run_virtually


@pytest.mark.parametrize(
    ("name", "a_row", "expected"),
    [
        ("profiles", 0.0034, 400),  # a Moodle 4.5 on two cores, as measured
        ("page", 0.0028, 400),
        ("grades", 0.020, 50),
        ("profiles", 0.020, 50),  # and one that is six, five and four times as slow
        ("page", 0.015, 100),
        ("grades", 0.080, 24),
        ("profiles", 0.0001, 400),  # never beyond what PHP takes in one form
    ],
)
def test_sizes_settle_where_an_answer_takes_one_to_two_seconds(name: str, a_row: float, expected: int) -> None:
    """Whatever the speed of the server, sizes find an answer of 1 to 2 s, or their limits, and stay there."""
    size: BatchSize = getattr(Sizes(), name)
    for _ in range(10):
        size.learn(size.value, 0.020 + a_row * size.value)
    assert expected == size.value


def test_a_short_answer_says_nothing_about_long_ones() -> None:
    """A quick answer of fewer rows than were asked for does not let the size grow."""
    size = BatchSize(100, ceiling=500)
    size.learn(99, 0.1)
    assert 100 == size.value


def test_fixed_sizes_stay() -> None:
    """Tests count requests with sizes that nothing moves."""
    size = Sizes.fixed(page=30).page
    size.learn(30, 0.01)
    size.learn(30, 9.0)
    size.shrink()
    assert 30 == size.value


# --- the number of slots ------------------------------------------------------------------------------------

KIND = ("profiles", 16)


def test_slots_grow_while_answers_stay_quick() -> None:
    """A strong server earns one slot with each window of answers at their usual speed, up to the ceiling."""
    slots = Slots(start=2, ceiling=4, careful=False)
    found = []
    for _ in range(4):
        for _ in range(WINDOW + 3):
            slots.answered(KIND, 1.0, busy=slots.value)
        found.append(slots.value)
    assert [3, 4, 4, 4] == found


def test_a_small_server_is_first_asked_one_by_one() -> None:
    """Nobody knows at first whether two at once are quicker: fewer are tried before more."""
    slots = Slots(start=2, ceiling=6)
    for _ in range(WINDOW):
        slots.answered(KIND, 1.0, busy=2)
    assert 1 == slots.value


def test_slots_that_stand_empty_earn_nothing() -> None:
    """Quick answers to one request at a time say nothing about what three at once would do."""
    slots = Slots(start=2, ceiling=6, careful=False)
    for _ in range(5 * WINDOW):
        slots.answered(KIND, 1.0, busy=1)
    assert 2 == slots.value


def test_slots_halve_when_answers_slow_down() -> None:
    """Answers that take three times as long as usual are those of a server that queues, whoever asks it."""
    slots = Slots(start=4, ceiling=4, careful=False)
    for seconds in [1.0] * WINDOW + [3.0] * WINDOW:
        slots.answered(KIND, seconds, busy=1)
    assert 2 == slots.value


def test_longer_answers_may_take_longer() -> None:
    """Asking for eight times as much is no sign of trouble when the answer takes eight times as long."""
    slots = Slots(start=4, ceiling=4, careful=False)
    for seconds in [0.25] * WINDOW + [2.0] * WINDOW:
        slots.answered(("profiles", round(seconds * 100_000).bit_length()), seconds, busy=4)
    assert 4 == slots.value


def test_a_look_ends_below_a_ceiling_that_came_down() -> None:
    """Whoever tries one slot less while others come keeps to the part that is left."""
    slots = Slots(start=2, ceiling=2)
    for _ in range(WINDOW):
        slots.answered(KIND, 1.0, busy=2)
    slots.share(2)
    found = set()
    for _ in range(3 * WINDOW):
        slots.answered(KIND, 0.95, busy=1)
        found.add(slots.value)
    assert {1} == found


def test_one_request_is_always_allowed() -> None:
    """However bad it gets, there is one slot left to find out when it gets better."""
    slots = Slots(start=2, ceiling=4)
    for _ in range(5):
        slots.halve()
    assert 1 == slots.value


# --- limits that people set ---------------------------------------------------------------------------------


def pace_of(clock: VirtualClock | LoopClock, limits: Limits | None = None, **more: object) -> Pace:
    """Return a pace with two slots."""
    return Pace("Moodle", clock, limits or Limits(), Slots(start=2, ceiling=2), **more)  # type: ignore[arg-type]


async def starts(pace: Pace, clock: LoopClock, requests: int, seconds: float) -> list[float]:
    """Return when each of some requests, all wanted at once, went out; each takes so many seconds."""
    found = []

    async def one() -> None:
        async with pace.slot():
            found.append(round(clock.monotonic(), 3))
            await clock.sleep(seconds)

    await asyncio.gather(*(one() for _ in range(requests)))
    return found


def test_two_slots_are_two_at_once() -> None:
    """Without limits a request goes out as soon as another one is back."""
    clock = LoopClock()
    assert [0, 0, 1, 1, 2] == run_virtually(starts(pace_of(clock), clock, 5, 1.0))


def test_a_share_of_the_time_is_a_rest_after_each_answer() -> None:
    """With half of the time each slot rests as long as the answer took."""
    clock = LoopClock()
    assert [0, 0, 2, 2, 4] == run_virtually(starts(pace_of(clock, Limits(share=0.5)), clock, 5, 1.0))


async def test_whoever_attends_is_told_while_a_slot_rests() -> None:
    """A long answer and a small share make a rest of many minutes, of which each is told."""
    clock, told = VirtualClock(), list[float]()
    pace = Pace("Moodle", clock, Limits(at_once=1, share=0.1), Slots(start=1, ceiling=1))
    began = clock.monotonic()

    async def attend() -> None:
        told.append(clock.monotonic() - began)

    pace.attend = attend
    async with pace.slot():
        await clock.sleep(120.0)
    async with pace.slot():
        pass
    assert [0, *range(120, 1201, 60)] == told


def test_so_many_requests_a_minute() -> None:
    """The number holds for any sixty seconds, not for those of the clock on the wall."""
    clock = LoopClock()
    found = run_virtually(starts(pace_of(clock, Limits(per_minute=3)), clock, 8, 1.0))
    assert [0, 0, 1, 60, 60, 61, 120, 120] == found


NAIROBI = ZoneInfo("Africa/Nairobi")  # three hours ahead of UTC; the clock of the tests starts at midnight in UTC


@pytest.mark.parametrize(
    ("spans", "quiet"),
    [
        (((180, 181),), True),  # 03:00 to 03:01
        (((0, 180),), False),
        (((181, 170),), False),  # over midnight
        (((170, 60), (1, 2)), True),
        (((1, 2), (120, 240)), True),
    ],
)
async def test_quiet_hours_are_those_of_the_project(spans: tuple[tuple[int, int], ...], quiet: bool) -> None:
    """Until is no longer quiet, from is; several spans may be named."""
    pace = pace_of(VirtualClock(), Limits(quiet=QuietHours(spans, NAIROBI)))
    refused = pytest.raises(QuietTime, match="Moodle has its quiet hours, ") if quiet else nullcontext()
    with refused:
        async with pace.slot():
            pass


# --- trouble ------------------------------------------------------------------------------------------------


def test_nothing_goes_out_before_the_time_that_was_asked_for() -> None:
    """One refusal holds up every request, not only its own."""
    clock = LoopClock()

    async def refused() -> list[float]:
        pace = pace_of(clock)
        pace.refused(7.5)
        return await starts(pace, clock, 2, 1.0)

    assert [7.5, 8.5] == run_virtually(refused())  # and only one at a time from now on


async def fails(pace: Pace, times: int) -> None:
    """Let so many requests in a row go unanswered."""
    for _ in range(times):
        async with pace.slot():
            pace.failed()


async def test_a_system_that_gives_no_answer_is_left_alone_a_minute_and_tried_once() -> None:
    """After failures in a row: a minute's rest, one request, and when it fails nothing more is asked."""
    clock = VirtualClock()
    pace = pace_of(clock)
    await fails(pace, FAILURES)
    before = clock.monotonic()
    await fails(pace, 1)
    assert REST == clock.monotonic() - before
    for _ in range(2):
        with pytest.raises(CircuitOpen, match="Moodle gave no usable answer 8 times in a row"):
            await fails(pace, 1)
    assert REST == clock.monotonic() - before


async def test_an_answer_to_the_trial_closes_the_circuit() -> None:
    """From then on everything is as before, the next failures are counted anew."""
    pace = pace_of(VirtualClock())
    await fails(pace, FAILURES)
    async with pace.slot():
        pace.answered("profiles", 1.0)
    await fails(pace, FAILURES)
    async with pace.slot():
        pace.answered("profiles", 1.0)


def test_only_one_request_is_the_trial() -> None:
    """Of all that wait for the end of the rest, one goes out, and the others only after its answer."""
    clock, order = LoopClock(), list[tuple[str, float]]()

    async def run() -> None:
        pace = pace_of(clock)
        await fails(pace, FAILURES)

        async def one() -> None:
            async with pace.slot():
                order.append(("sent", clock.monotonic()))
                await clock.sleep(5)
                pace.answered("profiles", 5.0)

        await asyncio.gather(one(), one(), one())

    run_virtually(run())
    assert [("sent", 60.0), ("sent", 65.0), ("sent", 70.0)] == order


def answering(*answers: bool) -> tuple[Callable[[], object], list[bool]]:
    """Return an easy question with its answers in order, and what is left of them."""
    left = list(answers)

    async def alive() -> bool:
        return left.pop(0)

    return alive, left


@pytest.mark.parametrize(("answers", "rest"), [((True,), 0.0), ((False, True), REST)])
async def test_an_easy_question_tells_a_hard_one_from_an_outage(answers: tuple[bool, ...], rest: float) -> None:
    """A system that answers it is not down, however often a hard question fails; else it rests first."""
    clock = VirtualClock()
    alive, left = answering(*answers)
    pace = pace_of(clock, alive=alive)
    await fails(pace, FAILURES)
    before = clock.monotonic()
    await fails(pace, 1)
    assert ([], rest) == (left, clock.monotonic() - before)


async def test_no_answer_to_the_easy_question_ends_it() -> None:
    """Asked once, and once more after the rest; then never again."""
    alive, left = answering(False, False)
    pace = pace_of(VirtualClock(), alive=alive)
    await fails(pace, FAILURES)
    for _ in range(2):
        with pytest.raises(CircuitOpen):
            await fails(pace, 1)
    assert [] == left


async def suspects_fail(pace: Pace, times: int) -> None:
    """Send suspect requests that get no answer."""
    for _ in range(times):
        async with pace.slot():
            pace.failed(suspect=True)


async def test_suspect_failures_say_nothing_of_a_system_that_answers_something_easy() -> None:
    """However many there are: one easy question for eight of them, no rest, and others count as before."""
    clock = VirtualClock()
    easy, left = answering(*[True] * 5)
    pace, begun = pace_of(clock, easy=easy), clock.monotonic()
    await suspects_fail(pace, FAILURES)
    await fails(pace, FAILURES - 1)
    await suspects_fail(pace, 4 * FAILURES)
    assert (1, begun) == (len(left), clock.monotonic())
    await fails(pace, 2)
    with pytest.raises(CircuitOpen):
        await fails(pace, 1)
    assert ([], begun + REST) == (left, clock.monotonic())


async def test_suspect_failures_of_a_system_that_is_down_end_it() -> None:
    """The easy question is not answered: a minute's rest, one request, and nothing more is asked."""
    easy, left = answering(False)
    pace = pace_of(VirtualClock(), easy=easy)
    await suspects_fail(pace, FAILURES + 1)
    for _ in range(2):
        with pytest.raises(CircuitOpen):
            await suspects_fail(pace, 1)
    assert [] == left


async def test_the_easy_question_waits_its_turn() -> None:
    """It keeps to the requests a minute, and to a wait that the system asked for."""
    clock, asked = VirtualClock(), list[float]()

    async def easy() -> bool:
        asked.append(clock.monotonic() - begun)
        return True

    pace, begun = pace_of(clock, Limits(per_minute=FAILURES), easy=easy), clock.monotonic()
    await suspects_fail(pace, FAILURES)
    pace.refused(90.0)
    await suspects_fail(pace, FAILURES)
    assert ([90.0], 150.0) == (asked, clock.monotonic() - begun)


async def test_repeats_are_a_tenth_of_the_requests() -> None:
    """In an outage a thousand reads make ten repeats, not four thousand; answers earn new ones."""
    sent, budget = 0, RetryBudget()

    async def refused() -> None:
        nonlocal sent
        sent += 1
        raise Retriable("No.", system="Moodle", operation="x")

    for _ in range(1000):
        with pytest.raises(Retriable):
            await retried(refused, budget=budget)
    assert 1000 + AT_LEAST == sent
    for _ in range(20):
        budget.earn()
    assert [True, True, False] == [budget.take() for _ in range(3)]


def throttling(seconds: float) -> Retriable:
    """Return the refusal of a system that says how long to wait."""
    return Retriable("Slower.", system="CommCare", operation="x", status=429, retry_after=seconds)


async def test_a_wait_that_was_asked_for_is_no_repeat() -> None:
    """A hundred pages, each refused for a second at first, are all read, and the repeats are there as before."""
    sent, budget = 0, RetryBudget()

    async def every_second() -> None:
        nonlocal sent
        sent += 1
        if sent % 2:
            raise throttling(1.0)
        budget.earn()

    for _ in range(100):
        await retried(every_second, budget=budget)
    assert (200, True) == (sent, all(budget.take() for _ in range(int(AT_LEAST))))


@pytest.mark.parametrize("seconds", [30.0, WAITS + 1])
async def test_waits_come_to_an_end(seconds: float) -> None:
    """Who always refuses is waited for ten minutes in all; from then on such a refusal is like any other."""
    sent, budget = 0, RetryBudget()

    async def refused() -> None:
        nonlocal sent
        sent += 1
        raise throttling(seconds)

    for _ in range(1000):
        with pytest.raises(Retriable):
            await retried(refused, budget=budget)
    assert 1000 + WAITS // seconds + AT_LEAST == sent
