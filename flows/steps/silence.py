"""Writes that CommCare does not answer, run after run: each rests, is sent again, and meanwhile nothing arrives.

One lost answer is everyday life where the network comes and goes, and the next run repairs it: nobody is told.
"""

from __future__ import annotations

import json
from datetime import datetime

from flows.result import Result, RunState
from flows.words import numbered
from flows.world import World
from state import DoubtRow, RowId

SILENT = "silent"
"""Fact: {"since": when the first of them was sent (epoch), "asked": write requests in a row without an answer}."""
TOLD_FROM = 2  # requests in a row; one alone is told of nobody
STUBBORN = 3  # times in a row that a record was sent in vain while CommCare took others


async def heed_silence(world: World, result: Result) -> None:
    """Say at the end of a run that CommCare answers no write, and since when; the first answer ends it."""
    waits = bool(result.unanswered_writes) or any(counts.in_doubt for counts in result.cases.values())
    if not (waits or result.answered_writes):
        return
    store = world.books.store
    text = await world.books.do(store.get, SILENT)
    known = json.loads(text or "{}")
    doubts = await _doubts(world) if waits else []
    if result.answered_writes:
        if known:
            await world.books.do(store.put, SILENT, "{}")
        _tell_stubborn(result, doubts)
    elif doubts:
        await _tell_silent(world, result, known, doubts)


async def _doubts(world: World) -> list[DoubtRow]:
    """Return the rows in doubt, without those that are blamed for it: they are listed as problems."""
    store = world.books.store
    doubts = await world.books.do(store.doubts)
    blamed = {one.row for one in await world.books.do(store.refusals)} if doubts else set[RowId]()
    return [one for one in doubts if one.row not in blamed]


async def _tell_silent(world: World, result: Result, known: dict[str, float], doubts: list[DoubtRow]) -> None:
    """Note the requests of a run in which CommCare answered no write, and say since when it is so."""
    if known and all(one.first_at > known["since"] for one in doubts):
        known = {}  # of those before none is in doubt any more
    fact = known
    if result.unanswered_writes:
        begun = world.clock.now() - result.seconds
        since = min((one.last_at for one in doubts if one.last_at >= begun), default=begun)
        asked = known.get("asked", 0) + result.unanswered_writes
        fact = {"since": known.get("since", since), "asked": asked}
        await world.books.do(world.books.store.put, SILENT, json.dumps(fact))
    if fact.get("asked", 0) >= TOLD_FROM:
        what = f"none of {numbered(result.unanswered_writes, 'write request')}"
        if known:
            begun_at = datetime.fromtimestamp(known["since"], world.project.time_zone)
            what = f"no write since {begun_at:%Y-%m-%d %H:%M}"
        rows = f"{numbered(len(doubts), 'record')} {'waits and is' if len(doubts) == 1 else 'wait and are'}"
        result.worse(
            RunState.DEGRADED,
            f"CommCare answered {what}; {rows} sent again by the next runs. If CommCare opens in a browser all "
            "the same, tell those who run it.",
        )


def _tell_stubborn(result: Result, doubts: list[DoubtRow]) -> None:
    """Say how many records CommCare never answers while it takes others."""
    often = sum(one.times >= STUBBORN for one in doubts)
    if often:
        result.worse(
            RunState.DEGRADED,
            f"CommCare did not answer {numbered(often, 'record')} {STUBBORN} times or more, though it took "
            "others. The next runs try again, in ever smaller requests; a record that is at fault comes into "
            "`moodle-commcare problems list`.",
        )
