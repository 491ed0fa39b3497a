"""Two real worker processes with the books on PostgreSQL: each shard once, and the same as one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.flows.machines import GRADES, LEASE, REST, Machines, school, wait_until
from tests.flows.rounds import cases
from tests.flows.worlds import Lab
from tests.postgres import Server

pytestmark = pytest.mark.e2e


@pytest.fixture
def machines(postgres: Server, tmp_path: Path) -> Iterator[Machines]:
    """Serve a school, with a database for the books."""
    with postgres.books() as url:
        made = Machines(tmp_path, url)
        made.moodle.latency = lambda name: 0.8 if name == GRADES else 0.02
        with made.serving():
            yield made


def alone(folder: Path) -> dict[str, Any]:
    """Return what one process makes of the same school."""
    (folder / "alone").mkdir()
    lab = Lab(folder / "alone", school(), state_url="sqlite://")
    try:
        assert "completed" == asyncio.run(lab.sync()).state
        return cases(SimpleNamespace(lab=lab))  # type: ignore[arg-type]
    finally:
        lab.close()


def test_two_workers(machines: Machines, tmp_path: Path) -> None:
    """Each shard is done once, by another process, and CommCare holds what one process would send."""
    helper = machines.start("shard", "--wait", "60")
    result = machines.ended(machines.start("sync", "--shards", "2", "--yes"))
    helped = machines.ended(helper)
    assert ("completed", "completed") == (result["state"], helped["state"]), (result, helped)
    assert [(1, 1, 4, "completed"), (2, 1, 4, "completed")] == [
        (row["number"], row["begun"], row["courses"], row["state"]) for row in result["shards"]
    ]
    assert ([{"number": 2}], result["run_id"]) == (helped["shards"], helped["run_id"])
    assert 4 == len(helped["courses"])
    assert 8 == result["requests"]["moodle"][GRADES]
    assert alone(tmp_path) == cases(SimpleNamespace(lab=machines))  # type: ignore[arg-type]
    again = machines.ended(machines.start("sync", "--shards", "2"))
    assert ("completed", 0) == (again["state"], again["requests"]["commcare"].get("write", 0))


def test_a_worker_is_killed(machines: Machines, tmp_path: Path) -> None:
    """Another one takes its shard over, nothing is doubled, and after a rest all is as one process makes it."""
    helper, opener = machines.start("shard", "--wait", "60"), machines.start("sync", "--shards", "2", "--yes")
    wait_until(lambda: (machines.folder / "state.key").exists())
    with machines.store() as store:

        def is_at_work() -> bool:
            shards = store.shards(store.round_under_way(), time.time(), LEASE)
            return any(row.at_work for row in shards if row.number == 2)

        wait_until(is_at_work)
    machines.kill(helper)
    result = machines.ended(opener)
    assert ("completed", [1, 2]) == (result["state"], [row["begun"] for row in result["shards"]]), result
    time.sleep(REST)
    assert "completed" == machines.ended(machines.start("sync"))["state"]
    assert alone(tmp_path) == cases(SimpleNamespace(lab=machines))  # type: ignore[arg-type]
