"""The people level: each profile once a run, mapped and pushed in batches, swept when the read was complete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from adaptors.moodle.answers import Course
from adaptors.moodle.engagement import Engagement
from adaptors.moodle.normalise import course_record
from flows.result import RunState
from flows.steps.deleted import find_deleted
from flows.steps.engagement import ENGAGEMENT, is_complete, read_engagement
from flows.steps.failing import Failing, find_failing
from flows.steps.hiding import tell_hiding
from flows.steps.planned import IN_PART, SITE_SCOPE, Problem, Scope
from flows.steps.pull import map_records, needs_all_courses
from flows.steps.witnesses import Witnesses
from flows.steps.work import Work
from flows.words import listed, numbered
from mappings.engine import CompiledMapping

if TYPE_CHECKING:
    from flows.run import Run

REMEDY = "If this stays: give the Moodle role 'moodle/user:viewdetails'."


async def sync_people(run: Run, courses: list[Course]) -> None:
    """Map and push the sources `users`, `courses` and `engagement`: a profile is read once for all of them."""
    site_mappings = [mapping for mapping in run.mappings if mapping.source == "courses"]
    if site_mappings:
        await _sync_course_list(run, site_mappings, courses)
    engagement = await read_engagement(run, courses)
    sources = {"users"} if engagement is None else {"users", ENGAGEMENT}
    people_mappings = [mapping for mapping in run.mappings if mapping.source in sources]
    if people_mappings:
        await _sync_profiles(run, people_mappings, courses, engagement)


async def _sync_course_list(run: Run, mappings: list[CompiledMapping], courses: list[Course]) -> None:
    untold = [course.id for course in courses if course.id in run.untold]
    for number in untold:
        run.course_failed(number, run.untold[number])
    run.unread.update(mapping.name for mapping in mappings if untold)
    told = [course for course in courses if course.id not in run.untold]
    records = [course_record(course, run.course_fields) for course in told]
    scopes = [map_records(mapping, SITE_SCOPE, records, run.context) for mapping in mappings]

    async def done(work: Work) -> None:
        for scope in work.scopes:
            run.tell(scope)
            # A course that is not selected is not read, and what is not read is not gone: no sweep here.
            await _save_problems(run, scope)
            if not run.preview:
                await run.planner.outsiders.save(scope, complete=run.whole_site and not untold)

    await Work(run.planner, run.pusher, scopes, done).advance()
    await run.pusher.pump()


async def _sync_profiles(
    run: Run, mappings: list[CompiledMapping], courses: list[Course], engagement: Engagement | None
) -> None:
    """Read, map and push profiles batch by batch; only ids, keys and problems are kept over the whole read."""
    whole = {mapping.name: Scope(mapping, SITE_SCOPE) for mapping in mappings}
    ids, complete = run.person_ids, is_complete(engagement)
    witnesses = await Witnesses.of(run)
    # What nobody in a few courses has is blank there, not hidden.
    beside = [] if run.whole_site else witnesses.people
    failing = await find_failing(run, [course.id for course in courses]) if run.whole_site else None
    read = 0

    async def done(work: Work) -> None:
        for scope in work.scopes:
            run.tell(scope)
            whole[scope.mapping.name].problems += scope.problems

    async for profiles in run.reader.profiles(ids, witnesses.people, beside):
        await run.lease.hold()
        records = [run.people.record(profile) for profile in profiles]
        unshown = witnesses.unshown
        scopes = [
            map_records(mapping, SITE_SCOPE, _records(mapping.source, records, engagement), run.context, unshown)
            for mapping in mappings
        ]
        for scope in scopes:
            whole[scope.mapping.name].seen |= scope.seen
            await _leave_newcomers(run, scope, failing)
        await Work(run.planner, run.pusher, scopes, done).advance()
        await run.pusher.pump()
        read += len(records)
        run.progress("profiles", read, len(ids))
    if courses and not ids and run.every_course:  # nobody is in any: what was asked about people is over
        nobody = [Scope(mapping, SITE_SCOPE) for mapping in mappings]
        await Work(run.planner, run.pusher, nobody, done).advance()
    await run.pusher.drain()
    _tell_lost(run)
    if run.whole_site:
        tell_hiding(run, mappings, witnesses.shown_once, witnesses.unshown)
    if not run.preview:
        swept = {name for name, scope in whole.items() if scope.mapping.source != ENGAGEMENT or complete}
        await _finish(run, list(whole.values()), courses, swept, failing)
        await witnesses.remember(complete=_all_read(run, courses))


async def _leave_newcomers(run: Run, scope: Scope, failing: Failing | None) -> None:
    """Hold back who has no case, in a run that lacks courses, where what he is in them may decide about it.

    Of somebody whom the books do not know nobody can say which courses those are, and CommCare deletes no case. A
    run of the whole site waits for a course no longer than it does where people left. A look at first runs counts
    everybody who may come: it is the plan that is approved.
    """
    if run.every_course or not needs_all_courses(scope.mapping):
        return
    if failing is not None and (run.planner.look is not None or not failing.waited_for):
        return
    books = run.world.books
    known = await books.do(books.store.cases, scope.mapping.name, scope.number, scope.drafts)
    for key in sorted(scope.drafts.keys() - known.keys()):
        del scope.drafts[key]
        scope.hold_back(Problem(key, "", IN_PART))


def _records(
    source: str, people: list[dict[str, Any]], engagement: Engagement | None
) -> Iterable[Mapping[str, Any]]:
    """Return the records of a source of people, made from those of `users`."""
    if source != ENGAGEMENT or engagement is None:
        return people
    return (engagement.record(person) for person in people if person["id"] not in engagement.left_alone)


async def _finish(
    run: Run, scopes: list[Scope], courses: list[Course], swept: set[str], failing: Failing | None
) -> None:
    """Write down what the read of the people showed; look for leavers only after a complete one."""
    store = run.world.books.store
    complete = _all_read(run, courses)
    for scope in scopes:
        everybody = run.whole_site and complete and not run.reader.lost_profiles
        await run.planner.outsiders.save(scope, complete=everybody)
        if not complete or not run.whole_site:  # maybe nobody is compared, and who is there is there
            await run.world.books.do(store.note_seen, scope.mapping.name, scope.number, scope.seen)
    if failing is None:
        return
    for scope in scopes:
        await _save_problems(run, scope, whole=complete and scope.mapping.name in swept)
    await _look_for_leavers(run, [scope for scope in scopes if scope.mapping.name in swept], courses, failing)
    if complete:
        at = run.world.clock.now()
        await run.world.books.do(store.checkpoint, SITE_SCOPE, run.result.run_id, at, run.person_ids)


def _tell_lost(run: Run) -> None:
    """Say whose profiles are missing: of those that Moodle cannot give the numbers, of others how many."""
    run.result.lost_people = frozenset(run.reader.lost_profiles)
    if refused := [str(number) for number in sorted(run.reader.refused_profiles & run.reader.lost_profiles)]:
        whose = f"{'profile of person' if len(refused) == 1 else 'profiles of people'} {listed(refused)}"
        run.result.worse(
            RunState.DEGRADED,
            f"Moodle answers with an error when it is asked for the {whose}; their cases stay as before. What it "
            "has of each account is not valid, such as a '<' in the city, the country or a telephone number, "
            "capital letters in the login name, or a login method that was taken away: open the account in "
            "Moodle, correct it and save it.",
        )
    if lost := run.reader.unsure_profiles:
        whose = f"{'profile' if len(lost) == 1 else 'profiles'} of {numbered(len(lost), 'person', 'people')}"
        run.result.worse(
            RunState.DEGRADED,
            f"Moodle did not give the {whose}; their cases stay as before. "
            f"{run.reader.trouble_with_profiles or REMEDY}",
        )


async def _look_for_leavers(run: Run, scopes: list[Scope], courses: list[Course], failing: Failing) -> None:
    """Compare the people of the site with the books, but for those of whom this run cannot say whether they left.

    Whose profile Moodle did not give is in a course, as its list of ids shows; nobody is looked for where it gave
    no profile at all, and as long as a course is waited for whose people could not be read.
    """
    if any(scope.mapping.when_left is not None for scope in scopes):
        failing.tell(run)
    if failing.waited_for:
        return
    elsewhere = await members_elsewhere(run, [course for course in courses if course.id in run.whole])
    run.sweep.deleted, run.sweep.read = await find_deleted(run, elsewhere), frozenset(run.whole)
    run.sweep.failing = failing.for_long
    lost = run.reader.lost_profiles
    for scope in scopes:
        if scope.seen or not lost:
            await run.sweep.note(scope, protected=(elsewhere - run.sweep.deleted) | lost)


def _all_read(run: Run, courses: list[Course]) -> bool:
    """Say whether everybody in these courses was read, but for those of whom no other read would tell more."""
    is_whole = run.lists_all and run.whole.issuperset(course.id for course in courses)
    return is_whole and not run.reader.unsure_profiles


async def members_elsewhere(run: Run, courses: list[Course]) -> set[int]:
    """Return people last seen in other courses than these: deselected, hidden, ended, deleted, or failing."""
    store = run.world.books.store
    remembered = await run.world.books.do(store.courses)
    found = set[int]()
    for course_id in remembered.keys() - {course.id for course in courses} - {SITE_SCOPE}:
        found |= await run.world.books.do(store.member_ids, course_id)
    return found


async def _save_problems(run: Run, scope: Scope, *, whole: bool = False) -> None:
    if run.preview:
        return
    found = [(problem.key, problem.property, problem.reason, problem.detail) for problem in scope.problems]
    await run.world.books.do(
        run.world.books.store.set_problems, scope.mapping.name, scope.number, found, run.world.clock.now()
    )
    await run.pusher.aside.settle(scope, whole=whole)
