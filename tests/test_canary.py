"""No secret and no value of a person where it does not belong: logs, books, errors, results, Prefect.

Everybody in the made-up site is made of words and numbers that stand nowhere else, in every field. After runs that
go well and runs that fail in every known way, nothing of them may be found but in CommCare's cases.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.metrics import metrics_text
from flows.open import open_world
from flows.page import page
from flows.result import Result, RunState
from flows.run_markdown import needs_markdown, run_markdown, runs_markdown
from flows.sandbox import Sandbox, serving
from flows.settings import SettingsError, load_settings
from flows.show import show_plan, show_result
from flows.show_status import show_status
from flows.status import read_status
from flows.status_json import status_json
from flows.sync import Options
from flows.sync import sync as sync_once
from tests.canaries import (
    OURS,
    PERCENT,
    WORDS,
    Witness,
    canary_site,
    found_in,
    found_in_files,
    unpacked,
    use_everything,
)
from tests.disasters import AT_FIRST, LATER, one_leaves, rename, spoil_people
from tests.flows.rounds import Shop
from tests.flows.worlds import API_KEY, DOMAIN, TOKEN, USERNAME, Lab
from tests.virtual_loop import run_virtually

pytest_plugins = ["tests.prefect_server"]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Give the canaries' site, with mappings that send what there is."""
    lab = Lab(tmp_path, canary_site())
    use_everything(lab.mappings)
    yield lab
    lab.close()


@pytest.fixture
def witness(caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> Iterator[Witness]:
    """Watch a test with every logger as talkative as it can be; Prefect gets what is logged, where it is asked."""
    caplog.set_level(logging.DEBUG)
    loggers = ("httpx", "httpcore", "prefect", "prefect.flow_runs", "alembic", "sqlalchemy.engine", "stamina")
    for name in loggers:
        caplog.set_level(logging.DEBUG, name)
    with Witness(alone="prefect_folder" not in request.fixturenames) as witness:
        yield witness


async def run(lab: Lab, **options: Any) -> tuple[Result | None, list[str]]:
    """Run once, show the result as the command does, and return everything that was told."""
    try:
        result: Result = await lab.sync(**options)
    except OURS as error:
        return None, [str(error), repr(error)]
    show_result(result)
    told = run_markdown(result)
    if result.plan:
        show_plan(result)
    return result, [json.dumps(result.as_json(), ensure_ascii=False), repr(result), told]


def assert_nothing(lab: Lab, witness: Witness, told: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Assert that no canary is in what was told, shown, logged, raised or kept."""
    shown = capsys.readouterr()
    assert [] == [text for text in (*told, shown.out, shown.err) if found_in(text)]
    assert [] == witness.hits()
    assert {} == found_in_files(lab.folder / "var")


async def test_runs_that_go_well(lab: Lab, witness: Witness, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan, a first run, a preview, a change and two runs without somebody leave no trace but the cases."""
    told = (await run(lab, yes=False))[1] + (await run(lab))[1]
    assert [] == [word for word in WORDS if word not in repr(lab.project.cases) or not found_in(word)]
    rename(lab)
    told += (await run(lab, preview=True))[1] + (await run(lab))[1]
    assert "QanaryLastNew" in repr(lab.project.cases)
    one_leaves(lab)
    told += (await run(lab))[1] + (await run(lab))[1]
    assert_nothing(lab, witness, told + standing(lab), capsys)


def standing(lab: Lab) -> list[str]:
    """Return where things stand in each way in which it is told: terminal, JSON, page, metrics, artifacts."""
    status = read_status(
        lab.store, lab.loaded(), lab.clock.now(), about=("https://moodle.example.org", "", DOMAIN)
    )
    assert status.runs
    show_status(status)
    shown = [page(status), metrics_text(status), json.dumps(status_json(status)), runs_markdown(status)]
    return [*shown, needs_markdown(status.needs)]


PLAIN = re.compile(r"(moodle|commcare) (\d+_\w+|\d+|timeout|dropped|refused|slow)( asked for owners)?")
"""Failures without a word of their own: they are many and alike, and CI tries them all."""
DISASTERS = [
    pytest.param(name, marks=pytest.mark.e2e if PLAIN.fullmatch(name) else ()) for name in (*LATER, *AT_FIRST)
]


@pytest.mark.parametrize("disaster", DISASTERS)
async def test_runs_that_fail(
    disaster: str, lab: Lab, witness: Witness, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run in which something goes wrong, and the two after it, leave no trace either."""
    told = []
    if disaster in LATER:
        told += (await run(lab))[1]
        rename(lab)
    ({**LATER, **AT_FIRST}[disaster])(lab)
    ends = [await run(lab, later=seconds) for seconds in (3600.0, 60.0, 3600.0)]
    told += [text for _, texts in ends for text in texts]
    told += standing(lab) if lab.store.last_runs(1) else []
    assert witness.errors or any(result is None or trouble(result) for result, _ in ends), "nothing went wrong"
    assert_nothing(lab, witness, told, capsys)


def trouble(result: Result) -> bool:
    """Tell whether something went wrong in a run."""
    counted = any(counts.problems or counts.held_back or counts.in_doubt for counts in result.cases.values())
    return counted or result.state != RunState.COMPLETED


def test_the_search_finds_what_leaks(lab: Lab) -> None:
    """A value in a log, in an error, in the books: each is found, so that finding nothing means something."""
    with Witness() as witness:
        logging.getLogger("flows.sync").warning("Hello %s", "QanaryFirst0")
    assert ["flows.sync: Hello QanaryFirst0 ('QanaryFirst0',)"] == witness.hits()
    with Witness() as witness, pytest.raises(SettingsError):
        load_settings({"MOODLE_QANARY": "x"}, None)
    assert witness.hits()
    lab.store.put("leak", PERCENT)
    assert [PERCENT] == found_in_files(lab.folder / "var")["state.db-wal"]
    assert [TOKEN, API_KEY] == found_in(f"wstoken={TOKEN}&key={API_KEY}")


SHARED = (
    "",
    "moodle echoes",
    "moodle wrong shape",
    "commcare says row by row",
    "commcare refuses rows",
    "phones wrong",
)


@pytest.mark.parametrize("disaster", SHARED)
def test_what_workers_tell_each_other(disaster: str, tmp_path: Path, witness: Witness) -> None:
    """What shards hand over is packed in the books for a while: no canary is in it, or in the result."""
    shop, packed = Shop(tmp_path, canary_site()), set[bytes]()
    use_everything(shop.lab.mappings)
    shop.looks.append(lambda: packed.update(unpacked(shop.store)))

    async def work() -> list[Result | None]:
        first = await shop.round()
        spoil_people(city="QanaryTown")(shop.lab)  # something to send
        if disaster:
            LATER[disaster](shop.lab)
        return [first, await shop.round(), await shop.round()]

    results = [result for result in run_virtually(work()) if result is not None]
    assert any(b'"sweep"' in text for text in packed), "no shard told anything"
    assert [] == [text for text in packed if found_in(text)]
    assert [] == [result for result in results if found_in(json.dumps(result.as_json()) + run_markdown(result))]
    assert [] == witness.hits()
    assert [] == found_in(repr(shop.store.last_runs(9)))
    shop.close()


# --- through Prefect ----------------------------------------------------------------------------------------


class Front:
    """Stands on a port for a system of the lab, whatever it is at the moment."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab, self.name = lab, name
        self.token, self.site, self.project = TOKEN, lab.site, lab.project

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer: httpx.Response = getattr(self.lab, self.name)(request)
        return answer


@pytest.fixture
def served(prefect_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Serve the canaries' site to the Prefect flow, whose settings come from this process's environment."""
    assert prefect_folder.is_dir()
    lab = Lab(tmp_path, canary_site())
    fronts: Any = [Front(lab, name) for name in ("moodle", "commcare")]
    monkeypatch.chdir(tmp_path)  # where no .env is
    with serving(Sandbox(*fronts, API_KEY, (), {}, {}), tmp_path / "sandbox") as env:
        use_everything(Path(env["MAPPINGS_DIR"]))
        for name, value in (env | {"COMMCARE_DOMAIN": DOMAIN, "COMMCARE_USERNAME": USERNAME}).items():
            monkeypatch.setenv(name, value)
        yield lab
    lab.close()


@pytest.mark.e2e
# Prefect leaves connections to its own server to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")
async def test_prefect_keeps_nothing(
    served: Lab, prefect_folder: Path, tmp_path: Path, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After runs through Prefect that go well or fail, its database, its results and the logs hold no canary."""
    from prefect import flow, get_client, get_run_logger
    from prefect.logging.handlers import APILogHandler
    from prefect.states import Failed

    from flows.deployed import sync

    moodle, commcare = served.moodle, served.commcare
    ends = [str((await sync(return_state=True)).name)]
    world = open_world(load_settings(os.environ, None))
    await sync_once(world, Options(yes=True))
    await world.close()
    assert [] == [word for word in WORDS if word not in repr(served.project.cases)]
    disasters = ("moodle wrong shape", "commcare says row by row", "moodle echoes in class", "commcare says 500")
    for name in ("", *disasters):
        served.moodle, served.commcare = moodle, commcare
        spoil_people(city=f"QanaryTown {name}")(served)  # something to send
        if name:
            LATER[name](served)
        ends.append(str((await sync(return_state=True)).name))
    served.moodle, served.commcare = moodle, commcare
    served.moodle.account.token = "another"
    ends.append(str((await sync(return_state=True)).name))
    monkeypatch.setenv("MOODLE_URL", f"http://qanaryuser:{TOKEN}@example.org")
    ends.append(str((await sync(return_state=True)).name))
    assert ["Waiting", "Completed", "Degraded", "Degraded", "Degraded", "Completed", "Failed", "Failed"] == ends
    await APILogHandler.aflush()
    async with get_client() as client:
        kept_artifacts = {one.key for one in await client.read_artifacts()}
    assert {"demo-run", "demo-needs-a-person", "demo-last-runs", "demo-progress"} <= kept_artifacts
    assert [] == witness.hits()
    assert {} == found_in_files(prefect_folder)
    assert {} == found_in_files(tmp_path / "sandbox")

    @flow
    async def leak() -> Any:
        """Do what must never be done; the secret is caught by the filter that `sync` has put in place."""
        get_run_logger().info("QanaryFirst0, %s", API_KEY)
        return Failed(message="QanaryLast1")

    await leak(return_state=True)
    await APILogHandler.aflush()
    kept = " ".join(word for found in found_in_files(prefect_folder).values() for word in found)
    assert (True, True) == ("QanaryFirst0" in kept, "QanaryLast1" in kept), "a leak would not be found"
    assert API_KEY not in kept
