"""The commands `automations ...` as they are typed; what they do in Prefect is tests/flows/test_automations.py."""

from __future__ import annotations

import os
from typing import Any
from uuid import UUID

import pytest

from flows import automations
from flows.automations import NO_ANSWER, SENT, Change, Place
from flows.cli_automations import NOWHERE
from flows.endings import FAILED, USAGE
from tests.flows.terminal import Terminal

WEBHOOK = "https://hooks.example.org/canary-address"


def answering(monkeypatch: pytest.MonkeyPatch, name: str, answer: Any) -> None:
    """Let a function of flows.automations answer without a server."""

    async def answered(*_: object) -> Any:
        return answer

    monkeypatch.setattr(automations, name, answered)


def test_what_would_be_installed(terminal: Terminal) -> None:
    """Each nudge is shown as it will arrive, without a server and without the address."""
    terminal.env["NUDGE_WEBHOOK_URL"] = WEBHOOK
    ended = terminal.run("automations", "install", "--dry-run")
    assert (0, "") == (ended.code, ended.out)
    assert "moodle-commcare: sync ended Degraded" in ended.text
    assert "no run has finished for 6 hours" in ended.text
    assert "They would go to NUDGE_WEBHOOK_URL." in ended.text
    assert "{" not in ended.text
    found = terminal.run("automations", "install", "--dry-run", "--json").json
    names = ["failed", "degraded", "waiting", "silent", "problems", "expiry", "undelivered", "test"]
    assert (["NUDGE_WEBHOOK_URL"], names) == (found["places"], [one["name"] for one in found["nudges"]])


def test_links_lead_to_the_server_that_is_named(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text is shown with the address of Prefect's pages as they are here."""
    monkeypatch.setattr(automations, "ui_address", lambda: "http://127.0.0.1:4288")
    text = terminal.run("automations", "install", "--dry-run").text
    assert (True, False) == ("http://127.0.0.1:4288/runs/flow-run/..." in text, ":4200" in text)


@pytest.mark.parametrize(("before", "after"), [("", "1"), ("0", "0")])
def test_no_telemetry(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, before: str, after: str) -> None:
    """Prefect's client counts nothing, unless somebody wants it to."""
    monkeypatch.setenv("DO_NOT_TRACK", before)
    terminal.run("automations", "install", "--dry-run")
    assert after == os.environ["DO_NOT_TRACK"]


def test_nowhere_to_go(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever forgot the setting is told so, with all settings that there are."""
    answering(monkeypatch, "install", ([Change("moodle-commcare: dead run", "new")], []))
    ended = terminal.run("automations", "install")
    assert 0 == ended.code
    assert f"new moodle-commcare: dead run {NOWHERE}" in ended.text


def test_installed(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done is said line by line, and in one object."""
    place = Place("NUDGE_BLOCK", "slack-webhook/ops", UUID(int=1))
    answering(monkeypatch, "install", ([Change("moodle-commcare: failed", "as before")], [place]))
    ended = terminal.run("automations", "install")
    assert "as before moodle-commcare: failed Nudges go to NUDGE_BLOCK." in ended.text
    expected = {
        "places": ["NUDGE_BLOCK"],
        "automations": [{"name": "moodle-commcare: failed", "what": "as before"}],
    }
    assert expected == terminal.run("automations", "install", "--json").json


def test_nothing_there(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of nothing says how to get something, and taking nothing away is no error."""
    answering(monkeypatch, "installed", [])
    answering(monkeypatch, "remove", [])
    assert "`moodle-commcare automations install`" in terminal.run("automations", "list").text
    assert {"automations": []} == terminal.run("automations", "list", "--json").json
    assert "None was installed." in terminal.run("automations", "remove").text


def test_a_test_that_fails(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """One place that did not get it is a failure, and a reason that holds the address does not show it."""
    terminal.env["NUDGE_WEBHOOK_URL"] = WEBHOOK
    answers = {"moodle-commcare-webhook": f"not sent: 404 for {WEBHOOK}", "moodle-commcare-mail": SENT}
    answering(monkeypatch, "send_test", answers)
    ended = terminal.run("automations", "test")
    assert FAILED == ended.code
    assert "moodle-commcare-webhook: not sent: 404 for ***." in ended.text
    assert "moodle-commcare-mail: sent." in ended.text
    answering(monkeypatch, "send_test", {"moodle-commcare-mail": SENT})
    assert 0 == terminal.run("automations", "test", "--json").code
    assert NO_ANSWER.startswith("not sent")


def test_without_a_server(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server is started in passing: the command says which variable names the one that runs."""
    for address, words in (("", "PREFECT_API_URL is not set"), ("http://127.0.0.1:9/api", "no Prefect server at")):
        with monkeypatch.context() as patch:
            patch.setattr(automations, "server_address", lambda address=address: address)
            ended = terminal.run("automations", "list")
        assert USAGE == ended.code
        assert words in ended.text
