"""A run or a check with somebody watching: progress, signals, and the plan of a first run to say yes to."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from flows.aftermath import look_back
from flows.audit import audit
from flows.audited import Audit
from flows.check import run_checks
from flows.clock import SystemClock
from flows.endings import Stopped, go_ahead, print_json, say
from flows.errors import UsageError
from flows.features import Feature
from flows.needs import APPROVED, FIRST_RUNS
from flows.open import open_preview, open_project, open_store, open_world
from flows.preview import Preview, preview
from flows.progress import shown_progress
from flows.result import Result
from flows.round import sync_round
from flows.settings import Settings
from flows.shard import sync_free_shards
from flows.show import finding_json, show_finding, show_plan, show_verdict
from flows.steps.approvals import print_of
from flows.sync import Options
from flows.sync import sync as sync_once
from flows.world import Progress, World

AT_ONCE = 600.0
"""Seconds after which a plan may be older than what Moodle has."""


def run_once(settings: Settings, options: Options, shards: int = 1) -> Result:
    """Open the world, run once with progress on standard error, close it; raises Stopped after a signal.

    With more than one shard it opens a round: other machines may do the others with `run_shards`.
    """

    async def once(world: World, progress: Progress) -> Result:
        if shards == 1:
            return await sync_once(world, options, progress)
        return await sync_round(world, options, shards, progress=progress)

    return _run(settings, once)


def run_shards(settings: Settings, wait: float) -> Result:
    """Do what is free of the round under way, in the same manner; waits so many seconds for one to begin."""

    async def shards(world: World, progress: Progress) -> Result:
        return await sync_free_shards(world, progress, wait=wait)

    return _run(settings, shards)


def _run(settings: Settings, work: Callable[[World, Progress], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        with stoppable(asyncio.current_task(), "Stopping; what is under way is finished first."):
            world = open_world(settings)
            try:
                with shown_progress() as progress:
                    result = await work(world, progress)
                await look_back(world, settings)
                return result
            finally:
                await world.close()

    return asyncio.run(run())


def run_audit(settings: Settings, *, repair: bool, recreate: bool) -> Audit:
    """Audit with progress on standard error; raises Stopped after a signal."""

    async def run() -> Audit:
        with stoppable(asyncio.current_task(), "Stopping."):
            world = open_world(settings)
            try:
                with shown_progress() as progress:
                    return await audit(world, repair=repair, recreate=recreate, progress=progress)
            finally:
                await world.close()

    return asyncio.run(run())


def run_preview(settings: Settings, options: Options, limit: int) -> Preview:
    """Look at what a run would send, with progress on standard error; raises Stopped after a signal."""

    async def run() -> Preview:
        with stoppable(asyncio.current_task(), "Stopping."):
            world = open_preview(settings)
            try:
                with shown_progress() as progress:
                    return await preview(world, options, limit, progress)
            finally:
                await world.close()

    return asyncio.run(run())


def run_approved(settings: Settings, options: Options, result: Result, shards: int = 1) -> Result:
    """Show the plan of a first run and run it when somebody says yes; else the command ends as it is.

    A plan that a run would stop at, and one of nothing, come back as they are: there is nothing to agree to. A yes
    is about what was shown.
    Where that is not whole, was edited since, or is old, the run looks again, as after `approve`, and stops if the
    plan has grown. Raises UsageError when another run has shown another plan meanwhile.
    """
    if result.plan["stops"] or not result.plan["commcare_requests"]:
        return result
    show_plan(result)
    clock = SystemClock()
    shown = clock.monotonic()
    question = "CommCare's API cannot delete cases: what is created stays. Go ahead?"
    go_ahead(question, "sent", result.state.exit_code)
    # A plan of some courses cannot be approved for later.
    is_as_shown = bool(options.courses) or approve_shown(settings, result.plan)
    at_once = clock.monotonic() - shown < AT_ONCE
    return run_once(settings, replace(options, yes=bool(options.courses) or (is_as_shown and at_once)), shards)


def approve_shown(settings: Settings, plan: Mapping[str, Any]) -> bool:
    """Write down that a plan is approved; say whether it holds all cases, of the mappings as they are now.

    Raises UsageError when a run has asked otherwise since.
    """
    mappings = {mapping.name: mapping for mapping in open_project(settings).mappings}
    with open_store(settings) as store:
        asked = json.loads(store.get(FIRST_RUNS) or "{}")
        creates = {name: plan["new_cases"].get(name, 0) for name in asked.keys() & mappings.keys()}
        agreed = {name: asked[name] for name, cases in creates.items() if cases == asked[name]["creates"]}
        if plan["new_cases"].keys() - agreed.keys():
            raise UsageError("Another run has shown another plan since. Run the same command again to see it.")
        store.change_entries(APPROVED, agreed)
    whole = not any(plan["not_read"].values())
    return whole and all(one["print"] == print_of(mappings[name]) for name, one in agreed.items())


async def run_check(settings: Settings, as_json: bool, asked: Collection[Feature] = ()) -> list[str]:
    """Print the findings as they are made, or all in one object, and return their levels."""
    found = []
    async for finding in run_checks(settings, asked):
        found.append(finding)
        if not as_json:
            show_finding(finding)
    levels = [finding.level for finding in found]
    if as_json:
        print_json({"ok": not {"fail", "later"} & set(levels), "findings": [finding_json(each) for each in found]})
    else:
        show_verdict(levels)
    return levels


@contextmanager
def stoppable(task: asyncio.Task[Any] | None, waiting: str) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end a task in good order: it is cancelled, and Stopped is raised instead.

    `waiting` is said when the signal comes; a second signal cancels what the task still does in its `finally`.
    """
    seen: list[int] = []
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        seen.append(number)
        say(waiting)
        if task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; not in the main thread
            loop.add_signal_handler(number, stop, number)
    try:
        yield
    except asyncio.CancelledError:
        if not seen:
            raise
        raise Stopped(seen[0]) from None
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError, RuntimeError, ValueError):
                loop.remove_signal_handler(number)
