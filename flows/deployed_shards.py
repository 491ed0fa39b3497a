"""A run that several machines share, as Prefect flows: one opens the round and works along, others do shards.

Prefect only starts them. Who does which shard stands in our own state, so whatever Prefect loses or starts twice,
each shard is done once; a shard that no worker begins is done by the flow that opened the round.
"""

from __future__ import annotations

from collections.abc import Sequence
from logging import Logger, LoggerAdapter

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.deployments import arun_deployment
from prefect.states import Failed

from flows.deployed import STEPS, Work, detail, ended, final_state, gentle_end, reason, settings_here, summary
from flows.open import open_world
from flows.result import Result
from flows.round import sync_round as sync_round_once
from flows.shard import sync_free_shards
from flows.shard import sync_shard as sync_shard_once
from flows.sync import Options
from flows.world import Progress, World

DEPLOYMENT = "sync-shard/sync-shard"
PATIENCE = 120.0  # seconds that a worker may take to start a run, before its shard is done here
Log = Logger | LoggerAdapter[Logger]


@flow(name="sync-round", persist_result=False, log_prints=False)
async def sync_round(shards: int = 2, full: bool = False) -> State[None]:
    """Read Moodle and send CommCare what differs, on several machines at once.

    Args:
        shards: Into how many parts the courses are shared out: as many as there are workers.
        full: Read everything anew. Still only differences are sent.
    """
    log = get_run_logger()

    async def begin(round_id: str, numbers: Sequence[int]) -> None:
        for number in numbers:
            await _begin(round_id, number, log)

    async def work(world: World, progress: Progress) -> Result:
        options = Options(full=full)
        return await sync_round_once(world, options, shards, begin, progress, patience=PATIENCE)

    return await ended(work)


@flow(name="sync-shard", persist_result=False, log_prints=False)
async def sync_shard(round_id: str = "", shard: int = 0) -> State[None]:
    """Do one part of a round that another worker opened.

    Args:
        round_id: The round. Empty: the one that is under way.
        shard: Its part. 0: all that are free.
    """

    async def work(world: World, progress: Progress) -> Result:
        if round_id and shard:
            return await sync_shard_once(world, round_id, shard, progress)
        return await sync_free_shards(world, progress)

    return await _shard_ended(work, get_run_logger())


async def _begin(round_id: str, number: int, log: Log) -> None:
    """Have Prefect start a shard; when it cannot, it is done by who opened the round."""
    parameters = {"round_id": round_id, "shard": number}
    key = f"{round_id}-{number}"
    try:
        await arun_deployment(DEPLOYMENT, parameters=parameters, timeout=0, idempotency_key=key, flow_run_name=key)
    except Exception as error:
        log.warning("Shard %d was not started elsewhere and is done here: %s.", number, type(error).__name__)


async def _shard_ended(work: Work, log: Log) -> State[None]:
    """Do shards with the settings of the worker, tell how it went, and return the state that Prefect shows.

    What a whole run tells (artifacts, nudges, the status) is told by who opened the round.
    """
    try:
        with gentle_end():
            result = await _worked(work, log)
    except Exception as error:
        log.error(detail(error))
        return Failed(message=reason(error))
    for line in (*summary(result), *result.messages):
        log.info(line)
    return final_state(result)


async def _worked(work: Work, log: Log) -> Result:
    def tell(stage: str, done: int, total: int) -> None:
        if done == total or done % max(1, total // STEPS) == 0:
            log.info("%s: %d of %d", stage, done, total)

    world = open_world(settings_here())
    try:
        return await work(world, tell)
    finally:
        await world.close()
