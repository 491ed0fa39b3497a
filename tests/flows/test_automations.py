"""The nudges in Prefect: which events they wait for, what they say, and that they arrive once a server runs them.

The events were recorded from a Prefect 3.8.8 server (tests/recordings/prefect).
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import get_client, tags
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.events.schemas.automations import AutomationCore
from prefect.server.events.schemas.automations import Automation as ServerAutomation
from prefect.server.events.schemas.events import ReceivedEvent, Resource
from prefect.server.utilities.user_templates import render_user_template, validate_user_template

from adaptors.serve import LocalServer
from flows import nudges as nudges_module
from flows import undelivered as undelivered_module
from flows.automations import BLOCKS, SENT, automations, install, installed, remove, send_test
from flows.clock import SystemClock
from flows.deployed import sync
from flows.errors import UsageError
from flows.nudges import ENDED, EXPIRY, FINISHED, PROBLEMS, RUN, TAG
from flows.open import open_store
from flows.result import RunState
from flows.settings import Settings, load_settings
from flows.sync import NO_SUCH_COURSE
from flows.undelivered import UNDELIVERED, Undelivered, undelivered
from tests.flows.test_deployed import DEPLOYMENTS, Place, marked, place

pytest_plugins = ["tests.prefect_server"]

RECORDED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "recordings" / "prefect" / "events.json").read_text()
)
UI = "http://127.0.0.1:4200"
BLOCK = UUID(int=1)
__all__ = ["place"]  # a fixture


def settings(**more: str) -> Settings:
    """Return settings with somewhere to send nudges to."""
    env = {
        "MOODLE_URL": "https://moodle.example.org",
        "MOODLE_TOKEN": "canary-token",
        "COMMCARE_DOMAIN": "demo-space",
        "COMMCARE_USERNAME": "service@example.org",
        "COMMCARE_API_KEY": "canary-key",
        "NUDGE_WEBHOOK_URL": "https://hooks.example.org/canary-address",
    }
    return load_settings({**env, **more}, None)


def made(**more: str) -> dict[str, AutomationCore]:
    """Return the automations by the last word of their names."""
    return {one.name.split(": ")[1]: one for one in automations(settings(**more), [BLOCK], UI)}


def as_server(automation: AutomationCore) -> ServerAutomation:
    """Return an automation as the server understands it."""
    return ServerAutomation.model_validate(automation.model_dump(mode="json") | {"id": str(UUID(int=2))})


def event(name: str, *, state: str = "", tag: str = TAG, flow: str = "sync") -> ReceivedEvent:
    """Return a recorded event, maybe of a run that ended otherwise or is of another flow."""
    recorded = copy.deepcopy(RECORDED[name])
    if state:
        recorded["event"] = f"{RUN}{state}"
        recorded["resource"]["prefect.state-name"] = state
    for related in recorded["related"]:
        if related["prefect.resource.role"] == "tag":
            related["prefect.resource.id"] = f"prefect.tag.{tag}"
        if related["prefect.resource.role"] == "flow":
            related["prefect.resource.name"] = flow
    return ReceivedEvent.model_validate(recorded)


def interested(found: ReceivedEvent, **more: str) -> set[str]:
    """Return the automations that an event counts for."""
    names = set()
    for name, one in made(**more).items():
        (trigger,) = as_server(one).triggers()
        if trigger.covers(found) and trigger.expects(found.event):
            names.add(name)
    return names


async def told(name: str, found: ReceivedEvent) -> tuple[str, str]:
    """Return subject and body of a nudge as the server makes them."""
    (action,) = made()[name].actions
    context = {"event": found}
    return (
        await render_user_template(action.subject, context),
        await render_user_template(action.body, context),
    )


# --- which events -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ("Completed", {"silent", "dead run"}),
        ("Degraded", {"degraded", "silent", "dead run"}),
        ("Waiting", {"waiting", "silent", "dead run"}),
        ("Postponed", {"dead run"}),
        ("Failed", {"failed", "dead run"}),
        ("Crashed", {"failed", "dead run"}),
        ("TimedOut", {"failed", "dead run"}),
        ("Cancelled", {"dead run"}),
        ("Running", set()),
    ],
)
def test_who_waits_for_which_end(state: str, names: set[str]) -> None:
    """Each state is told about by its own nudge; a run that was postponed has finished nothing."""
    assert names == interested(event("prefect.flow-run.Degraded", state=state))


def test_ends_of_other_people_are_none_of_ours() -> None:
    """On a server with other flows only runs with our tag count; silence is about the flow sync."""
    assert set() == interested(event("prefect.flow-run.Degraded", tag="theirs"))
    assert {"degraded", "dead run"} == interested(event("prefect.flow-run.Degraded", flow="audit"))


def test_events_of_ours() -> None:
    """Problems, and a token that ends, have their own events, whatever the tags."""
    assert {"problems"} == interested(event(PROBLEMS))
    assert {"expiry"} == interested(event(EXPIRY))


def test_deployments_carry_the_tag() -> None:
    """Without it nobody would be told of their runs."""
    assert [] == [one["name"] for one in DEPLOYMENTS if TAG not in one["tags"]]


def test_every_end_is_a_sign_of_life() -> None:
    """A run that ended under a name that is not listed would be called crashed minutes later."""
    assert {f"{RUN}{state.capitalize()}" for state in RunState} <= set(ENDED)
    assert set(FINISHED) <= set(ENDED)
    trigger = made()["dead run"].trigger
    assert {f"{RUN}heartbeat", *ENDED} == trigger.expect
    assert {f"{RUN}heartbeat"} == trigger.after
    (server,) = as_server(made()["dead run"]).triggers()
    assert server.covers(event("prefect.flow-run.heartbeat"))


def test_silence_is_longer_than_quiet_hours() -> None:
    """Hours in which no run may finish do not count as silence."""
    hours = {
        name: made(**more)["silent"].trigger.within.total_seconds() / 3600
        for name, more in {
            "usual": {},
            "mine": {"NUDGE_SILENT_HOURS": "2.5"},
            "night": {"COMMCARE_QUIET_HOURS": "22:00-06:00", "MOODLE_QUIET_HOURS": "08:00-12:00,13:00-17:00"},
        }.items()
    }
    assert {"usual": 6, "mine": 2.5, "night": 14} == hours


def test_repeats() -> None:
    """A failure that lasts is told every few hours for each deployment, what waits for a person once a day."""
    seconds = {name: one.trigger.within.total_seconds() for name, one in made(NUDGE_REPEAT_HOURS="0").items()}
    assert (0, 0, 86_400) == (seconds["failed"], seconds["degraded"], seconds["waiting"])
    assert {"related:deployment:prefect.resource.id"} == made()["failed"].trigger.for_each
    assert 6 * 3600 == made()["failed"].trigger.within.total_seconds()


def test_lost_nudges_are_told_where_they_were_lost() -> None:
    """There is one automation for each place, which waits for the event about that place alone."""
    places = [UUID(int=number) for number in (1, 2)]
    made_here = {one.name: one for one in automations(settings(), places, UI)}
    for number, name in zip(places, ("undelivered", "undelivered 2"), strict=True):
        one = made_here[f"moodle-commcare: {name}"]
        (action,) = one.actions
        assert number == action.block_document_id
        (trigger,) = as_server(one).triggers()
        found = event(PROBLEMS)
        found.event = UNDELIVERED
        for other in places:
            found.resource = Resource({"prefect.resource.id": f"{UNDELIVERED}.{other}"})
            assert (other == number) == (trigger.covers(found) and trigger.expects(UNDELIVERED))
    assert 2 == len(made_here["moodle-commcare: failed"].actions)


def test_without_a_place_only_dead_runs_are_ended() -> None:
    """The automation that needs nobody is there in any case."""
    assert ["moodle-commcare: dead run"] == [one.name for one in automations(settings(), [], UI)]


# --- which words --------------------------------------------------------------------------------------------


async def test_words_about_a_run() -> None:
    """What happened to which run, its own sentence, what to do, and where to look."""
    subject, body = await told("degraded", event("prefect.flow-run.Degraded"))
    recorded = RECORDED["prefect.flow-run.Degraded"]["resource"]
    number = recorded["prefect.resource.id"].removeprefix(RUN)
    assert "moodle-commcare: sync ended Degraded" == subject
    first, message, todo, link = body.split("\n\n")
    run = recorded["prefect.resource.name"]
    assert re.fullmatch(rf"The run '{run}' of 'sync' ended Degraded, 2026-11-29 \d\d:\d\d UTC\.", first)
    assert recorded["prefect.state-message"] == message
    assert "`moodle-commcare problems list`" in todo
    assert f"{UI}/runs/flow-run/{number}" == link


async def test_words_about_problems_and_tokens() -> None:
    """The counts and dates of the event, and the run after which it was sent."""
    found = event(PROBLEMS)
    subject, body = await told("problems", found)
    assert "moodle-commcare: 250 problems are listed" == subject
    run = found.resource_in_role["flow-run"]
    assert body.startswith(f"After the run '{run.name}' of 'sync', 250 problems are listed, more than 100 (NUDGE")
    assert body.endswith(f"{UI}/runs/flow-run/{run.id.removeprefix(RUN)}")
    subject, body = await told("expiry", event(EXPIRY))
    assert "moodle-commcare: MOODLE_TOKEN stops working on 2026-12-08" == subject
    assert body.startswith("MOODLE_TOKEN stops working on 2026-12-08, in 9 days: make a new one")


async def test_a_run_without_a_deployment_has_a_name() -> None:
    """A flow that was called by hand is told about by the name of the flow."""
    recorded = event("prefect.flow-run.Degraded")
    recorded.related = [one for one in recorded.related if one.role != "deployment"]
    assert "moodle-commcare: sync ended Degraded" == (await told("degraded", recorded))[0]


def test_every_text_is_one_that_prefect_can_fill() -> None:
    """No slot is left open, and no template is one that the server refuses."""
    for one in made().values():
        for action in one.actions:
            for text in (getattr(action, "subject", ""), getattr(action, "body", "")):
                validate_user_template(text)
                assert not re.search(r"(?<!\{)\{(?!\{)", text), text


# --- on a server --------------------------------------------------------------------------------------------


class Hook:
    """A webhook that keeps what it is sent."""

    def __init__(self) -> None:
        self.got: list[dict[str, str]] = []
        self.status = 200

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Take one nudge."""
        self.got.append(json.loads(request.content))
        return httpx.Response(self.status)

    async def subject(self, words: str, after: int = 0) -> dict[str, str]:
        """Wait for a nudge with these words in its subject, behind so many others."""
        for _ in range(600):
            for one in self.got[after:]:
                if words in one["subject"]:
                    return one
            await asyncio.sleep(0.05)
        raise AssertionError(f"no nudge '{words}', but {[one['subject'] for one in self.got]}")


@pytest.fixture
def hook() -> Iterator[tuple[Hook, str]]:
    """Serve a webhook on a port of this computer."""
    hook = Hook()
    with LocalServer(hook) as server:
        yield hook, f"{server.url}/canary-address"


@marked
async def test_installed_twice_is_installed_once(prefect_folder: Path) -> None:
    """The second time changes nothing; other limits change what they are about; a pause stays; nothing is left."""
    assert prefect_folder.is_dir()
    first, places = await install(settings())
    assert {"new"} == {change.what for change in first}
    assert ["NUDGE_WEBHOOK_URL"] == [one.setting for one in places]
    again, same_places = await install(settings())
    assert ({"as before"}, places) == ({change.what for change in again}, same_places)
    names = [one.name for one in await installed()]
    assert sorted(set(names)) == names
    async with get_client() as client:
        (silent,) = [one for one in await installed() if one.name.endswith("silent")]
        await client.pause_automation(silent.number)
    changed, _ = await install(settings(NUDGE_SILENT_HOURS="2"))
    assert ["moodle-commcare: silent"] == [change.name for change in changed if change.what == "changed"]
    assert [False] == [one.on for one in await installed() if one.name.endswith("silent")]
    fewer, _ = await install(settings(NUDGE_WEBHOOK_URL=""))
    assert {"removed", "as before"} == {change.what for change in fewer}
    assert ["moodle-commcare: dead run"] == [one.name for one in await installed()]
    await remove()
    assert [] == await installed()
    async with get_client() as client:
        assert [] == [one.name for one in await client.read_block_documents() if one.name in BLOCKS.values()]


@marked
async def test_the_address_is_kept_secret(prefect_folder: Path) -> None:
    """Whoever looks at Prefect's blocks does not see it, nor does the database hold it in clear."""
    await install(settings())
    async with get_client() as client:
        shown = await client.read_block_documents(include_secrets=False)
    assert "canary-address" not in "".join(one.model_dump_json() for one in shown)
    assert not [file for file in prefect_folder.rglob("*.db*") if b"canary-address" in file.read_bytes()]
    await remove()


@marked
async def test_a_degraded_run_is_told(place: Place, hook: tuple[Hook, str]) -> None:
    """The flow runs, Prefect sees how it ended, and the webhook gets subject, text and the link."""
    await place.approve()
    webhook, address = hook
    await install(settings(NUDGE_WEBHOOK_URL=address, NUDGE_REPEAT_HOURS="0"))
    project = Path(place.env["MAPPINGS_DIR"]) / "project.yaml"
    project.write_text(project.read_text().replace('shortname_like: "CHW-*"', "ids: [2, 3, 4, 99]"))
    with tags(TAG):
        state = await sync(return_state=True)
    got = await webhook.subject("sync ended Degraded")
    assert f"Not read: course 99. {NO_SUCH_COURSE}" in got["body"]
    assert str(state.state_details.flow_run_id) in got["body"]
    assert f"{got['subject']}\n\n{got['body']}" == got["text"]
    await remove()


@marked
async def test_a_token_that_ends_and_many_problems_are_told(
    place: Place, hook: tuple[Hook, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run itself is completed; the flow sends an event for each."""
    await place.approve()
    webhook, address = hook
    await install(settings(NUDGE_WEBHOOK_URL=address))
    monkeypatch.setenv("MOODLE_TOKEN_EXPIRES", "2020-01-31")
    monkeypatch.setenv("NUDGE_PROBLEMS", "0")
    for learner in place.sandbox.learners[:3]:
        place.sandbox.site.update_user(learner, phone1="no number at all")
    with tags(TAG):
        state = await sync(return_state=True)
    assert "MOODLE_TOKEN should have stopped working on 2020-01-31: make a new one" in (state.message or "")
    assert "MOODLE_TOKEN_EXPIRES" in (await webhook.subject("MOODLE_TOKEN stops working on 2020-01-31"))["body"]
    assert "3 problems are listed" in (await webhook.subject("3 problems are listed"))["body"]
    await remove()


@marked
async def test_a_test_says_how_it_went(prefect_folder: Path, hook: tuple[Hook, str]) -> None:
    """A place that takes it is told as such, one that refuses too, and without places there is nothing to test."""
    assert prefect_folder.is_dir()
    webhook, address = hook
    await install(settings(NUDGE_WEBHOOK_URL=address))
    assert {"moodle-commcare-webhook": SENT} == await send_test(SystemClock())
    assert ["moodle-commcare: a test"] == [one["subject"] for one in webhook.got]
    webhook.status = 404
    (answer,) = (await send_test(SystemClock(), patience=3.0)).values()
    assert answer.startswith("not sent: the address does not answer or refuses")
    await install(settings(NUDGE_WEBHOOK_URL=""))
    with pytest.raises(UsageError, match="automations install"):
        await send_test(SystemClock())
    await remove()


@marked
async def test_a_block_of_somebody_else(prefect_folder: Path) -> None:
    """A block that was made in the UI is used by name; one that is not there, or cannot notify, is named."""
    assert prefect_folder.is_dir()
    for slug, words in (("slack-webhook/nobody", "has no such block"), ("nonsense/ops", "has no such block")):
        with pytest.raises(UsageError, match=words):
            await install(settings(NUDGE_WEBHOOK_URL="", NUDGE_BLOCK=slug))
    await CustomWebhookNotificationBlock(name="ops", url="https://chat.example.org/x").save("moodle-commcare-ops")
    await Secret(value="x").save("word")
    with pytest.raises(UsageError, match="cannot send notifications"):
        await install(settings(NUDGE_WEBHOOK_URL="", NUDGE_BLOCK="secret/word"))
    _, places = await install(settings(NUDGE_WEBHOOK_URL="", NUDGE_BLOCK="custom-webhook/moodle-commcare-ops"))
    assert ["NUDGE_BLOCK"] == [one.setting for one in places]
    await remove()
    async with get_client() as client:  # what somebody made is not ours to delete
        assert await client.read_block_document_by_name("moodle-commcare-ops", "custom-webhook")


@marked
async def test_nudges_that_do_not_arrive_are_told_later(
    place: Place, hook: tuple[Hook, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address fails: the books remember it, each run tries again, and once that arrives all is forgotten."""
    monkeypatch.setattr(nudges_module, "TOLD_ONCE_IN", 0.0)
    monkeypatch.setattr(undelivered_module, "UNDER_WAY_S", 0.0)
    monkeypatch.setattr(undelivered_module, "BETWEEN_S", 0.0)
    await place.approve()
    webhook, address = hook
    webhook.status = 503
    await install(settings(NUDGE_WEBHOOK_URL=address, NUDGE_REPEAT_HOURS="0"))
    project = Path(place.env["MAPPINGS_DIR"]) / "project.yaml"
    right = project.read_text()
    project.write_text(right.replace('shortname_like: "CHW-*"', "ids: [2, 3, 4, 99]"))
    with tags(TAG):
        assert "Degraded" == (await sync(return_state=True)).name
        await webhook.subject("sync ended Degraded")
        project.write_text(right)
        for _ in range(2):
            assert "Completed" == (await sync(return_state=True)).name
        found = books_say(place)
        assert found is not None
        assert ({"degraded": 1}, ["NUDGE_WEBHOOK_URL"]) == (found.nudges, found.places)
        await webhook.subject("could not be delivered here (1)")
        webhook.status, told = 200, len(webhook.got)
        await sync(return_state=True)
        again = await webhook.subject("could not be delivered here", after=told)
        assert "nudges could not be delivered here: 1 × degraded. What they told may be over" in again["body"]
        for _ in range(60):  # Prefect says that it was sent a moment after it was
            await sync(return_state=True)
            if (found := books_say(place)) is None:
                break
        assert found is None
        await sync(return_state=True)
        assert books_say(place) is None
    await remove()


def books_say(place: Place) -> Undelivered | None:
    """Return what the books know of nudges that did not arrive."""
    with open_store(load_settings(place.env, None)) as store:
        return undelivered(store, SystemClock().now())
