"""The leases: one run writes at a time, or the shards of one round, also when a process froze and wakes up.

The epoch grows with every holder, so that one that lost its lease cannot renew it by its name alone. Every change
of a lease locks the row of the run's lease first: taking one means looking at the others. Who takes one may have
waited for long: the books are looked at again, whether they are still those that were opened.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, and_, bindparam, delete, func, or_, select, update

from state.errors import StateError
from state.opened import Opened
from state.tables import lease, round_, shard, shard_course

NAME = "run"
LEASE_TTL = 600.0
"""Seconds that a lease holds, where the settings say nothing else."""
CLOCKS_APART = 120.0
"""Seconds by which the clocks of two machines may differ: each may be a minute off that of the database.

So one that is behind sees a lease that was just taken hold for longer than it can, and it holds all the same.
"""
FREE = {"holder": "", "epoch": 0, "expires_at": 0.0}
EPOCH = select(lease.c.epoch).where(lease.c.name == bindparam("name"))
LOCK = EPOCH.with_for_update()
HELD = and_(
    lease.c.name == bindparam("at_name"),
    lease.c.holder == bindparam("by_holder"),
    lease.c.epoch == bindparam("of_epoch"),
)
"""The condition that a lease is a holder's, of an epoch."""
RENEW = update(lease).where(HELD).values(expires_at=bindparam("until"))
REQUIRE = select(lease.c.epoch).where(HELD).with_for_update(read=True)
GIVE_BACK = update(lease).where(HELD).values(holder="", expires_at=0.0)
TAKE = (
    update(lease)
    .where(
        lease.c.name == bindparam("at_name"),
        or_(
            lease.c.expires_at <= bindparam("now"),
            lease.c.expires_at > bindparam("ahead"),
            lease.c.holder.in_(["", bindparam("by_holder")]),
        ),
    )
    .values(holder=bindparam("by_holder"), epoch=lease.c.epoch + 1, expires_at=bindparam("until"))
)
AT_WORK = and_(
    lease.c.holder != "", lease.c.expires_at > bindparam("now"), lease.c.expires_at <= bindparam("ahead")
)
COUNT_ALL_AT_WORK = select(func.count()).select_from(lease).where(AT_WORK)
COUNT_AT_WORK = COUNT_ALL_AT_WORK.where(lease.c.name != NAME)
END_SHARDS = update(lease).where(lease.c.name != NAME).values(holder="", expires_at=0.0)
FORGET_ROUND = [delete(table) for table in (shard_course, shard, round_)]
LOST = (
    "The lease was lost: another run took over because this one had stopped renewing it. "
    "This run writes nothing more; the other one goes on with its work."
)


class Held(NamedTuple):
    """A lease as its holder knows it: of the run, or of a shard (`name`)."""

    name: str
    holder: str
    epoch: int


class Lease(Opened):
    """The lease of the whole of the books; all times in epoch seconds, given by the caller."""

    def take_lease(self, holder: str, now: float, ttl: float) -> int | None:
        """Take the lease for `ttl` seconds: its epoch, or None while somebody holds it or a shard is at work.

        One that would hold for much longer than that was taken when the clock was ahead, and holds nobody up. Who
        takes it ends what is left of a round: shards whose lease expired cannot renew it any more.

        Raises StateError when the books are not those that were opened.
        """
        with self._database.writing() as connection:
            self._lock(connection)
            self._require_same(connection)
            if count_at_work(connection, now, ttl) or not self._take(connection, NAME, holder, now, ttl):
                return None
            end_round(connection)
            return _epoch(connection, NAME)

    def renew_lease(self, holder: str, epoch: int, now: float, ttl: float, name: str = NAME) -> None:
        """Hold a lease until `ttl` seconds from now; StateError when somebody took it, or the books, meanwhile."""
        with self._database.writing() as connection:
            self._lock(connection)
            kept = connection.execute(RENEW, {**held(name, holder, epoch), "until": now + ttl})
        if kept.rowcount != 1:
            raise StateError(LOST)

    def release_lease(self, holder: str, epoch: int) -> None:
        """Give the lease back, and end the round that was under it; nothing happens when it is not ours any more.

        Shards that are at work keep their own leases, and nobody begins before they have ended.
        """
        with self._database.writing() as connection:
            self._lock(connection)
            if give_back(connection, NAME, holder, epoch):
                forget_round(connection)

    def _lock(self, connection: Connection) -> None:
        """Make all who change leases do it one after the other (SQLite's writers always do)."""
        if connection.scalar(LOCK, {"name": NAME}) is None:
            connection.execute(self._database.insert_new(lease), {**FREE, "name": NAME})
            connection.execute(LOCK, {"name": NAME})

    def _take(self, connection: Connection, name: str, holder: str, now: float, ttl: float) -> bool:
        """Take one lease if it is free; the row of the run's lease is locked."""
        ours = {"at_name": name, "by_holder": holder, "until": now + ttl} | at_work(now, ttl)
        if connection.execute(TAKE, ours).rowcount == 1:
            return True
        connection.execute(self._database.insert_new(lease), {**FREE, "name": name})
        return connection.execute(TAKE, ours).rowcount == 1


def held(name: str, holder: str, epoch: int) -> dict[str, str | int]:
    """Return the parameters of `HELD`."""
    return {"at_name": name, "by_holder": holder, "of_epoch": epoch}


def at_work(now: float, ttl: float) -> dict[str, float]:
    """Return the parameters of `AT_WORK`."""
    return {"now": now, "ahead": now + ttl + CLOCKS_APART}


def require_held(connection: Connection, ours: Held) -> None:
    """Raise StateError unless a lease is still the caller's; nobody takes it before the transaction has ended."""
    if connection.scalar(REQUIRE, held(*ours)) is None:
        raise StateError(LOST)


def count_at_work(connection: Connection, now: float, ttl: float) -> int:
    """Return how many shards are at work."""
    return connection.scalar(COUNT_AT_WORK, at_work(now, ttl)) or 0


def give_back(connection: Connection, name: str, holder: str, epoch: int) -> bool:
    """Free a lease; False when it is not this holder's any more."""
    return connection.execute(GIVE_BACK, held(name, holder, epoch)).rowcount == 1


def end_round(connection: Connection) -> None:
    """Take away a round with its shards, whose leases nobody can renew from here on."""
    connection.execute(END_SHARDS)
    forget_round(connection)


def forget_round(connection: Connection) -> None:
    """Delete what the machines told each other in a round."""
    for statement in FORGET_ROUND:
        connection.execute(statement)


def _epoch(connection: Connection, name: str) -> int | None:
    return connection.scalar(EPOCH, {"name": name})
