"""At most one run at a time, across threads and processes."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from state import StateError, Store


def take(url: str, holder: str) -> int | None:
    """Open the books as a process of its own does, and try to take the lease."""
    with Store.open(url, key=b"k" * 32) as store:
        return store.take_lease(holder, now=1000.0, ttl=600.0)


def test_a_free_lease_is_taken(store: Store) -> None:
    """The first holder gets the first epoch and the whole time."""
    assert (1, 600.0) == (store.take_lease("a", 1000.0, 600.0), store.lease_left("a", 1, 1000.0))


def test_a_held_lease_is_not_taken(store: Store) -> None:
    """Nobody else gets it while it holds."""
    store.take_lease("a", 1000.0, 600.0)
    assert store.take_lease("b", 1599.0, 600.0) is None


def test_an_expired_lease_is_taken_over(store: Store) -> None:
    """A holder that stopped renewing is replaced, with the next epoch."""
    store.take_lease("a", 1000.0, 600.0)
    assert (2, 0.0) == (store.take_lease("b", 1600.0, 600.0), store.lease_left("a", 1, 1601.0))


def test_a_released_lease_is_free(store: Store) -> None:
    """Given back, it can be taken at once; epochs go on."""
    store.take_lease("a", 1000.0, 600.0)
    store.release_lease("a", 1)
    assert 2 == store.take_lease("b", 1001.0, 600.0)


def test_a_renewed_lease_holds_longer(store: Store) -> None:
    """Renewal counts from the time of renewal."""
    store.take_lease("a", 1000.0, 600.0)
    store.renew_lease("a", 1, 1060.0, 600.0)
    assert 590.0 == store.lease_left("a", 1, 1070.0)


def test_an_expired_lease_nobody_took_can_be_renewed(store: Store) -> None:
    """A late renewal is safe as long as no other run began."""
    store.take_lease("a", 1000.0, 600.0)
    store.renew_lease("a", 1, 1700.0, 600.0)
    assert 600.0 == store.lease_left("a", 1, 1700.0)


def test_a_lost_lease_cannot_be_renewed(store: Store) -> None:
    """The old holder is told, and the new one is not disturbed."""
    store.take_lease("a", 1000.0, 600.0)
    store.take_lease("b", 1600.0, 600.0)
    with pytest.raises(StateError, match="lease was lost"):
        store.renew_lease("a", 1, 1610.0, 600.0)
    assert 590.0 == store.lease_left("b", 2, 1610.0)


def test_a_name_alone_does_not_hold_the_lease(store: Store) -> None:
    """A process that comes back under its old name has a new epoch; the old epoch is worth nothing."""
    store.take_lease("a", 1000.0, 600.0)
    store.take_lease("a", 1700.0, 600.0)
    assert (0.0, 600.0) == (store.lease_left("a", 1, 1700.0), store.lease_left("a", 2, 1700.0))


def test_a_lost_lease_is_not_released(store: Store) -> None:
    """Tidying up after oneself does not take the lease from the next holder."""
    store.take_lease("a", 1000.0, 600.0)
    store.take_lease("b", 1600.0, 600.0)
    store.release_lease("a", 1)
    assert 600.0 == store.lease_left("b", 2, 1600.0)


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
