"""At most one run at a time, across threads and processes."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from state import Intent, RowId, StateError, Store
from state.lease import HELD, NAME, Held, held
from state.move import move
from state.tables import lease

KEY = b"k" * 32


def take(url: str, holder: str) -> int | None:
    """Open the books as a process of its own does, and try to take the lease."""
    with Store.open(url, key=KEY) as store:
        return store.take_lease(holder, now=1000.0, ttl=600.0)


def lease_left(store: Store, holder: str, epoch: int, now: float) -> float:
    """Return how many seconds a holding still lasts; 0.0 when it was lost."""
    with store._database.reading() as connection:
        expires_at = connection.scalar(select(lease.c.expires_at).where(HELD), held(NAME, holder, epoch))
    return 0.0 if expires_at is None else expires_at - now


def test_a_free_lease_is_taken(store: Store) -> None:
    """The first holder gets the first epoch and the whole time."""
    assert (1, 600.0) == (store.take_lease("a", 1000.0, 600.0), lease_left(store, "a", 1, 1000.0))


def test_a_held_lease_is_not_taken(store: Store) -> None:
    """Nobody else gets it while it holds."""
    store.take_lease("a", 1000.0, 600.0)
    assert store.take_lease("b", 1599.0, 600.0) is None


@pytest.mark.parametrize("behind", [0.1, 60.0, 119.0])
def test_a_clock_that_is_behind_takes_no_lease(store: Store, behind: float) -> None:
    """On a machine whose clock is allowed to be behind, a lease that was just taken holds as well."""
    store.take_lease("a", 1000.0, 600.0)
    assert store.take_lease("b", 1000.0 - behind, 600.0) is None
    assert ("a", 1600.0) == store.lease_holder(1000.0 - behind, 600.0)


def test_an_expired_lease_is_taken_over(store: Store) -> None:
    """A holder that stopped renewing is replaced, with the next epoch."""
    store.take_lease("a", 1000.0, 600.0)
    assert (2, 0.0) == (store.take_lease("b", 1600.0, 600.0), lease_left(store, "a", 1, 1601.0))


def test_a_released_lease_is_free(store: Store) -> None:
    """Given back, it can be taken at once; epochs go on."""
    store.take_lease("a", 1000.0, 600.0)
    store.release_lease("a", 1)
    assert 2 == store.take_lease("b", 1001.0, 600.0)


def test_a_renewed_lease_holds_longer(store: Store) -> None:
    """Renewal counts from the time of renewal."""
    store.take_lease("a", 1000.0, 600.0)
    store.renew_lease("a", 1, 1060.0, 600.0)
    assert 590.0 == lease_left(store, "a", 1, 1070.0)


def test_an_expired_lease_nobody_took_can_be_renewed(store: Store) -> None:
    """A late renewal is safe as long as no other run began."""
    store.take_lease("a", 1000.0, 600.0)
    store.renew_lease("a", 1, 1700.0, 600.0)
    assert 600.0 == lease_left(store, "a", 1, 1700.0)


def test_a_lost_lease_cannot_be_renewed(store: Store) -> None:
    """The old holder is told, and the new one is not disturbed."""
    store.take_lease("a", 1000.0, 600.0)
    store.take_lease("b", 1600.0, 600.0)
    with pytest.raises(StateError, match="lease was lost"):
        store.renew_lease("a", 1, 1610.0, 600.0)
    assert 590.0 == lease_left(store, "b", 2, 1610.0)


def test_a_name_alone_does_not_hold_the_lease(store: Store) -> None:
    """A process that comes back under its old name has a new epoch; the old epoch is worth nothing."""
    store.take_lease("a", 1000.0, 600.0)
    store.take_lease("a", 1700.0, 600.0)
    assert (0.0, 600.0) == (lease_left(store, "a", 1, 1700.0), lease_left(store, "a", 2, 1700.0))


def test_a_lost_lease_is_not_released(store: Store) -> None:
    """Tidying up after oneself does not take the lease from the next holder."""
    store.take_lease("a", 1000.0, 600.0)
    store.take_lease("b", 1600.0, 600.0)
    store.release_lease("a", 1)
    assert 600.0 == lease_left(store, "b", 2, 1600.0)


def test_nothing_is_announced_under_a_lost_lease(store: Store) -> None:
    """Who lost the lease since the last look at it announces nothing, and may send nothing."""
    store.take_lease("a", 1000.0, 600.0)
    store.take_lease("b", 1600.0, 600.0)
    intents = [Intent(RowId("student", 0, "one"), 1, "create")]
    with pytest.raises(StateError, match="lease was lost"):
        store.stamp("a-1", intents, 1700.0, Held("run", "a", 1))
    assert {} == store.intents()
    store.stamp("b-1", intents, 1700.0, Held("run", "b", 2))
    assert 1 == len(store.intents())


@pytest.mark.parametrize("change", ["put back", "gone", "moved", "another key"])
def test_books_that_are_not_what_was_opened(url: str, file: Path, change: str) -> None:
    """A process that opened the books before they were changed gets no lease in them, and announces nothing."""
    take(url, "a")
    with Store.open(url, key=KEY) as stale:
        stale.take_key()
        held = Held("run", "b", stale.take_lease("b", 2000.0, 600.0) or 0)
        {"put back": _put_back, "gone": _lose, "moved": _move, "another key": _rotate}[change](url, file)
        words = {"put back": "put back", "gone": "is not there", "moved": "moved to", "another key": "keys"}
        with pytest.raises(StateError, match=words[change]):
            stale.stamp("b-1", [Intent(RowId("student", 0, "one"), 1, "create")], 2001.0, held)
        with pytest.raises(StateError, match=words[change]):
            stale.take_lease("c", 3000.0, 600.0)
        assert {} == stale.intents()


def _put_back(url: str, file: Path) -> None:
    for end in ("", "-wal", "-shm"):
        file.with_name(file.name + end).replace(file.with_name(f"aside{end}"))
    Store.open(url, key=KEY).close()


def _lose(_url: str, file: Path) -> None:
    file.unlink()


def _move(url: str, file: Path) -> None:
    move(url, f"sqlite:///{file.with_name('other.db')}", lambda: None)


def _rotate(url: str, _file: Path) -> None:
    with Store.open(url, key=(KEY, b"n" * 32)) as other:
        other.take_key()


def test_of_many_threads_one_gets_the_lease(anywhere: str) -> None:
    """Eight threads open new books at once; all of them can, and one holds the lease."""
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, [anywhere] * 8, [f"thread-{number}" for number in range(8)]))
    assert [1] == [epoch for epoch in taken if epoch is not None]


def test_of_two_processes_one_gets_the_lease(url: str, file: Path) -> None:
    """Two processes open new books at once; one holds the lease."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        taken = list(pool.map(take, [url] * 2, ["one", "two"]))
    assert ([1], True) == ([epoch for epoch in taken if epoch is not None], file.exists())
