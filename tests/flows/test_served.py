"""What the runs' process of `serve` does to a server before it waits for work: registers, and tidies up."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.runner import Runner
from prefect.server.services.scheduler import schedule_deployments
from prefect.states import Running

from flows.clock import SystemClock
from flows.deployments import SHIPPED, read_deployments
from flows.served import register, tidy_up
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
