"""The nudges as Prefect automations: installed and replaced by name, so that a second time doubles nothing.

Prefect's server watches and sends, also when no run of ours is alive; its blocks keep the addresses, encrypted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.blocks.core import Block
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, ChangeFlowRunState, SendNotification
from prefect.events.clients import get_events_client
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import Event, Resource, ResourceSpecification
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings
from prefect.types import SecretDict
from pydantic import SecretStr

from adaptors.pace import Clock
from flows.errors import UsageError
from flows.nudges import BLOCKS, DEAD, DEAD_AFTER, ENDED, HEARTBEAT, PREFIX, RUN, TAG, TEST, Nudge, nudges
from flows.settings import Settings

OURS = "moodle-commcare"  # the tag of our automations
LIFE = "dead run"
UNDONE = "Installed by `moodle-commcare automations install`, which undoes changes made here, but for a pause."
ANSWER_S = 30.0  # how long a test waits for Prefect to say what became of it
PAUSE_S = 0.5
SENT = "sent"
NO_ANSWER = "not sent: the address does not answer or refuses; the log of the Prefect server says more"
_STATE = "event.resource['prefect.state-{}']"
_RUN = "(event.resource_in_role['flow-run'] or event.resource)"
_DEPLOYMENT = "(event.resource_in_role['deployment'].name or event.resource_in_role['flow'].name or 'sync')"


@dataclass(frozen=True)
class Place:
    """Where nudges go: the setting that says so, and the block of it in Prefect."""

    setting: str
    block: str
    number: UUID


@dataclass(frozen=True)
class Change:
    """What happened to one automation: new, changed, as before, removed."""

    name: str
    what: str


@dataclass(frozen=True)
class Installed:
    """One automation in Prefect: whether it is on, what it is about, and to how many places it tells."""

    number: UUID
    name: str
    on: bool
    about: str
    actions: int


@asynccontextmanager
async def connected() -> AsyncIterator[PrefectClient]:
    """Give a client of the running server; UsageError when there is none, or it does not let us in."""
    address = server_address()
    if not address:
        raise UsageError(
            "PREFECT_API_URL is not set, so there is no Prefect server to talk to. As in: "
            "export PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    with temporary_settings({PREFECT_API_URL: address}):
        async with get_client() as client:
            if await client.api_healthcheck() is not None:
                raise UsageError(f"There is no Prefect server at {address}. Start it, then try again.")
            try:
                yield client
            except PrefectHTTPStatusError as error:
                raise UsageError(_refused(error)) from None


def server_address() -> str:
    """Return the address of the server's API, "" when none is named; none is started in passing."""
    return PREFECT_API_URL.value() or ""


async def install(settings: Settings) -> tuple[list[Change], list[Place]]:
    """Make Prefect's automations what they should be; those that were paused in the UI stay paused."""
    async with connected() as client:
        places = await _places(client, settings)
        wanted = automations(settings, [place.number for place in places], ui_address())
        changes = [await _settle(client, one, await _ours(client)) for one in wanted]
        names = {one.name for one in wanted}
        for left in await _ours(client):
            if left.name not in names:
                await client.delete_automation(left.id)
                changes.append(Change(left.name, "removed"))
        await _drop_blocks(client, keep={place.block for place in places})
    return changes, places


async def installed() -> list[Installed]:
    """Return our automations as the server has them, by name."""
    async with connected() as client:
        return [
            Installed(one.id, one.name, one.enabled, one.description.partition(". ")[0], len(one.actions))
            for one in await _ours(client)
        ]


async def remove() -> list[Change]:
    """Take our automations and the addresses out of Prefect."""
    async with connected() as client:
        found = await _ours(client)
        for one in found:
            await client.delete_automation(one.id)
        await _drop_blocks(client, keep=set())
    return [Change(one.name, "removed") for one in found]


async def send_test(clock: Clock, patience: float = ANSWER_S) -> dict[str, str]:
    """Send a test nudge through the server and return for each place how it went; waits `patience` seconds."""
    async with connected() as client:
        name = f"{PREFIX}test"
        test = next((one for one in await _ours(client) if one.name == name), None)
        if test is None or not test.enabled:
            raise UsageError("Nudges are not installed, or go nowhere. Run `moodle-commcare automations install`.")
        now = datetime.fromtimestamp(clock.now(), UTC)
        sent = Event(occurred=now, event=TEST, resource=Resource({"prefect.resource.id": TEST}))
        async with get_events_client() as events:
            await events.emit(sent)
        answers = await _answers(client, test, now, patience)
        return {
            await _block_name(client, action): answer for action, answer in zip(test.actions, answers, strict=True)
        }


def automations(settings: Settings, places: Sequence[UUID], ui: str) -> list[AutomationCore]:
    """Return the automations as they should be: without a place for nudges only the one that ends dead runs."""
    found = nudges(settings) if places else []
    told = [_telling(nudge, places, ui) for nudge in found if not nudge.to_one_place]
    for nudge in found:
        if nudge.to_one_place:
            told += [_telling_one(nudge, place, number, ui) for number, place in enumerate(places, 1)]
    return [*told, _ending()]


def ui_address() -> str:
    """Return where people see Prefect's pages: PREFECT_UI_URL, else beside the API."""
    return (PREFECT_UI_URL.value() or server_address().removesuffix("/api")).rstrip("/")


def slots(ui: str) -> dict[str, str]:
    """Return what Prefect fills in for each slot of a text; `ui` is the address of its pages."""
    return {
        "deployment": f"{{{{ {_DEPLOYMENT} }}}}",
        "run": f"{{{{ {_RUN}.name }}}}",
        "state": f"{{{{ {_STATE.format('name')} }}}}",
        "message": f"{{{{ {_STATE.format('message')} }}}}",
        "when": "{{ event.occurred.strftime('%Y-%m-%d %H:%M') }}",
        "link": f"{ui}/runs/flow-run/{{{{ {_RUN}.id | replace('{RUN}', '') }}}}",
        "ui": ui,
        "count": "{{ event.payload['count'] }}",
        "setting": "{{ event.payload['setting'] }}",
        "day": "{{ event.payload['day'] }}",
        "sentence": "{{ event.payload['sentence'] }}",
        "since": "{{ event.payload['since'] }}",
        "lost": "{{ event.payload['count'] }}",
        "which": "{{ event.payload['which'] }}",
    }


def _telling(nudge: Nudge, places: Sequence[UUID], ui: str) -> AutomationCore:
    """Return the automation that sends one nudge to all places."""
    subject, body = nudge.filled(slots(ui))
    actions: list[ActionTypes] = [
        SendNotification(block_document_id=place, subject=subject, body=body) for place in places
    ]
    related = [{"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"}]
    if nudge.flow:
        related.append({"prefect.resource.name": nudge.flow, "prefect.resource.role": "flow"})
    return AutomationCore(
        name=f"{PREFIX}{nudge.name}",
        description=f"{nudge.about} {UNDONE}",
        tags=[OURS],
        trigger=EventTrigger(
            expect=set(nudge.events),
            match=ResourceSpecification({"prefect.resource.id": f"{RUN}*"} if nudge.about_runs else {}),
            match_related=[ResourceSpecification(one) for one in related] if nudge.about_runs else {},
            for_each={nudge.each} if nudge.each else set(),
            posture=Posture.Proactive if nudge.missed else Posture.Reactive,
            threshold=1,
            within=timedelta(seconds=nudge.within),
        ),
        actions=actions,
    )


def _telling_one(nudge: Nudge, place: UUID, number: int, ui: str) -> AutomationCore:
    """Return the automation that sends a nudge to one place, the `number`th, when the event is about that."""
    made = _telling(nudge, [place], ui)
    (event,) = nudge.events
    match = ResourceSpecification({"prefect.resource.id": f"{event}.{place}"})
    return made.model_copy(
        update={
            "name": made.name if number == 1 else f"{made.name} {number}",
            "trigger": made.trigger.model_copy(update={"match": match}),
        }
    )


def _ending() -> AutomationCore:
    """Return the automation that ends a run whose process died without a word: it would block the next ones."""
    return AutomationCore(
        name=f"{PREFIX}{LIFE}",
        description=f"Ends a run that gives no sign of life, so that the next one can begin. {UNDONE}",
        tags=[OURS],
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *ENDED},
            match=ResourceSpecification({"prefect.resource.id": f"{RUN}*"}),
            match_related=ResourceSpecification(
                {"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"}
            ),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=DEAD_AFTER),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=DEAD)],
    )


async def _ours(client: PrefectClient) -> list[Automation]:
    return sorted(
        (one for one in await client.read_automations() if one.name.startswith(PREFIX)), key=lambda one: one.name
    )


async def _settle(client: PrefectClient, wanted: AutomationCore, there: Sequence[Automation]) -> Change:
    """Make one automation what it should be, and take its doubles away."""
    same = [one for one in there if one.name == wanted.name]
    for double in same[1:]:
        await client.delete_automation(double.id)
    if not same:
        await client.create_automation(wanted)
        return Change(wanted.name, "new")
    if _content(same[0]) == _content(wanted):
        return Change(wanted.name, "as before")
    # Anew and not updated: what Prefect has counted under the old one belongs to the old one.
    await client.delete_automation(same[0].id)
    await client.create_automation(wanted.model_copy(update={"enabled": same[0].enabled}))
    return Change(wanted.name, "changed")


def _content(automation: AutomationCore) -> dict[str, Any]:
    """Return what of an automation is ours to say."""
    found = automation.model_dump(include={"name", "description", "tags", "trigger", "actions"})
    specifications = found["trigger"]["match_related"]
    if isinstance(specifications, dict):
        found["trigger"]["match_related"] = [specifications] if specifications else []
    return found


async def _places(client: PrefectClient, settings: Settings) -> list[Place]:
    """Keep the addresses of the settings as blocks, and find the block that somebody made in the UI."""
    made: list[tuple[str, Block]] = []
    if address := settings.nudge_webhook_url.get_secret_value():
        made.append(("NUDGE_WEBHOOK_URL", _webhook(address)))
    if address := settings.nudge_slack_url.get_secret_value():
        made.append(("NUDGE_SLACK_URL", SlackWebhook(url=SecretStr(address))))
    if address := settings.nudge_mail_url.get_secret_value():
        # Prefect's own mail block needs an account at SendGrid. This one hands any address that is not Slack's to
        # the library that it sends with (Apprise), which speaks SMTP.
        made.append(("NUDGE_MAIL_URL", SlackWebhook(url=SecretStr(_plain(address)))))
    places = []
    for setting, block in made:
        number = await block.save(BLOCKS[setting], overwrite=True, client=client)
        places.append(Place(setting, BLOCKS[setting], number))
    if settings.nudge_block:
        places.append(Place("NUDGE_BLOCK", settings.nudge_block, await _found(client, settings.nudge_block)))
    return places


def _webhook(address: str) -> Block:
    """Return a block that posts JSON: `text` for chats, `subject` and `body` for others; its address is secret."""
    return CustomWebhookNotificationBlock(
        name=OURS,
        url="{{address}}",
        json_data={"text": "{{subject}}\n\n{{body}}", "subject": "{{subject}}", "body": "{{body}}"},
        secrets=SecretDict({"address": address}),
    )


def _plain(address: str) -> str:
    """Return the address of a mail server with the wish for plain text: else line breaks are lost on the way."""
    return address if "format=" in address else f"{address}&format=text"


async def _found(client: PrefectClient, slug: str) -> UUID:
    """Return the number of a block by type and name; UsageError when there is none that can notify."""
    kind, name = slug.split("/")
    try:
        block = await client.read_block_document_by_name(name, kind)
    except ObjectNotFound:
        raise UsageError(f"NUDGE_BLOCK names {slug}, and Prefect has no such block. Make it in the UI.") from None
    if block.block_schema is None or "notify" not in block.block_schema.capabilities:
        raise UsageError(f"NUDGE_BLOCK names {slug}, a block that cannot send notifications.")
    return block.id


async def _drop_blocks(client: PrefectClient, keep: set[str]) -> None:
    """Delete our blocks of addresses that are no longer used; those that people made are theirs."""
    for block in await client.read_block_documents(include_secrets=False):
        if block.name in BLOCKS.values() and block.name not in keep:
            await client.delete_block_document(block.id)


async def _answers(client: PrefectClient, test: Automation, since: datetime, patience: float) -> list[str]:
    """Wait until Prefect has told of each action of the test how it went, and return that in their order."""
    found: dict[int, str] = {}
    waited = 0.0
    while len(found) < len(test.actions) and waited < patience:
        await asyncio.sleep(PAUSE_S)
        waited += PAUSE_S
        for event in await _events(client, f"prefect.automation.{test.id}", since):
            payload = event["payload"]
            if event["event"].endswith(".executed"):
                found[payload["action_index"]] = SENT
            elif event["event"].endswith(".failed"):
                found[payload["action_index"]] = f"not sent: {payload.get('reason', '')}"
    return [found.get(number, NO_ANSWER) for number in range(len(test.actions))]


async def _block_name(client: PrefectClient, action: ActionTypes) -> str:
    """Return the name of the block that an action sends to."""
    if not isinstance(action, SendNotification):
        return action.type
    return (await client.read_block_document(action.block_document_id)).name or str(action.block_document_id)


async def _events(client: PrefectClient, resource: str, since: datetime) -> list[dict[str, Any]]:
    """Return what Prefect has told about the actions of an automation since a moment."""
    body = {
        "filter": {
            "occurred": {"since": since.isoformat()},
            "event": {"prefix": ["prefect.automation.action."]},
            "any_resource": {"id": [resource]},
        },
        "limit": 50,
    }
    response = await client.request("POST", "/events/filter", json=body)
    found: list[dict[str, Any]] = response.json()["events"]
    return found


def _refused(error: PrefectHTTPStatusError) -> str:
    """Say why the server did not do it, without what it was sent."""
    status = error.response.status_code
    if status in (401, 403):
        return "The Prefect server does not let us in. Set PREFECT_API_AUTH_STRING to what the server was given."
    return f"The Prefect server answers with status {status}. Its log says more."
