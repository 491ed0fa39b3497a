"""One shard of a round: its courses read, mapped, pushed and checked off, under a lease of its own.

Everything it writes is of its courses. Who left and who is kept out is decided at the end of the round, by whoever
opened it, from what all shards have to tell.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping

from adaptors.errors import AccessDenied, Maintenance
from adaptors.moodle.roster import Roster
from flows.errors import Overlap, UsageError
from flows.outcome import outcome
from flows.result import Result, RunState
from flows.run import Run
from flows.steps.courses import sync_courses
from flows.steps.edits import find_edits
from flows.steps.first_loads import never_loaded
from flows.steps.gate import require_functions
from flows.steps.handover import Handover, told
from flows.steps.lease import Lease, ShardLease
from flows.steps.left_open import newly_open
from flows.steps.lost import lost
from flows.steps.merged import left_out
from flows.steps.recover import recover_courses, strangers
from flows.steps.rosters import read_rosters
from flows.steps.select import why_unshown
from flows.world import Progress, World, silent
from state import StateError
from state.rounds import ENDED

log = logging.getLogger(__name__)

GONE = "Moodle has no such course any more, or the account may not see it."
LOOK = 1.0  # seconds between two looks for a round
PER_TRY, TRIES = 100_000, 100  # requests of one try, and tries of one shard, that have numbers of their own

Rosters = Mapping[int, Roster]


async def sync_shard(world: World, round_id: str, number: int, progress: Progress = silent) -> Result:
    """Do one shard of a round that another worker opened; without anything to do the result says why.

    Raises UsageError when the mappings or the key of this machine are not those of the round.
    """
    result = Result(round_id)
    try:
        return await do_shard(world, (round_id, number), progress)
    except Overlap as error:
        result.worse(RunState.POSTPONED, str(error))
    except StateError as error:
        result.worse(RunState.FAILED, str(error))
    return result


async def sync_free_shards(world: World, progress: Progress = silent, *, wait: float = 0.0) -> Result:
    """Do shards of the round that is under way until none is free; waits so many seconds for a round to begin."""
    total, tried, until = Result(""), set[int](), world.clock.monotonic() + wait
    while True:
        round_id, free = await _free(world)
        if not round_id and not total.run_id and world.clock.monotonic() < until:
            await world.clock.sleep(LOOK)
            continue
        number = next((number for number in free if number not in tried), None)
        if number is None:
            break
        tried.add(number)
        total.run_id = round_id
        done = await sync_shard(world, round_id, number, progress)
        total.take_over(done)
        total.add_requests(done.requests)
        total.seconds += done.seconds
        total.shards.append({"number": number})
    if not tried:
        total.worse(RunState.POSTPONED, "No round is under way, or all of its shards are taken: nothing to do.")
    return total


async def _free(world: World) -> tuple[str, list[int]]:
    """Return the round that is under way and its free shards; the first one is for who opened it."""
    books, store = world.books, world.books.store
    round_id = await books.do(store.round_under_way)
    if not round_id:
        return "", []
    shards = await books.do(store.shards, round_id, world.clock.now(), world.lease_ttl)
    return round_id, [one.number for one in shards if one.number > 1 and one.state != ENDED and not one.at_work]


async def do_shard(
    world: World,
    shard: tuple[str, int],
    progress: Progress = silent,
    *,
    under: Lease | None = None,
    rosters: Rosters | None = None,
) -> Result:
    """Do one shard (round, number); raises Overlap when there is nothing to do, UsageError as above, StateError.

    `under` is the run's lease where this process opened the round, `rosters` are courses that it has read. What
    does not end well elsewhere is put back for the opener; what it cannot do either is not done in this round.
    """
    round_id, number = shard
    result, handover = Result(round_id), await _handover(world, round_id)
    lease = ShardLease(world, f"{round_id} {number} {secrets.token_hex(4)}", shard, under)
    await lease.take()
    run = Run.begin(world, result, lease, handover.due(world), preview=False, progress=progress)
    run.pusher.numbered_from = numbered_from(number, lease.epoch)
    well = False
    try:
        async with outcome(world, result):
            with world.attended_by(lease.hold):
                if under is None:  # else who opened the round has begun, here
                    await world.begin()
                await _work(run, handover, lease.taken.courses, rosters or {})
            well = True
    except BaseException:
        await asyncio.shield(lease.release())
        raise
    if well or under is not None:
        await _finish(run, lease, well=well)
    else:
        await lease.release()  # what goes wrong on one machine may go well on that of the opener
    log.info("shard %d of round %s ended %s", number, round_id, result.state)
    return result


def numbered_from(number: int, epoch: int) -> int:
    """Return what the requests of a shard are numbered from: no two of a round have one number.

    Those of who opened it count from 1. `epoch` counts how often the shard's lease was taken: what is begun anew
    after a crash has other numbers. All of it fits a 32-bit column up to shard 213.
    """
    return (number * TRIES + epoch % TRIES) * PER_TRY


async def _handover(world: World, round_id: str) -> Handover:
    """Return what the opening told; raises Overlap when the round is over, UsageError on the wrong machine."""
    found = await world.books.do(world.books.store.handover, round_id)
    if found is None:
        raise Overlap("This round is over: there is nothing to do. The next one begins anew.")
    handover = Handover.read(found)
    if handover.revision != world.project.revision:
        raise UsageError(
            "The mappings on this machine are not those of the round. Put the same files into MAPPINGS_DIR on all "
            "machines; until then the others do the work of this one."
        )
    if not await world.books.do(lambda: world.books.store.has_known_key):
        raise UsageError(
            "The key in STATE_KEY_FILE on this machine is not the one of the books. Copy the file from a machine "
            "that works; until then the others do the work of this one."
        )
    return handover


async def _work(run: Run, handover: Handover, numbers: tuple[int, ...], known: Rosters) -> None:
    """Read the shard's courses and send what differs; a course that Moodle lost meanwhile is named as failed."""
    world = run.world
    handover.prepare(run)
    await recover_courses(world, numbers, run.lease.held)
    edits = await find_edits(world, run.mappings)
    run.planner.removed = {name: edit.taken_out for name, edit in edits.items()}
    run.planner.strangers, run.planner.lost = await strangers(world), await lost(world)
    run.pusher.firsts.begin(await never_loaded(world, run.mappings), run.planner.strangers)
    site = await run.reader.site()
    _require_account(site.userid, handover.account)
    require_functions(site, run.wanted)
    there = {course.id: course for course in await run.reader.these_courses(numbers)}
    unshown = run.reader.refused_courses
    for number in numbers:
        if number not in there:
            run.course_failed(number, why_unshown(is_asked=unshown[number]) if number in unshown else GONE)
    run.read = set(numbers)
    run.reader.left_out = await left_out(run)
    run.rosters = {number: known[number] for number in numbers if number in known and number in there}
    mine = [there[number] for number in numbers if number in there]
    try:
        await read_rosters(run, [course for course in mine if course.id not in run.rosters])
        try:
            await sync_courses(run, mine)
        except Maintenance:
            await run.pusher.drain()
            raise
        await run.pusher.drain()
    except BaseException:
        await asyncio.shield(run.pusher.abandon())
        raise


def _require_account(here: int, there: int) -> None:
    """Raise AccessDenied when this worker reads Moodle with another account than the opening did."""
    if here != there:
        raise AccessDenied(
            "This machine reads Moodle with another account than the one that opened the round.",
            system="Moodle",
            operation="core_webservice_get_site_info",
            remedy="Give MOODLE_TOKEN the same value on all machines.",
        )


async def _finish(run: Run, lease: ShardLease, *, well: bool) -> None:
    """Hand over what the shard has to tell."""
    try:
        run.unsettled |= await newly_open(run)
        await lease.finish({**told(run), "well": well})
    except StateError as error:
        run.result.worse(RunState.FAILED, str(error))
