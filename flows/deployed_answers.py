"""What a person decides in Prefect's UI, and the nightly copy of the books: short flows beside the runs.

Each writes a word into the books with the code of the command of the same name. None of them waits for anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from logging import Logger, LoggerAdapter

from prefect import flow, get_client, get_run_logger
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, FlowRunFilter
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Failed

from flows.approve import Answer, AnswerKind
from flows.approve import approve as write_down
from flows.clock import SystemClock
from flows.deployed import detail, reason, settings_here
from flows.errors import UsageError
from flows.merge import merge as merge_people
from flows.merge import unmerge
from flows.need import Need
from flows.needs import needs
from flows.open import open_store
from flows.problems import retry
from flows.state_care import back_up
from flows.summed import in_short
from flows.typed import refuse_unknown_course
from state import Store
from state.database import file_of

SYNC = "sync/sync"
AT_WORK = [StateType.RUNNING, StateType.PENDING]


@flow(name="approve", persist_result=False, log_prints=False)
async def approve(
    kind: AnswerKind,
    course: int = 0,
    mapping: str = "",
    property: str = "",
    count: int = 0,
    everything: bool = False,
    run_now: bool = True,
) -> State[None]:
    """Answer what a run asked: fill in what its message names, and leave the rest as it is.

    Whether a case is somebody's is answered with match-review.

    Args:
        kind: What is answered. A run that ended Waiting names it, and what to fill in below.
        course: leavers, withdrawn, new-term, same-term: the number of the course. 0: the people of the site.
        mapping: first-run, existing-cases, blanks, rekey: the mapping, as in student. Empty: all that wait.
        property: blanks: the property that would be emptied, as in email.
        count: How many people or cases the run named. Another number is refused.
        everything: leavers, withdrawn, blanks: all of the kind that wait. The count is then their sum.
        run_now: Start a sync run as soon as the answer is written down.
    """
    answer = Answer(kind, course, mapping, property, count, everything)
    return await _answered(lambda store: write_down(store, answer), run_now)


@flow(name="merge", persist_result=False, log_prints=False)
async def merge(old: int, new: int, undo: bool = False, run_now: bool = True) -> State[None]:
    """Say that two people of Moodle are one. The old cases are marked as left, the new ones go on.

    Args:
        old: The number in Moodle of the person who is no more. The profile's address ends in it.
        new: The number in Moodle of the person who goes on.
        undo: Take it back.
        run_now: Start a sync run as soon as it is written down.
    """
    say = unmerge if undo else merge_people
    return await _answered(lambda store: say(store, old, new, SystemClock().now()), run_now)


@flow(name="problems-retry", persist_result=False, log_prints=False)
async def problems_retry(
    key: str = "",
    reason: str = "",
    course: int = 0,
    everything: bool = False,
    recreate: bool = False,
    run_now: bool = True,
) -> State[None]:
    """Have records that CommCare refused sent again. Fill in one: key, everything, or reason and course or both.

    Args:
        key: One record, by its external id, as in kisumu-user-1042.
        reason: All records refused for this reason, by its code, as in case_type_unknown.
        course: All records refused in the course with this number. 0: whatever course they are of.
        everything: All records that CommCare refused.
        recreate: Make a new case of each, where the old one was deleted in CommCare.
        run_now: Start a sync run that sends them.
    """

    def again(store: Store) -> str:
        one, why = key.strip(), reason.strip()
        if bool(one) + (bool(why) or course != 0) + everything != 1:
            raise UsageError("Fill in one of them: key, everything, or reason and course (one or both).")
        refuse_unknown_course(store, course)
        which = course or None
        return retry(store, SystemClock().now(), key=one, reason=why, course=which, recreate=recreate)

    return await _answered(again, run_now)


@flow(name="backup", persist_result=False, log_prints=False)
async def backup() -> State[None]:
    """Copy the books, as each run does before it begins. 7 copies are kept, some of days before."""
    log = get_run_logger()
    try:
        settings = settings_here()
        if file_of(settings.state_url) is None:
            told = "The books are on a database server, whose own tools make the copies: nothing was done here."
        else:
            told = " ".join((await asyncio.to_thread(back_up, settings, SystemClock().now())).messages)
    except Exception as error:
        log.error(detail(error))
        return Failed(message=reason(error))
    log.info(told)
    return Completed(message=told)


async def _answered(write: Callable[[Store], str], run_now: bool) -> State[None]:
    """Write a person's word into the books, start a run where that is wanted, and say what still waits."""
    log = get_run_logger()
    try:
        told, left = await asyncio.to_thread(_write, write)
    except Exception as error:
        log.error(detail(error))
        return Failed(message=reason(error))
    log.info(told)
    for need in in_short(left):
        log.warning(need.message)
    more = [f"Still waiting for a person: {len(left)}; the log has them."] if left else []
    if run_now:
        more.append(await _start_sync(log))
    return Completed(message=" ".join([told, *more]))


def _write(write: Callable[[Store], str]) -> tuple[str, list[Need]]:
    with open_store(settings_here()) as store:
        return write(store), needs(store)


async def _start_sync(log: Logger | LoggerAdapter[Logger]) -> str:
    """Start a sync run unless one is at work, and return a sentence; what was written down stays in any case."""
    try:
        async with get_client() as client:
            deployment = await client.read_deployment_by_name(SYNC)
            at_work = await client.read_flow_runs(
                flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": AT_WORK}}}),
                deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
                limit=1,
            )
            if at_work:
                return "A sync run is at work; the one after it takes this in."
            run = await client.create_flow_run_from_deployment(deployment.id)
    except ObjectNotFound:
        return f"There is no deployment {SYNC} here: the next run takes it in."
    except Exception as error:
        log.warning(detail(error))
        return "No run could be started: the next one by the schedule takes it in."
    return f"Started: sync run {run.name}."
