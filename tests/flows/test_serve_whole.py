"""`serve --sandbox` as somebody types it: a real server, its schedule, a form, and a clean end."""

from __future__ import annotations

import re
import signal
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from adaptors.serve import LocalServer
from flows.served import NO_NUDGES
from tests.flows.machines import Machines
from tests.flows.served_whole import LONG, Served, group_of, is_running, until, whole
from tests.flows.test_automations import Hook
from tests.prefect_server import let_connections_go

PAGES = "https://prefect.example.org"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Give a `serve --sandbox` that is up."""
    with whole(tmp_path, "--sandbox") as made:
        yield made


@pytest.fixture(autouse=True)
def _connections() -> Iterator[None]:
    """Let go what the clients leave behind: now, and not in the middle of a later test."""
    yield
    let_connections_go()


@pytest.mark.e2e
@pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")  # of tests before this one
def test_from_the_first_plan_to_a_clean_end(served: Served, tmp_path: Path) -> None:
    """The first run waits, the form approves it, cases are made, the schedule has runs; SIGTERM leaves nothing."""
    first = re.search(r"First run: .*/flow-run/([0-9a-f-]{36})", served.output.read_text())
    assert first is not None
    name, message = served.end_of(first[1])
    assert ("Waiting", True) == (name, message.endswith("or in Prefect `approve`: kind first-run, count 36."))
    with pytest.raises(urllib.error.HTTPError) as refused:
        served.start("approve/approve", kind="nonsense")
    assert "'nonsense' is not one of ['first-run'," in refused.value.read().decode()
    name, message = served.end_of(served.start("approve/approve", kind="first-run", count=36))
    assert ("Completed", True) == (name, "Started: sync run" in message)
    named = {"flow_runs": {"name": {"any_": [message.split()[-1].rstrip(".")]}}}
    (run,) = served.ask("flow_runs/filter", named)
    assert ("Completed", "student: 12 created. enrolment: 24 created.") == served.end_of(run["id"])

    # The scheduler of a real server: a package once stopped it, and no run ever came.
    upcoming = {
        "deployments": {"name": {"any_": ["sync"]}},
        "flow_runs": {"state": {"name": {"any_": ["Scheduled"]}}},
    }
    runs = until(lambda: (found := served.ask("flow_runs/filter", upcoming)) and len(found) > 2 and found)
    automatic = [run for run in runs if run["auto_scheduled"]]
    assert {":07:00"} == {run["expected_start_time"][13:19] for run in automatic}

    assert f"Nudges:     {NO_NUDGES}\n" in served.output.read_text()
    logs = tmp_path / "var" / "sandbox" / "prefect" / "logs"
    processes = group_of(served.process.pid)
    assert len(processes) >= 2
    served.process.send_signal(signal.SIGTERM)
    assert 0 == served.process.wait(LONG)
    assert served.output.read_text().rstrip().endswith("Ended.")
    assert [] == [pid for pid in processes if is_running(pid)]
    assert {"server.log", "runs.log", "receiver.log"} == {path.name for path in logs.iterdir()}
    assert "Amina" not in "".join(path.read_text() for path in logs.iterdir())


@pytest.mark.e2e
@pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")
def test_nudges_arrive_without_being_installed_by_hand(tmp_path: Path) -> None:
    """An address in the settings is enough; a second start finds them as they are; no log holds the address."""
    machines, hook = Machines(tmp_path, f"sqlite:///{tmp_path / 'state.db'}"), Hook()
    with machines.serving(), LocalServer(hook) as chat:
        env = {**machines.env, "NUDGE_WEBHOOK_URL": f"{chat.url}/canary-address", "PREFECT_UI_URL": PAGES}
        with whole(tmp_path, env=env) as served:
            assert re.search(
                r"(?m)^Nudges:     to NUDGE_WEBHOOK_URL; \d+ of them brought", served.output.read_text()
            )
            assert "Waiting" == served.end_of(served.start("sync/sync"))[0]
            (told,) = until(lambda: hook.got)
            assert ("moodle-commcare: sync ended Waiting", True) == (
                told["subject"],
                f"{PAGES}/runs" in told["body"],
            )
            served.process.send_signal(signal.SIGTERM)
            assert 0 == served.process.wait(LONG)
        with whole(tmp_path, env=env) as served:
            assert "Nudges:     to NUDGE_WEBHOOK_URL\n" in served.output.read_text()
            served.process.send_signal(signal.SIGTERM)
            assert 0 == served.process.wait(LONG)
    logs = [path.read_text() for path in (tmp_path / "var" / "prefect" / "logs").iterdir()]
    assert "canary-address" not in "".join([*logs, served.output.read_text()])


@pytest.mark.e2e
@pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")
def test_a_password_for_prefect(tmp_path: Path) -> None:
    """Who does not know it is not let in; `serve` and its runs are, artifacts and all; no log holds it."""
    env = {"PREFECT_SERVER_API_AUTH_STRING": "ops:canary-word"}
    with whole(tmp_path, "--sandbox", env=env) as served:
        first = re.search(r"First run: .*/flow-run/([0-9a-f-]{36})", served.output.read_text())
        assert first is not None
        with pytest.raises(urllib.error.HTTPError) as refused:
            served.ask("admin/version")
        assert 401 == refused.value.code
        served.password = "ops:canary-word"
        assert "Waiting" == served.end_of(first[1])[0]
        shown = {artifact["key"]: artifact["data"] for artifact in served.ask("artifacts/filter", {})}
        assert "Open the form, filled in" in shown["demo-needs-a-person"]
        served.process.send_signal(signal.SIGTERM)
        assert 0 == served.process.wait(LONG)
    logs = [path.read_text() for path in (tmp_path / "var" / "sandbox" / "prefect" / "logs").iterdir()]
    assert "canary-word" not in "".join([*logs, served.output.read_text()])
