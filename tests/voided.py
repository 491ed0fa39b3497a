"""Rows that are dirty from the start: nobody knows what CommCare has of them, and nothing of them is under way."""

from __future__ import annotations

from collections.abc import Sequence

from state import RowId, Store


def void(store: Store, rows: Sequence[RowId], now: float) -> None:
    """Make rows dirty without an intent of theirs that rested, which `Store.void_rested` would ask for."""
    with store._database.writing() as connection:
        store._void_rows(connection, rows, now)
