"""A round in the books: each course in one shard, each shard with one worker, and nobody else meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from state import StateError, Store
from state.rounds import Taken, lease_of
from tests.postgres import Server
from tests.state.conftest import KEY

TTL = 600.0


def opened(store: Store, **handover: object) -> int:
    """Open a round of two shards under the lease of run r."""
    epoch = store.take_lease("r", 1000.0, TTL)
    assert epoch is not None
    store.open_round("r", epoch, {1: [5, 7], 2: [6]}, handover)
    return epoch


def test_a_shard_has_its_courses(store: Store) -> None:
    """Who takes a shard gets its courses and the first epoch, and what the opening told."""
    opened(store, today="2026-11-21")
    assert Taken("", 1, (5, 7)) == store.take_shard("r", 1, "a", 1001.0, TTL)
    assert {"today": "2026-11-21"} == store.handover("r")
    assert ("r", 2) == (store.round_under_way(), store.count_unfinished("r"))


def test_a_course_in_two_shards_is_refused(store: Store) -> None:
    """No course has two workers."""
    epoch = store.take_lease("r", 1000.0, TTL)
    assert epoch is not None
    with pytest.raises(StateError, match="two shards"):
        store.open_round("r", epoch, {1: [5], 2: [5]}, {})


def test_only_the_holder_opens(store: Store) -> None:
    """Who lost the lease of the run opens nothing, and closes nothing."""
    epoch = opened(store)
    assert store.take_lease("other", 1601.0, TTL) is not None
    with pytest.raises(StateError, match="lost"):
        store.open_round("r", epoch, {1: [5]}, {})
    with pytest.raises(StateError, match="lost"):
        store.close_round("r", epoch, 1602.0, TTL)


def test_a_shard_has_one_worker(store: Store) -> None:
    """Another one is told that it is busy; after the end, that it is done; of another round, that it is over."""
    opened(store)
    store.take_shard("r", 1, "a", 1001.0, TTL)
    assert "busy" == store.take_shard("r", 1, "b", 1002.0, TTL).refusal
    store.finish_shard("r", 1, "a", 1, {"well": True})
    assert "done" == store.take_shard("r", 1, "b", 1003.0, TTL).refusal
    assert ["over", "over"] == [
        store.take_shard(*shard, "b", 1003.0, TTL).refusal for shard in (("q", 1), ("r", 9))
    ]
    assert [("ended", 1, False, {"well": True}), ("waiting", 0, False, {})] == [
        (row.state, row.attempts, row.at_work, row.outcome) for row in store.shards("r", 1004.0, TTL)
    ]


def test_an_expired_shard_is_taken_over(store: Store) -> None:
    """The next worker gets the next epoch; the one before can neither renew nor finish."""
    opened(store)
    store.take_shard("r", 1, "a", 1001.0, TTL)
    store.renew_lease("r", 1, 1500.0, TTL)
    assert 2 == store.take_shard("r", 1, "b", 1602.0, TTL).epoch
    with pytest.raises(StateError, match="lost"):
        store.renew_lease("a", 1, 1603.0, TTL, lease_of(1))
    with pytest.raises(StateError, match="lost"):
        store.finish_shard("r", 1, "a", 1, {})
    store.renew_lease("b", 2, 1604.0, TTL, lease_of(1))
    assert 2 == store.shards("r", 1605.0, TTL)[0].attempts


def test_no_run_while_a_shard_is_at_work(store: Store) -> None:
    """A run waits for shards, also when whoever opened the round is gone; then their round is over."""
    opened(store)
    store.take_shard("r", 1, "a", 1001.0, TTL)
    store.renew_lease("a", 1, 1550.0, TTL, lease_of(1))
    assert store.take_lease("other", 1601.0, TTL) is None
    assert "over" == store.take_shard("r", 2, "b", 1601.0, TTL).refusal, "the lease of the run has expired"
    assert 2 == store.take_lease("other", 2151.0, TTL)
    with pytest.raises(StateError, match="lost"):
        store.renew_lease("a", 1, 2152.0, TTL, lease_of(1))
    assert ("", None, []) == (store.round_under_way(), store.handover("r"), store.shards("r", 2152.0, TTL))


def test_clocks_of_a_round_may_differ(store: Store) -> None:
    """A shard taken by a clock that is ahead is at work for one that is behind, and so is the round itself."""
    epoch = store.take_lease("r", 1000.0, TTL)
    assert epoch
    store.open_round("r", epoch, {1: [10], 2: [30]}, {})
    assert "" == store.take_shard("r", 1, "ahead", 1060.0, TTL).refusal
    assert "" == store.take_shard("r", 2, "behind", 940.0, TTL).refusal, "the round is not over"
    assert "busy" == store.take_shard("r", 1, "behind", 940.0, TTL).refusal
    assert [True, True] == [row.at_work for row in store.shards("r", 940.0, TTL)]
    assert store.close_round("r", epoch, 940.0, TTL) is None


def test_no_shard_while_the_round_closes(store: Store) -> None:
    """Closing waits for shards at work; from then on none is begun, and one that wakes up cannot go on."""
    epoch = opened(store)
    store.take_shard("r", 1, "a", 1001.0, TTL)
    assert store.close_round("r", epoch, 1002.0, TTL) is None
    store.renew_lease("r", epoch, 1590.0, TTL)
    closed = store.close_round("r", epoch, 1601.0, TTL)
    assert closed is not None
    assert [1, 2] == [row.number for row in closed]
    assert "over" == store.take_shard("r", 2, "b", 1602.0, TTL).refusal
    with pytest.raises(StateError, match="lost"):
        store.renew_lease("a", 1, 1602.0, TTL, lease_of(1))


def test_the_opener_gives_up(store: Store) -> None:
    """A shard that ends after its round was given up is told so, and holds nobody up."""
    epoch = opened(store)
    store.take_shard("r", 1, "a", 1001.0, TTL)
    store.release_lease("r", epoch)
    assert store.take_lease("other", 1002.0, TTL) is None
    with pytest.raises(StateError, match="over"):
        store.finish_shard("r", 1, "a", 1, {})
    assert store.take_lease("other", 1003.0, TTL) is not None


def test_a_shard_is_put_back(store: Store) -> None:
    """What somebody cannot do can be taken at once by somebody else."""
    opened(store)
    store.take_shard("r", 1, "a", 1001.0, TTL)
    store.put_shard_back("r", 1, "somebody", 1)
    assert "busy" == store.take_shard("r", 1, "b", 1002.0, TTL).refusal
    store.put_shard_back("r", 1, "a", 1)
    assert Taken("", 2, (5, 7)) == store.take_shard("r", 1, "b", 1002.0, TTL)


def spend(store: Store, count: int) -> bool:
    """Take a number off what was agreed, all or nothing."""

    def change(facts: dict[str, dict[str, int]]) -> bool:
        agreed, spent = facts["agreed"], facts["spent"]
        if agreed.get("x", 0) < count:
            return False
        agreed["x"], spent["x"] = agreed["x"] - count, spent.get("x", 0) + count
        return True

    return store.change_facts(["agreed", "spent"], change)


def test_facts_are_changed_together(store: Store) -> None:
    """Several facts change at once, and what comes to no change is not written."""
    assert (False, None) == (spend(store, 1), store.get("agreed"))
    store.put("agreed", '{"x": 5}')
    assert [True, False, True, False] == [spend(store, count) for count in (3, 3, 2, 1)]
    assert ('{"x": 0}', '{"x": 5}') == (store.get("agreed"), store.get("spent"))


def test_entries_are_changed_one_by_one(store: Store) -> None:
    """Entries of others stay as they are."""
    store.change_entries("fact", {"a": 1, "b": 2})
    assert {"a": 1, "c": 3} == store.change_entries("fact", {"c": 3}, {"b"})


def test_at_the_same_time_on_a_server(postgres: Server) -> None:
    """Of ten workers one gets a shard, of ten runs none gets in, and an agreed number is spent exactly."""
    with postgres.books() as url, Store.open(url, key=KEY) as store:
        opened(store)
        store.put("agreed", '{"x": 4}')

        def rush(number: int) -> tuple[str, int | None, bool]:
            with Store.open(url, key=KEY) as mine:
                taken = mine.take_shard("r", 1, f"w{number}", 1001.0, TTL)
                return taken.refusal, mine.take_lease(f"run {number}", 1002.0, TTL), spend(mine, 1)

        with ThreadPoolExecutor(10) as pool:
            found = list(pool.map(rush, range(10)))
    assert ["", *["busy"] * 9] == sorted(refusal for refusal, _, _ in found)
    assert [None] * 10 == [epoch for _, epoch, _ in found]
    assert 4 == sum(spent for _, _, spent in found)
