"""The entry points as Prefect flows. Prefect orchestrates and keeps no books: what counts is in our own state.

No value of a person reaches Prefect: parameters are ids and names, a run ends in counts, and no exception leaves a
flow, since Prefect keeps its text in the database and the whole of it in a file.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import os
import signal
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from logging import INFO, WARNING, Logger, LoggerAdapter
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.utilities import engine

from adaptors.errors import AdaptorError
from flows.aftermath import look_back
from flows.audit import audit as audit_once
from flows.audited import Audit
from flows.errors import UsageError
from flows.nudge_events import tell_nudges, tell_undelivered
from flows.open import open_world
from flows.redact import install
from flows.report import audit_artifacts, find_forms, followed, look_artifacts, publish, run_artifacts
from flows.result import Result, RunState
from flows.run_markdown import run_line
from flows.settings import DEFAULT_FILE, SETTINGS_FILE, Settings, SettingsError, load_settings
from flows.sync import Options
from flows.sync import sync as sync_once
from flows.world import Progress, World, both
from mappings.engine import MappingError
from state import StateError

STEPS = 10  # progress lines a stage
SIGTERM_HANDLER = "_prefect_sigterm_handler"
OWN_PROCESS = "PREFECT__FLOW_RUN_ID"  # set where Prefect starts a process for a run
NAMES = {"moodle": "Moodle", "commcare": "CommCare"}
Work = Callable[[World, Progress], Awaitable[Result]]
IN_WORDS = {"in_doubt": "waiting to confirm", "marked_left": "marked as left"}


@flow(name="sync", persist_result=False, log_prints=False)
async def sync(
    courses: list[int] = [],  # noqa: B006 - Prefect shows the default in its form and never changes it
    mappings: list[str] = [],  # noqa: B006
    full: bool = False,
) -> State[None]:
    """Read Moodle and send CommCare what differs.

    Args:
        courses: Only these courses, by the number in their address in Moodle. Empty: all chosen in project.yaml.
        mappings: Only these mappings, by file name without .yaml. Empty: all that are enabled.
        full: Read everything anew, whatever the intervals say. Still only differences are sent.
    """
    return await _ended(Options(tuple(courses), tuple(mappings), full=full))


@flow(name="preview", persist_result=False, log_prints=False)
async def preview(
    courses: list[int] = [],  # noqa: B006
    mappings: list[str] = [],  # noqa: B006
    full: bool = False,
) -> State[None]:
    """Read Moodle and tell what a run would send. Nothing is sent.

    Args:
        courses: Only these courses, by the number in their address in Moodle. Empty: all chosen in project.yaml.
        mappings: Only these mappings, by file name without .yaml. Empty: all that are enabled.
        full: Read everything anew, whatever the intervals say.
    """
    return await _ended(Options(tuple(courses), tuple(mappings), full=full, preview=True))


async def _ended(options: Options) -> State[None]:
    """Run once, log what happened, and return how it ended."""

    async def once(world: World, progress: Progress) -> Result:
        return await sync_once(world, options, progress)

    return await ended(once, preview=options.preview)


async def ended(work: Work, *, preview: bool = False) -> State[None]:
    """Do a run in some way, log what happened, and return how it ended."""
    log = get_run_logger()
    spare_garbage()
    try:
        with gentle_end():
            result = await _run(work, log, preview=preview)
    except Exception as error:
        log.error(detail(error))
        return Failed(message=reason(error))
    for line in summary(result):
        log.info(line)
    for message in result.messages:
        log.log(INFO if result.state == RunState.COMPLETED else WARNING, message)
    return final_state(result)


@flow(name="audit", persist_result=False, log_prints=False)
async def audit(repair: bool = False) -> State[None]:
    """List our cases in CommCare and compare them with what was sent.

    Args:
        repair: Let the next run write again what people changed in CommCare.
    """
    log = get_run_logger()
    try:
        with gentle_end():
            found = await _audit(repair, log)
    except Exception as error:
        log.error(detail(error))
        return Failed(message=reason(error))
    log.info(found.summary)
    for message in found.messages:
        log.log(INFO if found.state == RunState.COMPLETED else WARNING, message)
    return state_of(found.state, f"{found.summary} {' '.join(found.messages)}".strip())


def spare_garbage() -> None:
    """Never look for garbage in what is loaded by now, in a process that Prefect made for one run.

    Prefect and its models are 170,000 objects, which a short run would go through ten times and once more at its
    end, each time in vain.
    """
    if OWN_PROCESS in os.environ:
        gc.freeze()
        atexit.register(gc.freeze)


@contextmanager
def gentle_end() -> Iterator[None]:
    """Let SIGTERM, by which Prefect also cancels, end the run's own task: a write under way is finished first.

    Prefect's own answer to it ends all tasks of the process at once, and a write would stay without its outcome.
    Ours takes its place under its name, since Prefect looks there before it tells a cancelled run from a crashed
    one. Where a later Prefect has no such name its answer stays: such a write is then in doubt, as after a kill.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    theirs = getattr(engine, SIGTERM_HANDLER, None)

    def end(*_: object) -> None:
        if task is not None:
            loop.call_soon_threadsafe(task.cancel)

    if theirs is None or signal.getsignal(signal.SIGTERM) is not theirs:
        yield
        return
    setattr(engine, SIGTERM_HANDLER, end)
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, theirs)
        setattr(engine, SIGTERM_HANDLER, theirs)


def settings_here() -> Settings:
    """Return the settings of this process, secrets kept out of its logs; raises SettingsError.

    They come from the environment and, behind it, from .env in the folder where the worker was started, or from
    the file that `serve --env-file` named.
    """
    file = os.environ.get(SETTINGS_FILE, str(DEFAULT_FILE))
    settings = load_settings(os.environ, Path(file) if file else None)
    install(settings.secrets())
    return settings


async def _audit(repair: bool, log: Logger | LoggerAdapter[Logger]) -> Audit:
    """Audit with the settings of the worker; the books are let go whatever happens."""
    settings = settings_here()
    world = open_world(settings)
    site = world.project.site
    try:
        async with followed(f"{site}-audit", log) as follower:
            found = await audit_once(world, repair=repair, progress=follower)
            follower.end(found.summary)
    finally:
        await world.close()
    await publish(audit_artifacts(site, found), log)
    return found


async def _run(work: Work, log: Logger | LoggerAdapter[Logger], *, preview: bool) -> Result:
    """Run once with the settings of the worker; the lease and the books are let go whatever happens."""
    settings = settings_here()

    def tell(stage: str, done: int, total: int) -> None:
        if done == total or done % max(1, total // STEPS) == 0:
            log.info("%s: %d of %d", stage, done, total)

    world = open_world(settings)
    site = world.project.site
    try:
        async with followed(site, log) as follower:
            result = await work(world, both(tell, follower))
            follower.end(run_line(result))
        if not preview:
            await tell_nudges(world, settings.nudge_problems, result.state)
            await tell_undelivered(world, log)
        status = None if preview else await look_back(world, settings, log)
    finally:
        await world.close()
    if status is None:
        await publish(look_artifacts(site, result), log)
    else:
        await publish(run_artifacts(site, result, status, await find_forms(status.needs, log)), log)
    return result


def summary(result: Result) -> list[str]:
    """Return a run in a few lines: what happened to the cases, why records were held back, how many requests."""
    why = [f"{count} × {_in_words(reason)}" for reason, count in result.reasons.most_common()]
    requests = ((NAMES.get(system, system), sum(kinds.values())) for system, kinds in result.requests.items())
    told = ", ".join(f"{count} to {system}" for system, count in requests)
    if plan := result.plan:
        needs = f"{plan['commcare_requests']} requests to CommCare, about {plan['expected_minutes']} min"
        why.append(f"Approved, it would take {needs}.")
    return [*_counts(result), *why, f"Requests: {told or 'none'}."]


def final_state(result: Result) -> State[None]:
    """Return the state that Prefect shows, with what a person has to know as its message.

    A run that did not do all it should is of type Failed (also one named Degraded), one that only waits or is
    postponed of type Completed. The names are those of the command, so that an automation can wait for each.
    """
    return state_of(result.state, " ".join(result.messages or _counts(result)) or "There was nothing to do.")


def state_of(state: RunState, message: str) -> State[None]:
    """Return the state that Prefect shows for how something ended: red for failed and degraded."""
    make = Failed if state in (RunState.FAILED, RunState.DEGRADED) else Completed
    return make(name=state.capitalize(), message=message)


def reason(error: Exception) -> str:
    """Return why a run failed, in a sentence or two; of an error that nobody foresaw only its class and place."""
    if isinstance(error, MappingError):
        first = next((one for one in error.problems if one.severity == "error"), error.problems[0])
        where = f"{Path(first.path).name}:{first.line}: {first.sentence.rstrip('.')}"
        return f"The mappings are not right. {where}. All that is wrong: moodle-commcare mappings check."
    if isinstance(error, OSError):
        return f"{error.strerror or 'The system refuses'}: {error.filename or 'no file'}."
    if isinstance(error, (AdaptorError, SettingsError, StateError, UsageError)):
        return " ".join(str(error).split())
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    return f"An error of this program stopped the run: {type(error).__name__} in {place}. The next run catches up."


def detail(error: Exception) -> str:
    """Return what the log has to say: all that is wrong with the mappings, or where an error came from.

    The text of an error that nobody foresaw may hold a person's value, the lines of the program never do.
    """
    if isinstance(error, MappingError):
        return str(error)
    if isinstance(error, (AdaptorError, OSError, SettingsError, StateError, UsageError)):
        return reason(error)
    return f"{reason(error)}\n{''.join(traceback.format_tb(error.__traceback__))}"


def _counts(result: Result) -> list[str]:
    """Return a line per case type, before them one for a preview."""
    lines = ["Preview: nothing was sent."] if result.preview else []
    for case_type, counts in result.cases.items():
        told = (f"{count} {_in_words(name)}" for name, count in vars(counts).items() if count)
        lines.append(f"{case_type}: {', '.join(told) or 'none'}.")
    return lines


def _in_words(code: str) -> str:
    return IN_WORDS.get(code, code.replace("_", " "))
