"""Keys that rotate: digests are carried over, so that they go on telling what changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from state import Ack, Hint, RowId, StateError, Store
from state.digest import NO_VALUE, chained, digest
from state.facts import NEVER_READ, READS
from state.key import add_key, read_or_make_keys

ONE, TWO, THREE = b"1" * 32, b"2" * 32, b"3" * 32


def filled(url: str, *keys: bytes, rows: int = 1) -> None:
    """Make books under some keys, with a person who was erased."""
    with Store.open(url, key=keys) as store:
        store.take_key()
        named = [RowId("student", 0, f"site-user-{number}") for number in range(5, 5 + rows)]
        digests = {row: {"city": store.digest(row.key, "city", "Kisumu"), "lost": NO_VALUE} for row in named}
        store.acknowledge([Ack(row, row.key, "o", digests[row], "active", 5) for row in named], 1.0)
        store.begin_erasure(9, 1.0)


def test_one_key_is_a_chain_of_one() -> None:
    """Books from before keys could rotate go on as they are."""
    assert digest(ONE, "a", "b", "c") == chained((ONE,), "a", "b", "c")


def test_each_key_of_a_chain_counts() -> None:
    """Who lacks one of them can try no value."""
    chains = [(ONE,), (TWO,), (ONE, TWO), (TWO, ONE), (ONE, TWO, THREE)]
    assert len(chains) == len({chained(keys, "a", "b", "c") for keys in chains})


@pytest.mark.parametrize("steps", [[(ONE, TWO)], [(ONE, TWO), (ONE, TWO, THREE)], [(ONE, TWO, THREE)]])
def test_digests_are_carried_over(anywhere: str, steps: list[tuple[bytes, ...]]) -> None:
    """After a rotation, or two at once, each digest is what the value gives under the new keys."""
    filled(anywhere, ONE, rows=2500)
    for keys in steps:
        with Store.open(anywhere, key=keys) as store:
            store.take_key()
            cases = store.cases("student", 0)
            assert 2500 == len(cases)
            for key, case in cases.items():
                assert {"city": store.digest(key, "city", "Kisumu"), "lost": NO_VALUE} == case.digests
            assert (True, False) == (9 in store.erased(), 5 in store.erased())


def test_a_key_that_was_not_taken_over_yet_does_not_count(anywhere: str) -> None:
    """Between the new key file and the new digests everything goes on under the old keys."""
    filled(anywhere, ONE)
    with Store.open(anywhere, key=(ONE, TWO)) as store:
        assert (True, digest(ONE, "a", "b", "c"), True) == (
            store.is_rotating,
            store.digest("a", "b", "c"),
            9 in store.erased(),
        )
        store.take_key()
        assert (False, chained((ONE, TWO), "a", "b", "c")) == (store.is_rotating, store.digest("a", "b", "c"))
    with Store.open(anywhere, key=(ONE, TWO)) as store:
        assert not store.is_rotating


def test_books_open_since_before_a_rotation_take_nobody_for_another(anywhere: str) -> None:
    """A receiver is up for weeks: without the new key it cannot tell who was erased, and says so."""
    filled(anywhere, ONE)
    hint = Hint("moodle", "core.user_graded", b"m" * 16, 1.0, course_id=2, user_id=9)
    with Store.open(anywhere, key=ONE) as old, Store.open(anywhere, key=(ONE, TWO)) as both:
        assert not old.has_another_key
        with Store.open(anywhere, key=ONE) as rotating:
            rotating.add_keys((ONE, TWO))
        assert (True, False) == (old.has_another_key, both.has_another_key)
        for ask in (old.erased, lambda: old.inbox_add([hint], 2.0)):
            with pytest.raises(StateError, match="keys of the digests were changed"):
                ask()
        assert (True, 1) == (9 in both.erased(), both.inbox_add([hint], 2.0))
        assert [] == both.hints_about(9)


def test_a_lost_key_does_not_bring_erased_people_back(anywhere: str) -> None:
    """Only the old key tells who was erased, so books without it are not used; unless somebody says so.

    Then nothing is known of any case, and no interval holds up the read that sends them all.
    """
    filled(anywhere, ONE)
    with Store.open(anywhere, key=TWO) as store:
        store.put(READS.format(name="student"), '{"users": 5.0}')
        with pytest.raises(StateError, match=r"who was erased \(1\).*rotate-key --lost"):
            store.take_key()
        assert 1 == store.forget_erased()
        store.take_key()
        assert store.cases("student", 0)["site-user-5"].digests is None
        assert NEVER_READ == store.get(READS.format(name="student"))


def test_a_new_key_stands_behind_the_others(tmp_path: Path) -> None:
    """The file is replaced in one step, for us alone, and nothing is left beside it."""
    path = tmp_path / "state.key"
    first = read_or_make_keys(path)
    keys = add_key(path)
    assert (first, 2, keys) == (keys[:1], len(set(keys)), read_or_make_keys(path))
    assert ([path], 0o600) == (list(tmp_path.iterdir()), path.stat().st_mode & 0o777)


@pytest.mark.parametrize("make", [read_or_make_keys, add_key])
def test_what_a_killed_process_left_of_a_key_goes(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """Nobody else would look at it, and it may be the key; what has another name stays."""
    path = tmp_path / "var" / "[state].key"
    if make is add_key:
        read_or_make_keys(path)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.with_name("[state].key.0123abcd.new").write_text("a" * 64)
    other = path.with_name("[state].key.copied.new")
    other.write_text("b" * 64)
    make(path)
    assert {path, other} == {*path.parent.iterdir()}


@pytest.mark.parametrize("has_links", [True, False])
def test_two_who_make_a_key_at_once_have_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    """Who looks while another one writes it sees no half of it; on a disk without second names it works too."""
    path = tmp_path / "state.key"
    found: list[tuple[bytes, ...]] = []
    waiting, real = [path], os.fdopen

    def meanwhile(*args: Any) -> Any:
        while waiting:
            found.append(read_or_make_keys(waiting.pop()))
        return real(*args)

    def no_links(*_: object) -> None:
        raise OSError("Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr("state.key.os.fdopen", meanwhile)
        if not has_links:
            patch.setattr("state.key.os.link", no_links)
        keys = read_or_make_keys(path)
    assert ([keys], [path], 0o600) == (found, list(tmp_path.iterdir()), path.stat().st_mode & 0o777)
