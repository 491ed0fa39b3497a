"""`python -m tests.proofs.walks`: three thousand walks, part by part; each has its seed.

It may be stopped at any time: the next start goes on with the parts that are still to be done.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field

import pytest
import stamina

from tests.proofs.campaign import CORES, column_of
from tests.proofs.figures import Figures
from tests.proofs.kept import Kept
from tests.proofs.walk import FIRST_NARROW, plan_of, shortest, walk
from tests.quick_books import quicken

PART = 50  # walks of one part
PATIENCE = 120.0  # seconds in which a walk that goes wrong is made shorter


NOTES = {
    "processes": "processes", "hints": "hints", "new terms": "new terms", "edits of keys": "other keys agreed to",
    "erasures": "erasure completed", "admitted again": "admit", "restores": "restore", "keys rotated": "rotate",
    "lines of logs searched": "logged",
}  # fmt: skip
"""What is told of the walks: how it is called in the page, and in their tally."""


@dataclass
class Part:
    """What the walks of a part did together, and what went wrong by seed."""

    tally: Counter[str] = field(default_factory=Counter)
    wrong: dict[int, str] = field(default_factory=dict)
    cpu: float = 0.0

    def take(self, seed: int) -> None:
        """Do one more walk."""
        started = time.process_time()
        walked = walk(plan_of(seed))
        self.cpu += time.process_time() - started
        self.tally.update(walked.tally)
        if walked.wrong:
            self.wrong[seed] = walked.wrong


def walk_part(number: int) -> Part:
    """Do a part, every second one of narrow walks; for a process of its own."""
    _hurry()
    part = Part()
    first = number * PART + number % 2 * FIRST_NARROW
    for seed in range(first, first + PART):
        part.take(seed)
    return part


def _hurry() -> None:
    """Let this process wait for nothing, and open books quickly."""
    stamina.set_testing(True, attempts=5)
    quicken(pytest.MonkeyPatch())


def walk_on(parts: int, cores: int) -> Figures:
    """Do so many parts, those kept of an earlier time included; one with a wrong walk is told, and done anew."""
    kept, context = Kept("walks"), multiprocessing.get_context("spawn")
    found = {number: part for number in range(parts) if (part := kept.get(str(number), Part))}
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        waiting = {pool.submit(walk_part, number): number for number in range(parts) if number not in found}
        for done in as_completed(waiting):
            found[waiting[done]] = ended = done.result()
            if not ended.wrong:
                kept.put(str(waiting[done]), ended)
            _say(*(f"Walk {seed} goes wrong (--seed {seed}): {wrong}" for seed, wrong in ended.wrong.items()))
            _say(str(added_up(found.values(), "walks", f"{len(found)} of {parts}")))
    return added_up(found.values(), "walks", f"{len(found)} of {parts}")


def added_up(found: Iterable[Part], name: str, parts: str) -> Figures:
    """Write down what all parts did together, under a name."""
    every = [*found]
    total = sum((part.tally for part in every), Counter[str]())
    columns = Counter(column_of(wrong) for part in every for wrong in part.wrong.values())
    figures = Figures(name, total["walks"], total["faults"], **columns)
    figures.seconds = round(sum(part.cpu for part in every), 1)
    figures.notes = {told: total[name] for told, name in NOTES.items()} | {"parts": parts}
    figures.write()
    return figures


def tell(seed: int) -> int:
    """Do one walk, and when it goes wrong tell the shortest one that does; 1 then."""
    _hurry()
    plan = plan_of(seed)
    if not walk(plan).wrong:
        _say(f"Walk {seed} comes to a good end.")
        return 0
    plan = shortest(plan, PATIENCE)
    walked = walk(plan)
    _say(str(plan.ways), *walked.log, walked.wrong)
    return 1


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)  # noqa: T201


def main(given: Sequence[str] | None = None) -> int:
    """Do as many walks as the command asks for; 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--walks", type=int, default=3_000)
    parser.add_argument("--cores", type=int, default=CORES)
    parser.add_argument("--seed", type=int, help="only this walk, and the shortest one that goes wrong like it")
    asked = parser.parse_args(given)
    if asked.seed is not None:
        return tell(asked.seed)
    figures = walk_on(-(-asked.walks // PART), asked.cores)
    return int(any((figures.duplicates, figures.lost, figures.wrong)))


if __name__ == "__main__":
    sys.exit(main())
