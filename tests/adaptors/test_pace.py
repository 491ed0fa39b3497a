"""How much is asked for at once, and how many requests are in flight: both follow the time of the answers."""

from __future__ import annotations

import pytest

from adaptors.moodle.sizes import BatchSize, Sizes
from adaptors.pace import WINDOW, Pace


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


def test_slots_grow_while_answers_stay_quick() -> None:
    """Each window of answers at their usual speed earns one slot, up to the ceiling."""
    pace = Pace(start=2, ceiling=4)
    found = []
    for _ in range(3):
        for _ in range(WINDOW):
            pace.answered("profiles", 1.0, 50_000)
        found.append(pace.slots)
    assert [3, 4, 4] == found


def test_slots_halve_when_answers_slow_down() -> None:
    """Answers that take three times as long as usual are those of a server that queues."""
    pace = Pace(start=4, ceiling=4)
    for seconds in [1.0] * WINDOW + [3.0] * WINDOW:
        pace.answered("profiles", seconds, 50_000)
    assert 2 == pace.slots


def test_longer_answers_may_take_longer() -> None:
    """Asking for eight times as much is no sign of trouble when the answer takes eight times as long."""
    pace = Pace(start=2, ceiling=4)
    for seconds in [0.25] * WINDOW + [2.0] * WINDOW:
        pace.answered("profiles", seconds, round(seconds * 100_000))
    assert 4 == pace.slots


def test_one_request_is_always_allowed() -> None:
    """However bad it gets, there is one slot left to find out when it gets better."""
    pace = Pace(start=2, ceiling=4)
    for _ in range(5):
        pace.trouble()
    assert 1 == pace.slots
