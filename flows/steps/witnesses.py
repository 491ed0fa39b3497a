"""Of each field of a profile, somebody who has it: read first, he tells at once that others have it blank."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.run import Run

WITNESSES = "witnesses"  # fact in the books: field name -> id of a person whose profile carried it
NOBODY = 0
"""In the place of that person: the last complete read of all people showed the field on nobody."""


class Witnesses:
    """Who carried which field, as the books know it."""

    def __init__(self, run: Run, known: dict[str, int]) -> None:
        self._run = run
        self._known = known

    @classmethod
    async def of(cls, run: Run) -> Witnesses:
        """Return what the books know."""
        text = await run.world.books.do(run.world.books.store.get, WITNESSES)
        return cls(run, json.loads(text or "{}"))

    @property
    def people(self) -> list[int]:
        """Return those who carry fields."""
        return [person for person in self._known.values() if person != NOBODY]

    @property
    def shown_once(self) -> frozenset[str]:
        """Return the fields that somebody was seen to have."""
        return frozenset(name for name, person in self._known.items() if person != NOBODY)

    @property
    def unshown(self) -> frozenset[str]:
        """Return the fields that nobody has shown, in this read so far and in the last complete one."""
        if not self._run.whole_site:
            return frozenset()
        return frozenset(name for name in self._run.reader.unshown if self._known.get(name) == NOBODY)

    async def remember(self, *, complete: bool) -> None:
        """Write down what this read showed; that nobody has a field only after a `complete` read of all people."""
        reader, books = self._run.reader, self._run.world.books
        is_whole = complete and self._run.whole_site
        now = self._known | (dict.fromkeys(sorted(reader.unshown), NOBODY) if is_whole else {}) | reader.witnesses
        if now != self._known:
            await books.do(books.store.put, WITNESSES, json.dumps(now))
