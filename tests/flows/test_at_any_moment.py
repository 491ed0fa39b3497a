"""Between any two steps of a run a worker stands still and is overtaken, or the clock is set: one case a key.

The explorer of tests/proofs tries each request and commit; these are the moments in between, when a run only reads
its books or has just looked at the clock. `make soak` tries every step, and writes down what came of it.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flows.test_push import doubles
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab
from tests.proofs.figures import Figures

pytestmark = pytest.mark.story
Happen = Callable[[Lab], Awaitable[None]]
STILL = 1100.0  # seconds: longer than a lease, shorter than the rest
LATE = 900.0  # seconds that CommCare may work on a request that nobody waits for any more
APART = 120.0
TALLIES = dict[str, Counter[str]]()
"""What came of every step, by what happened there."""


def lab_with_a_newcomer(folder: Path, state_url: str) -> Lab:
    """Make a world of two courses whose clock of CommCare is right, whatever ours says."""
    site, _, _ = site_of(2, 1)
    lab = Lab(folder, site, state_url=state_url)
    lab.commcare._clock = lab.project.clock = lambda: 1_000.0 + lab.clock.monotonic()
    return lab


async def lived(
    folder: Path, place: int, happen: Happen, state_url: str, *, doubt: bool
) -> tuple[int, list[str | None], str]:
    """Have something happen before one of the steps of a run in which somebody is new; his or her first write may
    be in doubt, and have rested. Return how many steps it has, which keys have two cases, and how it all ended.
    """
    folder.mkdir()
    lab = lab_with_a_newcomer(folder, state_url)
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
    shutil.rmtree(folder)
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


HAPPENS, DOUBTS = (overtaken, asleep, set_forward, set_back), (True, False)


@pytest.mark.parametrize("happen", HAPPENS)
@pytest.mark.parametrize("doubt", DOUBTS)
@pytest.mark.parametrize("every", [29, pytest.param(1, marks=pytest.mark.e2e)])
async def test_one_case_a_key(
    tmp_path: Path, new_books: Callable[[], str], happen: Happen, doubt: bool, every: int
) -> None:
    """Nobody gets a second case, and all ends well; the step may be any, also the announcement itself."""
    began, url = time.process_time(), new_books()
    steps, doubled, ended = await lived(tmp_path / "first", 0, happen, url, doubt=doubt)
    assert (True, [], "completed") == (steps > 40, doubled, ended)
    wrong = dict[int, tuple[list[str | None], str]]()
    for place in range(1, steps + 1, every):
        _, doubled, ended = await lived(tmp_path / f"{place}", place, happen, new_books(), doubt=doubt)
        if doubled or ended != "completed":
            wrong[place] = doubled, ended
    if every == 1 and not url:
        doubles = sum(bool(one) for one, _ in wrong.values())
        tally = Counter(tried=steps, fired=steps * (1 + doubt), duplicates=doubles, wrong=len(wrong) - doubles)
        tally["seconds"] = round(time.process_time() - began)
        TALLIES[f"{happen.__name__} {doubt}"] = tally
        write_figures()
    assert {} == wrong


def write_figures() -> None:
    """Write down what came of every step, once everything has happened at each."""
    if len(TALLIES) == len(HAPPENS) * len(DOUBTS):
        total = sum(TALLIES.values(), Counter[str]())
        figures = Figures("moments", total["tried"], total["fired"], total["duplicates"], wrong=total["wrong"])
        figures.seconds = float(total["seconds"])
        figures.write()
