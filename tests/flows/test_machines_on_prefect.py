"""Prefect and the books on PostgreSQL, two workers: a shared run, and one whose other worker is killed."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from tests.flows.machines import GRADES, REST, Machines, wait_until
from tests.flows.prefect_machines import SECONDS, OnPrefect
from tests.flows.rounds import cases
from tests.flows.served_whole import process_of
from tests.flows.test_several_machines import alone
from tests.postgres import Server

pytestmark = pytest.mark.e2e

LEASE = 60.0  # seconds: longer than the longest request here


def counts(url: str) -> dict[str, Any]:
    """Return what the last run counted, as the books have it."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT counts FROM run ORDER BY started_at DESC LIMIT 1").fetchone()
    assert row is not None
    found: dict[str, Any] = json.loads(row[0])
    return found


def test_two_workers_on_prefect(postgres: Server, tmp_path: Path) -> None:
    """Each shard is done once by two workers; after a kill the other one takes over, and nothing is doubled."""
    with postgres.database() as url, postgres.database() as prefect_url:
        machines = Machines(tmp_path, url, LEASE)
        with machines.serving():
            assert "completed" == machines.ended(machines.start("sync", "--yes"))["state"]
            folder = tmp_path / "prefect"
            folder.mkdir()
            prefect = OnPrefect(folder, prefect_url, machines.env)
            with prefect.serving():
                opener, shard = _shared(machines, prefect)
                machines.moodle.latency = None
                assert ["Completed", "Completed"] == [prefect.ended(run)[0] for run in (opener, shard)]
                assert [(1, 1, "completed"), (2, 1, "completed")] == [
                    (row["number"], row["begun"], row["state"]) for row in counts(url)["shards"]
                ]
                _killed(machines, prefect)
                assert [1, 2] == [row["begun"] for row in counts(url)["shards"]]
            machines.moodle.latency = None
            time.sleep(REST)
            assert "completed" == machines.ended(machines.start("sync"))["state"]
            assert alone(tmp_path) == cases(SimpleNamespace(lab=machines))  # type: ignore[arg-type]


def _shared(machines: Machines, prefect: OnPrefect) -> tuple[str, str]:
    """Begin a round and return its runs once both workers are at work."""
    machines.moodle.latency = lambda name: 20.0 if name == GRADES else 0.02
    before, opener = set(prefect.runs_of("sync-shard")), prefect.run("sync-round")
    with machines.store() as store:

        def is_at_work() -> bool:
            shards = store.shards(store.round_under_way(), time.time(), machines.lease)
            return any(row.at_work for row in shards if row.number == 2)

        wait_until(is_at_work, SECONDS)
    (shard,) = set(prefect.runs_of("sync-shard")) - before
    return opener, shard


def _killed(machines: Machines, prefect: OnPrefect) -> None:
    """Share a run once more, and kill the process of the second shard while it is at work."""
    opener, shard = _shared(machines, prefect)
    os.kill(process_of(shard), signal.SIGKILL)
    machines.moodle.latency = None
    assert ["Completed", "Crashed"] == [prefect.ended(run)[0] for run in (opener, shard)]
