"""What a run tells the nudges beyond its state: tokens that end soon, and too many problems. No values in it."""

from __future__ import annotations

from prefect.events import emit_event

from flows.expiry import ending_soon
from flows.nudges import EXPIRY, PROBLEMS
from flows.problems import list_problems
from flows.result import RunState
from flows.world import World


async def tell_nudges(world: World, problems: int, state: RunState) -> None:
    """Send the events that nudges wait for; more listed problems than `problems` are worth one.

    After a run that failed nothing is counted: it found nothing new, and maybe its books cannot be read.
    """
    tell_expiries(world)
    if state != RunState.FAILED:
        await tell_problems(world, problems)


def tell_expiries(world: World) -> None:
    """Send an event for each token or key that stops working soon; a nudge waits for it."""
    for one in ending_soon(world.expiries, world.today(), world.expiry_days):
        about = {"setting": one.setting, "day": str(one.day), "sentence": one.sentence(world.today())}
        emit_event(EXPIRY, {"prefect.resource.id": f"{EXPIRY}.{one.setting}"}, payload=about)


async def tell_problems(world: World, limit: int) -> None:
    """Send an event when more problems are listed than the limit; a nudge waits for it."""
    count = len(await world.books.do(list_problems, world.books.store))
    if count > limit:
        emit_event(PROBLEMS, {"prefect.resource.id": PROBLEMS}, payload={"count": count, "limit": limit})
