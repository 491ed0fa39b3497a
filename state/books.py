"""What the parts of the store share: one database, the key of the digests, the numbers of property names."""

from __future__ import annotations

from state.database import Database
from state.digest import Names


class Books:
    """The ground the parts of the store stand on."""

    def __init__(self, database: Database, key: bytes) -> None:
        self._database = database
        self._key = key
        self._names = Names(database)
