"""The main path: lease, recover, read who is where, push people, push courses, sweep, report. No Prefect here.

One failed course changes nothing for the others. A course's checkpoint is written once its read was complete and
each of its rows is settled; whatever stops a run, the next one finds what is missing by comparing again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from adaptors.errors import Maintenance
from adaptors.moodle.answers import Course
from adaptors.moodle.errors import REPAIR_CONTACT
from flows.errors import Overlap, UsageError
from flows.expiry import ending_soon
from flows.outcome import outcome
from flows.result import Result, RunState
from flows.run import Run, choose_mappings
from flows.state_care import care_for
from flows.steps.approvals import asked_about
from flows.steps.clocks import heed_clock, sure_now
from flows.steps.courses import sync_courses
from flows.steps.due import Due, Unread, find_due, may_wait, read_again, remember_reads, tell_waiting
from flows.steps.edits import Edit, find_edits, remember_begun, remember_prints, tell_edits
from flows.steps.ends import Ends, read_ends, remember_ends, tell_ends
from flows.steps.first_loads import end_first_loads, never_loaded
from flows.steps.first_runs import ask_before_first_runs, unapproved
from flows.steps.firsts import FirstLook
from flows.steps.gate import first_run_plan, refuse_existing_cases, require_functions
from flows.steps.holders import heed_other_names
from flows.steps.lease import Lease, NotGivenBack
from flows.steps.leave import leave, settle
from flows.steps.left_open import newly_open, remember_owners
from flows.steps.lost import lost
from flows.steps.new_books import let_rest
from flows.steps.people import sync_people
from flows.steps.planned import SITE_SCOPE
from flows.steps.pull import IN_COURSE
from flows.steps.recover import know_them_all, recover, strangers
from flows.steps.renamed import take_over_names
from flows.steps.retype import retype_the_rest
from flows.steps.rosters import read_people
from flows.steps.select import (
    Selection,
    chosen_before,
    fields_of,
    known_courses,
    only_these,
    select_courses,
    tell_not_whole,
    why_untold,
    with_refused,
)
from flows.steps.silence import heed_silence
from flows.steps.tables import are_open, sync_tables
from flows.steps.terms import new_terms
from flows.steps.unlisted import find_unlisted, heed_list, tell_many
from flows.steps.verdict import judge
from flows.words import courses_named
from flows.world import Progress, World, silent
from mappings.engine import CompiledMapping
from state import StateError
from state.care import DRAIN

NO_SUCH_COURSE = "Moodle has no such course, or the account may not see it; project.yaml names it."
NOT_SEEN = (
    "Whether Moodle has a course {} cannot be seen just now: it cannot show its list of courses, and this one is "
    f"new to this program. {REPAIR_CONTACT}"
)

log = logging.getLogger(__name__)

CourseLevel = Callable[[Run, list[Course]], Awaitable[None]]
"""Reads the courses that have a roster, and pushes what differs in them."""


@dataclass(frozen=True)
class Options:
    """What a run is asked for: some courses, some mappings, everything anew, approved, or only a look.

    `rekey` names the mappings that may make all their cases anew, under other keys. `hinted`: nobody asked, a
    webhook told that something happened in these courses; those that are not selected are passed over. `attended`:
    somebody sits there, so that the plan of a first run is made again however new the last one is.
    """

    courses: tuple[int, ...] = ()
    mappings: tuple[str, ...] = ()
    full: bool = False
    yes: bool = False
    preview: bool = False
    rekey: tuple[str, ...] = ()
    hinted: bool = False
    attended: bool = False

    @property
    def asks_for_more(self) -> bool:
        """Whether somebody asked for something by name, or for a look: then no interval counts."""
        return bool(self.full or self.preview or self.courses or self.mappings or self.rekey)


async def sync(
    world: World, options: Options, progress: Progress = silent, course_level: CourseLevel | None = None
) -> Result:
    """Run once and return what happened; raises UsageError for a wrong course or mapping name.

    `course_level` reads and pushes the courses in the place of `sync_courses`: a round has several workers do it.
    A first run of a mapping without `options.yes` sends nothing and returns its plan, state waiting.
    """
    result = Result(f"{DRAIN if options.hinted else ''}{_run_id(world)}", preview=options.preview)
    lease = Lease(world, result.run_id)
    try:
        if not options.preview:
            await lease.take()
    except (Overlap, StateError) as error:
        result.overlapped = isinstance(error, Overlap)
        result.worse(RunState.POSTPONED if result.overlapped else RunState.FAILED, str(error))
        return result
    try:
        # A course may take longer to read than the lease holds, and so may what CommCare asks us to wait.
        async with outcome(world, result):
            with world.attended_by(lease.hold):
                await world.begin()
                await _run(world, result, lease, options, progress, course_level)
    finally:
        for one in ending_soon(world.expiries, world.today(), world.expiry_days):
            result.worse(RunState.COMPLETED, one.sentence(world.today()))
        await _close(world, result, lease, options)
    return result


async def _run(
    world: World,
    result: Result,
    lease: Lease,
    options: Options,
    progress: Progress,
    course_level: CourseLevel | None,
) -> None:
    """Do everything between taking and giving back the lease."""
    unsettled = set[str]()
    if not options.preview:
        await world.books.do(world.books.store.start_run, result.run_id, world.clock.now(), world.project.revision)
        await heed_clock(world, lease.held)
        if not await care_for(world, result, copy=not options.hinted):
            return
        for sentence in await take_over_names(world):
            result.worse(RunState.COMPLETED, sentence)
        unsettled = {row.mapping for row in await world.books.do(world.books.store.intents)}
        await recover(world, lease.held)
        await heed_other_names(world, world.project.mappings)
    choose_mappings(world, options.rekey)  # a name that is misspelt is told now
    started, mappings = world.clock.now(), choose_mappings(world, options.mappings)
    edits = await find_edits(world, mappings)
    unsettled |= {mapping.name for mapping in mappings} if options.asks_for_more else await asked_about(world)
    looks = options.yes or options.attended or options.asks_for_more
    asked, told = (frozenset[str](), "") if looks else await unapproved(world, mappings)
    due = await find_due(world, [mapping for mapping in mappings if mapping.name not in asked], edits, unsettled)
    tell_edits(result, edits)
    tell_waiting(result, due)
    if told:
        result.worse(RunState.WAITING, told)
    if mappings and not due.mappings:
        if len(asked) < len(mappings) and await are_open(world):
            await _only_tables(Run.begin(world, result, lease, due, preview=False, progress=progress))
        return
    run = Run.begin(world, result, lease, due, preview=options.preview, progress=progress)
    run.planner.removed = {name: edit.taken_out for name, edit in edits.items()}
    await _work(run, options, edits, course_level)
    unsettled = await _unsettled(run)
    if run.whole_site and not options.preview:
        await remember_prints(world, run.mappings, edits)
        due.mappings = [*run.mappings]
        resting = {mapping.name for mapping in run.mappings if may_wait(world.project, mapping)}
        await remember_owners(run, resting - unsettled)
        await remember_reads(world, due, started, unsettled, anew=options.full)
        others = unsettled - {mapping.name for mapping in run.mappings}
        await world.books.do(world.books.store.read_anew, others)
    elif not options.preview:  # what this run leaves is for the next one of the whole site, whatever is due then
        await world.books.do(world.books.store.read_anew, unsettled)
    await end_first_loads(run)
    judge(result, world.project.guards)
    if run.read and run.whole_site and not options.preview and result.state == RunState.COMPLETED:
        known = {mapping.name for mapping in run.mappings} - unsettled - run.partly
        found = (run.read | run.ended) - run.between_terms
        await know_them_all(world, run.planner.strangers & known, found, run.chosen)


async def _only_tables(run: Run) -> None:
    """Keep the lookup tables in step where the intervals of the mappings hold up everything else."""
    await run.reader.site()
    selection, _ = await _selected(run)
    run.unlisted = await find_unlisted(run, selection)
    tell_many(run, len(selection.courses))
    tell_not_whole(run.result, selection)
    for why in sorted({*run.untold.values()}):
        numbers = [number for number, reason in run.untold.items() if reason == why]
        run.result.worse(RunState.DEGRADED, f"Not read: {courses_named(numbers)}. {why}")
    await sync_tables(run, selection.courses)


async def _work(run: Run, options: Options, edits: Mapping[str, Edit], course_level: CourseLevel | None) -> None:
    """Read Moodle, ask what has to be asked, send what differs, and let go who is gone."""
    world = run.world
    site = await run.reader.site()
    require_functions(site, run.wanted)
    run.user = site.userid
    selection, ends = await _selected(run)
    selected, run.ended, run.chosen = selection.courses, set(selection.ended), set(selection.chosen)
    run.course_fields = fields_of(selected)
    courses = _asked_for(run, options, selected)
    if len(courses) == len(selected):  # now, since nothing else may be told of a run that ends with a plan
        tell_not_whole(run.result, selection)
    if options.hinted and not courses:
        run.whole_site = False  # nothing was read, so nothing counts as read
        return
    if not options.preview:
        if not options.yes:
            look = partial(_look, run, courses=courses, selected=selected)
            await ask_before_first_runs(run, look, some_courses=bool(options.courses))
        beside = await refuse_existing_cases(run, options.rekey)
        await world.books.do(world.books.store.bind_target, *world.target)  # only now that both have answered
        await remember_begun(world, run.mappings, edits)
        await sure_now(world, run.lease.held)
        await let_rest(world, beside)
        await remember_ends(world, ends, selected)
    await heed_list(run, selection, whole=len(courses) == len(selected))
    run.planner.strangers, run.planner.lost = await strangers(world), await lost(world)
    run.pusher.firsts.begin(await never_loaded(world, run.mappings), run.planner.strangers)
    run.read = {course.id for course in courses}
    try:
        told = [course for course in courses if course.id not in run.untold]
        run.between_terms = await new_terms(run, told, selected)
        await _read_and_push(run, courses, selected, course_level)
        await run.planner.blanks.tell(run.reach)
        ended = () if options.courses else selection.ended
        run.pusher.enqueue(0, await leave(run, courses, ended), run.swept)
        await run.pusher.drain()
        await settle(run)
        await retype_the_rest(run)
        await sync_tables(run, selected)
    except BaseException:
        await asyncio.shield(run.pusher.abandon())
        raise


def _asked_for(run: Run, options: Options, selected: list[Course]) -> list[Course]:
    """Return the courses to read: all selected ones, or those of the command, or those of the hints."""
    if not options.courses:
        return selected
    wanted = set(options.courses)
    if options.hinted:
        wanted &= {course.id for course in selected}
        run.result.passed_over = sorted(set(options.courses) - wanted)
    if not run.lists_all and (unseen := wanted - {*run.starts, *(course.id for course in selected)}):
        raise UsageError(NOT_SEEN.format(min(unseen)))
    return only_these(selected, wanted)


async def _unsettled(run: Run) -> set[str]:
    """Return the mappings whose next read must not wait: something failed, is in doubt or waits."""
    unread = set[str]() if run.preview else await read_again(run.world, _unread(run))
    opened = set[str]() if run.preview else await newly_open(run)
    resting = await run.world.books.do(run.world.books.store.intents)
    return unread | opened | run.under_way | {row.mapping for row in resting}


def _unread(run: Run) -> Unread:
    """Return which of the courses that this run was to read it could not read, or not all of, by mapping.

    0 stands for the people, and for courses that Moodle's list may lack.
    """
    failed = {number for number, course in run.result.courses.items() if course.state == "failed"} & run.read
    courses = {mapping.name: {*failed} for mapping in run.mappings}
    lacks_new = run.whole_site and not run.lists_all
    for mapping in run.mappings:
        if run.reader.unsure_profiles or mapping.name in run.unread or lacks_new:
            courses[mapping.name].add(SITE_SCOPE)
        if mapping.source != "courses":  # which needs nobody's people
            courses[mapping.name] |= run.read - run.whole
        if mapping.source in IN_COURSE:
            courses[mapping.name] |= run.asked_terms
    return Unread([*courses], courses, None if run.whole_site else run.read)


async def _read_and_push(
    run: Run, courses: list[Course], selected: list[Course], course_level: CourseLevel | None = None
) -> None:
    """Read and push people first: a child is planned only when its parent is acknowledged."""
    await read_people(run, courses, selected)
    try:
        await sync_people(run, courses)
        await run.pusher.drain()
        await (course_level or sync_courses)(run, courses)
        await run.pusher.drain()
    except Maintenance:
        await run.pusher.drain()  # Moodle is closed, CommCare is not: what was read completely still goes there
        raise


async def _look(
    run: Run, mappings: Sequence[CompiledMapping], courses: list[Course], selected: list[Course]
) -> Result:
    """Read what first runs of mappings would send and return it with its plan; nothing is sent or written down."""
    result = Result(run.result.run_id, preview=True)
    due = Due([*mappings], grades=True)
    look = Run.begin(run.world, result, run.lease, due, preview=True, progress=run.progress)
    look.user, look.planner.look, look.course_fields = run.user, FirstLook(), run.course_fields
    look.untold, look.lists_all = run.untold, run.lists_all
    look.pusher.firsts.begin(frozenset(mapping.name for mapping in mappings))
    run.pusher.firsts.free = look.pusher.firsts.free
    await look.reader.site()
    await _read_and_push(look, courses, selected)
    await first_run_plan(look)
    return result


async def _selected(run: Run) -> tuple[Selection, Ends]:
    """Return the courses that project.yaml chooses; one that it names and Moodle lacks is named as failed."""
    choice = run.world.project.courses
    categories = await run.reader.categories() if choice.categories else ()
    before = await chosen_before(run.world)
    known, last = await run.world.books.do(known_courses, run.world.books.store, choice)
    courses = await run.reader.courses(known, last)
    run.starts = {course.id: course.startdate or 0 for course in courses}
    ends = await read_ends(run.world, courses)
    selection = select_courses(courses, categories, choice, run.world.clock.now(), ends.going_on)
    if not run.reader.lists_all:
        selection = with_refused(selection, run.reader.refused_courses, choice, before)
        run.lists_all = not selection.lacks_new
    tell_ends(run.world, run.result, ends, selection.chosen)
    run.untold = why_untold(selection)
    for number in selection.unknown:
        run.course_failed(number, NO_SUCH_COURSE)
    if not selection.courses:
        run.result.worse(
            RunState.COMPLETED if selection.is_out_of_term else RunState.DEGRADED,
            "None of the courses that project.yaml chooses is visible and running, so nothing was read."
            f"{' Each is over, or has not begun.' if selection.is_out_of_term else ''}",
        )
    return selection, ends


async def _close(world: World, result: Result, lease: Lease, options: Options) -> None:
    """Write down how the run ended and give the lease back, whatever happened; a preview leaves no trace."""
    store, now = world.books.store, world.clock.now()
    if not options.preview:
        try:
            try:
                await heed_silence(world, result)
                await world.books.do(store.finish_run, result.run_id, now, str(result.state), result.as_json())
            finally:
                await lease.release()
        except NotGivenBack as error:
            result.worse(RunState.FAILED, error.reason)
            result.worse(RunState.FAILED, error.sentence)
        except StateError as error:
            result.worse(RunState.FAILED, str(error))
    log.info("run %s ended %s", result.run_id, result.state)


def _run_id(world: World) -> str:
    return f"{datetime.fromtimestamp(world.clock.now(), UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
