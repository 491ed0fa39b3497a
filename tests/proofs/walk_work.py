"""What schedules and people set going in a walk: runs, drains, erasures, answers, the care of the books."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from typing import Any

from flows.audit import audit
from flows.confirm import confirm, confirm_blanks, confirm_rekey, confirm_term, confirm_withdrawn
from flows.drain import drain
from flows.drained import Drained
from flows.needs import ANSWERED_TERMS, NEW_TERMS, OTHER_KEYS, people_asked
from flows.person import Erasure, erase
from flows.result import Result, RunState
from flows.sync import Options, sync
from state import StateError
from tests.flows.worlds import written
from tests.proofs.machine_world import QUESTIONS
from tests.proofs.walk_events import Step
from tests.proofs.walk_school import HOUR, School
from tests.proofs.walk_troubles import Troubles
from tests.proofs.walk_witness import Witness

LATER = (60.0, 700.0, 1260.0, HOUR)
"""Seconds to the next run: while a row in doubt rests, just after, on schedule."""
SOON = (10.0, 60.0, 700.0)
"""Seconds to the next drain."""
MAPPINGS = ("student", "enrolment", "engagement")


class Doings(Troubles):
    """Everything that may happen in a walk, each by its name; it tells what came of it in `log`."""

    def __init__(self, school: School, witness: Witness) -> None:
        super().__init__(school)
        self.witness = witness
        self.log: list[str] = []
        self.outcomes: Counter[str] = Counter()
        """What became of runs, drains and erasures, and how many questions were answered."""

    # --- runs ---------------------------------------------------------------------------------------------

    async def sync(self, later: float = HOUR, **options: Any) -> Result | None:
        """Run once a while later; None when it died, or was asked for what cannot be."""
        asked = Options(yes=True, **options)
        end = await self.witness.watch(lambda world: sync(world, asked), later, whole=not options)
        if not isinstance(end, Result):
            self._tell("run", repr(end))
            return None
        self._tell("run", end.state, written(end), end.tables, end.messages)
        return end

    async def run_later(self, step: Step) -> bool:
        """Run a while after the last time."""
        return bool(await self.sync(step.one_of(LATER)))

    async def run_hourly(self, step: Step) -> bool:  # noqa: ARG002
        """Run on schedule."""
        return bool(await self.sync())

    async def run_next_day(self, step: Step) -> bool:  # noqa: ARG002
        """Run a day later: everything is due."""
        return bool(await self.sync(25 * HOUR))

    async def run_for_a_while(self, step: Step) -> bool:
        """Let the schedule go on."""
        return any([await self.sync() for _ in range(2 + step.how % 2)])

    async def run_in_full(self, step: Step) -> bool:  # noqa: ARG002
        """Run as if nothing were known of what changed."""
        return bool(await self.sync(full=True))

    async def run_for_a_course(self, step: Step) -> bool:
        """Run for one course only."""
        return bool(await self.sync(courses=(self._course(step),)))

    async def run_for_a_mapping(self, step: Step) -> bool:
        """Run for one mapping only."""
        return bool(await self.sync(mappings=(step.one_of(MAPPINGS),)))

    async def drain(self, step: Step) -> bool:
        """Work off the hints; says whether any is done. One that is said to be read has had its course read."""
        before, read = self.school.hints(), Counter(self.school.read)
        end = await self.witness.watch(drain, step.one_of(SOON))
        told = (end.state, dict(end.outcomes), end.left) if isinstance(end, Drained) else (repr(end),)
        self._tell("drain", *told)
        done = {one for one, hint in self.school.hints().items() if hint[1] and not before.get(one, (0, ""))[1]}
        unread = self._of_courses(done) & self._readable() - (self.school.read - read).keys()
        assert not unread, f"hints about {unread} are done, and nobody has read these courses"
        return bool(done)

    def _of_courses(self, hints: Collection[int]) -> set[int]:
        """Return the courses of hints that are said to be read."""
        found = [hint for number, hint in self.school.hints().items() if number in hints]
        return {course for course, outcome in found if outcome == "read"}

    def _readable(self) -> set[int]:
        """Return the courses that a run reads: neither hidden nor over, and of which nobody is asked anything."""
        return {*self.school.truth().read} - {int(number) for number in self._asked_of_terms()}

    def _asked_of_terms(self) -> dict[str, float]:
        """Return the courses that wait for somebody to say whether a new term began, and when it did."""
        store = self.school.store
        asked, given = (json.loads(store.get(fact) or "{}") for fact in (NEW_TERMS, ANSWERED_TERMS))
        return {course: start for course, start in asked.items() if given.get(course, [0])[0] != start}

    def waiting(self) -> int:
        """Return how many hints wait."""
        return sum(self.school.store.inbox_state(self.school.clock.now()).waiting.values())

    async def audit(self, step: Step) -> bool:  # noqa: ARG002
        """Compare CommCare with the books, and have the next run repair what drifted."""
        end = await self.witness.watch(lambda world: audit(world, repair=True), HOUR)
        return not isinstance(end, BaseException)

    # --- people -------------------------------------------------------------------------------------------

    async def erase(self, step: Step) -> bool:
        """Erase somebody; says whether it was finished."""
        return await self.erase_person(self._person(step))

    async def erase_again(self, step: Step) -> bool:  # noqa: ARG002
        """Say once more what was not finished, when writes in doubt have rested."""
        return any([await self.erase_person(person, 1300.0) for person in sorted(self.deeds.unfinished)])

    async def erase_person(self, person: int, later: float = 60.0) -> bool:
        """Erase a person; from the first step on no run reads him or her."""
        deeds = self.deeds
        deeds.unfinished.add(person)
        end = await self.witness.watch(lambda world: erase(world, person), later)
        is_done = isinstance(end, Erasure) and end.state == RunState.COMPLETED
        if is_done or person in self.school.store.erased():
            deeds.erased.add(person)
        if is_done or person not in deeds.erased:
            deeds.unfinished.discard(person)
        if isinstance(end, Erasure):
            self._tell("erasure", end.state, person, dict(end.outcomes), end.messages)
        return is_done

    def admit(self, step: Step) -> bool:
        """Let somebody who was erased be read again."""
        store, erased = self.school.store, sorted(self.deeds.erased - self.deeds.unfinished)
        person = erased[step.who % len(erased)] if erased else 0
        if not person or person in store.unfinished_erasures():
            return False
        is_in = store.admit(person, self.school.clock.now())
        self.deeds.erased -= {person} if is_in else set()
        return is_in

    # --- questions ----------------------------------------------------------------------------------------

    def agree(self, step: Step) -> bool:
        """Confirm everything that waits for a person, and say of terms whether they are new."""
        store = self.school.store
        leavers, blanks, out = (people_asked(store, name) for name in QUESTIONS)
        if leavers:
            confirm(store, None, sum(leavers.values()))
        for what, people in blanks.items():
            mapping, name = what.split(" ")
            confirm_blanks(store, mapping, name, people)
        if out:
            confirm_withdrawn(store, None, sum(out.values()))
        is_rekeyed = self._agree_to_keys()
        is_answered = self.answer(step)
        return bool(leavers or blanks or out or is_rekeyed or is_answered)

    def _agree_to_keys(self) -> bool:
        asked = json.loads(self.school.store.get(OTHER_KEYS) or "{}")
        if asked:
            confirm_rekey(self.school.store, "", sum(int(one["cases"]) for one in asked.values()))
            self.outcomes["other keys agreed to"] += 1
        return bool(asked)

    def answer(self, step: Step) -> bool:
        """Say of each term that a run asked about whether it is a new one; what was said once stays said."""
        asked = {int(course): start for course, start in self._asked_of_terms().items()}
        for course, start in asked.items():
            is_same = self.deeds.answers.setdefault((course, start), step.how % 3 == 0)
            self.deeds.new_terms |= set() if is_same else {course}
            confirm_term(self.school.store, course, is_same)
            self.outcomes["same terms" if is_same else "new terms"] += 1
        return bool(asked)

    # --- the books ----------------------------------------------------------------------------------------

    def rotate(self, step: Step) -> bool:
        """Add a key, by the command or in the file alone."""
        return self.school.rotate_key(beside=step.how % 3 == 0)

    def back_up(self, step: Step) -> bool:  # noqa: ARG002
        """Copy the books."""
        self.school.back_up()
        return True

    def restore(self, step: Step) -> bool:  # noqa: ARG002
        """Put the copy back; who was erased since is erased again."""
        if self.school.backup is None:
            return False
        try:
            self.school.put_back()
        except StateError as error:
            self._tell("restore", "refused", str(error))
            return False
        self.deeds.erased = self.school.marked()
        return True

    def _tell(self, what: str, state: str, *more: Any) -> None:
        self.outcomes[f"{what} {state}".partition("(")[0]] += 1
        self.log.append(f"    {what} {state} {' '.join(map(str, more))}")
