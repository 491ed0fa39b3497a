"""Texts of coaches at the desk: sorted by assignment, published, and written down one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from adaptors.errors import AccessDenied, AdaptorError, Refused, Unexpected
from adaptors.moodle.answers import GradeReport, checked
from adaptors.moodle.assignment_answers import MarkedCourse
from adaptors.moodle.errors import is_for_all
from adaptors.moodle.grades import GRADES
from adaptors.moodle.unshowable import is_unshowable
from flows.assignments import Desk, Found, find_assignment
from flows.assignments_feedback import publish
from flows.assignments_list import Entry
from flows.assignments_plan import Outcome, Ways
from flows.errors import UsageError
from flows.fed_back import REASON_OF, FedBack, Told
from flows.feedback_books import FeedbackBooks, Guard
from flows.feedback_texts import MADE_AS, CoachText, Known, by_course, property_names
from flows.feedback_texts import Found as Texts
from flows.result import RunState
from flows.steps.lease import Lease
from flows.world import Progress, World
from mappings.engine import CompiledMapping

LONGEST: Final = 20_000  # letters of a coach's text


@dataclass(frozen=True)
class Options:
    """What is asked for: `yes` approves what is new, `overwrite` are keys whose text wins over Moodle's."""

    yes: bool = False
    dry_run: bool = False
    overwrite: tuple[str, ...] = ()


class Publishing:
    """Publishes texts, course by course and assignment by assignment."""

    def __init__(
        self, world: World, done: FedBack, options: Options, lease: Lease, *, dry_run: bool = False
    ) -> None:
        self._world, self.done, self._options, self._lease = world, done, options, lease
        self.dry_run = dry_run
        self._desk = Desk(world.moodle)
        self._books = FeedbackBooks(world, {})
        self._numbers: dict[int, dict[int, int]] = {}

    async def begin(self, mappings: Sequence[CompiledMapping]) -> None:
        """Read what is known; raises UsageError for a key to overwrite that is not listed."""
        store = self._world.books.store
        rows = await self._world.books.do(store.feedback)
        text = await self._world.books.do(store.get, MADE_AS)
        made_as = json.loads(text or "{}")
        self._books = FeedbackBooks(self._world, rows, made_as)
        open_keys = {row.holder.row.key for row in rows.values() if row.reason}
        if unknown := sorted(set(self._options.overwrite) - open_keys):
            raise UsageError(
                f"No text of '{unknown[0]}' waits. "
                "`moodle-commcare problems list --reason feedback_conflict` names the keys."
            )
        if not self.dry_run:
            for mapping in mappings:
                await self._world.books.do(store.forget_feedback, mapping.name, property_names(mapping))

    def known(self, mapping: CompiledMapping) -> Known:
        """Return what is known of the texts of a mapping."""
        return {at: row for at, row in self._books.rows.items() if at[0].mapping == mapping.name}

    async def publish(self, found: Texts, progress: Progress) -> None:
        """Publish texts; each has its outcome afterwards."""
        self.done.cases += found.cases
        if not self.dry_run:
            await self._books.clear(set(found.emptied))
        total, so_far = len(found.texts), 0
        for course, texts in by_course(found.texts):
            await self._course(course, texts)
            so_far += len(texts)
            progress("feedback", so_far, total)
        if self.done.trouble:
            self.done.worse(RunState.DEGRADED, self.done.trouble)

    async def _course(self, course: int, texts: Sequence[CoachText]) -> None:
        """Publish the texts of a course, unless Moodle holds all of them by the books."""
        fresh = [one for one in texts if not self._books.is_told(one)]
        if not fresh:
            return
        try:
            marked = await self._desk.course(course)
            groups = await self._by_assignment(marked, fresh)
        except (Refused, AccessDenied) as error:
            await self._raise_if_for_all(error)
            reason = "no_access" if isinstance(error, AccessDenied) else "no_assignment"
            for one in fresh:
                await self._refuse(one, reason)
            return
        for found, some in groups:
            await self._assignment(found, some)

    async def _by_assignment(
        self, marked: MarkedCourse, texts: Sequence[CoachText]
    ) -> list[tuple[Found, list[CoachText]]]:
        """Sort texts by the assignment that they are for; those without one are refused."""
        groups: dict[int, tuple[Found, list[CoachText]]] = {}
        for one in texts:
            number, way = one.number, one.way
            if way == "item":
                number, way = (await self._cmids(marked.id, one.holder.user_id)).get(number, 0), "cmid"
            try:
                found = find_assignment(marked, self._world.moodle.url, f"{way}:{number}")
            except UsageError:
                await self._refuse(one, "no_access" if marked.unseen else "no_assignment")
            else:
                groups.setdefault(found.assignment.id, (found, []))[1].append(one)
        return list(groups.values())

    async def _cmids(self, course: int, person: int) -> dict[int, int]:
        """Return the activities behind the columns of a course's gradebook, as one of its people sees them."""
        if course not in self._numbers:
            answer = await self._world.moodle.call(GRADES, courseid=course, userid=person)
            rows = [row for one in checked(GradeReport, GRADES, answer).usergrades for row in one.gradeitems]
            self._numbers[course] = {row.id: row.cmid for row in rows if row.cmid}
        return self._numbers[course]

    async def _assignment(self, found: Found, texts: Sequence[CoachText]) -> None:
        """Publish the texts for one assignment, and write down what became of each."""
        people: dict[int, list[CoachText]] = {}
        for one in texts:
            if len(one.text) > LONGEST:
                await self._refuse(one, "too_long")
            else:
                people.setdefault(one.holder.user_id, []).append(one)
        if not people:
            return
        guard = Guard(self._books, people, self._options.overwrite, self._lease.hold)
        guard.me = (await self._desk.site()).userid
        entries = [Entry(str(person), one.text, one.grade) for person, some in people.items() for one in some]
        done, reason = None, "no_access"
        try:
            done = await publish(self._desk, found, entries, Ways(dry_run=self.dry_run), keeper=guard)
        except AccessDenied as error:
            await self._raise_if_for_all(error)
        except Unexpected as error:
            if not is_unshowable(error):
                raise
            reason = "not_shown"  # too many to be read around
            self.done.worse(RunState.DEGRADED, str(error))
        outcomes = {one.ext_id: one for one in done.outcomes} if done else {}
        for note in done.notes if done else ():
            self.done.worse(RunState.COMPLETED, note)  # listed with a remedy, as others who are left out
        for message in done.messages if done else ():
            self.done.worse(RunState.DEGRADED, message)
        for person, some in people.items():
            outcome = outcomes.get(str(person)) or Outcome(str(person), None, "refused", reason)
            for one in some:
                await self._settle(guard, one, outcome)

    async def _raise_if_for_all(self, error: AdaptorError) -> None:
        """Raise again what no course is to blame for: then nothing is known of any text.

        Of a function that the service lacks Moodle says what it says of an expired token; that one is told.
        """
        if error.code == "accessexception" and error.operation not in (await self._desk.site()).function_names:
            self.done.worse(RunState.COMPLETED, str(error))
        elif is_for_all(error) or (isinstance(error, AccessDenied) and error.status != 200):
            raise error

    async def _settle(self, guard: Guard, one: CoachText, outcome: Outcome) -> None:
        if outcome.state == "would_store" or self.dry_run:
            state = {"would_store": "would_publish", "unchanged": "there_already"}.get(
                outcome.state, "not_published"
            )
            self._tell(one, state, REASON_OF.get(outcome.reason, ""))
        else:
            self._tell(one, *await guard.settle(one, outcome))

    async def _refuse(self, one: CoachText, reason: str) -> None:
        if not self.dry_run:
            await self._books.settle(one, None, REASON_OF[reason])
        self._tell(one, "not_published", REASON_OF[reason])

    def _tell(self, one: CoachText, state: str, reason: str) -> None:
        row = one.holder.row
        told = Told(one.mapping, row.key, one.name, one.course, one.holder.user_id, state, reason)
        self.done.told.append(told)
