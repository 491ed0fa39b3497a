"""The entry points as Prefect flows. Prefect orchestrates and keeps no books: what counts is in our own state."""

from __future__ import annotations

import os
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.open import open_world
from flows.redact import install
from flows.result import Result, RunState
from flows.settings import load_settings
from flows.sync import Options
from flows.sync import sync as sync_once

STEPS = 10  # progress lines a stage


@flow(name="sync", persist_result=False, log_prints=False)
async def sync(
    courses: list[int] = [],  # noqa: B006 - Prefect shows the default in its form and never changes it
    mappings: list[str] = [],  # noqa: B006
    full: bool = False,
    preview: bool = False,
) -> State[None]:
    """Read Moodle and send CommCare what differs.

    Args:
        courses: Only these course ids. Empty: all courses that project.yaml selects.
        mappings: Only these mappings, by file name without .yaml. Empty: all that are enabled.
        full: Read everything anew. Still only differences are sent.
        preview: Read Moodle and tell what a run would send. Nothing is sent.
    """
    log = get_run_logger()
    settings = load_settings(os.environ, Path(".env"))
    install(settings.secrets())
    world = open_world(settings)

    def tell(stage: str, done: int, total: int) -> None:
        if done == total or done % max(1, total // STEPS) == 0:
            log.info("%s: %d of %d", stage, done, total)

    try:
        options = Options(tuple(courses), tuple(mappings), full=full, preview=preview)
        result = await sync_once(world, options, tell)
    finally:
        await world.close()
    for line in summary(result):
        log.info(line)
    return final_state(result)


def summary(result: Result) -> list[str]:
    """Return a run in a few lines: counts, requests, what a person has to do. Ids and numbers only."""
    lines = [
        f"{case_type}: " + ", ".join(f"{count} {name}" for name, count in vars(counts).items() if count)
        for case_type, counts in result.cases.items()
    ]
    requests = (f"{sum(kinds.values())} to {system}" for system, kinds in result.requests.items())
    return [*lines, f"requests: {', '.join(requests)}", *result.messages]


def final_state(result: Result) -> State[None]:
    """Return the state that Prefect shows: what needs a person's eyes is red, what only waits is named."""
    message = " ".join(result.messages) or None
    if result.state in (RunState.FAILED, RunState.DEGRADED):
        return Failed(name=result.state.capitalize(), message=message)
    return Completed(name=result.state.capitalize(), message=message)
