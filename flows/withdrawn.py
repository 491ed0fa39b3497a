"""Whose cases are withdrawn, or are about to be: keys and numbers alone, by the books."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flows.open import has_books, open_store
from flows.problems import moment
from flows.settings import Settings
from flows.status import ROW_STATES
from state import Standing, Store
from state.statuses import KEPT_OUT, TO_BE_EMPTIED


@dataclass(frozen=True)
class Withdrawn:
    """A case that lost what is personal in it, or is to lose it."""

    row: Standing

    @property
    def is_done(self) -> bool:
        """Say whether CommCare has taken all of it."""
        return self.row.status not in TO_BE_EMPTIED

    @property
    def words(self) -> str:
        """Return what is known of it, as the status calls it."""
        return ROW_STATES[self.row.status]

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`."""
        one = self.row
        return {
            "key": one.row.key,
            "mapping": one.row.mapping,
            "course": one.row.scope,
            "user_id": one.user_id,
            "case_id": one.case_id,
            "state": one.status,
            "done": self.is_done,
            "written_at": moment(one.at) if one.at else None,
        }


def withdrawn_here(settings: Settings) -> list[Withdrawn]:
    """Read them from the books of the settings; without books there are none. Raises StateError."""
    if not has_books(settings):
        return []
    with open_store(settings) as store:
        return list_withdrawn(store)


def list_withdrawn(store: Store) -> list[Withdrawn]:
    """Return the cases of whom the mappings keep out, in the order of mapping, course and key.

    One that was closed as its person was kept out counts as closed, like any other, once CommCare has taken that.
    """
    return [Withdrawn(one) for one in store.standing(KEPT_OUT | TO_BE_EMPTIED)]
