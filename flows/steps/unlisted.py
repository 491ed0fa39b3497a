"""Courses that were read before and that Moodle does not list any more: deleted, or hidden from the account.

Moodle's list does not tell the two apart, so a person is always asked whether such a course was deleted. Until
then its people stay as they are, and when many courses are lacking at once, so do the rows of the lookup tables.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from flows.needs import CONFIRMED_LEAVERS, REFUSED_LEAVERS
from flows.questions import COURSE, parted
from flows.result import RunState
from flows.steps.leaving import Leaving
from flows.steps.planned import SITE_SCOPE
from flows.steps.pull import IN_COURSE
from flows.steps.rosters import OF_PEOPLE
from flows.steps.select import SELECTED, Selection, chosen_before, remember_selection, tell_not_whole
from flows.steps.sweep import READS, Gone
from flows.words import courses_named, listed, numbered
from mappings.engine import CompiledMapping
from state import CaseRow, Missing, RowId
from state.facts import Objects
from state.statuses import GOING, LIVING, UNSETTLED

if TYPE_CHECKING:
    from flows.run import Run

UNLISTED = "courses_unlisted"
"""Fact in the books: course -> {"reads": of Moodle's list in a row that lacked it, "chosen": whether it was one of
those to read until then, "said": whether a person said since that it was deleted}."""
FACTS = (UNLISTED, REFUSED_LEAVERS, CONFIRMED_LEAVERS)
OVER, HIDDEN, NOT_BEGUN, NOT_CHOSEN, NOT_LISTED = (
    "over",
    "hidden",
    "not begun yet",
    "not chosen any more",
    "not in Moodle's list any more: deleted, or the account may not see {them}",
)


@dataclass(frozen=True)
class Unlisted:
    """The courses that Moodle's list lacks, as the fact has them, and those that were `known` before as such.

    `asked` are those of which a person is asked, with the number of people whom his word would let go. Where it
    would let nobody go, it is enough that a run said once that the course is not read any more: from then on it
    counts as not chosen. With `many` at once no row of a lookup table is taken away, and where there are tables
    those courses are asked about as well. Of those `unasked` Moodle was not asked this time: all stays as it was.
    """

    courses: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    known: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    asked: Mapping[int, int] = field(default_factory=dict)
    many: bool = False
    unasked: frozenset[int] = frozenset()

    @property
    def due(self) -> list[int]:
        """Return the courses that two reads of the list lacked."""
        return sorted(number for number, one in self.courses.items() if one["reads"] >= READS)

    @property
    def vanished(self) -> list[int]:
        """Return the courses that were to be read until the list lacked them, and of which nobody has said why."""
        return sorted(number for number, one in self.courses.items() if one["chosen"] and not one["said"])


async def heed_list(run: Run, selection: Selection, *, whole: bool) -> None:
    """Compare the courses with those of the run before, say what changed, and remember what Moodle lists no more.

    What a run for some courses only sees is for the next one of all of them; a preview leaves no trace.
    """
    books, store = run.world.books, run.world.books.store
    before = await chosen_before(run.world)
    now = {course.id for course in selection.courses} - (selection.untold - before)  # these were never read
    if whole:
        run.unlisted = await find_unlisted(run, selection)
        _tell_dropped(run, selection, before - now)
        tell_many(run, len(now))
        tell_not_whole(run.result, selection)
    if run.preview:
        return
    if whole:
        await books.do(store.change_facts, FACTS, partial(_take_in, run.unlisted))
        for number in sorted(number for number, one in run.unlisted.courses.items() if one["said"]):
            await books.do(store.forget_course, number)
    await remember_selection(run.world, before, now if whole else now | before)


async def find_unlisted(run: Run, selection: Selection) -> Unlisted:
    """Return the courses that are known from earlier runs and not in Moodle's list; nothing is written."""
    books, store = run.world.books, run.world.books.store
    facts = await books.do(store.get_all, (SELECTED, UNLISTED, CONFIRMED_LEAVERS))
    chosen = {*json.loads(facts.get(SELECTED) or "[]")}
    known = {int(number): one for number, one in json.loads(facts.get(UNLISTED) or "{}").items()}
    remembered = (await books.do(store.courses)).keys()
    unasked = selection.unasked & known.keys()
    lacking = (chosen | remembered | known.keys()) - selection.listed - {SITE_SCOPE} | unasked
    if not lacking:
        return Unlisted(known=known)
    words = parted(json.loads(facts.get(CONFIRMED_LEAVERS) or "{}"))
    people = {number: await books.do(store.member_ids, number) for number in lacking}
    going = await _count_going(run, {number: people[number] for number in lacking & known.keys()}, lacking)
    agreed = {number for number, count in going.items() if words.get(str(number), {}).get(COURSE) == count}
    found = {number: _once_more(known.get(number), number in chosen, number in agreed) for number in lacking}
    same = {number: known[number] for number in unasked}
    found |= same
    places = await _places(run)
    all_ = Unlisted(found)
    many = _are_many(run, selection, all_)
    kept = {
        number: one
        for number, one in found.items()
        if people[number] or number in places or (number in all_.vanished and (many or one["reads"] < READS))
    } | same
    open_ = [number for number in Unlisted(kept).due if not kept[number]["said"]]
    open_ = [number for number in open_ if number not in unasked & agreed]  # a word of which nothing is made yet
    waits = many and bool(run.world.project.tables)  # the rows of lookup tables wait for the answer
    asked = {number: going[number] for number in open_ if going[number] or (waits and kept[number]["chosen"])}
    quiet = {number: {**kept[number], "chosen": False} for number in open_ if number not in unasked | asked.keys()}
    still_many = many and _are_many(run, selection, Unlisted(kept | quiet))
    return Unlisted(kept | quiet, known, asked, still_many, unasked)


def _are_many(run: Run, selection: Selection, unlisted: Unlisted) -> bool:
    """Say whether so many of the courses to be read have vanished that it may be a right that was lost."""
    vanished = unlisted.vanished
    percent = run.world.project.guards.leavers_percent
    return len(vanished) * 100 > percent * len({course.id for course in selection.courses} | {*vanished})


async def _count_going(run: Run, people: Mapping[int, Set[int]], lacking: Set[int]) -> dict[int, int]:
    """Return how many people each course would let go: with a case in it, or one of the site and no other course.

    `people` are those who were last seen in each. Teachers without a case, and who has left already, do not count.
    """
    books, store = run.world.books, run.world.books.store
    there = {number: await _living_in(run, number) for number in people}
    others = set[int]().union(*(found - there[number] for number, found in people.items()))
    of_site = set[int]()
    for mapping in run.world.project.mappings if others else ():
        if mapping.source in OF_PEOPLE and mapping.when_left is not None:
            cases = (await books.do(store.cases_of, mapping.name, others)).values()
            of_site |= {case.user_id for case in cases if case.status in LIVING}
    courses = await books.do(store.courses_of, of_site) if of_site else {}
    alone = {person for person, seen_in in courses.items() if seen_in <= lacking}
    return {number: len(there[number] | (found & alone)) for number, found in people.items()}


async def _living_in(run: Run, number: int) -> set[int | str]:
    """Return who has a case in a course that would be marked with it, by number or else by key."""
    books, found = run.world.books, set[int | str]()
    for mapping in _leaving_courses(run):
        cases = await books.do(books.store.cases, mapping.name, number)
        found |= {one.user_id or key for key, one in cases.items() if _lives(run, mapping, number, one)}
    return found


def _lives(run: Run, mapping: CompiledMapping, number: int, case: CaseRow) -> bool:
    """Say whether a case would be marked with its course, also where it was set aside and has a key of now."""
    if case.status == "replaced":
        return mapping.makes_on(run.world.project.site)(number, case.key, case.user_id)
    return case.status in LIVING and case.status != "ended"


def _once_more(known: dict[str, Any] | None, is_chosen: bool, is_said: bool) -> dict[str, Any]:
    """Return what is known of a course that one more read of the list lacked."""
    before = known or {"reads": 0, "chosen": is_chosen, "said": False}
    reads = min(before["reads"] + 1, READS)
    return {**before, "reads": reads, "said": before["said"] or (is_said and before["reads"] >= READS)}


async def _places(run: Run) -> set[int]:
    """Return the courses in which somebody has a case that may go."""
    found = set[int]()
    for mapping in _leaving_courses(run):
        found |= await run.world.books.do(run.world.books.store.scopes, mapping.name, {*LIVING, *UNSETTLED})
    return found


def _leaving_courses(run: Run) -> list[CompiledMapping]:
    mappings = run.world.project.mappings
    return [mapping for mapping in mappings if mapping.source in IN_COURSE and mapping.when_left is not None]


def _take_in(unlisted: Unlisted, facts: Objects) -> None:
    """Take the courses into their fact; of one that is back, or done with, nobody is asked any more."""
    facts[UNLISTED] = {str(number): one for number, one in unlisted.courses.items()}
    for number, one in unlisted.known.items():
        if number not in unlisted.courses and one["reads"] >= READS:
            for fact in (REFUSED_LEAVERS, CONFIRMED_LEAVERS):
                facts[fact].pop(str(number), None)


async def ask_about_unlisted(run: Run) -> list[Leaving]:
    """Hand the cases of courses that Moodle lists no more to the sweep, to be asked about whatever the guards say.

    Returns those that said already that their course is over, once a person has said that it was deleted: they
    stay as they are in CommCare.
    """
    run.sweep.unlisted = dict(run.unlisted.asked)
    due = [number for number in run.unlisted.due if number not in run.unlisted.unasked]
    run.sweep.noted.update((COURSE, number) for number in due)
    over = list[Leaving]()
    for mapping in _leaving_courses(run) if due else ():
        for number in due:
            over += await _hand_over(run, mapping, number)
    return over


async def _hand_over(run: Run, mapping: CompiledMapping, course_id: int) -> list[Leaving]:
    """Tell the sweep what is in a course: nobody is asked again about what was allowed to go before."""
    books, store, sweep = run.world.books, run.world.books.store, run.sweep
    cases = await books.do(store.cases, mapping.name, course_id)
    rows = [Missing(RowId(mapping.name, course_id, key), case) for key, case in sorted(cases.items())]
    refusals = {one.row: one.op for one in await books.do(store.refusals)}
    asked = list[Missing]()
    for one in rows:
        op, status = refusals.get(one.row, ""), one.case.status
        is_again = (status in GOING and op != "withdrawn") or (status in LIVING and op == "left")
        lives = _lives(run, mapping, course_id, one.case)
        if is_again or (status == "replaced" and not lives):
            sweep.replaced.append((mapping, one))
        elif lives:
            asked.append(one)
    sweep.noted.add((mapping.name, course_id))
    if asked:
        active = await books.do(store.count_active, mapping.name, course_id)
        sweep.found.append(Gone(mapping, course_id, asked, active, empty=True))
    is_said = run.unlisted.courses[course_id]["said"]
    over = [one for one in rows if one.case.status == "ended"] if is_said else []
    return [Leaving(mapping, one.row, one.case, None, "left") for one in over]


def _tell_dropped(run: Run, selection: Selection, dropped: Collection[int]) -> None:
    """Say once which courses of the run before are not read any more, by the reason."""
    reasons = dict[str, list[int]]()
    for number in sorted(dropped):
        reasons.setdefault(_why(number, selection), []).append(number)
    if run.unlisted.many:
        reasons.pop(NOT_LISTED, None)
    them = "it" if len(reasons.get(NOT_LISTED, ())) == 1 else "them"
    parts = [f"{courses_named(numbers)} ({why.format(them=them)})" for why, numbers in sorted(reasons.items())]
    if parts:
        run.result.worse(RunState.COMPLETED, f"Not read any more: {', '.join(parts)}.")


def _why(number: int, selection: Selection) -> str:
    """Return why a course is not read."""
    if number not in selection.listed:
        return NOT_LISTED
    if number not in selection.chosen:
        return NOT_CHOSEN
    return OVER if number in selection.ended else NOT_BEGUN if number in selection.coming else HIDDEN


def tell_many(run: Run, read: int) -> None:
    """Say that many courses are lacking at once: it may be a right that was lost."""
    vanished = run.unlisted.vanished
    if not run.unlisted.many:
        return
    are, them = ("is", "it") if len(vanished) == 1 else ("are", "them")
    tables = " No row of a lookup table is taken away until that is clear." if run.world.project.tables else ""
    asks = "what was deleted" if tables else f"{them}, where somebody has a case"
    later = f" The next run asks about {asks}." if {*vanished} - {*run.unlisted.due} else ""
    names = listed([str(number) for number in vanished])
    run.result.worse(
        RunState.DEGRADED,
        f"{len(vanished)} of {numbered(read + len(vanished), 'course')} {are} not in Moodle's list any more "
        f"({names}): deleted, or the account may not see {them} ('moodle/course:viewhiddencourses')."
        f"{tables}{later}",
    )
