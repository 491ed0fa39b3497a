"""A round: one run that several machines share. Who works on which courses, and what each has to tell the others.

It is under the lease of the run; each shard has a lease of its own beside it. What is packed here is JSON of ids,
counts and codes, and it is gone when the round ends.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from state.errors import StateError
from state.facts import Facts
from state.lease import AT_WORK, HELD, NAME, Lease, at_work, count_at_work, end_round, give_back, held
from state.tables import lease, round_, shard, shard_course

WAITING, RUNNING, ENDED = "waiting", "running", "ended"
OVER, BUSY, DONE = "over", "busy", "done"


@dataclass(frozen=True)
class ShardRow:
    """One shard: `attempts` is how often it was begun, `at_work` whether somebody holds its lease now."""

    number: int
    state: str
    attempts: int
    at_work: bool
    outcome: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Taken:
    """What came of the wish to work on a shard: `refusal` is over, busy or done, or "" with the lease's epoch."""

    refusal: str = ""
    epoch: int = 0
    courses: tuple[int, ...] = ()


class Rounds(Lease, Facts):
    """The round that is under way, if there is one."""

    def open_round(
        self, round_id: str, epoch: int, shards: Mapping[int, Collection[int]], handover: Mapping[str, Any]
    ) -> None:
        """Share courses out, by number of the shard; only for the holder `round_id` of the run's lease.

        Raises StateError when that lease was lost, or a course is in two shards.
        """
        parts = [{"round": round_id, "number": n, "state": WAITING, "attempts": 0} for n in shards]
        courses = [
            {"round": round_id, "course_id": course, "number": number}
            for number, of_shard in shards.items()
            for course in of_shard
        ]
        if len({row["course_id"] for row in courses}) < len(courses):
            raise StateError("A course is in two shards of the round.")
        with self._database.writing() as connection:
            self._lock(connection)
            _require(connection, round_id, epoch)
            end_round(connection)
            connection.execute(insert(round_), {"id": round_id, "handover": _packed(handover)})
            connection.execute(insert(shard), parts)
            connection.execute(insert(shard_course), courses)

    def server_time(self) -> float | None:
        """Return the clock that all machines share (epoch); None for books in a file, which one machine uses."""
        return self._database.server_time()

    def round_under_way(self) -> str:
        """Return the id of the round whose shards may be taken, "" when there is none."""
        with self._database.reading() as connection:
            return connection.scalar(select(round_.c.id)) or ""

    def handover(self, round_id: str) -> dict[str, Any] | None:
        """Return what the opening of a round told the shards; None when the round is over."""
        with self._database.reading() as connection:
            packed = connection.scalar(select(round_.c.handover).where(round_.c.id == round_id))
        return None if packed is None else _unpacked(packed)

    def take_shard(self, round_id: str, number: int, holder: str, now: float, ttl: float) -> Taken:
        """Take the lease of a shard, unless the round is over, it was done, or somebody else is at work on it.

        Raises StateError when the books are not those that were opened.
        """
        with self._database.writing() as connection:
            self._lock(connection)
            self._require_same(connection)
            here = select(shard.c.state).where(shard.c.round == round_id, shard.c.number == number)
            state = connection.scalar(here)
            under = select(func.count()).where(lease.c.name == NAME, lease.c.holder == round_id, AT_WORK)
            if state is None or not connection.scalar(under, at_work(now, ttl)):
                return Taken(OVER)
            if state == ENDED:
                return Taken(DONE)
            if not self._take(connection, lease_of(number), holder, now, ttl):
                return Taken(BUSY)
            begun = {"state": RUNNING, "attempts": shard.c.attempts + 1}
            _set(connection, round_id, number, begun)
            epoch = connection.scalar(select(lease.c.epoch).where(lease.c.name == lease_of(number))) or 0
            mine = select(shard_course.c.course_id).where(
                shard_course.c.round == round_id, shard_course.c.number == number
            )
            return Taken("", epoch, tuple(sorted(connection.scalars(mine))))

    def finish_shard(
        self, round_id: str, number: int, holder: str, epoch: int, outcome: Mapping[str, Any]
    ) -> None:
        """Write down what a shard has to tell, and give its lease back.

        Raises StateError when the lease was lost, or the round is over.
        """
        with self._database.writing() as connection:
            self._lock(connection)
            ours = give_back(connection, lease_of(number), holder, epoch)
            ended = {"state": ENDED, "outcome": _packed(outcome)}
            told = ours and _set(connection, round_id, number, ended)
        if not ours:
            raise StateError("The lease of this shard was lost: another worker took it over.")
        if not told:
            raise StateError("The round was over before this shard had ended. The next run compares again.")

    def put_shard_back(self, round_id: str, number: int, holder: str, epoch: int) -> None:
        """Let somebody else do a shard; nothing happens when the lease is not ours any more."""
        with self._database.writing() as connection:
            self._lock(connection)
            if give_back(connection, lease_of(number), holder, epoch):
                _set(connection, round_id, number, {"state": WAITING})

    def shards(self, round_id: str, now: float, ttl: float) -> list[ShardRow]:
        """Return the shards of a round by number."""
        with self._database.reading() as connection:
            return _shards(connection, round_id, now, ttl)

    def count_unfinished(self, round_id: str) -> int:
        """Return how many shards of a round have not ended."""
        query = select(func.count()).select_from(shard).where(shard.c.round == round_id, shard.c.state != ENDED)
        with self._database.reading() as connection:
            return connection.scalar(query) or 0

    def close_round(self, round_id: str, epoch: int, now: float, ttl: float) -> list[ShardRow] | None:
        """Let no shard be begun, or go on, from here on; return what they had to tell, None while one is at work.

        Raises StateError when the lease of the run was lost.
        """
        with self._database.writing() as connection:
            self._lock(connection)
            _require(connection, round_id, epoch)
            if count_at_work(connection, now, ttl):
                return None
            told = _shards(connection, round_id, now, ttl)
            end_round(connection)
            return told


def lease_of(number: int) -> str:
    """Return the name of a shard's lease."""
    return f"shard-{number}"


def _require(connection: Connection, round_id: str, epoch: int) -> None:
    """Raise StateError unless this is the holder of the run's lease."""
    if not connection.scalar(select(func.count()).where(HELD), held(NAME, round_id, epoch)):
        raise StateError("The lease was lost: another run took over. The next one catches up.")


def _set(connection: Connection, round_id: str, number: int, values: Mapping[str, Any]) -> bool:
    here = shard.c.round == round_id, shard.c.number == number
    return connection.execute(update(shard).where(*here).values(**values)).rowcount == 1


def _shards(connection: Connection, round_id: str, now: float, ttl: float) -> list[ShardRow]:
    busy = set(connection.scalars(select(lease.c.name).where(AT_WORK), at_work(now, ttl)))
    rows = connection.execute(select(shard).where(shard.c.round == round_id).order_by(shard.c.number)).all()
    return [
        ShardRow(
            row.number,
            row.state,
            row.attempts,
            lease_of(row.number) in busy,
            {} if row.outcome is None else _unpacked(row.outcome),
        )
        for row in rows
    ]


def _packed(value: Mapping[str, Any]) -> bytes:
    return zlib.compress(json.dumps(value, sort_keys=True).encode())


def _unpacked(packed: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(zlib.decompress(packed))
    return found
