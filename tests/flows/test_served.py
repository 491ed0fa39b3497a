"""What the runs' process of `serve` does to a server before it waits for work: registers, and tidies up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.runner import Runner
from prefect.server.services.scheduler import schedule_deployments
from prefect.states import Completed, Running

from flows import served
from flows.automations import Change, Installed
from flows.clock import SystemClock
from flows.deployments import SHIPPED, read_deployments
from flows.errors import UsageError
from flows.served import BY_HAND, NO_NUDGES, bring_nudges, drain_on_hints, register, tidy_up
from flows.settings import Settings
from tests.flows.test_automations import settings as nudge_settings
from tests.flows.test_deployed import deployed, marked

pytest_plugins = ["tests.prefect_server"]
SPECS = read_deployments(SHIPPED)


@marked
async def test_registers_what_the_file_says_and_drops_what_it_says_no_more(prefect_folder: Path) -> None:
    """Every deployment is there, none is paused, one of ours from an older file is gone, others are left alone."""
    assert prefect_folder.is_dir()
    other = await deployed("somebody-elses", [])
    runner = Runner(name="test", pause_on_shutdown=False)
    before = await register(runner, SPECS)
    after = await register(runner, [one for one in SPECS if one.name != "merge"])
    async with get_client() as client:
        found = {one.id: one for one in await client.read_deployments()}
        assert {name: number for name, number in before.items() if name != "merge"} == after
        assert {*after.values(), other} <= found.keys()
        assert before["merge"] not in found
        assert not any(found[number].paused for number in after.values())
        active = [schedule.active for number in after.values() for schedule in found[number].schedules]
        for number in (*after.values(), other):
            await client.delete_deployment(number)
    assert active == [schedule.active for one in SPECS for schedule in one.schedules]


@marked
async def test_tidies_up_after_a_hard_end(prefect_folder: Path) -> None:
    """A run without a process is crashed and its place is free; of missed starts the newest is kept, forms all."""
    assert prefect_folder.is_dir()
    ids = await register(Runner(name="test", pause_on_shutdown=False), SPECS)
    await schedule_deployments()
    later = datetime.fromtimestamp(SystemClock().now(), UTC) + timedelta(hours=5, minutes=1)
    async with get_client() as client:
        left = await client.create_flow_run_from_deployment(ids["sync"])
        await client.set_flow_run_state(left.id, Running(), force=True)
        form = await client.create_flow_run_from_deployment(ids["approve"], parameters={"kind": "leavers"})
        await tidy_up(client, [*ids.values()], later)
        assert "Crashed" == await name_of(client, left)
        assert "Scheduled" == await name_of(client, form)
        due = FlowRunFilter.model_validate(
            {"deployment_id": {"any_": [ids["sync"]]}, "expected_start_time": {"before_": later}}
        )
        runs = [run for run in await client.read_flow_runs(flow_run_filter=due) if run.auto_scheduled]
        for number in ids.values():
            await client.delete_deployment(number)
    states = Counter(run.state_name for run in runs)
    assert len(runs) >= 3
    assert {"Scheduled": 1, "Skipped": len(runs) - 1} == states
    assert max(runs, key=start_of).state_name == "Scheduled"


def start_of(run: FlowRun) -> str:
    """Return when a run was to start, to be sorted by."""
    return str(run.expected_start_time)


async def name_of(client: object, run: FlowRun) -> str | None:
    """Return the name of a run's state as the server has it."""
    return (await client.read_flow_run(run.id)).state_name  # type: ignore[attr-defined]


# --- nudges -------------------------------------------------------------------------------------------------


class Nudged:
    """Automations that are there, and what becomes of installing them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *there: str, fails: Exception | None = None) -> None:
        self.there, self.fails, self.installs = there, fails, 0
        monkeypatch.setattr(served, "install", self.install)
        monkeypatch.setattr(served, "installed", self.installed)

    async def install(self, _: Settings) -> tuple[list[Change], list[Any]]:
        """Install, and tell what changed."""
        self.installs += 1
        if self.fails is not None:
            raise self.fails
        return [Change("failed", "as before" if self.there else "new"), Change("silent", "changed")], []

    async def installed(self) -> list[Installed]:
        """Return what is there."""
        return [Installed(uuid4(), f"moodle-commcare: {name}", True, "", 1) for name in self.there]


def nudging(**more: str) -> Settings:
    """Return settings, without a place for nudges unless given."""
    return nudge_settings(NUDGE_WEBHOOK_URL="", **more)


MAIL = {"NUDGE_MAIL_URL": "mailtos://u:canary@mail.example.org?to=ops@example.org"}


async def test_nudges_are_installed_where_settings_say_where_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gave an address is told, and the line at the start says where and how many changed."""
    server = Nudged(monkeypatch)
    both = {**MAIL, "NUDGE_BLOCK": "slack-webhook/ops"}
    told = await bring_nudges(lambda: nudging(**both))
    assert ("to NUDGE_MAIL_URL and NUDGE_BLOCK; 2 of them brought up to date", 1) == (told, server.installs)
    server.there = ("failed",)
    assert (await bring_nudges(lambda: nudging(**MAIL))).startswith("to NUDGE_MAIL_URL; 1 of them")


async def test_without_an_address_nothing_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nudges that were installed with other settings stay; where there are none, that is said."""
    server = Nudged(monkeypatch, "dead run")
    assert NO_NUDGES == await bring_nudges(nudging)
    server.there = ("dead run", "failed")
    told = await bring_nudges(nudging)
    assert ("where they were installed to; the settings name no address", 0) == (told, server.installs)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UsageError("Prefect has no such block."), "not brought up to date. Prefect has no such block."),
        (OSError("canary"), f"not brought up to date (OSError); {BY_HAND}"),
        (TimeoutError(), f"not brought up to date (TimeoutError); {BY_HAND}"),
    ],
)
async def test_nudges_that_cannot_be_installed_hold_nothing_up(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    """All else is served; the line says what is wrong or how to find out, and no address."""
    Nudged(monkeypatch, fails=error)
    assert told == await bring_nudges(lambda: nudging(**MAIL))


# --- drains -------------------------------------------------------------------------------------------------


class Drains:
    """A server that starts drains, hints that wait, and a clock of its own; each drain takes four seconds."""

    def __init__(self, ends: Sequence[str], hints: Sequence[bool] | None = None, until: float = 600) -> None:
        self._until = until
        self.now = 0.0
        self.begun: list[float] = []
        self._ends, self._hints = list(ends), hints

    def wait(self) -> bool:
        """Say whether hints wait; without a list they always do."""
        looks = int(self.now / 2) - 1
        return self._hints is None or (looks < len(self._hints) and self._hints[looks])

    async def sleep(self, seconds: float) -> None:
        """Let time pass, until it is enough."""
        self.now += seconds
        if self.now > self._until:
            raise asyncio.CancelledError

    async def create_flow_run_from_deployment(self, number: UUID) -> Any:
        """Start a drain, or fail as a server that is away."""
        self.begun.append(self.now)
        if self._ends[0] == "no server":
            self._ends.pop(0)
            raise OSError(111, "Connection refused")
        return SimpleNamespace(id=number)

    async def read_flow_run(self, number: UUID) -> Any:
        """Tell how a drain is doing."""
        assert number
        if self.now < self.begun[-1] + 4 or self._ends[0] == "never":
            return SimpleNamespace(state=Running())
        name = self._ends[0] if len(self._ends) == 1 else self._ends.pop(0)
        return SimpleNamespace(state=Completed(name=name))

    async def go(self) -> list[float]:
        """Watch the inbox for a while and return when drains were begun."""
        with pytest.raises(asyncio.CancelledError):
            await drain_on_hints(cast(PrefectClient, self), uuid4(), self.wait, self.sleep)
        return self.begun


async def test_no_hints_no_runs() -> None:
    """An empty inbox starts nothing: that is what it is for."""
    assert [] == await Drains(["Completed"], []).go()


async def test_a_hint_starts_one_drain() -> None:
    """It begins with the next look, and only once."""
    assert [6.0] == await Drains(["Completed"], [False, False, True]).go()


async def test_hints_that_go_on_coming_are_drained_one_after_the_other() -> None:
    """As long as drains end well, the next begins with the next look, never beside the one before."""
    begun = await Drains(["Completed"]).go()
    assert {6.0} == {later - earlier for earlier, later in pairwise(begun)}


@pytest.mark.parametrize("end", ["Postponed", "Failed", "Waiting", "no server"])
async def test_drains_that_come_to_nothing_are_begun_less_and_less_often(end: str) -> None:
    """Moodle is down, or nobody has approved yet: pauses double up to five minutes, until one ends well."""
    begun = await Drains([end, end, end, "Completed"]).go()
    took = 0.0 if end == "no server" else 4.0
    pauses = [later - earlier - took for earlier, later in pairwise(begun)]
    assert [10.0, 20.0, 40.0] == pauses[:3]
    assert {6.0 - took} == set(pauses[3:])


async def test_a_drain_that_never_ends_is_not_waited_for_for_ever() -> None:
    """Prefect lost its process without noticing: after a quarter of an hour the next one is tried."""
    assert [2.0, 912.0] == await Drains(["never"], until=1000).go()
