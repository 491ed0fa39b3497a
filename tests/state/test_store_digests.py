"""Keyed digests and the file of their key."""

from __future__ import annotations

import hmac
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state import Ack, RowId, StateError, Store
from state.digest import digest
from state.key import read_or_make_keys

KEY = b"k" * 32


def test_a_digest_is_16_bytes_and_steady(store: Store) -> None:
    """The same value of the same property of the same entity looks the same."""
    first = store.digest("site-user-5", "city", "Kisumu")
    assert (16, first) == (len(first), store.digest("site-user-5", "city", "Kisumu"))


@pytest.mark.parametrize(
    "other",
    [
        (b"j" * 32, "site-user-5", "city", "Kisumu"),
        (KEY, "site-user-6", "city", "Kisumu"),
        (KEY, "site-user-5", "town", "Kisumu"),
        (KEY, "site-user-5", "city", "Kisumi"),
    ],
)
def test_a_digest_depends_on_each_part(other: tuple[bytes, str, str, str]) -> None:
    """Another key, entity, property or value gives another digest."""
    assert digest(KEY, "site-user-5", "city", "Kisumu") != digest(*other)


PARTS = st.lists(st.text("ab", max_size=3), min_size=3, max_size=3)


@settings(deadline=None, derandomize=True)
@given(PARTS, PARTS)
def test_parts_do_not_run_into_each_other(one: list[str], two: list[str]) -> None:
    """Digests are equal exactly when all three parts are."""
    assert (one == two) == (digest(KEY, *one) == digest(KEY, *two))


@pytest.mark.parametrize("key", [KEY, b"k" * 64, b"k" * 100])
def test_a_digest_is_an_hmac(key: bytes) -> None:
    """The digest is what the standard library's HMAC makes of the parts with their lengths."""
    expected = hmac.digest(key, b"\0\0\0\1a\0\0\0\2bc\0\0\0\0", "sha256")[:16]
    assert expected == digest(key, "a", "bc", "")


def test_half_a_character_has_a_digest_too() -> None:
    """A lone surrogate, which no encoding likes, does not stop a run."""
    assert 16 == len(digest(KEY, "site-user-5", "city", "\ud800"))


def test_a_key_is_made_once(tmp_path: Path) -> None:
    """The first use makes 32 random bytes; the next one reads them."""
    path = tmp_path / "var" / "state.key"
    (made,) = read_or_make_keys(path)
    assert (32, (made,)) == (len(made), read_or_make_keys(path))


def test_the_key_file_is_ours_alone(tmp_path: Path) -> None:
    """File 0600 in a folder 0700, and it holds 64 hexadecimal digits."""
    path = tmp_path / "var" / "state.key"
    (made,) = read_or_make_keys(path)
    modes = [stat.S_IMODE(place.stat().st_mode) for place in (path, path.parent)]
    assert ([0o600, 0o700], made.hex()) == (modes, path.read_text().strip())


def test_two_keys_differ(tmp_path: Path) -> None:
    """A key is random."""
    assert read_or_make_keys(tmp_path / "a") != read_or_make_keys(tmp_path / "b")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """The message says how to close it."""
    path = tmp_path / "state.key"
    read_or_make_keys(path)
    path.chmod(mode)
    with pytest.raises(StateError, match="chmod 600"):
        read_or_make_keys(path)


@pytest.mark.parametrize("content", [b"", b"abc", b"g" * 64, b"a" * 63, b"a" * 65, b"\xff" * 64])
def test_what_is_no_key_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    """Anything but 64 hexadecimal digits is no key."""
    path = tmp_path / "state.key"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(StateError, match="key file") as caught:
        read_or_make_keys(path)
    assert "gggg" not in str(caught.value)


def test_a_folder_in_place_of_the_key_is_refused(tmp_path: Path) -> None:
    """The message names the setting."""
    tmp_path.chmod(0o700)
    with pytest.raises(StateError, match="STATE_KEY_FILE"):
        read_or_make_keys(tmp_path)


def test_a_lost_key_is_noticed(anywhere: str) -> None:
    """Digests of another key tell nothing: their rows become dirty, once; with the same key nothing happens."""
    row = RowId("student", 0, "site-user-5")
    for key, held in ((KEY, True), (KEY, True), (b"j" * 32, False), (b"j" * 32, False)):
        with Store.open(anywhere, key=key) as store:
            store.take_key()
            if "site-user-5" not in store.cases("student", 0):
                store.acknowledge([Ack(row, "c5", "o", {"city": bytes(16)}, "active", 5)], 1.0)
            assert held == (store.cases("student", 0)["site-user-5"].digests is not None)
