"""The child of `serve` that starts the runs: takes the deployments to the server, tidies up, and waits for work.

Where webhooks are taken in it starts a drain whenever hints wait: a look at the inbox costs a millisecond, a run
each minute that finds nothing a second or two.

Started as `python -m flows.served FILE`; what it took to the server it writes into FILE, for its parent to read.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, FlowRun, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.states import Cancelled, Crashed

from flows.automations import LIFE, install, installed
from flows.clock import SystemClock
from flows.deployed import settings_here
from flows.deployments import OURS, Deployment, find_file, read_deployments
from flows.errors import UsageError
from flows.nudges import places
from flows.settings import Settings
from state import hints_wait

log = logging.getLogger(__name__)

LEFT = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
SYNC, DRAIN = "sync", "drain"
DRAINS = "SERVE_DRAINS"
"""Variable by which `serve` tells that it takes in webhooks."""
PAGE = 200
STEP = 0.05
LOOKS_EVERY, FIRST_PAUSE, LONGEST_PAUSE = 2.0, 10.0, 300.0
"""Seconds between looks into the inbox; after a drain that came to nothing at first, and at most."""
LONGEST_DRAIN_LOOKS = 450
NUDGES_WITHIN = 60.0
"""Seconds in which the nudges are brought up to date; else all goes on without."""
NO_NUDGES = "none; nobody is told when a run fails (docs/operations.md, Nudges)"
BY_HAND = "`moodle-commcare automations install` says what is wrong"
PARENT = os.getppid()
RUNS_END_WITHIN = 10.0
"""Seconds that runs get to end in good order when there is no server; they would wait for it much longer."""
ALL_END_WITHIN = 40.0
"""Seconds after which whatever is left is killed."""
POLLS_EVERY = 3
"""Seconds between looks for runs to start; a person who filled in a form waits for it."""


def runner_deployment(one: Deployment) -> RunnerDeployment:
    """Return a deployment of prefect.yaml as Prefect serves it."""
    limit = ConcurrencyLimitConfig(
        limit=one.concurrency_limit.limit,
        collision_strategy=ConcurrencyLimitStrategy(one.concurrency_limit.collision_strategy),
    )
    schedules = [
        DeploymentScheduleCreate(
            schedule=CronSchedule(cron=each.cron, timezone=each.timezone), active=each.active, slug=each.slug
        )
        for each in one.schedules
    ]
    return RunnerDeployment.from_entrypoint(
        one.module_entrypoint,
        one.name,
        schedules=schedules,
        concurrency_limit=limit,
        parameters=one.parameters,
        description=one.description,
        tags=one.tags,
        paused=False,
    )


async def register(runner: Runner, deployments: Sequence[Deployment]) -> dict[str, UUID]:
    """Take the deployments to the server and return their ids; those of ours that are no more are deleted."""
    ids = {one.name: await runner.aadd_deployment(runner_deployment(one)) for one in deployments}
    async with get_client() as client:
        for found in await client.read_deployments(limit=PAGE):
            if set(found.tags) >= OURS and found.id not in ids.values():
                await client.delete_deployment(found.id)
    return ids


async def tidy_up(client: PrefectClient, ids: Sequence[UUID], now: datetime) -> None:
    """End what an earlier `serve` left: runs that nobody is at work on, and all but the newest missed start.

    Only one `serve` is at work in a folder, so none of these runs is alive.
    """
    overdue = {"state": {"type": {"any_": [StateType.SCHEDULED]}}, "expected_start_time": {"before_": now}}
    for number in ids:
        for run in await _runs(client, number, {"state": {"type": {"any_": LEFT}}}):
            message = "The program was stopped in the middle of this run. The next run catches up."
            await client.set_flow_run_state(run.id, Crashed(message=message), force=True)
        missed = [run for run in await _runs(client, number, overdue) if run.auto_scheduled]
        for run in sorted(missed, key=lambda run: str(run.expected_start_time))[:-1]:
            message = "Nothing was running at that time; one run makes up for all."
            await client.set_flow_run_state(run.id, Cancelled(name="Skipped", message=message), force=True)


async def _runs(client: PrefectClient, number: UUID, wanted: dict[str, object]) -> list[FlowRun]:
    """Return runs of a deployment by state and time."""
    found = FlowRunFilter.model_validate({"deployment_id": {"any_": [number]}, **wanted})
    return await client.read_flow_runs(flow_run_filter=found, limit=PAGE)


async def serve(told: Path) -> None:
    """Serve until SIGTERM; writes the ids of the deployments, and of a first run in the sandbox, into `told`."""
    runner = Runner(name="moodle-commcare", pause_on_shutdown=False, query_seconds=POLLS_EVERY)
    ids = await register(runner, read_deployments(find_file()))
    found = {name: str(number) for name, number in ids.items()}
    async with get_client() as client:
        await tidy_up(client, [*ids.values()], datetime.fromtimestamp(SystemClock().now(), UTC))
        found["nudges"] = await bring_nudges(settings_here)
        if os.environ.get("SERVE_FIRST_RUN"):
            run = await client.create_flow_run_from_deployment(ids[SYNC])
            found["first run"] = str(run.id)
    drains = asyncio.ensure_future(_start_drains(ids[DRAIN])) if os.environ.get(DRAINS) else None
    await _until_told_to_stop(runner, lambda: told.write_text(json.dumps(found)), drains)


async def bring_nudges(settings_of: Callable[[], Settings]) -> str:
    """Bring the nudges up to date and return in words where they go; whatever fails is told there.

    Without an address in the settings nothing is changed: the nudges there may have been installed with others.
    """
    try:
        async with asyncio.timeout(NUDGES_WITHIN):
            settings = settings_of()
            if where := places(settings):
                changes, _ = await install(settings)
                news = sum(change.what != "as before" for change in changes)
                return f"to {' and '.join(where)}{f'; {news} of them brought up to date' if news else ''}"
            telling = [one for one in await installed() if not one.name.endswith(LIFE)]
            return "where they were installed to; the settings name no address" if telling else NO_NUDGES
    except UsageError as error:
        return f"not brought up to date. {error}"
    except Exception as error:
        log.warning("The nudges could not be brought up to date (%s).", type(error).__name__)
        return f"not brought up to date ({type(error).__name__}); {BY_HAND}"


async def _start_drains(number: UUID) -> None:
    """Start drains on the books of the settings until cancelled."""
    url = settings_here().state_url
    async with get_client() as client:
        await drain_on_hints(client, number, lambda: hints_wait(url), asyncio.sleep)


async def drain_on_hints(
    client: PrefectClient,
    number: UUID,
    wait: Callable[[], bool],
    sleep: Callable[[float], Awaitable[object]],
) -> None:
    """Start a drain whenever hints wait and none is at work, until cancelled.

    One that ended otherwise than completed (Moodle is down, another run is at work) is followed by longer and
    longer pauses. A look or a start that fails is tried again: the full runs find everything anyway.
    """
    pause = LOOKS_EVERY
    while True:
        await sleep(pause)
        try:
            if not await asyncio.to_thread(wait):
                pause = LOOKS_EVERY
                continue
            run = await client.create_flow_run_from_deployment(number)
            well = await _ended_well(client, run.id, sleep)
        except Exception as error:
            log.warning("Prefect could not be asked for a drain (%s).", type(error).__name__)
            well = False
        pause = LOOKS_EVERY if well else min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE)


async def _ended_well(client: PrefectClient, run: UUID, sleep: Callable[[float], Awaitable[object]]) -> bool:
    """Wait for the end of a drain, for a quarter of an hour at most, and say whether it completed."""
    for _ in range(LONGEST_DRAIN_LOOKS):
        state = (await client.read_flow_run(run)).state
        if state is not None and state.is_final():
            return state.name == "Completed"
        await sleep(LOOKS_EVERY)
    return False


async def _until_told_to_stop(
    runner: Runner, ready: Callable[[], object], drains: asyncio.Future[None] | None
) -> None:
    """Start the runs that are due until SIGTERM; then cancel those under way, and wait until they have ended.

    The runner's own answer to SIGTERM ends this process at once and leaves its runs without an end.
    """
    stopping = asyncio.Event()
    at_work = asyncio.ensure_future(runner.start())
    while not runner.started and not at_work.done():
        await asyncio.sleep(STEP)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    ready()
    told = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({at_work, told}, return_when=asyncio.FIRST_COMPLETED)
    if drains is not None:
        drains.cancel()
    if stopping.is_set():
        await _end_runs(runner)
    told.cancel()
    await at_work


async def _end_runs(runner: Runner) -> None:
    """Cancel the runs under way, so that each ends in good order and Prefect knows of it.

    Without a server nothing can be cancelled, and this process would try for ever: then the runs are told to end
    by a signal, and after a while whatever is left is killed, this process too. The next `serve` tidies up.
    """
    asyncio.get_running_loop().call_later(ALL_END_WITHIN, os.killpg, os.getpgrp(), signal.SIGKILL)
    if os.getppid() == PARENT and await _server_answers():
        await runner.astop()
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(os.getpgrp(), signal.SIGTERM)
    await asyncio.sleep(RUNS_END_WITHIN)
    os.killpg(os.getpgrp(), signal.SIGKILL)


async def _server_answers() -> bool:
    """Say whether the server is still there."""
    async with get_client() as client:
        return await client.api_healthcheck() is None


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
