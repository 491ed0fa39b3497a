"""The exhaustive explorer: every single fault, every pair, and random schedules of more, on the real engine.

A schedule is what goes wrong in each of three runs. Two schedules that lead to the same moment (same books, same
CommCare, same writes under way, same time) have the same future, so that each moment's future is explored once.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.proofs.faults import ANY, KINDS, Plan, Point
from tests.proofs.small_world import REST, Moment, Ran, SmallWorld
from tests.proofs.stories import PASSES, Story
from tests.proofs.wires import Breach

FEW = 5  # pairs of one job, when not all are run
PLACES = 60  # random faults strike within so many points of a run


@dataclass
class Tally:
    """What was covered: schedules all of whose faults struck, the runs it took, and what was found.

    `alike` are schedules that were not run, because one that was leads to the same moment.
    """

    schedules: int = 0
    alike: int = 0
    fired: int = 0
    runs: int = 0
    writes_unchanged: int = 0
    breaches: list[str] = field(default_factory=list)

    def kinds(self) -> Counter[str]:
        """Return the breaches by the invariant that found them."""
        return Counter(breach.rsplit("»", 1)[1].split(":")[0].strip() for breach in self.breaches)


@dataclass(frozen=True)
class Job:
    """A pass of which the beginning is known, and in which one more fault may strike."""

    moment: Moment
    number: int
    first: Plan
    seen: tuple[Point, ...]
    weight: int = 1
    """Schedules that lead to the moment."""
    before: str = ""
    """One of them, in words."""

    def told(self, plan: Plan) -> str:
        """Say a plan in words."""
        points = [(self.seen[place], fault) for place, fault in plan.items()]
        told = ", ".join(f"{fault} at {point.kind} {point.what}".strip() for point, fault in points)
        return f"{self.before}run {self.number}: {told}"

    def plans(self) -> Iterator[Plan]:
        """Yield the plan with each further fault."""
        for place in range(max(self.first, default=-1) + 1, len(self.seen)):
            for kind in KINDS[self.seen[place].kind]:
                yield {**self.first, place: kind}


class Explorer:
    """Explores one story; `tally` counts, and each breach is kept with the schedule that leads to it."""

    def __init__(self, story: Story, *, rest: float = REST) -> None:
        self.world = SmallWorld(story, rest=rest)
        self.tally = Tally()
        self._calm: set[tuple[int, bytes]] = set()
        self._steps: dict[tuple[int, bytes], Ran] = {}
        """Runs without a fault, by pass and moment."""

    def close(self) -> None:
        """Close the world."""
        self.world.close()

    # --- steps --------------------------------------------------------------------------------------------

    def undisturbed(self, moment: Moment, number: int) -> Ran:
        """Do a pass in which nothing goes wrong; the runs after the last pass find all at rest."""
        key = number, moment.key
        if key not in self._steps:
            do = self.world.run if number <= PASSES else self.world.run_later
            ran = do(moment, number)
            if number > PASSES:
                self._look_at_rest(ran, number - PASSES)
            self._steps[key] = ran  # now: what breaks here breaks for every schedule that comes here
        return self._steps[key]

    def _look_at_rest(self, ran: Ran, count: int) -> None:
        """One clean run puts right all that is there, a second one what is gone; the third one is silent."""
        watch = self.world.watch
        watch.compare(complete=count > 1)
        if count > 2:
            self.tally.writes_unchanged += sum(watch.rows.values())
            completed = ran.result is not None and ran.result.state == "completed"
            if watch.rows or not completed:
                raise Breach(f"I3: a run without changes writes {dict(watch.rows)}, or does not complete")

    def chain(self) -> list[Moment]:
        """Return the moments before each pass when nothing ever goes wrong, and the one after the last."""
        moments = [self.world.beginning()]
        for number in range(1, PASSES + 1):
            moments.append(self.undisturbed(moments[-1], number).moment)
        return moments

    def end_well(self, moment: Moment, number: int) -> None:
        """Do the passes that are left without a fault, then three more, and compare; raises Breach."""
        passed = []
        while number <= PASSES + 3 and (number, moment.key) not in self._calm:
            passed.append((number, moment.key))
            moment = self.undisturbed(moment, number).moment
            number += 1
        self._calm.update(passed)

    def attempt(self, job: Job, plan: Plan) -> Ran | None:
        """Run a pass with faults, and see that all ends well; None when it does not."""
        try:
            ran = self.world.run(job.moment, job.number, plan)
            assert len(plan) == len(ran.faults.fired), "every fault of a plan strikes"
            self.end_well(ran.moment, job.number + 1)
        except Breach as breach:
            self._note(job.told(plan), breach)
            return None
        self.tally.schedules += 1
        self.tally.alike += job.weight - 1
        self.tally.fired += len(plan)
        return ran

    def _note(self, schedule: str, breach: Breach) -> None:
        self.tally.breaches.append(f"{self.world.story.name}, {schedule} » {breach}")

    # --- schedules ----------------------------------------------------------------------------------------

    def first_jobs(self) -> list[Job]:
        """Return the three passes, each begun with nothing having gone wrong before."""
        moments = self.chain()
        self.end_well(moments[-1], PASSES + 1)
        return [
            Job(moments[number - 1], number, {}, self._points(moments[number - 1], number))
            for number in range(1, PASSES + 1)
        ]

    def _points(self, moment: Moment, number: int) -> tuple[Point, ...]:
        return tuple(self.undisturbed(moment, number).faults.seen)

    def singles(self) -> list[Job]:
        """Run each single fault, and return the passes in which a second one may strike."""
        same, later = list[Job](), Counter[tuple[int, bytes]]()
        moments: dict[bytes, tuple[Moment, str]] = {}
        for job in self.first_jobs():
            for plan in job.plans():
                ran = self.attempt(job, plan)
                if ran is None:
                    continue
                if len(ran.faults.seen) > max(plan) + 1:
                    same.append(Job(job.moment, job.number, plan, tuple(ran.faults.seen)))
                moments[ran.moment.key] = ran.moment, f"{job.told(plan)}; "
                later[job.number, ran.moment.key] += 1
        return same + list(self._later(later, moments))

    def _later(self, found: Counter[tuple[int, bytes]], moments: dict[bytes, tuple[Moment, str]]) -> Iterator[Job]:
        """Yield the passes after a first fault, each moment once."""
        for number in range(1, PASSES):
            after: Counter[bytes] = Counter()
            for (ended, key), count in list(found.items()):
                if ended == number:
                    after[key] += count
            for key, count in after.items():
                moment, way = moments[key]
                yield Job(moment, number + 1, {}, self._points(moment, number + 1), count, way)
                onward = self.undisturbed(moment, number + 1).moment
                moments.setdefault(onward.key, (onward, way))
                found[number + 1, onward.key] += count

    def after(self, job: Job) -> Job:
        """Return the pass that follows a job."""
        moment = self.world.run(job.moment, job.number, job.first).moment
        return Job(moment, job.number + 1, {}, self._points(moment, job.number + 1))

    def pairs(self, jobs: Iterable[Job], chance: random.Random | None = None) -> Iterator[None]:
        """Run pairs, one a step: all of them, or with `chance` a few of each job, in any order."""
        jobs = list(jobs)
        if chance is not None:
            chance.shuffle(jobs)
        for job in jobs:
            plans = list(job.plans())
            for plan in plans if chance is None else chance.sample(plans, min(FEW, len(plans))):
                self.attempt(job, plan)
                yield

    def random_schedules(self, seed: int) -> Iterator[None]:
        """Run schedules of three to eight faults drawn by chance, for ever; only those that struck count."""
        chance = random.Random(seed)
        known = set[tuple[object, ...]]()
        beginning = self.world.beginning()
        while True:
            fired: tuple[object, ...] = ()
            moment, number, count = beginning, 1, chance.randint(3, 8)
            drawn = [chance.randint(1, PASSES) for _ in range(count)]
            try:
                for number in range(1, PASSES + 1):
                    plan = dict.fromkeys((chance.randrange(PLACES) for _ in range(drawn.count(number))), ANY)
                    ran = self.world.run(moment, number, plan, chance.randrange(2**32))
                    moment = ran.moment
                    fired += (number, *ran.faults.struck)
                self.end_well(moment, PASSES + 1)
            except Breach as breach:
                self._note(f"{fired}, run {number}: {self.world.watch.faults.struck}", breach)
                fired = ()
            if len(fired) - PASSES >= 3 and fired not in known:
                known.add(fired)
                self.tally.schedules += 1
                self.tally.fired += len(fired) - PASSES
            yield
