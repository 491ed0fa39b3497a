"""Writing to CommCare so that nothing is lost and nothing doubled.

Every transmission is announced in the books before it is made. Afterwards there are three kinds of answers: done
(digests, case id and the end of the announcement are one transaction), certainly not done (sent again, or the row
is set aside), and unknown (the announcement stays, and the row rests until CommCare must have finished).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from adaptors.commcare.cases import CaseReply, RowsRefused
from adaptors.errors import AccessDenied, InDoubt, Maintenance, Retriable
from flows.result import Result, RunState
from flows.steps.aside import DROPPED, Aside
from flows.steps.clocks import sure_now
from flows.steps.creates import Creates
from flows.steps.first_loads import FirstLoads
from flows.steps.isolate import NOT_SORTED_OUT, Isolation
from flows.steps.lease import Lease
from flows.steps.planned import Planned
from flows.steps.suspects import POISON, Suspects
from flows.world import World
from state import NO_VALUE, Ack, Intent, RowId
from state.statuses import CLOSED

BATCH = 100
IN_FLIGHT = 4
TRIES = 6
LONGEST_WAIT = 60.0
SAME_KEY = "same_key_twice"
CLOSED_THERE = "closed_in_commcare"
COUNTERS = {"create": "created", "left": "marked_left", "withdrawn": "withdrawn", "ended": "ended"}

Settled = Callable[[Planned, str], Awaitable[None]]
"""Told for each row: "" when CommCare has it, "in_doubt", or the reason why it was refused."""


class Pusher:
    """Fills batches across courses, one queue per parent level, and sends a few of them at a time.

    Any other error than those handled here leaves the announcement standing: the rows count as unknown.
    """

    def __init__(self, world: World, result: Result, lease: Lease) -> None:
        self._world = world
        self._result = result
        self._lease = lease
        self.aside = Aside(world, result)
        self.unsorted = set[str]()
        """Mappings with rows that are for the next run: finding those at fault would have cost too much."""
        self.moved = set[str]()
        """Mappings of which cases have another owner than before: those below them are to follow."""
        self.succeeded = set[str]()
        """Mappings of which cases were followed by others: those below them are to belong to these."""
        self.firsts = FirstLoads(world, result)
        self._suspects = Suspects(world)
        self._creates = Creates(world, result)
        self._queues: dict[int, list[tuple[Planned, Settled]]] = defaultdict(list)
        self._apart: dict[tuple[int, str], list[tuple[Planned, Settled]]] = defaultdict(list)
        self._sending: set[asyncio.Task[None]] = set()
        self._owners_of_keys: dict[str, RowId] = {}
        self._failed: BaseException | None = None
        self._batches = 0
        self.numbered_from = 0
        """What the numbers of requests begin after: see `numbered_from` of a shard."""

    @property
    def batches(self) -> int:
        """Return how many requests were made (in a preview: would have been made)."""
        return self._batches

    def enqueue(self, level: int, rows: Iterable[Planned], settled: Settled) -> None:
        """Queue rows of a level; `settled` is told of each once it is known what became of it."""
        self._queues[level].extend((row, settled) for row in rows if not self.firsts.take(level, row, settled))

    async def pump(self) -> None:
        """Send the batches that are full; waits while enough of them are under way."""
        for level in sorted(self.firsts.levels):
            while (found := await self.firsts.looked_up(level)) is not None:
                self._queues[level].extend(found)
        await self._part()
        for level in sorted(self._queues):
            while len(self._queues[level]) >= BATCH:
                await self._start(self._take(level))

    async def drain(self) -> None:
        """Send all that is queued, parents before children, until every row is settled."""
        while True:
            await self.pump()
            # A batch that is not full waits for those under way: their children may fill it up.
            await self._wait_for_all()
            levels = {level for level in self._queues if self._queues[level]} | {level for level, _ in self._apart}
            levels |= self.firsts.levels
            if not levels:
                return
            level = min(levels)
            if level in self.firsts.levels:
                self._queues[level].extend(await self.firsts.looked_up(level, all_of_them=True) or ())
            elif self._queues[level]:
                await self._start(self._take(level))
            else:  # after the others: by then it is known whether CommCare takes anything at all
                await self._start(self._apart.pop(min(at for at in self._apart if at[0] == level)))

    def _take(self, level: int) -> list[tuple[Planned, Settled]]:
        batch, self._queues[level] = self._queues[level][:BATCH], self._queues[level][BATCH:]
        return batch

    async def _part(self) -> None:
        """Part the rows that may have broken a request from the others."""
        await self._suspects.load()
        for level, queue in self._queues.items():
            groups = [self._suspects.group(row.row) for row, _ in queue]
            for entry, group in zip(queue, groups, strict=True):
                if group:
                    self._apart[level, group].append(entry)
            self._queues[level] = [entry for entry, group in zip(queue, groups, strict=True) if not group]

    async def abandon(self) -> None:
        """Let the batches under way finish; what was not sent is dropped and found again by the next run."""
        self._queues.clear()
        self._apart.clear()
        self.firsts.clear()
        if self._sending:
            await asyncio.wait(self._sending)

    async def _start(self, batch: list[tuple[Planned, Settled]]) -> None:
        while len(self._sending) >= IN_FLIGHT:
            await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
        self._raise_failure()
        task = asyncio.create_task(self._send(batch))
        self._sending.add(task)
        task.add_done_callback(self._finished)

    async def _wait_for_all(self) -> None:
        while self._sending:
            await asyncio.wait(self._sending)
        self._raise_failure()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and task.exception() is not None and self._failed is None:
            self._failed = task.exception()

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise self._failed

    async def _send(self, batch: Sequence[tuple[Planned, Settled]]) -> None:
        # CommCare knows cases by their key alone: one that two rows of ours lay claim to would make two cases.
        rows = [row for row, _ in batch if self._owners_of_keys.setdefault(row.write.key, row.row) == row.row]
        outcomes = await self._not_refused_before(rows)
        for row, settled in batch:
            outcome = outcomes.get(row.row, SAME_KEY)
            self._count(row, outcome)
            await settled(row, "" if outcome == DROPPED else outcome)

    async def _not_refused_before(self, rows: Sequence[Planned]) -> dict[RowId, str]:
        """Send rows, but for those that CommCare refused as they are, and return each row's outcome."""
        refused = await self.aside.refused(rows)
        rows = [row for row in rows if row.row not in refused]
        outcomes = await self._transmit(rows) if rows else {}
        await self.aside.note(rows, outcomes)
        return outcomes | refused

    async def _transmit(self, rows: Sequence[Planned]) -> dict[RowId, str]:
        """Send rows as one request and return each row's outcome; rows that spoil a request are set aside."""
        ready, outcomes = await self._creates.looked_up(rows)
        return outcomes | await self._sorted_out(ready) if ready else outcomes

    async def _sorted_out(self, rows: Sequence[Planned]) -> dict[RowId, str]:
        try:
            return await self._request(rows)
        except RowsRefused as refusal:
            if await self._creates.are_refused(rows, refusal):
                return await self._transmit(rows)
            isolation = Isolation(self._request)
            outcomes = await isolation.sort_out(rows, refusal)
            self._tell_refused(rows, outcomes, isolation.whole)
            return outcomes

    async def _request(self, rows: Sequence[Planned]) -> dict[RowId, str]:
        """Send rows as one request; raises RowsRefused when CommCare certainly took none of them."""
        ids = [row.row for row in rows]
        self._batches += 1
        batch = f"{self._result.run_id}-{self.numbered_from + self._batches}"
        try:
            replies = await self._announced(rows, batch)
        except InDoubt as doubt:
            self._result.unanswered_writes += 1
            blamed = await self._suspects.note(ids, doubt)
            return dict.fromkeys(ids, POISON if blamed else "in_doubt")
        except RowsRefused:
            self._result.answered_writes += 1
            await self._world.books.do(self._world.books.store.release, ids, batch)
            raise
        self._result.answered_writes += 1
        acks = [_ack(row, reply) for row, reply in zip(rows, replies, strict=True) if reply is not None]
        self._tell_closed(rows, replies)
        self._note_moved(rows, replies)
        form_id = next((reply.form_id for reply in replies if reply is not None), "")
        store, now = self._world.books.store, self._world.clock.now()
        for taken, some in (
            (store.acknowledge, [ack for ack in acks if not ack.earlier]),
            (store.acknowledge_earlier, [ack for ack in acks if ack.earlier]),
        ):
            await self._world.books.do(taken, some, now, batch, form_id, self._lease.held)
        self._suspects.took_others = True
        await self._suspects.clear(ids)
        return dict.fromkeys(ids, "")

    async def _announced(self, rows: Sequence[Planned], batch: str) -> Sequence[CaseReply | None]:
        """Announce and send until CommCare takes it, or cannot for now (then Retriable is raised)."""
        world, store = self._world, self._world.books.store
        intents = [Intent(row.row, row.user_id, row.intent) for row in rows]

        async def announce() -> None:
            # Anew before every transmission, and only now that it is our turn: the rest is counted from here.
            await self._lease.hold()
            # Bound to the lease: a process that froze since its last look at it announces, and sends, nothing.
            held = self._lease.held
            await world.books.do(store.stamp, batch, intents, await sure_now(world, held), held)

        for attempt in range(1, TRIES + 1):
            try:
                return await world.commcare.write_cases(
                    [row.write for row in rows],
                    batch=batch,
                    before_send=announce,
                    suspect=self._suspects.are_proved([row.row for row in rows]),
                )
            except Retriable as error:
                if attempt == TRIES or isinstance(error, Maintenance):
                    await world.books.do(store.release, [row.row for row in rows], batch)
                    raise
                # Beyond that it is the pace that waits, as long as CommCare said, and the lease is held.
                await world.clock.sleep(min(max(error.retry_after or 0.0, 2.0**attempt), LONGEST_WAIT))
            except AccessDenied:
                await world.books.do(store.release, [row.row for row in rows], batch)
                raise
        raise AssertionError("the last try returns or raises")  # pragma: no cover

    def _tell_refused(self, rows: Sequence[Planned], outcomes: Mapping[RowId, str], whole: str) -> None:
        """Say when rows were not tried one by one: all are refused for one reason, or too many for several."""
        if whole:
            self._result.worse(
                RunState.DEGRADED,
                f"CommCare refused all {len(rows)} records of a request for one reason ({whole}); a few were "
                "tried by themselves, the others not. When the cause is gone: "
                f"moodle-commcare problems retry --reason {whole}",
            )
        left = [row for row in rows if outcomes[row.row] == NOT_SORTED_OUT]
        self.unsorted |= {row.row.mapping for row in left}
        if left:
            self._result.worse(
                RunState.DEGRADED,
                f"CommCare refused requests with so many records at fault that {len(left)} records were not "
                "tried; the next run goes on with them.",
            )

    def _count(self, row: Planned, outcome: str) -> None:
        if outcome == DROPPED:
            self._result.reasons[DROPPED] += 1
        self._result.refused_rows += outcome not in ("", "in_doubt", DROPPED, NOT_SORTED_OUT)
        self._result.count(row.case_type, row.row.scope, _counter(row, outcome))
        if not outcome and row.write.close:
            self._result.count(row.case_type, row.row.scope, "closed")

    def _note_moved(self, rows: Sequence[Planned], replies: Sequence[CaseReply | None]) -> None:
        """Take in whose owner is another one now, by us or by somebody who moved it, and who has another case."""
        for row, reply in zip(rows, replies, strict=True):
            if reply is not None and row.owner_held not in ("", reply.owner_id):
                self.moved.add(row.row.mapping)
            if reply is not None and row.another:
                self.succeeded.add(row.row.mapping)

    def _tell_closed(self, rows: Sequence[Planned], replies: Sequence[CaseReply | None]) -> None:
        """Count the cases that somebody closed in CommCare: they take updates, and stay closed.

        One that we closed before the books were put back, maybe: the next run asks, and makes a new one for who is
        still there; who is gone by then is marked as left.
        """
        for row, reply in zip(rows, replies, strict=True):
            if reply is None or not reply.closed or row.earlier or row.status in CLOSED:
                continue
            if row.ours_if_closed:
                self.unsorted.add(row.row.mapping)
            else:
                self._result.reasons[CLOSED_THERE] += 1


def _counter(row: Planned, outcome: str) -> str:
    """Return the name of CaseCounts under which a row is counted."""
    if not outcome:
        return "updated" if row.earlier else COUNTERS.get(row.op, "updated")
    if outcome == "in_doubt":
        return outcome
    return "held_back" if outcome in (DROPPED, NOT_SORTED_OUT) else "problems"


def _ack(row: Planned, reply: CaseReply) -> Ack:
    """Return what the books are told of a row that CommCare took."""
    return Ack(
        row.row,
        reply.case_id,
        row.owner_before or reply.owner_id,
        _held(row, reply),
        "closing" if reply.closed and row.ours_if_closed else row.status,
        row.user_id,
        row.intent,
        row.names,
        reply.closed,
        row.whole,
        row.earlier,
    )


def _held(row: Planned, reply: CaseReply) -> Mapping[str, bytes]:
    """Return a row's digests, and one that fits nothing for what CommCare holds besides: a blank empties it."""
    return {name: NO_VALUE for name in row.unsent if reply.properties.get(name)} | dict(row.digests)


class DryPusher(Pusher):
    """The pusher of a preview: counts what would be sent, and sends nothing."""

    def __init__(self, world: World, result: Result, lease: Lease, planned: Callable[[Planned], None]) -> None:
        super().__init__(world, result, lease)
        self._planned = planned

    async def _transmit(self, rows: Sequence[Planned]) -> dict[RowId, str]:
        self._batches += 1
        for row in rows:
            self._planned(row)
        return {row.row: "" for row in rows}
