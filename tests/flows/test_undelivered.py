"""Nudges that did not arrive: which they are, that they are remembered, and where somebody sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from prefect.events.schemas.automations import Automation
from prefect.exceptions import ObjectNotFound

from flows import nudge_events
from flows.automations import automations
from flows.metrics import metrics_text
from flows.nudge_events import EXECUTED, TRIGGERED, find_undelivered
from flows.page import page
from flows.report import run_artifacts
from flows.result import Result
from flows.show_status import show_status
from flows.status import Status
from flows.status_json import status_json
from flows.undelivered import (
    AGAIN,
    BETWEEN_S,
    UNDER_WAY_S,
    Fired,
    Undelivered,
    lost,
    remember,
    summed,
    undelivered,
)
from state import Store
from tests.flows.status_world import DAY, NOW, made_status
from tests.flows.test_automations import UI, settings

MAIL, CHAT = (str(UUID(int=number)) for number in (1, 2))
LONG_AGO = NOW - 3600.0


def fired(event: str, nudge: str, at: float, *places: str) -> Fired:
    """Return a nudge that Prefect set out to send, to the mail address unless said."""
    return Fired(event, nudge, at, places or (MAIL,))


@pytest.fixture
def store() -> Iterator[Store]:
    """Give empty books."""
    with Store.open("sqlite://", key=bytes(32)) as made:
        yield made


# --- which --------------------------------------------------------------------------------------------------


def test_what_was_not_sent_is_lost() -> None:
    """What was sent is not, nor what may still be under way, nor a test, at which somebody looks."""
    found = [
        fired("1", "failed", LONG_AGO),
        fired("2", "waiting", LONG_AGO),
        fired("3", "failed", NOW - UNDER_WAY_S + 1),
        fired("4", "test", LONG_AGO),
        fired("5", "failed", LONG_AGO, CHAT),
    ]
    assert ["1"] == [one.event for one in lost(found, {("2", MAIL)}, MAIL, NOW)]


def test_each_place_by_itself() -> None:
    """What arrived at one of two places was lost at the other."""
    found = [fired("1", "failed", LONG_AGO, MAIL, CHAT)]
    sent = {("1", CHAT)}
    assert (1, 0) == (len(lost(found, sent, MAIL, NOW)), len(lost(found, sent, CHAT, NOW)))


def test_told_is_not_lost_any_more() -> None:
    """Once it was told there that nudges were lost, those are done with; later ones are not."""
    again = LONG_AGO + 2 * UNDER_WAY_S
    found = [
        fired("1", "failed", LONG_AGO),
        fired("2", AGAIN, again),
        fired("3", "failed", again - BETWEEN_S),  # was under way when it was told
        fired("4", "failed", again + 1),
    ]
    assert ["1", "3", "4"] == [one.event for one in lost(found, set(), MAIL, NOW)]
    assert ["3", "4"] == [one.event for one in lost(found, {("2", MAIL)}, MAIL, NOW)]
    assert ["1", "3", "4"] == [one.event for one in lost(found, {("2", CHAT)}, MAIL, NOW)]


def test_summed_over_places() -> None:
    """What arrived nowhere counts once; the first one says since when."""
    one, two = fired("1", "failed", LONG_AGO), fired("2", "failed", LONG_AGO - 60)
    found = summed([("NUDGE_MAIL_URL", [one]), ("NUDGE_SLACK_URL", [one, two]), ("NUDGE_WEBHOOK_URL", [])])
    assert Undelivered(LONG_AGO - 60, {"failed": 2}, ["NUDGE_MAIL_URL", "NUDGE_SLACK_URL"]) == found
    assert summed([]) is None


# --- among Prefect's events ---------------------------------------------------------------------------------


class Server:
    """A Prefect server that has our automations and some events; it gives out two events at a time."""

    def __init__(self) -> None:
        places = [UUID(MAIL), UUID(CHAT)]
        made = (one.model_dump(mode="json") for one in automations(settings(), places, UI))
        self.automations = [
            Automation.model_validate(one | {"id": str(UUID(int=100 + number))}) for number, one in enumerate(made)
        ]
        self.events: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []

    def fire(self, name: str, at: str, *sent: int) -> None:
        """Let a nudge be sent, which arrives at some of its places."""
        number = next(one.id for one in self.automations if one.name.endswith(f": {name}"))
        resource = {"prefect.resource.id": f"prefect.automation.{number}"}
        event = f"event-{len(self.events)}"
        related = {"prefect.resource.id": f"prefect.event.{event}", "prefect.resource.role": nudge_events.CAUSE}
        self.events.append({"id": event, "event": TRIGGERED, "occurred": at, "resource": resource, "related": []})
        for index in sent:
            about = {"payload": {"action_index": index}, "related": [related], "id": "", "occurred": at}
            self.events.append({"event": EXECUTED, "resource": resource, **about})

    async def read_automations(self) -> list[Automation]:
        """Return the automations."""
        return self.automations

    async def read_block_document(self, number: UUID, *, include_secrets: bool) -> Any:
        """Say that a block was deleted."""
        assert not include_secrets
        raise ObjectNotFound(KeyError(number))

    async def request(self, method: str, path: str, **given: Any) -> Any:
        """Return a page of the newest events."""
        self.asked.append(given)
        begin = int(given.get("params", {}).get("page-token", 0))
        newest = self.events[::-1]
        more = f"http://proxy.example.org/api/events/filter/next?page-token={begin + 2}"
        page = {"events": newest[begin : begin + 2], "next_page": more if begin + 2 < len(newest) else None}

        class Answer:
            def json(self) -> Any:
                return page

        assert ("POST", "/events/filter") == (method, path) or ("GET", "/events/filter/next") == (method, path)
        return Answer()


def found_at(server: Server) -> dict[str, list[str]]:
    """Return by place the names of nudges that did not arrive."""
    found = asyncio.run(find_undelivered(server, NOW))  # type: ignore[arg-type]
    return {place: [one.nudge for one in some] for place, some in found.items()}


def test_found_over_several_pages() -> None:
    """What was set out to be sent and never was; only our own automations that tell somebody are asked about."""
    server = Server()
    for name, sent in (("failed", (0, 1)), ("waiting", (1,)), ("degraded", ()), ("expiry", (0, 1))):
        server.fire(name, "2026-11-18T09:00:00+00:00", *sent)
    assert {MAIL: ["degraded", "waiting"], CHAT: ["degraded"]} == found_at(server)
    assert len(server.asked) == (len(server.events) + 1) // 2
    server.fire("undelivered", "2026-11-18T10:00:00Z", 0)
    assert {CHAT: ["degraded"]} == found_at(server)
    ids = server.asked[0]["json"]["filter"]["resource"]["id"]
    (dead,) = [one.id for one in server.automations if one.name.endswith("dead run")]
    assert (len(server.automations) - 1, False) == (len(ids), f"prefect.automation.{dead}" in ids)


def test_without_nudges_nothing_is_asked() -> None:
    """Where only dead runs are ended there is nothing that could get lost."""
    server = Server()
    server.automations = [one for one in server.automations if one.name.endswith("dead run")]
    assert ({}, []) == (found_at(server), server.asked)


async def test_a_block_that_was_deleted_has_no_name() -> None:
    """Its nudges are lost all the same, and that is told."""
    assert "a block that is no more" == await nudge_events._name(Server(), MAIL)  # type: ignore[arg-type]


# --- remembered and shown -----------------------------------------------------------------------------------


def test_remembered_until_they_are_told(store: Store) -> None:
    """The books hold names and a time; nothing when all arrived."""
    found = Undelivered(LONG_AGO, {"failed": 2}, ["NUDGE_MAIL_URL"])
    assert undelivered(store, NOW) is None
    remember(store, found)
    assert found == undelivered(store, NOW)
    assert undelivered(store, NOW + 9 * DAY) is None
    remember(store, None)
    assert undelivered(store, NOW) is None


def test_shown_wherever_somebody_looks(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """On the terminal, the page, in `--json`, in Prefect's artifact and for Prometheus."""
    remember(store, Undelivered(LONG_AGO, {"failed": 2, "waiting": 1}, ["NUDGE_MAIL_URL"]))
    status = made_status(store)
    sentence = (
        "3 nudges to NUDGE_MAIL_URL could not be delivered since Wed 18 Nov 10:06 (2 × failed, 1 × waiting)."
    )
    show_status(status)
    shown = " ".join(capsys.readouterr().out.split())
    assert (True, True) == (sentence in shown, "automations test" in shown)
    assert sentence in page(status)
    assert {
        "since": "2026-11-18T10:06:40Z",
        "nudges": {"failed": 2, "waiting": 1},
        "places": ["NUDGE_MAIL_URL"],
    } == (status_json(status)["undelivered_nudges"])
    artifact = run_artifacts("site", Result("1"), status)[1]
    assert "1 question for a person. Nudges did not arrive." == artifact.line
    assert "3 nudges to NUDGE_MAIL_URL could not" in artifact.markdown.replace("\\", "")
    assert "moodle_commcare_undelivered_nudges 3.0" in metrics_text(status)


def test_nothing_is_shown_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Without lost nudges nobody reads of them."""
    status = Status(NOW, books=True)
    show_status(status)
    assert "nudge" not in capsys.readouterr().out + page(status)
    assert status_json(status)["undelivered_nudges"] is None
    assert "moodle_commcare_undelivered_nudges 0.0" in metrics_text(status)
