"""Books that another process changed while this one had them open: put back, moved away, or under another key.

A process may open the books, wait for its turn, and get it hours later. What it would go on with then is old.
"""

from __future__ import annotations

from sqlalchemy import Connection

from state.books import Books
from state.errors import StateError
from state.moved import refuse_if_moved
from state.rotation import key_mark, known_keys

ANOTHER_KEY = (
    "The keys of the digests were changed while this process had the books open. Run it again: it then reads "
    "STATE_KEY_FILE anew."
)


class Opened(Books):
    """The books as they were when this process opened them."""

    @property
    def has_another_key(self) -> bool:
        """Say whether the keys of the digests are not those of then, nor among those that were given."""
        with self._database.reading() as connection:
            return self._is_of_another_key(connection)

    def _require_same(self, connection: Connection) -> None:
        """Raise StateError when these are not the books that were opened, in a transaction of the caller's.

        Whether the file is still in its place each transaction that writes has looked.
        """
        refuse_if_moved(connection, self._database.place)
        if self._is_of_another_key(connection):
            raise StateError(ANOTHER_KEY)

    def _is_of_another_key(self, connection: Connection) -> bool:
        mark = key_mark(connection)
        return mark != self._key_mark and known_keys(mark, self._given) is None
