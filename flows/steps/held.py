"""What cases may hold that a row would empty, where the books do not know it: lost, or sent without an answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from adaptors.commcare.cases import CaseReply
from adaptors.commcare.client import CommCareClient
from flows.steps.planned import Planned, Scope
from state import CaseRow


@dataclass(frozen=True)
class Reading:
    """A scope with what the books know of its cases; `strange`: CommCare may have others that they do not know."""

    scope: Scope
    known: Mapping[str, CaseRow]
    strange: bool = False

    def may_be_there(self, row: Planned) -> bool:
        """Say whether CommCare may have the case that a row would make: sent once, or known to lost books."""
        known = self.known.get(row.row.key)
        return not row.write.case_id and (self.strange or (known is not None and not known.case_id))

    def digests(self, key: str) -> Mapping[str, bytes] | None:
        """Return the digests of what a case holds, None when nobody knows."""
        if key in self.known:
            return self.known[key].digests
        return None if self.strange else {}

    def blank(self, row: Planned) -> frozenset[str]:
        """Return what is blank in a row of a case of which nobody knows what it holds."""
        if not self.may_be_there(row):
            return row.blank
        return frozenset(name for name, value in row.write.properties.items() if not value)


async def cases_of(commcare: CommCareClient, rows: Sequence[Planned]) -> dict[str, CaseReply]:
    """Return the cases of rows that CommCare has: by its id, or by ours where no other is known."""
    ids = [row.write.case_id for row in rows if row.write.case_id]
    keys = [row.write.key for row in rows if not row.write.case_id]
    found = await commcare.cases_by_id(ids) if ids else {}
    return found | (await commcare.cases_by_external_id(keys) if keys else {})


def held(names: Collection[str], row: Planned, there: Mapping[str, CaseReply]) -> frozenset[str]:
    """Return those of the properties that the case of a row has a value in.

    That is all of them when CommCare does not show a case that it has, and none when it has no case of our key.
    """
    case = there.get(row.write.case_id or row.write.key)
    if case is None:
        return frozenset(names if row.write.case_id else ())
    return frozenset(name for name in names if case.properties.get(name))
