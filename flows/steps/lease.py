"""One run at a time per pair of systems: the lease in the books, looked at again before each write."""

from __future__ import annotations

import asyncio

from flows.errors import Overlap
from flows.world import World
from state.care import DRAIN

RENEW_EVERY = 60.0
LOOK_AGAIN = 1.0


class Lease:
    """The right to write, held by `holder` (the run's id) until released or not renewed in time."""

    def __init__(self, world: World, holder: str) -> None:
        self._world = world
        self._holder = holder
        self._epoch = 0
        self._renewed = 0.0

    async def take(self) -> None:
        """Take the lease; raises Overlap when another run holds it.

        A run that hints asked for is short, and there may be one each minute: all others wait for it, no longer
        than the lease of one that crashed holds.
        """
        world, waited = self._world, 0.0
        while not await self._taken():
            found = await world.books.do(world.books.store.lease_holder, world.clock.now())
            holder = found[0] if found else ""
            is_short = holder.startswith(DRAIN) or not holder
            if self._holder.startswith(DRAIN) or not is_short or waited > world.lease_ttl:
                raise Overlap(
                    "Another run is at work on the same books; this one is postponed. The next one catches up."
                )
            await world.clock.sleep(LOOK_AGAIN)
            waited += LOOK_AGAIN

    async def _taken(self) -> bool:
        """Take the lease if it is free."""
        world = self._world
        taking = asyncio.ensure_future(
            world.books.do(world.books.store.take_lease, self._holder, world.clock.now(), world.lease_ttl)
        )
        try:
            epoch = await asyncio.shield(taking)
        except asyncio.CancelledError:  # the books go on taking it: what they took is given back
            self._epoch = await taking or 0
            await self.release()
            raise
        if epoch is None:
            return False
        self._epoch, self._renewed = epoch, world.clock.now()
        return True

    async def hold(self) -> None:
        """Renew a lease that is a minute old (a preview has none); raises StateError when it is lost."""
        world = self._world
        now = world.clock.now()  # what the lease expires by; a monotonic clock stands still while a machine sleeps
        if not self._epoch or 0 <= now - self._renewed < RENEW_EVERY:
            return
        await world.books.do(world.books.store.renew_lease, self._holder, self._epoch, now, world.lease_ttl)
        self._renewed = now

    async def release(self) -> None:
        """Give the lease back."""
        if self._epoch:
            await self._world.books.do(self._world.books.store.release_lease, self._holder, self._epoch)
