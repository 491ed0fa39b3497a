"""The drain as a Prefect flow: begun each minute, over at once while nothing waits."""

from __future__ import annotations

from logging import INFO, WARNING

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.attended_drain import drain_for
from flows.clock import SystemClock
from flows.deployed import gentle_end, reason, settings_here
from flows.result import RunState
from flows.world import silent


@flow(name="drain", persist_result=False, log_prints=False)
async def drain(seconds: int = 40) -> State[None]:
    """Work off the hints of webhooks: read the courses that they are about, and send what differs.

    Args:
        seconds: Go on looking into the inbox for so many seconds. 0: once.
    """
    log = get_run_logger()
    try:
        settings = settings_here()
        with gentle_end():
            done = await drain_for(settings, float(seconds), SystemClock(), silent)
    except Exception as error:
        log.error(reason(error))
        return Failed(message=reason(error))
    lines = list(done.lines())
    for line in lines:
        log.log(INFO if done.state == RunState.COMPLETED else WARNING, line)
    make = Failed if done.state in (RunState.FAILED, RunState.DEGRADED) else Completed
    return make(name=done.state.capitalize(), message=" ".join(lines))
