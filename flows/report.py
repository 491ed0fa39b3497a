"""What a run leaves in Prefect's UI: artifacts, each an attempt that can neither fail a run nor hold it up.

By then the run is in our own books, so a server that is slow or away costs a few seconds and a line in the log.
Keys are the same from run to run, so that the UI shows each with its history; nothing in them is of a person.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from logging import Logger, LoggerAdapter
from uuid import UUID

from prefect import get_client
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    aupdate_progress_artifact,
)
from prefect.exceptions import ObjectNotFound

from flows.audited import Audit
from flows.need import Need
from flows.progress import STAGES
from flows.result import Result
from flows.run_markdown import (
    NO_FORMS,
    audit_markdown,
    needs_markdown,
    run_line,
    run_markdown,
    runs_line,
    runs_markdown,
)
from flows.status import Status
from flows.status_words import undelivered_words
from flows.words import numbered

PATIENCE = 15.0  # seconds for all artifacts of a run together
FAREWELL = 3.0  # seconds for the last word of the progress
SEARCH = 3.0  # seconds to find the forms that answer a question
FORM = "/v2/deployments/deployment/{}/run"  # on the server whose pages show the artifact
STEP = 5.0  # percent between two updates
PAUSE = 2.0  # seconds between two updates: nobody looks more often
MOST_UPDATES = 40
WEIGHTS = {"people": 15.0, "profiles": 15.0, "engagement": 20.0, "courses": 50.0, "cases": 0.0, "audit": 100.0}
"""Stage -> its part of a run in percent; a run has not all of them, and ends at 100 all the same."""

Log = Logger | LoggerAdapter[Logger]


@dataclass(frozen=True)
class Shown:
    """One artifact: its key, its line in the list, its text."""

    key: str
    line: str
    markdown: str


def key(site: str, what: str) -> str:
    """Return the key of an artifact: small letters, digits and dashes, the site's own."""
    name = re.sub(r"[^a-z0-9]+", "-", site.lower()).strip("-")
    return f"{name}-{what}" if name else what


def run_artifacts(site: str, result: Result, status: Status, forms: Mapping[str, str] = NO_FORMS) -> list[Shown]:
    """Return what a run shows: itself, what needs a person (by which of `forms`), the last runs."""
    many = len(status.needs)
    asks = f"{numbered(many, 'question')} for a person." if many else "Nothing needs a person."
    if nudges := undelivered_words(status):
        asks = f"{asks} Nudges did not arrive."
    return [
        Shown(key(site, "run"), run_line(result), run_markdown(result)),
        Shown(key(site, "needs-a-person"), asks, needs_markdown(status.needs, nudges, forms)),
        Shown(key(site, "last-runs"), runs_line(status), runs_markdown(status)),
    ]


def look_artifacts(site: str, result: Result) -> list[Shown]:
    """Return what a preview shows, or a run after which the books could not be read."""
    what = "preview" if result.preview else "run"
    return [Shown(key(site, what), run_line(result), run_markdown(result))]


def audit_artifacts(site: str, found: Audit) -> list[Shown]:
    """Return what an audit shows."""
    return [Shown(key(site, "audit"), found.summary.capitalize(), audit_markdown(found))]


async def find_forms(needs: Sequence[Need], log: Log) -> dict[str, str]:
    """Return the addresses of the forms that answer questions, by deployment, as paths on Prefect's server.

    Without questions the server is not asked. A form that is not there, or not found within `SEARCH` seconds, is
    left out: the artifact names its deployment all the same.
    """
    found = dict[str, str]()
    if not needs:
        return found
    try:
        async with asyncio.timeout(SEARCH), get_client() as client:
            for name in sorted({need.deployment for need in needs}):
                with suppress(ObjectNotFound):
                    found[name] = FORM.format((await client.read_deployment_by_name(f"{name}/{name}")).id)
    except Exception as error:
        log.info("The forms that answer are named and not linked (%s).", type(error).__name__)
    return found


async def publish(artifacts: Sequence[Shown], log: Log) -> None:
    """Put artifacts into Prefect, all within `PATIENCE` seconds; what does not get there is named in the log."""
    left = {one.key: "TimeoutError" for one in artifacts}

    async def show(one: Shown) -> None:
        try:
            await acreate_markdown_artifact(one.markdown, key=one.key, description=one.line)
            del left[one.key]
        except Exception as error:
            left[one.key] = type(error).__name__

    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(show(one) for one in artifacts))
    if left:
        log.info("Not shown in Prefect's artifacts (%s): %s", ", ".join(sorted({*left.values()})), ", ".join(left))


@dataclass
class Follower:
    """Carries the progress of a run to Prefect, a bounded number of times, beside the run and never before it."""

    key: str
    at: float = 0.0
    words: str = "Begun."
    _stage: str = ""
    _told: float = 0.0
    _done: dict[str, float] = field(default_factory=dict)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take in how far a stage is; wakes the one who tells it when that is worth an update."""
        self._done[stage] = done / total if total else 1.0
        self.at = max(self.at, min(99.0, sum(WEIGHTS.get(name, 0.0) * part for name, part in self._done.items())))
        self.words = f"{STAGES.get(stage, stage)}: {done:,} of {total:,}."
        if stage != self._stage or self.at - self._told >= STEP:
            self._stage = stage
            self._moved.set()

    def end(self, words: str) -> None:
        """Let the last word be told."""
        self.at, self.words = 100.0, words
        self._over.set()
        self._moved.set()

    async def follow(self) -> None:
        """Show the progress until its end; only the newest is sent, however much happened meanwhile."""
        artifact: UUID = await acreate_progress_artifact(0.0, key=self.key, description=self.words)
        left = MOST_UPDATES
        while not (self._over.is_set() and self._told == self.at):
            await self._moved.wait()
            self._moved.clear()
            if left > 0 or self._over.is_set():
                left -= 1
                self._told = self.at
                await aupdate_progress_artifact(artifact, self.at, description=self.words)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), PAUSE)


@asynccontextmanager
async def followed(site: str, log: Log) -> AsyncIterator[Follower]:
    """Give a run somebody to tell its progress to; whoever is done calls `end`, else it stays where it was."""
    follower = Follower(key(site, "progress"))
    task = asyncio.create_task(follower.follow())
    try:
        yield follower
        await asyncio.wait({task}, timeout=FAREWELL)
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=FAREWELL)
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            log.info("The progress was not shown in Prefect's artifacts (%s).", type(error).__name__)
