"""What a person decides in Prefect: on a server of the tests, with both fakes on ports."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import get_client

from flows.deployed import sync
from flows.deployed_answers import approve, backup, merge, problems_retry
from flows.needs import REFUSED_LEAVERS
from flows.open import open_store
from flows.settings import load_settings
from tests.flows.test_deployed import Place, deployed, ended, marked, place  # noqa: F401 - a fixture

pytest_plugins = ["tests.prefect_server"]


@pytest.fixture
async def deployment(prefect_folder: Path) -> AsyncIterator[UUID]:
    """Give a deployment `sync`, as the answers look for it."""
    assert prefect_folder.is_dir()
    number = await deployed("sync", [])
    yield number
    async with get_client() as client:
        await client.delete_deployment(number)


async def runs_of(number: UUID) -> list[Any]:
    """Return the runs of a deployment."""
    async with get_client() as client:
        return await client.get_scheduled_flow_runs_for_deployments([number], limit=10)


@marked
async def test_first_run_by_the_form(place: Place, deployment: UUID) -> None:  # noqa: F811
    """The plan, a wrong number, the right one, and the run that was started by it loads everything."""
    assert "Waiting" == (await ended())[1]
    refused = await ended(approve, kind="first-run", count=35)
    told = "The run found 36 cases, not 35. Give the count 36 if that is right."
    assert ("FAILED", "Failed", told) == refused
    assert [] == await runs_of(deployment)
    kind, _, message = await ended(approve, kind="first-run", count=36)
    assert "COMPLETED" == kind
    assert re.search(r"^Approved: 36 new cases of .* Started: sync run [a-z]+-[a-z]+\.$", message)
    assert 1 == len(await runs_of(deployment))
    assert 0 == place.writes
    assert ("Completed", "student: 12 created. enrolment: 24 created.") == (await ended())[1:]


@marked
async def test_leavers_by_the_form_and_what_still_waits(place: Place) -> None:  # noqa: F811
    """Without a run at once nothing is started, and what else waits is counted."""
    await place.approve()
    with open_store(load_settings(place.env, None)) as store:
        store.put(REFUSED_LEAVERS, json.dumps({"2": {"enrolment": 4}, "3": {"enrolment": 7}}))
    message = (await ended(approve, kind="leavers", course=2, count=4, run_now=False))[2]
    assert message.startswith("Confirmed: 4 people.")
    assert message.endswith("Still waiting for a person: 1; the log has them.")
    nothing = await ended(approve, kind="withdrawn", count=4, run_now=False)
    assert ("FAILED", "Nothing waits to be confirmed there. Waiting: nothing at all.") == (nothing[0], nothing[2])


@marked
async def test_without_a_deployment_the_word_counts_all_the_same(place: Place) -> None:  # noqa: F811
    """Where no run can be started, the answer is written down and the message says who takes it in."""
    await ended()
    message = (await ended(approve, kind="first-run", count=36))[2]
    assert message.endswith("There is no deployment sync/sync here: the next run takes it in.")
    await ended()
    assert place.writes > 0


@marked
async def test_merge_and_undo(place: Place) -> None:  # noqa: F811
    """Two numbers become one and two again; an unknown number is told in a sentence."""
    await place.approve()
    old, new = place.sandbox.learners[:2]
    unknown = await ended(merge, old=old, new=99999, run_now=False)
    assert ("FAILED", True) == (unknown[0], unknown[2].startswith("No run has met person 99999."))
    assert (await ended(merge, old=old, new=new, run_now=False))[2].startswith("Merged: the next run marks the ")
    assert (await ended(merge, old=old, new=new, undo=True, run_now=False))[2].startswith("Taken back: ")


@marked
async def test_retry_wants_one_choice(place: Place) -> None:  # noqa: F811
    """None or two of them are wrong, and so is a reason that nothing has, or a course that no run has met."""
    await place.approve()
    for given in ({}, {"key": "x", "everything": True}, {"course": 2, "everything": True}):
        told = (await ended(problems_retry, **given))[2]
        assert "Fill in one of them: key, everything, or reason and course (one or both)." == told
    assert (await ended(problems_retry, reason="nonsense"))[2].startswith("No refused record with the reason")
    assert (await ended(problems_retry, course=99))[2].startswith("No run has met a course 99.")
    assert (await ended(problems_retry, course=2))[2].startswith("No refused record of course 2")


@marked
async def test_backup(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """A copy is made; of books on a server none, and that is no failure; a wrong setting is one."""
    await place.approve()
    kind, name, message = await ended(backup)
    assert ("COMPLETED", "Completed", True) == (kind, name, message.startswith("Written: "))
    monkeypatch.setenv("STATE_URL", "postgresql://books@127.0.0.1/books")
    kind, _, message = await ended(backup)
    assert ("COMPLETED", True) == (kind, message.startswith("The books are on a database server"))
    monkeypatch.setenv("SETTINGS_FILE", "nowhere.env")
    kind, _, message = await ended(backup)
    assert ("FAILED", True) == (kind, message.startswith("The settings file nowhere.env cannot be read"))
    assert "FAILED" == (await ended(sync))[0]
