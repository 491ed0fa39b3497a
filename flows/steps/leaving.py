"""A case that goes away: because its record is gone, kept out or over, with what is special about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from flows.steps.compare import Digest
from flows.steps.ways import closes, holds_personal
from mappings.engine import CompiledMapping, Departure
from state import CaseRow, RowId
from state.statuses import CLEARING, CLOSED, LEAVING, TO_BE_EMPTIED

NOTHING = Departure({})
LEFT = frozenset({"left", LEAVING, CLEARING})


@dataclass(frozen=True)
class Leaving:
    """A case that goes away: `op` is left, withdrawn or ended; `private` empties what is personal as well."""

    mapping: CompiledMapping
    row: RowId
    case: CaseRow
    departure: Departure | None
    op: str
    private: bool = False
    held: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The properties that CommCare holds, asked for where the books do not know their names."""
    theirs: frozenset[str] = frozenset()
    """What others wrote into a case that was matched, and what is not ours to empty."""


def may_be_closed(one: Leaving) -> bool:
    """Say whether a case may be closed already, by a write without an answer or one that the books forgot."""
    if one.case.status == "closing":  # the answer to a later write may have said so
        return True
    return one.case.digests is None and one.case.status not in CLOSED and closes(one.mapping)


def again(mapping: CompiledMapping, row: RowId, case: CaseRow) -> Leaving | None:
    """Return how a case goes away of which nobody knows whether it did already, None when that is not open."""
    if case.status in TO_BE_EMPTIED:
        return emptied(mapping, row, case)
    return Leaving(mapping, row, case, mapping.when_left, "left") if case.status == "leaving" else None


def withdrawn(mapping: CompiledMapping, row: RowId, case: CaseRow) -> Leaving:
    """Return how the case of somebody goes away who is kept out; one that we closed is only emptied."""
    departure = None if case.status in CLOSED else mapping.when_excluded
    return Leaving(mapping, row, case, departure, "withdrawn", private=True)


def emptied(mapping: CompiledMapping, row: RowId, case: CaseRow) -> Leaving:
    """Return how the case of somebody is emptied whose record is gone: one that says so already stays as it is.

    Of one that is dirty it is not certain that it says so.
    """
    if case.status not in LEFT:
        return withdrawn(mapping, row, case)
    departure = mapping.when_left if case.digests is None else None
    return Leaving(mapping, row, case, departure, "left", private=True)


def to_be_emptied(leaving: Iterable[Leaving]) -> dict[RowId, str]:
    """Return the cases that are emptied, and of which the books do not say so yet, with the status that does."""
    return {
        one.row: "emptying" if one.case.status in CLOSED else "clearing" if one.op == "left" else "withdrawing"
        for one in leaving
        if (one.op == "withdrawn" or one.private) and one.case.status not in TO_BE_EMPTIED
    }


def status_after(one: Leaving) -> str:
    """Return the status of a case once it went away; what we closed stays closed."""
    departure = one.departure or NOTHING
    if one.op == "withdrawn" and not one.case.case_id:  # CommCare has none: nothing was closed, or is asked for
        return one.op
    return "closed" if departure.close or one.case.status in CLOSED else one.op


def holds_any(one: Leaving, digest: Digest) -> bool:
    """Say whether a case still holds something personal; one that is dirty may, where its mapping has that."""
    digests = one.case.digests
    if digests is None:
        return holds_personal(one.mapping)
    texts = dict.fromkeys(private_names(one), "")
    texts |= {"@name": one.row.key} if one.mapping.name_is_personal else {}
    return any(digests.get(name) != digest(one.row.key, name, text) for name, text in texts.items())


def private_names(one: Leaving, removed: Set[str] = frozenset()) -> list[str]:
    """Return the personal properties that a case may hold, by its digests or else as CommCare listed them.

    Nobody knows any more whether those that were `removed` from the mapping, or retired, are personal, so they
    count as such.
    """
    if not one.private:
        return []
    said = one.departure.set if one.departure is not None else {}
    names = one.held if one.case.digests is None else one.case.digests
    listed = {name for name in names if not name.startswith("@") and one.mapping.is_personal(name)}
    # In a case of others, what is retired may be theirs: only what the books know as sent is ours.
    retired = frozenset[str]() if one.case.linked and one.case.digests is None else one.mapping.retired
    listed |= (removed | retired) & names.keys()
    if one.case.digests is None:
        listed |= {name for name in one.mapping.personal if name == one.mapping.definition_of(name)}
        listed -= one.theirs
    return sorted(listed - said.keys())
