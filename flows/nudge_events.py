"""What a run tells the nudges beyond its state: tokens that end soon, too many problems, nudges that were lost.

No values in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from logging import Logger, LoggerAdapter
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.events import emit_event
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import Automation
from prefect.exceptions import ObjectNotFound

from flows.expiry import ending_soon
from flows.nudges import BLOCKS, EXPIRY, PREFIX, PROBLEMS
from flows.problems import list_problems
from flows.result import RunState
from flows.undelivered import LOOK_BACK_S, UNDELIVERED, Fired, lost, remember, summed
from flows.world import World

PATIENCE_S = 15.0
"""Seconds in which the server has to tell what became of the nudges; else the next run asks."""
TRIGGERED, EXECUTED = "prefect.automation.triggered", "prefect.automation.action.executed"
CAUSE = "automation-triggered-event"
PAGE, MOST_PAGES = 50, 20  # of Prefect's events, the newest first

Log = Logger | LoggerAdapter[Logger]


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


async def tell_undelivered(world: World, log: Log) -> None:
    """Send an event for each place where nudges did not arrive, and remember it for the status.

    A server that does not tell costs a run some seconds and a line in its log: the next run looks again.
    """
    try:
        async with asyncio.timeout(PATIENCE_S), get_client() as client:
            found = await find_undelivered(client, world.clock.now())
            names = {place: await _name(client, place) for place in found}
        for place, some in found.items():
            told = summed([(place, some)])
            if told is not None:
                since = f"{datetime.fromtimestamp(told.since, UTC):%Y-%m-%d %H:%M}"
                about = {"count": told.count, "since": since, "which": told.which}
                emit_event(UNDELIVERED, {"prefect.resource.id": f"{UNDELIVERED}.{place}"}, payload=about)
        everywhere = summed([(names[place], some) for place, some in found.items()])
        await world.books.do(remember, world.books.store, everywhere)
    except Exception as error:
        log.info("Whether nudges arrived could not be seen (%s).", type(error).__name__)


async def find_undelivered(client: PrefectClient, now: float) -> dict[str, Sequence[Fired]]:
    """Return by block what did not arrive there of the nudges that are installed now."""
    ours = {
        f"prefect.automation.{one.id}": one
        for one in await client.read_automations()
        if one.name.startswith(PREFIX) and _places(one)
    }
    if not ours:
        return {}
    fired, sent = [], set[tuple[str, str]]()
    for event in await _events(client, [*ours], now - LOOK_BACK_S):
        automation = ours[event["resource"]["prefect.resource.id"]]
        places = _places(automation)
        if event["event"] == TRIGGERED:
            at = datetime.fromisoformat(event["occurred"]).timestamp()
            nudge = automation.name.removeprefix(PREFIX).split()[0]
            fired.append(Fired(event["id"], nudge, at, places))
        elif event["payload"]["action_index"] < len(places):
            sent.add((_cause(event), places[event["payload"]["action_index"]]))
    wanted = dict.fromkeys(place for one in ours.values() for place in _places(one))
    found = {place: lost(fired, sent, place, now) for place in wanted}
    return {place: some for place, some in found.items() if some}


def _places(automation: Automation) -> list[str]:
    """Return the blocks that an automation sends to, in the order of its actions."""
    return [str(one.block_document_id) for one in automation.actions if isinstance(one, SendNotification)]


def _cause(event: Mapping[str, Any]) -> str:
    """Return the id of the event with which Prefect set out to send a nudge."""
    ids = [one["prefect.resource.id"] for one in event["related"] if one["prefect.resource.role"] == CAUSE]
    return str(ids[0]).removeprefix("prefect.event.") if ids else ""


async def _events(client: PrefectClient, automations: Sequence[str], since: float) -> list[dict[str, Any]]:
    """Return what Prefect has set out to send and has sent since a moment, the newest first."""
    wanted = {
        "occurred": {"since": datetime.fromtimestamp(since, UTC).isoformat()},
        "event": {"name": [TRIGGERED, EXECUTED]},
        "resource": {"id": [*automations]},
    }
    page = (await client.request("POST", "/events/filter", json={"filter": wanted, "limit": PAGE})).json()
    found: list[dict[str, Any]] = page["events"]
    for _ in range(MOST_PAGES):
        if not page["next_page"]:
            break
        token = dict(parse_qsl(urlsplit(page["next_page"]).query))
        page = (await client.request("GET", "/events/filter/next", params=token)).json()
        found += page["events"]
    return found


async def _name(client: PrefectClient, place: str) -> str:
    """Return the setting of a block, for one that somebody made its name."""
    try:
        name = (await client.read_block_document(UUID(place), include_secrets=False)).name or place
    except ObjectNotFound:
        return "a block that is no more"
    return next((setting for setting, ours in BLOCKS.items() if ours == name), name)
