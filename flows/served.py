"""The child of `serve` that starts the runs: takes the deployments to the server, tidies up, and waits for work.

Started as `python -m flows.served FILE`; what it took to the server it writes into FILE, for its parent to read.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
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

from flows.clock import SystemClock
from flows.deployments import OURS, Deployment, find_file, read_deployments

LEFT = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
SYNC = "sync"
PAGE = 200


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
    for run in await _runs(client, ids, {"state": {"type": {"any_": LEFT}}}):
        message = "The program was stopped in the middle of this run. The next run catches up."
        await client.set_flow_run_state(run.id, Crashed(message=message), force=True)
    missed = defaultdict[UUID | None, list[FlowRun]](list)
    overdue = {"state": {"type": {"any_": [StateType.SCHEDULED]}}, "expected_start_time": {"before_": now}}
    for run in await _runs(client, ids, overdue):
        missed[run.deployment_id].append(run)
    for runs in missed.values():
        for run in sorted(runs, key=lambda run: str(run.expected_start_time))[:-1]:
            message = "Nothing was running at that time; one run makes up for all."
            await client.set_flow_run_state(run.id, Cancelled(name="Skipped", message=message), force=True)


async def _runs(client: PrefectClient, ids: Sequence[UUID], wanted: dict[str, object]) -> list[FlowRun]:
    """Return runs of our deployments by state and time."""
    found = FlowRunFilter.model_validate({"deployment_id": {"any_": [*ids]}, **wanted})
    return await client.read_flow_runs(flow_run_filter=found, limit=PAGE)


async def serve(told: Path) -> None:
    """Serve until SIGTERM; writes the ids of the deployments, and of a first run in the sandbox, into `told`."""
    runner = Runner(name="moodle-commcare", pause_on_shutdown=False)
    ids = await register(runner, read_deployments(find_file()))
    found = {name: str(number) for name, number in ids.items()}
    async with get_client() as client:
        await tidy_up(client, [*ids.values()], datetime.fromtimestamp(SystemClock().now(), UTC))
        if os.environ.get("SERVE_FIRST_RUN"):
            run = await client.create_flow_run_from_deployment(ids[SYNC])
            found["first run"] = str(run.id)
    told.write_text(json.dumps(found))
    await runner.start()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
