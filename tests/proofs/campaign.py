"""Exploring on both cores: parts of the work for processes of their own, and the figures they add up to."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import islice

import stamina

from tests.proofs.explore import Explorer, Tally
from tests.proofs.figures import Figures
from tests.proofs.kept import Kept
from tests.proofs.stories import STORIES

CORES = 2
SHARES = 6  # parts of the pairs of a story
SCHEDULES = 250  # random schedules of one part
SAID = {"two cases of": "duplicates", "a row stands twice": "duplicates", "somebody has no case": "lost"}
"""What lives and walks say when they fail, and the column of the table that it counts in."""


@dataclass(frozen=True)
class Part:
    """Work for one process: a story, and which of its schedules; with singles, how many pairs."""

    story: int
    kind: str
    """singles, pairs (and the singles before them) or random"""
    number: int = 0
    pairs: int = 0

    @property
    def name(self) -> str:
        """Return a name for a file."""
        return f"{self.kind}-{self.story}-{self.number}"


@dataclass
class Found:
    """What a part found: singles, pairs and random schedules apart."""

    singles: Tally = field(default_factory=Tally)
    pairs: Tally = field(default_factory=Tally)
    more: Tally = field(default_factory=Tally)
    possible: int = 0
    """Pairs that there are."""
    runs: int = 0
    cpu: float = 0.0


def explore(part: Part) -> Found:
    """Do a part; for a process of its own."""
    stamina.set_testing(True, attempts=5)  # as often as in real life, without waiting
    explorer, found = Explorer(STORIES[part.story]), Found()
    started = time.process_time()
    if part.kind == "random":
        found.more = _random(explorer, part)
    else:
        jobs = explorer.singles()
        found.singles, explorer.tally = explorer.tally, Tally()
        found.possible = sum(job.weight * len(list(job.plans())) for job in jobs)
        if part.kind == "pairs":
            deque(explorer.pairs(jobs[part.number :: SHARES]), maxlen=0)
        else:
            deque(islice(explorer.pairs(jobs, random.Random(part.number)), part.pairs), maxlen=0)
        found.pairs = explorer.tally
    found.runs, found.cpu = explorer.world.runs, time.process_time() - started
    explorer.close()
    return found


def _random(explorer: Explorer, part: Part) -> Tally:
    for _ in explorer.random_schedules(1000 * part.story + part.number):
        if explorer.tally.schedules >= SCHEDULES:
            break
    return explorer.tally


def explored(parts: Sequence[Part], cores: int = CORES, kept: Kept | None = None) -> Iterator[tuple[Part, Found]]:
    """Do parts on so many cores; yields each when it is done, first those that were kept of an earlier time."""
    done_before = {part: found for part in parts if kept and (found := kept.get(part.name, Found))}
    yield from done_before.items()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        waiting = {pool.submit(explore, part): part for part in parts if part not in done_before}
        for done in as_completed(waiting):
            if kept:
                kept.put(waiting[done].name, done.result())
            yield waiting[done], done.result()


def column_of(told: str) -> str:
    """Return the column of the table in which a failure counts, by what it says: duplicates, lost or wrong."""
    return next((column for words, column in SAID.items() if words in told), "wrong")


def boxed_parts(pairs: int) -> list[Part]:
    """Return what the tests do: all single faults of all stories but one, and so many pairs, half of the first.

    The story that begins with a fault is left to the soak, but for the mutant that shows what it is for.
    """
    shares = (pairs // 2, pairs // 4, pairs // 4)
    return [Part(story, "singles", 1, share) for story, share in enumerate(shares)]


def all_parts(schedules: int, shares: int = SHARES) -> list[Part]:
    """Return everything: all pairs (or so many of their shares), and so many random schedules."""
    stories = range(len(STORIES))
    rounds = -(-schedules // (SCHEDULES * len(STORIES)))
    calm = [story for story in stories if not STORIES[story].doubtful]  # the others begin with a fault already
    return [
        *(Part(story, "singles") for story in stories if story not in calm),
        *(Part(story, "pairs", share) for share in range(shares) for story in calm),
        *(Part(story, "random", share) for share in range(rounds) for story in stories),
    ]


def figures(name: str, tallies: Iterable[Tally], seconds: float, **notes: int | str) -> Figures:
    """Add tallies up."""
    found, kinds = Figures(name, seconds=round(seconds, 1), notes=dict(notes)), Counter[str]()
    for tally in tallies:
        found.tried += tally.schedules + tally.alike + len(tally.breaches)
        found.fired += tally.fired
        found.writes_on_unchanged += tally.writes_unchanged
        kinds += tally.kinds()
    found.duplicates, found.lost = kinds.pop("I1", 0), kinds.pop("I4", 0)
    found.wrong = sum(kinds.values())
    return found
