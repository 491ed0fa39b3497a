"""Accounts that were deleted in Moodle, of people whom no course that is read can show or miss any more.

Whoever was last seen in a course that nobody reads (over, hidden, not chosen, failing) is not gone because the
others lack him or her. Of these people Moodle is asked once a day whether their accounts are still there.
"""

from __future__ import annotations

import json
from collections.abc import Set
from typing import TYPE_CHECKING

from adaptors.errors import AdaptorError
from adaptors.moodle.errors import is_for_all
from flows.result import RunState
from flows.steps.planned import SITE_SCOPE
from flows.words import numbered
from state.facts import DELETED_ACCOUNTS

if TYPE_CHECKING:
    from flows.run import Run

UNSEEN = "unseen_people"
"""Fact: when Moodle was last asked about such people ("at", epoch), and how many were there still ("people")."""
ASK_AGAIN_S = 86_400 - 600.0  # a schedule that comes a little earlier now and then is a day later all the same
SURE = 2  # answers


async def find_deleted(run: Run, elsewhere: Set[int]) -> set[int]:
    """Return the people whose account Moodle gives back as a deleted one; `elsewhere` are those of unread courses.

    Who was found deleted for the first time is asked for again by the next run: the two reads that somebody has
    to be missing from both have Moodle's word. Whom Moodle does not give at all it may only hide.
    """
    store, now = run.world.books.store, run.world.clock.now()
    facts = await run.world.books.do(store.get_all, (DELETED_ACCOUNTS, UNSEEN))
    known = {int(number): answers for number, answers in json.loads(facts.get(DELETED_ACCOUNTS, "{}")).items()}
    before = {"at": 0.0, "people": 0} | json.loads(facts.get(UNSEEN, "{}"))
    there = set[int]().union(*(roster.ids for roster in run.rosters.values()))
    is_due = not 0 <= now - before["at"] < ASK_AGAIN_S
    if is_due:
        asked = await _only_elsewhere(run, elsewhere, there)
    else:
        asked = {number for number, answers in known.items() if answers < SURE} - there
    found = await _ask(run, asked) if asked else set()
    kept = {} if is_due else {number: answers for number, answers in known.items() if answers >= SURE}
    deleted = kept | {number: min(known.get(number, 0) + 1, SURE) for number in found}
    after = {"at": now if asked else before["at"], "people": len(asked - found)} if is_due else before
    if after["people"] > before["people"]:
        _tell(run, int(after["people"]))
    if (deleted, after) != (known, before):
        told = {str(number): answers for number, answers in deleted.items()}
        news = {DELETED_ACCOUNTS: told, UNSEEN: after}
        await run.world.books.do(store.put_all, {name: json.dumps(fact) for name, fact in news.items()})
    return deleted.keys() - there


async def _ask(run: Run, people: Set[int]) -> set[int]:
    """Ask Moodle which accounts are deleted; without an answer nobody is, and everything else goes on."""
    try:
        return await run.reader.deleted(people)
    except AdaptorError as error:
        if is_for_all(error):
            raise
        run.result.worse(RunState.DEGRADED, f"Moodle did not say which accounts are deleted. {error}")
        return set()


async def _only_elsewhere(run: Run, elsewhere: Set[int], there: Set[int]) -> set[int]:
    """Return whose cases are not marked as left, of those whom no course that was read has."""
    names = {mapping.name for mapping in run.world.project.mappings if mapping.when_left is not None}
    store = run.world.books.store
    unread = (await run.world.books.do(store.courses)).keys() - run.whole - {SITE_SCOPE}
    if not unread:
        return set()
    of_site, of_courses = await run.world.books.do(store.unmarked_people, names, run.whole)
    people = (of_site & elsewhere) | of_courses
    return {number for number in people - there if number not in run.reader.left_out}


def _tell(run: Run, people: int) -> None:
    """Say how many stay as they are, once more of them do than a day ago."""
    who, their = ("was", "the case is") if people == 1 else ("were", "their cases are")
    run.result.worse(
        RunState.COMPLETED,
        f"{numbered(people, 'person', 'people')} {who} last seen only in courses that are not read; {their} "
        "not marked as left (`moodle-commcare status` names the courses).",
    )
