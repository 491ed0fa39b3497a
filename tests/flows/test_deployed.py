"""The Prefect flow `sync`: how a run ends there, and a deployment that Prefect understands."""

from __future__ import annotations

import asyncio
import atexit
import gc
import os
import re
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import CronSchedule
from prefect.server.services.scheduler import schedule_deployments, schedule_recent_deployments
from prefect.utilities import engine

from flows.deployed import audit, final_state, gentle_end, preview, reason, spare_garbage, summary, sync
from flows.open import open_store, open_world
from flows.result import CaseCounts, Result, RunState
from flows.sandbox import Sandbox, make_sandbox, serving
from flows.settings import load_settings
from flows.sync import NO_SUCH_COURSE, Options
from flows.sync import sync as sync_once
from mappings.engine import MappingError
from mappings.engine.problems import Problem

pytest_plugins = ["tests.prefect_server"]

HOUSE = Path(__file__).parent.parent.parent
FILE: dict[str, Any] = yaml.safe_load((HOUSE / "prefect.yaml").read_text())
DEPLOYMENTS: list[dict[str, Any]] = FILE["deployments"]

on_prefect = [
    pytest.mark.e2e,
    # Prefect leaves connections to its own server to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
]


def marked(test: Any) -> Any:
    """Mark a test as one that needs a Prefect server."""
    for mark in on_prefect:
        test = mark(test)
    return test


class Place:
    """Both fakes on ports of this computer, and the settings to reach them."""

    def __init__(self, sandbox: Sandbox, env: dict[str, str]) -> None:
        self.sandbox = sandbox
        self.env = env

    async def approve(self) -> None:
        """Run the first sync as the command does with --yes."""
        world = open_world(load_settings(self.env, None))
        try:
            assert RunState.COMPLETED == (await sync_once(world, Options(yes=True))).state
        finally:
            await world.close()

    @property
    def writes(self) -> int:
        """Return how many writes CommCare has got."""
        return self.sandbox.commcare.requests["write"]


@pytest.fixture
def place(prefect_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Serve both fakes to the flow, whose settings come from this process's environment."""
    assert prefect_folder.is_dir()
    monkeypatch.chdir(tmp_path)  # where no .env is
    sandbox = make_sandbox()
    with serving(sandbox, tmp_path / "sandbox") as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        yield Place(sandbox, env)


async def ended(flow: Any = sync, **parameters: Any) -> tuple[str, str, str]:
    """Run a flow and return type, name and message of the state that Prefect's server keeps."""
    state = await flow(**parameters, return_state=True)
    async with get_client() as client:
        run: FlowRun = await client.read_flow_run(state.state_details.flow_run_id)
    assert run.state is not None
    return run.state.type.value, run.state.name or "", run.state.message or ""


async def deployed(name: str, schedules: list[dict[str, Any]]) -> UUID:
    """Make a deployment of the flow with schedules as prefect.yaml writes them."""
    async with get_client() as client:
        found = [
            DeploymentScheduleCreate(
                schedule=CronSchedule(cron=one["cron"], timezone=one["timezone"]), active=one["active"]
            )
            for one in schedules
        ]
        return await client.create_deployment(
            flow_id=await client.create_flow(sync), name=name, entrypoint="flows/deployed.py:sync", schedules=found
        )


# --- runs on a Prefect server -------------------------------------------------------------------------------


@marked
@pytest.mark.parametrize("scheduler", [schedule_deployments, schedule_recent_deployments])
async def test_a_schedule_makes_runs(prefect_folder: Path, scheduler: Callable[[], Awaitable[None]]) -> None:
    """Prefect's scheduler writes down the next runs, one an hour, with the packages that are pinned."""
    assert prefect_folder.is_dir()
    (hourly,) = DEPLOYMENTS[0]["schedules"]
    number = await deployed(scheduler.__name__, [hourly])
    await scheduler()  # a temporary server runs no services
    async with get_client() as client:
        runs = await client.get_scheduled_flow_runs_for_deployments([number], limit=50)
        await client.delete_deployment(number)
    times = sorted(run.next_scheduled_start_time for run in runs if run.next_scheduled_start_time)
    assert len(times) >= 3
    assert {7} == {time.minute for time in times}
    assert {3600.0} == {(later - first).total_seconds() for first, later in pairwise(times)}


@marked
async def test_sends_what_differs_and_then_nothing(place: Place) -> None:
    """A change in Moodle is one row of one write; without a change there is no write at all."""
    await place.approve()
    before = place.writes
    place.sandbox.site.update_user(place.sandbox.learners[2], lastname="Kiplagat-Rono")
    first = await ended()
    assert ("COMPLETED", "Completed", "student: 1 updated, 11 unchanged. enrolment: 24 unchanged.") == first
    assert before + 1 == place.writes
    assert "student: 12 unchanged. enrolment: 24 unchanged." == (await ended())[2]
    assert before + 1 == place.writes


@marked
async def test_first_run_waits_for_a_person(place: Place) -> None:
    """The first run of the mappings writes nothing and says so."""
    kind, name, message = await ended()
    assert ("COMPLETED", "Waiting", 0) == (kind, name, place.writes)
    assert message.startswith("First run of enrolment, student: it would make 24 cases of enrolment, 12 cases of")
    assert message.endswith("or in Prefect `approve`: kind first-run, count 36.")


@marked
async def test_preview_sends_nothing(place: Place) -> None:
    """A preview of what would be sent ends completed."""
    expected = "Preview: nothing was sent. student: 12 created. enrolment: 24 created."
    assert ("COMPLETED", "Completed", expected) == await ended(preview)
    assert 0 == place.writes


@marked
async def test_audit_in_a_sentence(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was just sent ends completed, a key that two cases have degraded, a wrong setting failed."""
    await place.approve()
    counted = "36 cases listed in 2 requests"
    kind, name, message = await ended(audit)
    assert ("COMPLETED", "Completed") == (kind, name)
    assert message.startswith(
        f"completed, {counted}: none of them compared yet. 36 cases not compared: written in"
    )
    student = place.sandbox.project.of_type("student")[0]
    place.sandbox.project.add_case("student", "Canary Name", external_id=student.external_id)
    kind, name, message = await ended(audit, repair=True)
    assert ("FAILED", "Degraded") == (kind, name)
    assert message.startswith("degraded, 37 cases listed in 2 requests: 1 duplicate. 1 key used by more than one")
    monkeypatch.setenv("MOODLE_TOKN", "0123456789")
    assert ("FAILED", "Failed", "MOODLE_TOKN is not a setting; did you mean MOODLE_TOKEN?") == await ended(audit)


@marked
async def test_wrong_parameters_and_settings(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown course, mapping or setting and a wrong mapping file each end in one sentence with the remedy."""
    course = await ended(courses=[99])
    assert ("FAILED", "Failed") == course[:2]
    assert (
        "Course 99 is not among the selected courses. There are: 2 (CHW-101), 3 (CHW-102), 4 (CHW-201)."
        == (course[2])
    )
    assert (
        "There is no enabled mapping 'studnet'. There are: student, enrolment."
        == ((await ended(mappings=["studnet"]))[2])
    )
    student = Path(place.env["MAPPINGS_DIR"]) / "student.yaml"
    student.write_text(student.read_text().replace("firstname, transform", "fristname, transform"))
    _, name, wrong_mapping = await ended()
    assert "Failed" == name
    assert re.fullmatch(
        r"The mappings are not right\. student\.yaml:\d+: .*fristname.*\. "
        r"All that is wrong: moodle-commcare mappings check\.",
        wrong_mapping,
    )
    monkeypatch.setenv("MOODLE_TOKN", "0123456789")
    assert ("FAILED", "Failed", "MOODLE_TOKN is not a setting; did you mean MOODLE_TOKEN?") == await ended()
    assert 0 == place.writes


@marked
async def test_maintenance_and_another_run_postpone(place: Place) -> None:
    """Moodle in maintenance and a run at work on the same books are no failures."""
    await place.approve()
    place.sandbox.site.maintenance = "web"
    kind, name, message = await ended()
    assert ("COMPLETED", "Postponed") == (kind, name)
    assert "Moodle is in maintenance. The run is postponed; nothing is lost." == message
    place.sandbox.site.maintenance = ""
    with open_store(load_settings(place.env, None)) as store:
        assert store.take_lease("somebody else", time.time(), 600.0) is not None
        kind, name, message = await ended()
    assert ("COMPLETED", "Postponed") == (kind, name)
    assert message.startswith("Another run is at work")


@marked
async def test_failed_course_is_named(place: Place) -> None:
    """One course that cannot be read makes the run red, by a name of its own; the others went on."""
    await place.approve()
    project = Path(place.env["MAPPINGS_DIR"]) / "project.yaml"
    project.write_text(project.read_text().replace('shortname_like: "CHW-*"', "ids: [2, 3, 4, 99]"))
    message = f"Not read: course 99. {NO_SUCH_COURSE}"
    assert ("FAILED", "Degraded", message) == await ended()


@marked
async def test_cancelled_run_lets_go_of_the_lease(place: Place) -> None:
    """A run that is stopped in the middle is crashed or cancelled, and the next one finds the books free."""
    await place.approve()
    place.sandbox.moodle.latency = lambda _: 0.2
    answered = place.sandbox.moodle.requests
    task = asyncio.ensure_future(sync(return_state=True))
    while place.sandbox.moodle.requests < answered + 3:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    place.sandbox.moodle.latency = None
    assert "Completed" == (await ended())[1]


# --- without a server ---------------------------------------------------------------------------------------


def test_states_by_name() -> None:
    """What needs a person's eyes is of type Failed, what only waits of type Completed; the name tells which."""
    expected = {
        "completed": ("COMPLETED", "Completed"),
        "degraded": ("FAILED", "Degraded"),
        "postponed": ("COMPLETED", "Postponed"),
        "waiting": ("COMPLETED", "Waiting"),
        "failed": ("FAILED", "Failed"),
    }
    found = {state: final_state(Result("1", state)) for state in RunState}
    assert expected == {str(state): (shown.type.value, shown.name) for state, shown in found.items()}


def test_messages() -> None:
    """The message is what a person has to know, else the counts, else that there was nothing."""
    assert "There was nothing to do." == final_state(Result("1")).message
    counted = Result("1", cases={"student": CaseCounts(created=2, in_doubt=1), "enrolment": CaseCounts()})
    assert "student: 2 created, 1 waiting to confirm. enrolment: none." == final_state(counted).message
    counted.worse(RunState.DEGRADED, "3 records were held back; see the reasons.")
    assert "3 records were held back; see the reasons." == final_state(counted).message


def test_summary_has_reasons_and_requests() -> None:
    """The log of a run has a line per case type and reason, and the requests."""
    result = Result("1", cases={"student": CaseCounts(held_back=2)}, requests={"moodle": {"x": 3}, "commcare": {}})
    result.reasons["unknown_owner"] = 2
    expected = ["student: 2 held back.", "2 × unknown owner", "Requests: 3 to Moodle, 0 to CommCare."]
    assert expected == summary(result)


def test_unforeseen_error_shows_no_value() -> None:
    """An error of ours is told by class and place: its text may hold a value."""
    try:
        {}["Amina"]
    except KeyError as error:
        told = reason(error)
    assert re.fullmatch(
        r"An error of this program stopped the run: KeyError in test_deployed\.py, line \d+\. "
        r"The next run catches up\.",
        told,
    )


def test_reason_of_mappings_is_the_first_error() -> None:
    """Warnings before the first error are not what stops a run."""
    warning, error = (
        Problem("student.yaml", line, 1, 1, f"problem {line}.", "", "", severity)
        for line, severity in ((3, "warning"), (7, "error"))
    )
    told = reason(MappingError([warning, error]))
    assert told.startswith("The mappings are not right. student.yaml:7: problem 7. ")


@pytest.mark.parametrize("flow", [sync, preview, audit], ids=["sync", "preview", "audit"])
def test_flow_keeps_nothing(flow: Any) -> None:
    """Results are not stored and prints are not logged, whatever the machine's settings say."""
    assert (False, False) == (flow.persist_result, flow.log_prints)


def test_only_a_process_of_one_run_keeps_what_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Prefect runs inside something longer, as in these tests, garbage is looked for as ever."""
    monkeypatch.setattr(atexit, "register", lambda _function: None)
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID", raising=False)
    before = gc.get_freeze_count()
    spare_garbage()
    assert before == gc.get_freeze_count()
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "06df031c")
    spare_garbage()
    try:
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


async def test_sigterm_ends_the_run_and_nothing_beside_it() -> None:
    """A write under way goes on; Prefect finds a handler under its own name, without which a run is crashed."""
    before = signal.signal(signal.SIGTERM, theirs := engine._prefect_sigterm_handler)
    write, told = asyncio.ensure_future(asyncio.Event().wait()), asyncio.Event()

    async def run() -> None:
        with gentle_end():
            assert signal.getsignal(signal.SIGTERM) is engine._prefect_sigterm_handler
            os.kill(os.getpid(), signal.SIGTERM)
            told.set()
            await asyncio.Event().wait()

    try:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.ensure_future(run())
        assert (True, False) == (told.is_set(), write.done())
        assert theirs is engine._prefect_sigterm_handler is signal.getsignal(signal.SIGTERM)
    finally:
        write.cancel()
        signal.signal(signal.SIGTERM, before)
