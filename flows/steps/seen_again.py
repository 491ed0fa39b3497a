"""Whoever is seen again, known as such at once: what CommCare is told of it, and when, is another matter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from state import CaseRow, RowId
from state.statuses import KEPT_OUT, MARKED


def seen_again(row: RowId, case: CaseRow) -> dict[RowId, str]:
    """Return what a case becomes whose record is there; whoever is missing again leaves anew."""
    if case.status in KEPT_OUT:
        return {row: "returning"}
    return {row: "rejoining"} if case.status in MARKED else {}


def parents_seen_again(parents: Mapping[RowId, CaseRow], above: Iterable[RowId], person: int) -> dict[RowId, str]:
    """Return what the parents of a record become that are about its person: they may be read more rarely."""
    known = {row: parents[row] for row in above if row in parents}
    return {
        row: "rejoining"
        for row, case in known.items()
        if person and case.user_id == person and case.status in MARKED
    }
