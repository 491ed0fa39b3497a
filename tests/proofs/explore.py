"""The exhaustive explorer: every single fault, every pair, and random schedules of more, on the real engine.

A schedule is what goes wrong in each of three runs. Two schedules that lead to the same moment (same books, same
CommCare, same writes under way, same time) have the same future, so that each moment's future is explored once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.proofs.faults import Plan, kinds_at
from tests.proofs.small_world import Moment, Ran, SmallWorld
from tests.proofs.stories import PASSES, Story
from tests.proofs.wires import Breach

Schedule = tuple[Plan, ...]


@dataclass
class Tally:
    """What was covered: schedules in which all faults struck, the runs it took, and moments met again."""

    schedules: int = 0
    runs: int = 0
    moments: int = 0
    writes_unchanged: int = 0
    breaches: list[str] = field(default_factory=list)


class Explorer:
    """Explores one story; `tally` counts, and a breach is kept with the schedule that leads to it."""

    def __init__(self, story: Story, *, rest: float | None = None) -> None:
        self.world = SmallWorld(story) if rest is None else SmallWorld(story, rest=rest)
        self.tally = Tally()
        self._calm: set[tuple[int, bytes]] = set()
        self._steps: dict[tuple[int, bytes], Ran] = {}
        """Runs without a fault, by pass and moment."""

    def close(self) -> None:
        """Close the world."""
        self.tally.runs = self.world.runs
        self.tally.moments = len(self._calm)
        self.world.close()

    # --- steps --------------------------------------------------------------------------------------------

    def undisturbed(self, moment: Moment, number: int) -> Ran:
        """Do a pass in which nothing goes wrong."""
        key = number, moment.key
        if key not in self._steps:
            self._steps[key] = self.world.run(moment, number)
        return self._steps[key]

    def chain(self) -> list[Moment]:
        """Return the moments before each pass when nothing ever goes wrong, and the one after the last."""
        moments = [self.world.beginning()]
        for number in range(1, PASSES + 1):
            moments.append(self.undisturbed(moments[-1], number).moment)
        return moments

    def end_well(self, moment: Moment, number: int) -> None:
        """Do the passes that are left without a fault, then let all come to rest, and compare."""
        passed = []
        while number <= PASSES and (number, moment.key) not in self._calm:
            passed.append((number, moment.key))
            moment = self.undisturbed(moment, number).moment
            number += 1
        if (number, moment.key) not in self._calm:
            self._rest(moment)
            passed.append((number, moment.key))
        self._calm.update(passed)

    def _rest(self, moment: Moment) -> None:
        """One clean run puts everything right that is there, a second one what is gone; a third one is silent."""
        world = self.world
        after = world.run_later(moment, PASSES + 1)
        world.watch.compare(complete=False)
        after = world.run_later(after.moment, PASSES + 2)
        world.watch.compare(complete=True)
        after = world.run_later(after.moment, PASSES + 3)
        world.watch.compare(complete=True)
        self.tally.writes_unchanged += sum(world.watch.rows.values())
        if world.watch.rows or after.result is None or after.result.state != "completed":
            raise Breach(f"I3: a run without changes writes {dict(world.watch.rows)} or does not complete")

    # --- schedules ----------------------------------------------------------------------------------------

    def singles(self) -> Iterator[tuple[int, Plan, Moment]]:
        """Run each single fault; yields the pass, the fault, and the moment to which it leads."""
        moments = self.chain()
        self.end_well(moments[-1], PASSES + 1)
        for number in range(1, PASSES + 1):
            yield from self._each(moments[number - 1], number)

    def _each(self, moment: Moment, number: int, first: Plan | None = None) -> Iterator[tuple[int, Plan, Moment]]:
        """Run a pass with each fault that may strike after those of `first`."""
        first = first or {}
        seen = self._try(moment, number, first, ()) if first else self.undisturbed(moment, number)
        if seen is None:
            return
        for place in range(max(first, default=-1) + 1, len(seen.faults.seen)):
            for kind in kinds_at(seen.faults.seen[place]):
                plan = {**first, place: kind}
                ran = self._try(moment, number, plan, ())
                if ran is not None:
                    yield number, plan, ran.moment

    def _try(self, moment: Moment, number: int, plan: Plan, before: Schedule) -> Ran | None:
        """Run a pass with faults, and see that all ends well; None when it does not."""
        try:
            ran = self.world.run(moment, number, plan)
            assert len(ran.faults.fired) == len(plan), "every fault of a plan strikes"
            self.end_well(ran.moment, number + 1)
        except Breach as breach:
            self.tally.breaches.append(f"{self.world.story.name}, run {number}, {_told(plan, self.world)}: {breach}")
            return None
        self.tally.schedules += 1
        return ran


def _told(plan: Plan, world: SmallWorld) -> str:
    seen = world.watch.faults.seen
    return "; ".join(f"{kind} at {place} ({seen[place].kind} {seen[place].what})" for place, kind in plan.items() if place < len(seen))
