"""Artifacts are an attempt: a server that is slow, away or broken costs little, and never a run."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.exceptions import ObjectNotFound

from flows import report
from flows.needs import leavers, matches
from flows.report import Shown, find_forms, followed, key, publish, run_artifacts
from flows.result import Result
from flows.status import Status
from tests.flows.status_world import NOW

LOG = logging.getLogger("tests.report")
Call = tuple[str, float, str]


class Server:
    """Takes artifacts as Prefect's client does; may be slow or broken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, str]] = []
        self.calls: list[Call] = []
        self.error: Exception | None = None
        self.hangs = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.deployments: dict[str, UUID] = {}
        self.asked = 0
        monkeypatch.setattr(report, "get_client", lambda: self)
        monkeypatch.setattr(report, "acreate_markdown_artifact", self.markdown)
        monkeypatch.setattr(report, "acreate_progress_artifact", self.begin)
        monkeypatch.setattr(report, "aupdate_progress_artifact", self.update)

    async def _answer(self) -> None:
        await self.gate.wait()
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error

    async def markdown(self, markdown: str, key: str, description: str) -> UUID:
        """Take a text."""
        await self._answer()
        self.made.append((key, f"{description} {markdown}"))
        return uuid4()

    async def __aenter__(self) -> Server:
        """Let a client in."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let it go."""

    async def read_deployment_by_name(self, name: str) -> SimpleNamespace:
        """Tell the id of a deployment."""
        self.asked += 1
        await self._answer()
        if name not in self.deployments:
            raise ObjectNotFound(LookupError(name))
        return SimpleNamespace(id=self.deployments[name])

    async def begin(self, progress: float, key: str, description: str) -> UUID:
        """Take a progress."""
        await self._answer()
        self.calls.append((key, progress, description))
        return uuid4()

    async def update(self, artifact_id: UUID, progress: float, description: str) -> UUID:
        """Take how far it is."""
        await self._answer()
        self.calls.append(("", progress, description))
        return artifact_id


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Server:
    """Give a server in the place of Prefect's, and little patience."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(report, "PATIENCE", 0.02)
    monkeypatch.setattr(report, "FAREWELL", 0.02)
    monkeypatch.setattr(report, "SEARCH", 0.02)
    monkeypatch.setattr(report, "PAUSE", 0.0)
    return Server(monkeypatch)


TWO = [Shown("a", "line", "text"), Shown("b", "line", "text")]


async def test_artifacts_get_there(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Each by its key; nothing is said about it."""
    await publish(TWO, LOG)
    assert ([("a", "line text"), ("b", "line text")], []) == (server.made, caplog.messages)


@pytest.mark.parametrize("error", [OSError("QanaryFirst0"), RuntimeError("QanaryFirst0"), None])
async def test_a_server_that_is_away(
    server: Server, caplog: pytest.LogCaptureFixture, error: Exception | None
) -> None:
    """Whatever it raises, or when it never answers: one line in the log, without what an error says."""
    server.error, server.hangs = error, error is None
    await publish(TWO, LOG)
    kind = "TimeoutError" if error is None else type(error).__name__
    assert [f"Not shown in Prefect's artifacts ({kind}): a, b"] == caplog.messages


async def test_a_cancelled_run_stays_cancelled(server: Server) -> None:
    """Cancelling is not taken for a server that is away."""
    server.hangs = True
    task = asyncio.create_task(publish(TWO, LOG))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_progress_goes_up_to_the_end(server: Server) -> None:
    """From nothing to all, in words; the stages have parts of their own."""
    async with followed("demo", LOG) as tell:
        for stage in ("people", "profiles", "courses"):
            for done in (1, 2):
                tell(stage, done, 2)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        tell.end("Completed: 3 records sent.")
    assert ("demo-progress", 0.0) == server.calls[0][:2]
    assert ("", 100.0, "Completed: 3 records sent.") == server.calls[-1]
    assert sorted(server.calls, key=lambda call: call[1]) == server.calls
    assert ("", 55.0, "Reading courses: 1 of 2.") in server.calls


async def test_a_thousand_courses_are_a_few_updates(server: Server) -> None:
    """No call for each course, however quick the server is."""
    async with followed("demo", LOG) as tell:
        for done in range(1, 1_001):
            tell("courses", done, 1_000)
            await asyncio.sleep(0)
        tell.end("Completed.")
    assert len(server.calls) <= 3 + 100 / report.STEP
    assert ("", 100.0, "Completed.") == server.calls[-1]


async def test_a_quick_run_is_three_updates(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks twice in a second: its beginning, its first step and its end, which waits for nothing."""
    monkeypatch.setattr(report, "PAUSE", 3600.0)
    async with followed("demo", LOG) as tell:
        for done in range(1, 1_001):
            tell("courses", done, 1_000)
            await asyncio.sleep(0)
        tell.end("Completed.")
    assert [0.0, 0.05, 100.0] == [at for _, at, _ in server.calls]


async def test_stages_without_end_are_a_bounded_number_of_updates(server: Server) -> None:
    """Also when stages come and go; the last word is told all the same."""
    async with followed("demo", LOG) as tell:
        for number in range(500):
            tell("people" if number % 2 else "profiles", 1, 2)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        tell.end("Completed.")
    assert len(server.calls) == 2 + report.MOST_UPDATES
    assert ("", 100.0, "Completed.") == server.calls[-1]


async def test_a_slow_server_gets_only_the_newest(server: Server) -> None:
    """What happened while it thought about the last word is not told one by one."""
    async with followed("demo", LOG) as tell:
        await asyncio.sleep(0)
        server.gate.clear()
        tell("people", 1, 1)
        for _ in range(3):
            await asyncio.sleep(0)
        for done in range(1, 101):
            tell("courses", done, 100)
        server.gate.set()
        for _ in range(3):
            await asyncio.sleep(0)
        tell.end("Completed.")
    assert len(server.calls) <= 4


@pytest.mark.parametrize("error", [OSError("QanaryFirst0"), None])
async def test_progress_holds_up_nothing(
    server: Server, caplog: pytest.LogCaptureFixture, error: Exception | None
) -> None:
    """A run goes on and ends whether anybody takes its progress or not."""
    server.error, server.hangs = error, error is None
    async with followed("demo", LOG) as tell:
        tell("people", 1, 1)
        tell.end("Completed.")
    said = ["The progress was not shown in Prefect's artifacts (OSError)."] if error else []
    assert said == caplog.messages
    assert 1 == len(asyncio.all_tasks())


async def test_a_run_that_breaks_is_told_as_it_was(server: Server) -> None:
    """Its error passes through, at once, and nobody says that it got to its end."""

    async def broken() -> None:
        async with followed("demo", LOG) as tell:
            await asyncio.sleep(0)
            tell("people", 1, 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await broken()
    assert [("demo-progress", 0.0, "Begun.")] == server.calls


@pytest.mark.parametrize(
    ("site", "expected"), [("demo", "demo-run"), ("KE_North 2", "ke-north-2-run"), ("é", "run")]
)
def test_keys_are_as_prefect_wants_them(site: str, expected: str) -> None:
    """Small letters, digits and dashes."""
    assert expected == key(site, "run")


def test_keys_are_the_same_from_run_to_run() -> None:
    """Prefect shows the history of each."""
    status = Status(NOW, books=True)
    found: Any = [[one.key for one in run_artifacts("demo", Result(name), status)] for name in ("1", "2")]
    assert [["demo-run", "demo-needs-a-person", "demo-last-runs"]] * 2 == found


# --- forms ----------------------------------------------------------------------------------------------------


async def test_forms_are_found_by_their_deployment(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """One that is not there is left out without a word: not everybody deploys all."""
    server.deployments["approve/approve"] = UUID(int=7)
    found = await find_forms([leavers(3, 12), leavers(4, 2), matches("student", 1)], LOG)
    assert {"approve": f"/v2/deployments/deployment/{UUID(int=7)}/run"} == found
    assert (2, []) == (server.asked, caplog.messages)


async def test_nobody_looks_for_forms_without_questions(server: Server) -> None:
    """As after nearly every run."""
    assert ({}, 0) == (await find_forms([], LOG), server.asked)


@pytest.mark.parametrize("error", [OSError("QanaryFirst0"), None])
async def test_forms_of_a_server_that_is_away(
    server: Server, caplog: pytest.LogCaptureFixture, error: Exception | None
) -> None:
    """They are not linked, and the log says so in a line."""
    server.error, server.hangs = error, error is None
    assert {} == await find_forms([leavers(3, 12)], LOG)
    kind = "TimeoutError" if error is None else "OSError"
    assert [f"The forms that answer are named and not linked ({kind})."] == caplog.messages
