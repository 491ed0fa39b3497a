"""Feedback of coaches as a Prefect flow: parameters are keys and flags, a run ends in counts and keys."""

from __future__ import annotations

from logging import INFO, WARNING

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Failed

from flows.attended_feedback import send_feedback
from flows.deployed import gentle_end, reason, settings_here, state_of
from flows.feedback import NothingGoesBack
from flows.feedback_desk import Options
from flows.result import RunState


@flow(name="feedback-back", persist_result=False, log_prints=False)
async def feedback_back(
    dry_run: bool = False,
    approve: bool = False,
    overwrite: list[str] = [],  # noqa: B006 - Prefect shows the default in its form and never changes it
) -> State[None]:
    """Publish in Moodle what coaches wrote into cases since the last time.

    Args:
        dry_run: Tell what would be published; nothing is sent.
        approve: Say yes to what the mappings send back; without it a first run only counts.
        overwrite: Keys of cases whose text counts, not the one that somebody wrote in Moodle.
    """
    log = get_run_logger()
    try:
        with gentle_end():
            done = await send_feedback(settings_here(), Options(approve, dry_run, tuple(overwrite)))
    except NothingGoesBack as error:
        asks = approve or overwrite  # the schedule does not
        log.log(WARNING if asks else INFO, str(error))
        return state_of(RunState.FAILED if asks else RunState.COMPLETED, str(error))
    except Exception as error:
        log.error(reason(error))
        return Failed(message=reason(error))
    lines = list(done.lines())
    for line in lines:
        log.log(INFO if done.state == RunState.COMPLETED else WARNING, line)
    return state_of(done.state, " ".join(lines))
