"""First of all in every run: writes whose outcome nobody knows, and that have rested long enough."""

from __future__ import annotations

from flows.world import World


async def recover(world: World) -> int:
    """Void the digests of rows that rested, so that the ordinary comparison writes them again; returns how many.

    CommCare may still be at work on a request long after we gave up on it. Only after the rest is a second write
    of the same row sure to find the first one. Digests made with a key that is lost are voided with them.
    """
    store, now = world.books.store, world.clock.now()
    await world.books.do(store.take_key)
    intents = await world.books.do(store.intents)
    rested = [row for row, intent in intents.items() if now - intent.last_sent_at >= world.in_doubt_rest]
    if rested:
        await world.books.do(store.void, rested)
    return len(rested)
