"""A disk that fills up in the middle of a run: what cannot be given back is said, with how long that holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flows.audit import audit
from flows.steps.lease import Lease
from state import StateError
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]
NO_ROOM = "There is no room on the disk."


def fill_up(lab: Lab, *, times: int = 10**9) -> None:
    """Let the disk fill up at the first acknowledgement: so many writes fail from then on."""
    do, failed = lab.books.do, 0
    writes = {"acknowledge", "finish_run", "release_lease", "abandon", "void_rested"}

    async def full(method: Any, /, *args: Any, **more: Any) -> Any:
        nonlocal failed
        name = getattr(method, "__name__", "")
        if (name == "acknowledge" or failed) and name in writes and failed < times:
            failed += 1
            raise StateError(NO_ROOM)
        return await do(method, *args, **more)

    lab.books.do = full  # type: ignore[method-assign]


async def test_a_lease_that_stays_is_told(make_lab: MakeLab) -> None:
    """Runs are postponed until it expires, and not by another run: the sentence says for how long."""
    lab = make_lab(site_of(3)[0])
    do = lab.books.do
    fill_up(lab)
    result = await lab.sync()
    assert ("failed", NO_ROOM) == (result.state, result.messages[0])
    assert (
        "The lease could not be given back: whatever begins within the next 10 minutes is postponed, as if this "
        "were still at work." == result.messages[-1]
    )
    assert 1 == sum(NO_ROOM in message for message in result.messages)
    lab.books.do = do  # type: ignore[method-assign]
    assert "postponed" == (await lab.sync(later=0)).state
    assert "postponed" != (await lab.sync(later=600)).state
    assert ("completed", 6) == ((await lab.sync()).state, len(lab.project.cases))


async def test_room_a_moment_later_is_enough(make_lab: MakeLab) -> None:
    """It is tried once more: a disk that was full for a moment holds nobody up."""
    lab = make_lab(site_of(3)[0])
    fill_up(lab, times=3)  # the answer, the end of the run, the lease
    result = await lab.sync()
    assert ("failed", False) == (result.state, any("could not be given back" in text for text in result.messages))
    assert "postponed" != (await lab.sync(later=0)).state


async def test_other_work_tells_it_too(make_lab: MakeLab) -> None:
    """An audit that cannot give its lease back says so."""
    lab = make_lab(site_of(3)[0])
    assert {"created": 6} == written(await lab.sync())
    do = lab.books.do

    async def full(method: Any, /, *args: Any, **more: Any) -> Any:
        if getattr(method, "__name__", "") == "release_lease":
            raise StateError(NO_ROOM)
        return await do(method, *args, **more)

    lab.books.do = full  # type: ignore[method-assign]
    found = await audit(lab.world())
    assert ("failed", True) == (found.state, "within the next 10 minutes" in " ".join(found.messages))
    assert NO_ROOM in " ".join(found.messages)


@pytest.mark.parametrize(("waited", "minutes"), [(0, "10 minutes"), (61, "9 minutes"), (590, "1 minute")])
async def test_how_long_is_from_the_last_renewal(make_lab: MakeLab, waited: float, minutes: str) -> None:
    """A lease runs out ten minutes after it was renewed, not after the end of the work."""
    lab = make_lab(site_of(2)[0])
    lease = Lease(lab.world(), "somebody")
    await lease.take()
    lab.clock.advance(waited)

    async def full(*_: Any, **__: Any) -> Any:
        raise StateError(NO_ROOM)

    lab.books.do = full  # type: ignore[method-assign]
    with pytest.raises(StateError, match=f"next {minutes} is postponed"):
        await lease.release()
