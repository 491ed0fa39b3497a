"""Between any two steps of a run a worker stands still and is overtaken, or the clock is set: one case a key.

The explorer of tests/proofs tries each request and commit; these are the moments in between, when a run only reads
its books or has just looked at the clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flows.test_push import doubles
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab

pytestmark = pytest.mark.story
Happen = Callable[[Lab], Awaitable[None]]
STILL = 1100.0  # seconds: longer than a lease, shorter than the rest
LATE = 900.0  # seconds that CommCare may work on a request that nobody waits for any more
APART = 120.0


def lab_with_a_newcomer(folder: Path) -> Lab:
    """Make a world of two courses whose clock of CommCare is right, whatever ours says."""
    site, _, _ = site_of(2, 1)
    lab = Lab(folder, site)
    lab.commcare._clock = lab.project.clock = lambda: 1_000.0 + lab.clock.monotonic()
    return lab


async def lived(folder: Path, place: int, happen: Happen, *, doubt: bool) -> tuple[int, list[str], str]:
    """Have something happen before one of the steps of a run in which somebody is new; his or her first write may
    be in doubt, and have rested. Return how many steps it has, which keys have two cases, and how it all ended.
    """
    folder.mkdir()
    lab = lab_with_a_newcomer(folder)
    await lab.sync()
    course = next(number for number in sorted(lab.site.members) if number != 1)
    lab.site.enrol(course, lab.site.add_user("New", "One"))
    if doubt:
        lab.commcare.fail_next("timeout", where="write")
        await lab.sync()
        lab.clock.advance(lab.rest + APART)
    real, steps = lab.books.do, 0

    async def do(asked: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == place:
            lab.books.do = real  # type: ignore[method-assign]
            lab.commcare.late_write(LATE)
            await happen(lab)
        return await real(asked, *args, **named)

    lab.books.do = do  # type: ignore[method-assign]
    await lab.sync(0.0)
    lab.books.do = real  # type: ignore[method-assign]
    for later in (APART, STILL / 2):
        await lab.sync(later)
    lab.clock.advance(1000.0)
    lab.commcare._finish()
    ended = [(await lab.sync()).state for _ in range(3)][-1]
    found = doubles(lab)
    lab.close()
    return steps, found, ended


async def overtaken(lab: Lab) -> None:
    """Stand still until another worker has taken over, whose write is late."""
    lab.clock.advance(STILL)
    await lab.sync(0.0)


async def asleep(lab: Lab) -> None:
    """Sleep for a while, in which nobody else is at work."""
    lab.clock.advance(STILL / 2)


async def set_forward(lab: Lab) -> None:
    """Set the clock forward by an hour."""
    lab.clock.step(3600.0)


async def set_back(lab: Lab) -> None:
    """Set the clock back by an hour."""
    lab.clock.step(-3600.0)


@pytest.mark.parametrize("happen", [overtaken, asleep, set_forward, set_back])
@pytest.mark.parametrize("doubt", [True, False])
@pytest.mark.parametrize("every", [29, pytest.param(1, marks=pytest.mark.e2e)])
async def test_one_case_a_key(tmp_path: Path, happen: Happen, doubt: bool, every: int) -> None:
    """Nobody gets a second case, and all ends well; the step may be any, also the announcement itself."""
    steps, found, ended = await lived(tmp_path / "first", 0, happen, doubt=doubt)
    assert (True, [], "completed") == (steps > 40, found, ended)
    for place in range(1, steps + 1, every):
        told = place, *(await lived(tmp_path / f"{place}", place, happen, doubt=doubt))[1:]
        assert (place, [], "completed") == told
