"""A worker that stands still for longer than its lease holds, and clocks that are set in the middle of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.flows.test_push import doubles
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab

MakeLab = Callable[..., Lab]
MINUTE = 60.0
STILL = 1100.0  # seconds: longer than a lease, shorter than the rest
LATE = 900.0  # seconds that CommCare may work on a request that nobody waits for any more


async def with_a_newcomer(make_lab: MakeLab) -> Lab:
    """Return a world in which all is sent, but for somebody who has just been enrolled."""
    site, courses, _ = site_of(1)
    lab = make_lab(site)
    await lab.sync()
    site.enrol(courses[0], site.add_user("New", "One"))
    return lab


def at(lab: Lab, method: str, then: Callable[[], Any], *, after: bool = False) -> list[str]:
    """Have something happen once, before or after the books are asked for something; return whether it did."""
    real, happened = lab.books.do, list[str]()

    async def do(asked: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        if asked.__name__ != method or happened:
            return await real(asked, *args, **named)
        happened.append(method)
        found = await real(asked, *args, **named) if after else None
        if (waiting := then()) is not None:
            await waiting
        return found if after else await real(asked, *args, **named)

    lab.books.do = do  # type: ignore[method-assign]
    return happened


async def settled(lab: Lab) -> list[str]:
    """Return the keys that have two cases once CommCare has done all that it was sent."""
    lab.clock.advance(1000.0)
    lab.commcare._finish()
    for _ in range(3):
        await lab.sync()
    return doubles(lab)


@pytest.mark.parametrize("method", ["resting", "take_key", "read_anew", "void_rested"])
@pytest.mark.parametrize("after", [False, True])
async def test_who_was_overtaken_before_a_void_voids_nothing_of_the_other(
    make_lab: MakeLab, method: str, after: bool
) -> None:
    """The other one has voided the same rows and sent them: that write is under way, and is waited for."""
    lab = await with_a_newcomer(make_lab)
    lab.commcare.fail_next("timeout", where="write")
    await lab.sync()
    assert lab.store.intents()

    async def other() -> None:
        lab.clock.advance(STILL)
        lab.commcare.late_write(LATE)
        await lab.sync(0.0)

    happened = at(lab, method, other, after=after)
    assert ("failed", [method]) == ((await lab.sync(1300.0)).state, happened)
    assert lab.store.intents()
    assert [] == [one.row for one in lab.store.intents().values() if lab.clock.now() - one.last_sent_at > MINUTE]
    await lab.sync(2 * MINUTE)
    assert [] == await settled(lab)


@pytest.mark.parametrize("method", ["start_run", "resting", "take_key", "rest_anew"])
async def test_who_was_overtaken_shortens_no_rest(make_lab: MakeLab, method: str) -> None:
    """What time it was before is none that the other one's write could rest from."""
    lab = await with_a_newcomer(make_lab)
    if method == "rest_anew":
        lab.clock.step(-3600.0)

    async def other() -> None:
        lab.clock.advance(STILL)
        lab.commcare.late_write(LATE)
        await lab.sync(0.0)

    happened = at(lab, method, other)
    await lab.sync()
    assert [method] == happened
    ages = {lab.clock.now() - one.last_sent_at for one in lab.store.intents().values()}
    assert (True, True) == (bool(ages), max(ages) < MINUTE)
    await lab.sync(150.0)
    assert [] == await settled(lab)


@pytest.mark.parametrize("method", ["get", "start_run", "_tend", "resting", "take_key"])
async def test_the_clock_is_set_forward_while_the_rests_are_measured(make_lab: MakeLab, method: str) -> None:
    """Whenever it is, also between the look at it and the measuring: what is in doubt rests anew."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    lab.commcare._clock = lab.project.clock = lambda: 1_000.0 + lab.clock.monotonic()  # right all the while
    lab.commcare.late_write(LATE)
    await lab.sync(mappings=("student",))
    assert 3 == len(lab.store.intents())
    happened = at(lab, method, lambda: lab.clock.step(3600.0), after=True)
    await lab.sync(2 * MINUTE, mappings=("student",))
    assert [method] == happened
    assert [] == await settled(lab)


@pytest.mark.parametrize("method", ["bind_target", "take_key", "cases", "change_entries"])
async def test_a_clock_that_was_wrong_while_a_write_was_announced(make_lab: MakeLab, method: str) -> None:
    """Slow by an hour only then, and put right before the next run: the write would seem to be an hour old."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    lab.commcare._clock = lab.project.clock = lambda: 1_000.0 + lab.clock.monotonic()
    happened = at(lab, method, lambda: lab.clock.step(-3600.0), after=True)
    lab.commcare.late_write(LATE)
    await lab.sync(mappings=("student",))
    assert [method] == happened
    assert 3 == len(lab.store.intents())
    lab.clock.step(3600.0)
    await lab.sync(2 * MINUTE, mappings=("student",))
    assert [] == await settled(lab)


async def test_small_steps_of_the_clock_add_up(make_lab: MakeLab) -> None:
    """Seven times less than a minute are six minutes: what is in doubt rests anew before that."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    lab.commcare._clock = lab.project.clock = lambda: 1_000.0 + lab.clock.monotonic()
    lab.commcare.late_write(1190.0)
    await lab.sync(mappings=("student",))
    for _ in range(7):
        lab.clock.step(50.0)
        await lab.sync(2 * MINUTE, mappings=("student",))
    assert 3 == len(lab.store.intents())
    assert [] == await settled(lab)
