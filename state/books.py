"""What the parts of the store share: one database, the keys of the digests, the numbers of property names."""

from __future__ import annotations

from state.database import Database
from state.digest import Names
from state.key import Keys


class Books:
    """The ground the parts of the store stand on.

    `keys` are those that the digests in the books were made with; `given` those of the key file, which may have
    one more while a rotation is under way; `key_mark` is what stood in the books when they were opened.
    """

    def __init__(self, database: Database, keys: Keys, given: Keys, key_mark: str | None) -> None:
        self._database = database
        self._keys = keys
        self._given = given
        self._key_mark = key_mark
        self._names = Names(database)
