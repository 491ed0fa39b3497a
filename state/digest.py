"""Digests: how the books know that a value changed without holding it, and how they are kept small.

Keyed, because a grade or an e-mail behind a plain hash is found by trying; tied to the entity and the property,
so that equal values of two people do not look equal.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from sqlalchemy import Connection, Transaction, select

from state.database import Database
from state.tables import name as name_table

SIZE = 16
NO_VALUE = bytes(SIZE)  # stands for "not what we sent"
BLOCK = 64  # bytes that SHA-256 takes at a time
_ENTRY = struct.Struct(f">I{SIZE}s")  # number of the property name, digest


NAMES = select(name_table.c.name, name_table.c.id)


def digest(key: bytes, entity_key: str, name: str, value: str) -> bytes:
    """Return HMAC-SHA256 over the three parts, each with its length before it, cut to 16 bytes."""
    started, sealing = _keyed(key)
    message, seal = started.copy(), sealing.copy()
    for part in (entity_key, name, value):
        encoded = part.encode("utf-8", "surrogatepass")
        message.update(len(encoded).to_bytes(4, "big") + encoded)
    seal.update(message.digest())
    return seal.digest()[:SIZE]


def chained(keys: Sequence[bytes], entity_key: str, name: str, value: str) -> bytes:
    """Return the digest under a chain of keys: the first one's, and over it each later one's."""
    found = digest(keys[0], entity_key, name, value)
    return found if len(keys) == 1 else carried(keys[1:], found)


def carried(keys: Sequence[bytes], found: bytes) -> bytes:
    """Carry a digest over to a chain that has these keys more; what stands for no value stays what it is."""
    if found == NO_VALUE:
        return found
    for key in keys:
        started, sealing = _keyed(key)
        message, seal = started.copy(), sealing.copy()
        message.update(found)
        seal.update(message.digest())
        found = seal.digest()[:SIZE]
    return found


def carried_all(keys: Sequence[bytes], packed: bytes) -> bytes | None:
    """Carry all digests of one value of the column over; None when they cannot be read."""
    try:
        entries = list(_ENTRY.iter_unpack(packed))
    except struct.error:
        return None
    return b"".join(_ENTRY.pack(number, carried(keys, found)) for number, found in entries)


@lru_cache(maxsize=16)
def _keyed(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """Return HMAC's two hashes with the key in them: made once, a digest costs half as much."""
    block = (hashlib.sha256(key).digest() if len(key) > BLOCK else key).ljust(BLOCK, b"\0")
    inner, outer = (hashlib.sha256(bytes(byte ^ pad for byte in block)) for pad in (0x36, 0x5C))
    return inner, outer


class Names:
    """Property names and the numbers that stand for them in the digest column.

    Only numbers read back from finished transactions are remembered: one that was rolled back may be given
    again to another name.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._wrote: Transaction | None = None
        """The last transaction in which names were written: what it sees may never come true."""

    def pack(self, digests: Mapping[str, bytes], numbers: Mapping[str, int]) -> bytes:
        """Return digests as one value of the column, in the order of their numbers."""
        return b"".join(_ENTRY.pack(number, digests[name]) for number, name in _ordered(digests, numbers))

    def unpack(self, connection: Connection, packed: bytes) -> dict[str, bytes] | None:
        """Return the digests of one value of the column by property name.

        None when they cannot be read: SQLite has no checksums, and a dirty row heals by being sent again.
        """
        try:
            entries = list(_ENTRY.iter_unpack(packed))
            names = self._names
            if any(number not in names for number, _ in entries):
                names = {number: name for name, number in self._learn(connection).items()}
            return {names[number]: found for number, found in entries}
        except (KeyError, struct.error):
            return None

    def numbers(self, connection: Connection, wanted: Iterable[str]) -> Mapping[str, int]:
        """Return numbers for at least the names wanted; new ones are written in the caller's transaction."""
        names = set(wanted)
        if names <= self._numbers.keys():
            return self._numbers
        known = self._learn(connection)
        fresh = sorted(names - known.keys())
        if not fresh:
            return known
        insert = self._database.insert_new(name_table)
        connection.execute(insert, [{"name": name} for name in fresh])
        self._wrote = connection.get_transaction()
        return _read(connection)

    def by_number(self, connection: Connection) -> dict[int, str]:
        """Return all names by their numbers."""
        return {number: name for name, number in _read(connection).items()}

    def _learn(self, connection: Connection) -> dict[str, int]:
        """Read the names that are written, and remember them unless this transaction wrote some of them."""
        found = _read(connection)
        if self._wrote is None or connection.get_transaction() is not self._wrote:
            self._numbers, self._wrote = found, None
            self._names = {number: name for name, number in found.items()}
        return found


def _read(connection: Connection) -> dict[str, int]:
    """Return all names with their numbers."""
    return {row.name: row.id for row in connection.execute(NAMES)}


def _ordered(digests: Mapping[str, bytes], numbers: Mapping[str, int]) -> list[tuple[int, str]]:
    """Return (number, name) of the digests, sorted, so that equal digests make equal bytes."""
    return sorted((numbers[name], name) for name in digests)
