"""The lease: at most one run writes at a time, also when a process froze and wakes up again.

The epoch grows with every holder, so that one that lost the lease cannot renew it by its name alone.
"""

from __future__ import annotations

from sqlalchemy import and_, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from state.books import Books
from state.errors import StateError
from state.tables import lease

NAME = "run"


class Lease(Books):
    """One lease for the whole of the books; all times in epoch seconds, given by the caller."""

    def take_lease(self, holder: str, now: float, ttl: float) -> int | None:
        """Take the lease for `ttl` seconds: its epoch, or None while somebody else holds it.

        One that would hold for longer than that was taken when the clock was ahead, and holds nobody up.
        """
        free = {"name": NAME, "holder": "", "epoch": 0, "expires_at": 0.0}
        take = update(lease).where(
            lease.c.name == NAME,
            or_(lease.c.expires_at <= now, lease.c.expires_at > now + ttl, lease.c.holder.in_(["", holder])),
        )
        with self._database.writing() as connection:
            connection.execute(self._database.insert(lease).on_conflict_do_nothing(), free)
            taken = connection.execute(take.values(holder=holder, epoch=lease.c.epoch + 1, expires_at=now + ttl))
            if taken.rowcount != 1:
                return None
            return connection.scalar(select(lease.c.epoch).where(lease.c.name == NAME))

    def renew_lease(self, holder: str, epoch: int, now: float, ttl: float) -> None:
        """Hold the lease until `ttl` seconds from now; StateError when somebody else took it meanwhile."""
        with self._database.writing() as connection:
            kept = connection.execute(update(lease).where(_held(holder, epoch)).values(expires_at=now + ttl))
        if kept.rowcount != 1:
            raise StateError(
                "The lease was lost: another run took over because this one had stopped renewing it. "
                "This run writes nothing more; the other one goes on with its work."
            )

    def lease_left(self, holder: str, epoch: int, now: float) -> float:
        """Return how many seconds the lease still holds; 0 or less when it is lost or has expired."""
        with self._database.reading() as connection:
            expires_at = connection.scalar(select(lease.c.expires_at).where(_held(holder, epoch)))
        return 0.0 if expires_at is None else expires_at - now

    def lease_holder(self, now: float) -> str:
        """Return who holds the lease, "" when nobody does."""
        held = select(lease.c.holder).where(lease.c.name == NAME, lease.c.expires_at > now)
        with self._database.reading() as connection:
            return connection.scalar(held) or ""

    def release_lease(self, holder: str, epoch: int) -> None:
        """Give the lease back; nothing happens when it is not ours any more."""
        with self._database.writing() as connection:
            connection.execute(update(lease).where(_held(holder, epoch)).values(holder="", expires_at=0.0))


def _held(holder: str, epoch: int) -> ColumnElement[bool]:
    """Return the condition that the lease is this holder's, of this epoch."""
    return and_(lease.c.name == NAME, lease.c.holder == holder, lease.c.epoch == epoch)
