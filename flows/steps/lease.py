"""One run at a time per pair of systems: the lease in the books, looked at again before each write.

A shard of a run that several machines share has a lease of its own.
"""

from __future__ import annotations

import asyncio
import math

from flows.errors import Overlap
from flows.words import numbered
from flows.world import World
from state import StateError
from state.care import DRAIN
from state.lease import NAME, Held
from state.rounds import BUSY, DONE, Taken, lease_of

RENEW_EVERY = 60.0  # seconds, and of a short lease a fifth
LOOK_AGAIN = 1.0


class NotGivenBack(StateError):
    """The lease stays with somebody who has ended, because the books take nothing in; `reason` says why.

    `sentence` says what follows, and for how long.
    """

    def __init__(self, reason: str, left: float) -> None:
        minutes = numbered(max(1, math.ceil(left / 60)), "minute")
        self.reason = reason
        self.sentence = (
            f"The lease could not be given back: whatever begins within the next {minutes} is postponed, as if "
            "this were still at work."
        )
        super().__init__(f"{reason} {self.sentence}")


class Lease:
    """The right to write, held by `holder` (the run's id) until released or not renewed in time."""

    def __init__(self, world: World, holder: str) -> None:
        self._world = world
        self._holder = holder
        self._epoch = 0
        self._renewed = 0.0
        self._one = asyncio.Lock()

    @property
    def epoch(self) -> int:
        """Return the number of this holding, 0 while there is none."""
        return self._epoch

    @property
    def held(self) -> Held | None:
        """Return what the announcements of writes are bound to, None where nothing is held."""
        return Held(self._name, self._holder, self._epoch) if self._epoch else None

    async def take(self) -> None:
        """Take the lease; raises Overlap when another run holds it, and is not worth waiting for."""
        waited = 0.0
        while not await self._taken():
            if waited > self._world.lease_ttl or not await self._may_wait():
                raise Overlap(self._overlap())
            await self._world.clock.sleep(LOOK_AGAIN)
            waited += LOOK_AGAIN

    async def _taken(self) -> bool:
        """Take the lease if it is free."""
        taking = asyncio.ensure_future(self._take())
        try:
            epoch = await asyncio.shield(taking)
        except asyncio.CancelledError:  # the books go on taking it: what they took is given back
            self._epoch, self._renewed = await taking, self._world.clock.now()
            await self.release()
            raise
        if epoch:
            self._epoch, self._renewed = epoch, self._world.clock.now()
        return bool(epoch)

    async def hold(self) -> None:
        """Renew a lease that is a minute old (a preview has none); raises StateError when it is lost."""
        if self._is_fresh():
            return
        async with self._one:  # each request asks for it, and many may wait for their turn
            if not self._is_fresh():
                now = self._world.clock.now()
                await self._renew(now)
                self._renewed = now

    def _is_fresh(self) -> bool:
        now = self._world.clock.now()  # what it expires by; a monotonic clock stands still while a machine sleeps
        every = min(RENEW_EVERY, self._world.lease_ttl / 5)
        return not self._epoch or 0 <= now - self._renewed < every

    async def release(self) -> None:
        """Give the lease back, at the second try where the books take nothing (a full disk), or NotGivenBack."""
        if not self._epoch:
            return
        try:
            await self._give_back()
        except StateError:
            await self._world.clock.sleep(LOOK_AGAIN)
            try:
                await self._give_back()
            except StateError as error:
                left = self._renewed + self._world.lease_ttl - self._world.clock.now()
                raise NotGivenBack(str(error), left) from None

    async def _give_back(self) -> None:
        await self._world.books.do(self._world.books.store.release_lease, self._holder, self._epoch)

    @property
    def _name(self) -> str:
        return NAME

    async def _take(self) -> int:
        world = self._world
        now, ttl = world.clock.now(), world.lease_ttl
        return await world.books.do(world.books.store.take_lease, self._holder, now, ttl) or 0

    async def _renew(self, now: float) -> None:
        world = self._world
        await world.books.do(world.books.store.renew_lease, self._holder, self._epoch, now, world.lease_ttl)

    async def _may_wait(self) -> bool:
        """Say whether whoever holds it will be done soon.

        A run that hints asked for is short, and there may be one each minute: all others wait for it, no longer
        than the lease of one that crashed holds.
        """
        world = self._world
        found = await world.books.do(world.books.store.lease_holder, world.clock.now(), world.lease_ttl)
        holder = found[0] if found else ""
        return not self._holder.startswith(DRAIN) and (holder.startswith(DRAIN) or not holder)

    def _overlap(self) -> str:
        return "Another run is at work on the same books; this one is postponed. The next one catches up."


class ShardLease(Lease):
    """The right to write the rows of one shard of a round; `under` is the run's lease where that is held here too.

    With each renewal this worker takes its part of what the systems may be asked: the fewer shards are left, the
    larger it is.
    """

    def __init__(self, world: World, holder: str, shard: tuple[str, int], under: Lease | None = None) -> None:
        super().__init__(world, holder)
        self._round, self._number = shard
        self._under = under
        self.taken = Taken()

    async def hold(self) -> None:
        """Renew the leases that are a minute old; raises StateError when one is lost."""
        if self._under is not None:
            await self._under.hold()
        await super().hold()

    async def _give_back(self) -> None:
        """Let somebody else do the shard; nothing happens after it has ended."""
        store = self._world.books.store
        await self._world.books.do(store.put_shard_back, self._round, self._number, self._holder, self._epoch)

    async def finish(self, outcome: dict[str, object]) -> None:
        """Hand over what the shard has to tell; raises StateError for a lost lease, or when the round is over."""
        store, shard = self._world.books.store, (self._round, self._number)
        await self._world.books.do(store.finish_shard, *shard, self._holder, self._epoch, outcome)

    async def _take(self) -> int:
        store, now, ttl = self._world.books.store, self._world.clock.now(), self._world.lease_ttl
        shard = (self._round, self._number)
        self.taken = await self._world.books.do(store.take_shard, *shard, self._holder, now, ttl)
        await self._share()
        return self.taken.epoch

    @property
    def _name(self) -> str:
        return lease_of(self._number)

    async def _may_wait(self) -> bool:
        return False

    async def _renew(self, now: float) -> None:
        world = self._world
        lease = (self._holder, self._epoch, now, world.lease_ttl, self._name)
        await world.books.do(world.books.store.renew_lease, *lease)
        await self._share()

    async def _share(self) -> None:
        self._world.share(await self._world.books.do(self._world.books.store.count_unfinished, self._round))

    def _overlap(self) -> str:
        if self.taken.refusal == DONE:
            return f"Shard {self._number} of this round is done already."
        if self.taken.refusal == BUSY:
            return f"Another worker is at work on shard {self._number}; this one leaves it alone."
        return "This round is over: there is nothing to do. The next one begins anew."
