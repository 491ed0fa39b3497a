"""Cases that were to be marked as left when their course stopped being read, and CommCare has not answered yet.

No sweep comes to them again. What was decided then stands: who is back in such a course is seen by nobody.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from flows.steps.asked import LEAVERS
from flows.steps.leaving import Leaving
from flows.steps.planned import SITE_SCOPE
from flows.steps.pull import IN_COURSE
from flows.steps.sweep import READS
from flows.steps.terms import of_a_term_before
from state import CaseRow, RowId
from state.statuses import LEAVING, LIVING, TO_BE_EMPTIED

if TYPE_CHECKING:
    from flows.run import Run
    from mappings.engine import CompiledMapping


async def never_told(run: Run, ended: Collection[int]) -> list[Leaving]:
    """Return the cases of whom two reads lacked, and of whom a guard or a person said that they may go.

    Only in courses that are hidden or not chosen any more: those that are over hear more than this, of those that
    Moodle lists no more a person is asked, and what failed, or waits for a new term, is read again: also what was
    hidden meanwhile, since runs that waited for the term may have seen them.
    """
    books, found = run.world.books, list[Leaving]()
    _, allowed = await LEAVERS.given(run.world)
    waiting = await of_a_term_before(run)
    elsewhere = {SITE_SCOPE, *run.read, *ended, *run.unlisted.courses}
    for mapping in run.mappings:
        if mapping.source not in IN_COURSE:
            continue
        scopes = await books.do(books.store.scopes, mapping.name, {LEAVING})
        scopes |= {row.scope for row in allowed if row.mapping == mapping.name}
        for scope in sorted(scopes - elsewhere - {scope for name, scope in waiting if name == mapping.name}):
            for key, case in (await books.do(books.store.cases, mapping.name, scope)).items():
                row = RowId(mapping.name, scope, key)
                if _is_decided(mapping, case, is_allowed=row in allowed):
                    found.append(Leaving(mapping, row, case, mapping.when_left, "left"))
    return found


def _is_decided(mapping: CompiledMapping, case: CaseRow, *, is_allowed: bool) -> bool:
    """Say whether a case was to go, and its person was not seen there since, nor were the books put back."""
    if case.missing_count < READS:
        return False
    if case.status == LEAVING:
        return True
    is_living = case.status in LIVING and case.status not in TO_BE_EMPTIED
    return is_allowed and is_living and mapping.when_left is not None
