"""The state machine: anything that happens in Moodle, in CommCare and in between, in any order, and runs.

`tests.proofs.lives` goes as far as one wants.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Set
from contextlib import ExitStack
from pathlib import Path

import stamina
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from flows.steps import there, unknown
from tests.flows.explorer_troubles import COMMCARE_FAULTS, MOODLE_FAULTS
from tests.proofs.figures import Figures
from tests.proofs.machine_world import EDITIONS, WAYS, Ground
from tests.proofs.overheard import overheard
from tests.proofs.seldom import THEMES, Seldom, course, of, person

STEPS = 40
FEW = there.FEW
READS = (
    None, "core_course_get_courses_by_field", "core_enrol_get_enrolled_users", "core_user_get_users_by_field",
    "gradereport_user_get_grade_items",
)  # fmt: skip
TALLY: Counter[str] = Counter()
"""What all examples of this process did together: examples, runs, faults that happened."""


class Machine(Seldom):
    """Every rule is one thing that happens; a run holds what it sends against the truth."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.loop = asyncio.Runner()
        self._listening = ExitStack()
        self.log = self._listening.enter_context(overheard())

    @initialize(way=st.sampled_from(WAYS), out=st.sampled_from(("", *WAYS)),
                themes=st.sets(st.sampled_from(THEMES), min_size=1, max_size=2),
                few=st.sampled_from((FEW, 0)))  # fmt: skip
    def begin(self, way: str, themes: Set[str] = frozenset(), out: str = "", few: int = FEW) -> None:
        """Make the world; of what walks seldom find, a life has one or two things, which may happen often.

        `few`: so many cases of which the books know too little are looked up one by one; the others together.
        """
        self.themes = frozenset(themes)
        there.FEW = unknown.FEW = few
        self.ground = Ground(self.folder, way, out)
        self.site, self.commcare = self.ground.site, self.ground.commcare

    def teardown(self) -> None:
        """Let everything that is wrong stop, and see that all comes right."""
        try:
            if hasattr(self, "ground"):
                self.loop.run(self.ground.end())
                self.log.hold()
                TALLY.update(examples=1, runs=self.ground.runs, faults=self.ground.faults, logged=self.log.heard)
        finally:
            self.close()

    def close(self) -> None:
        """Leave nothing behind."""
        there.FEW = unknown.FEW = FEW
        self.loop.close()
        self._listening.close()
        shutil.rmtree(self.folder)

    # --- in Moodle ----------------------------------------------------------------------------------------

    @rule(where=course, who=person)
    def enrol(self, where: int, who: int) -> None:
        """Enrol somebody who is not there, or a new person."""
        place = self.ground.courses[where]
        if who > 27:
            self._newcomer()
            who = len(self.ground.people) - 1
        if self._lives(who) and self._person(who) not in self._members(where):
            self.site.enrol(place, self._person(who))

    @rule(where=course, who=person)
    def unenrol(self, where: int, who: int) -> None:
        """Take a member out of a course."""
        if members := self._members(where):
            self.site.unenrol(self.ground.courses[where], members[who % len(members)])

    @rule(where=course, who=person, points=st.sampled_from((None, 20, 55, 80)))
    def grade(self, where: int, who: int, points: float | None) -> None:
        """Grade a member."""
        if members := self._members(where):
            self.site.grade(self.ground.items[where], members[who % len(members)], points)

    @rule(where=course, who=person)
    def suspend(self, where: int, who: int) -> None:
        """Suspend an enrolment, or not any more."""
        if members := self._members(where):
            member = members[who % len(members)]
            now = self.site.members[self.ground.courses[where]][member].suspended
            self.site.suspend_enrolment(self.ground.courses[where], member, suspended=not now)

    @rule(where=course, who=person, roles=st.sampled_from((("student",), ("teacher",), ("student", "teacher"))))
    def change_role(self, where: int, who: int, roles: tuple[str, ...]) -> None:
        """Give a member other roles: a teacher alone is kept out by the mappings."""
        if members := self._members(where):
            self.site.members[self.ground.courses[where]][members[who % len(members)]].roles = roles

    @rule(who=person)
    def delete(self, who: int) -> None:
        """Delete an account."""
        if self._lives(who):
            self.site.delete_user(self._person(who))

    @rule(old=person, new=person)
    def merge(self, old: int, new: int) -> None:
        """Merge two accounts: what one had becomes the other's, and the first is deleted."""
        if self._lives(old) and self._lives(new) and self._person(old) != self._person(new):
            for place in self.ground.courses:
                members = self.site.members[place]
                if self._person(old) in members and self._person(new) not in members:
                    self.site.enrol(place, self._person(new), members[self._person(old)].roles)
            self.site.delete_user(self._person(old))

    @rule(who=person, name=st.sampled_from(("QanaryAmina", "QanaryBrian")))
    def rename(self, who: int, name: str) -> None:
        """Give somebody another name."""
        self.site.update_user(self._person(who), firstname=name)

    @rule(who=person, city=st.sampled_from(("", "Kisumu", "Bondo")))
    def move(self, who: int, city: str) -> None:
        """Let somebody live elsewhere."""
        self.site.update_user(self._person(who), city=city)

    @rule(where=course)
    def hide(self, where: int) -> None:
        """Hide a course, or show it again."""
        row = self.site.courses[self.ground.courses[where]]
        row["visible"] = 1 - row["visible"]

    @of("over")
    @rule(where=course)
    def end_or_go_on(self, where: int) -> None:
        """Let a course come to its end, or go on."""
        self._end_or_go_on(where)

    @rule(edition=st.integers(0, len(EDITIONS) - 1))
    def edit_mapping(self, edition: int) -> None:
        """Edit the mapping of people."""
        self.ground.edition = edition

    # --- in CommCare --------------------------------------------------------------------------------------

    def _case(self, number: int) -> str:
        cases = [*self.ground.project.cases]
        return cases[number % len(cases)] if cases else ""

    @rule(which=person, name=st.sampled_from(("city", "first_name", "moodle_status", "enrolment_status")))
    def edit_by_hand(self, which: int, name: str) -> None:
        """Let somebody overwrite a value that comes from Moodle."""
        case_id = self._case(which)
        if case_id and name in self.ground.project.cases[case_id].properties:
            self.ground.project.edit_case(case_id, **{name: "By hand"})
            self.ground.by_hand.setdefault(case_id, set()).add(name)

    @rule(which=person)
    def close_by_hand(self, which: int) -> None:
        """Let somebody close a case."""
        if case_id := self._case(which):
            self.ground.project.close_case(case_id)
            self.ground.closed.add((self.ground.project.cases[case_id].external_id or "").split("~")[0])

    @precondition(lambda self: len(self.ground.deleted) < 2)
    @rule(which=person)
    def delete_by_hand(self, which: int) -> None:
        """Let somebody delete a case."""
        if case_id := self._case(which):
            self.ground.deleted.add((self.ground.project.cases[case_id].external_id or "").split("~")[0])
            self.ground.project.delete_case(case_id)

    # --- what goes wrong ----------------------------------------------------------------------------------

    @rule(function=st.sampled_from(READS), kind=st.sampled_from((*MOODLE_FAULTS, "warnings", "php_warning")),
          times=st.sampled_from((1, 2, 6)), after=st.integers(0, 6))  # fmt: skip
    def fail_a_read(self, function: str | None, kind: str, times: int, after: int) -> None:
        """Let Moodle fail, or answer only in part."""
        self.ground.moodle.fail_next(function, kind, times=times, after=after)

    @rule(who=st.sets(person, min_size=1, max_size=2))
    def shrink_the_next_read(self, who: set[int]) -> None:
        """Let Moodle leave people out of the next read without a word."""
        self.ground.unseen |= {self._person(number) for number in who}

    @rule(where=course)
    def empty_the_next_read(self, where: int) -> None:
        """Let the next read of a course come back empty."""
        self.ground.unseen |= {*self._members(where)} & {*self.ground.people}

    @rule(kind=st.sampled_from(COMMCARE_FAULTS), times=st.sampled_from((1, 3, 8)),
          where=st.sampled_from(("write", "write", "any")))  # fmt: skip
    def fail_commcare(self, kind: str, times: int, where: str) -> None:
        """Let CommCare fail before it does anything."""
        self.commcare.fail_next(kind, times=times, where=where)

    @rule(answer=st.sampled_from(("timeout", "504_html", "500_html")))
    def lose_the_reply(self, answer: str) -> None:
        """Let CommCare write and its reply be lost."""
        self.commcare.drop_reply_after_commit(1, answer)

    @rule(seconds=st.sampled_from((30.0, 299.0, 900.0)))
    def write_late(self, seconds: float) -> None:
        """Let the next write take effect long after everybody gave it up."""
        self.commcare.late_write(seconds)

    @rule(at=st.integers(1, 25))
    def crash_at_a_request(self, at: int) -> None:
        """Let the process die in the next run, at a request."""
        self.ground.at_request[at] = lambda: setattr(self.ground.mortal, "dead", True)

    @rule(at=st.integers(0, 60), done=st.booleans())
    def crash_at_the_books(self, at: int, done: bool) -> None:
        """Let the process die in the next run, before or after it used the books."""
        self.ground.copied.dies_at = at, done

    @rule(seconds=st.sampled_from((-86_400.0, -3600.0, 3600.0, 0.0)))
    def set_the_clock(self, seconds: float) -> None:
        """Set the machine's clock wrong, or right again."""
        self.ground.clock.skew = seconds

    @rule()
    def start_a_second_worker(self) -> None:
        """Let two workers make the next run at the same time."""
        self.ground.twice = True

    # --- what people do about it --------------------------------------------------------------------------

    @rule()
    def back_up(self) -> None:
        """Copy the books."""
        self.ground.back_up()

    @precondition(lambda self: self.ground.backup is not None)
    @rule()
    def restore(self) -> None:
        """Put the copy back, as the guide says."""
        self.ground.restore()

    @rule()
    def agree(self) -> None:
        """Confirm what the last run asked."""
        self.ground.agree()

    @rule(later=st.sampled_from((60.0, 700.0, 1260.0, 3600.0)))
    def run_later(self, later: float) -> None:
        """Run a while after the last time."""
        self._run(later)

    @rule()
    def run_hourly(self) -> None:
        """Run on schedule."""
        self._run()

    @rule()
    def run_at_once(self) -> None:
        """Run again at once, as a person does who does not trust it."""
        self._run(1.0)

    @rule(runs=st.integers(2, 4))
    def run_for_a_while(self, runs: int) -> None:
        """Let the schedule go on."""
        for _ in range(runs):
            self._run()

    @rule(where=course)
    def run_for_a_course(self, where: int) -> None:
        """Run for one course only."""
        self.loop.run(self.ground.run(courses=(self.ground.courses[where],)))


def prove(examples: int, *, derandomize: bool, shrink: bool = True, name: str = "machine") -> Figures:
    """Run so many examples and write down the figures as `name`; the smallest failing one is raised."""
    started = time.monotonic()
    run_examples(Machine, examples, derandomize=derandomize, shrink=shrink)
    seconds = round(time.monotonic() - started, 1)
    figures = Figures(name, TALLY["examples"], TALLY["faults"], seconds=seconds, notes={"runs": TALLY["runs"]})
    figures.write()
    return figures


def run_examples(machine: type[Machine], examples: int, *, derandomize: bool, shrink: bool) -> None:
    """Run so many examples; TALLY tells afterwards what they did."""
    TALLY.clear()
    stamina.set_testing(True, attempts=5)
    box = settings(
        max_examples=examples, stateful_step_count=STEPS, derandomize=derandomize, deadline=None, database=None,
        suppress_health_check=list(HealthCheck), print_blob=False,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
    )  # fmt: skip
    try:
        run_state_machine_as_test(machine, settings=box)
    finally:
        stamina.set_testing(False)
