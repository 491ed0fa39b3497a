"""Downloads and feedback as Prefect flows: parameters are ids and places, a run ends in counts and ids."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Failed

from adaptors.errors import Maintenance
from adaptors.moodle.assignment_work import Filter
from flows.assignments import Desk, checked_statuses
from flows.assignments_attended import open_desk
from flows.assignments_download import Download, download
from flows.assignments_download import told as download_told
from flows.assignments_feedback import Published, publish
from flows.assignments_feedback import told as feedback_told
from flows.assignments_list import read_list
from flows.assignments_plan import understood_ways
from flows.clock import SystemClock
from flows.deployed import gentle_end, reason, settings_here, state_of
from flows.result import RunState

T = TypeVar("T", Download, Published)


@flow(name="assignments-download", persist_result=False, log_prints=False)
async def assignments_download(
    course: str,
    assignment: str,
    target: str,
    statuses: list[str] = ["submitted"],  # noqa: B006 - never changed
    users: list[int] = [],  # noqa: B006
    participants: list[int] = [],  # noqa: B006
) -> State[None]:
    """Fetch the submitted files of an assignment into a folder of the worker, or any address that fsspec knows.

    Args:
        course: The course, by its number or the address of its page.
        assignment: The assignment, by cmid, id or the address of its page.
        target: The folder. What it holds already and Moodle has not changed is not fetched again.
        statuses: Which submissions: new, draft, submitted, reopened. Empty: all.
        users: Only the work of these people, by Moodle's numbers. A group's is each member's. Empty: everybody.
        participants: The same in blind marking, by participant numbers.
    """

    async def work(desk: Desk) -> Download:
        states, whose = checked_statuses(statuses), (frozenset(users), frozenset(participants))
        wanted = Filter(states, people=whose[0], participants=whose[1])
        found = await desk.find(course, assignment)
        return await download(desk, found, target, SystemClock(), wanted=wanted)

    return await _ended(work, download_told)


@flow(name="assignments-feedback", persist_result=False, log_prints=False)
async def assignments_feedback(
    course: str,
    assignment: str,
    file: str,
    meant_as: list[str] = [],  # noqa: B006 - Prefect shows the default in its form and never changes it
    dry_run: bool = False,
) -> State[None]:
    """Publish text feedback from a list that lies with the worker; what Moodle holds already is not sent again.

    Args:
        course: The course, by its number or the address of its page.
        assignment: The assignment, by cmid, id or the address of its page.
        file: A .csv or .json file with extId, text and maybe grade.
        meant_as: How the list is meant: participants (extId is the number of blind marking), html (the texts are
            HTML), whole-groups (an entry counts for the person's whole group), plain-points (the assignment is
            known to be marked without a rubric).
        dry_run: Tell what would be stored; nothing is sent.
    """

    async def work(desk: Desk) -> Published:
        ways = understood_ways(meant_as, dry_run)
        listed = read_list(Path(file))
        return await publish(desk, await desk.find(course, assignment), listed, ways)

    return await _ended(work, feedback_told)


async def _ended(work: Callable[[Desk], Awaitable[T]], told: Callable[[T], list[str]]) -> State[None]:
    """Work with the settings of the worker, log what came of it and return the state that Prefect shows."""
    log = get_run_logger()
    try:
        with gentle_end():
            desk = open_desk(settings_here())
            try:
                done = await work(desk)
            finally:
                await desk.close()
    except Maintenance as error:
        log.warning(reason(error))
        return state_of(RunState.POSTPONED, f"{reason(error)} Nothing is lost; start it again later.")
    except Exception as error:
        log.error(reason(error))
        return Failed(message=reason(error))
    lines = told(done)
    for line in lines:
        log.info(line)
    return state_of(done.state, " ".join(lines))
