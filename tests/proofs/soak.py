"""`python -m tests.proofs.soak`: the explorer without a limit of time: all pairs, and 20,000 random schedules.

It may be stopped at any time: the next start goes on with the parts that are still to be done.
"""

from __future__ import annotations

import argparse
import sys

from tests.proofs.campaign import CORES, SHARES, Found, Part, Tally, all_parts, explored, figures
from tests.proofs.kept import Kept


def main() -> int:
    """Explore, write the figures down, and say how it went; 1 when an invariant broke."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--schedules", type=int, default=20_000, help="random schedules (default: 20000)")
    arguments.add_argument("--cores", type=int, default=CORES, help="processes at a time (default: 2)")
    arguments.add_argument("--shares", type=int, default=SHARES, help=f"shares of the pairs (all: {SHARES})")
    chosen = arguments.parse_args()
    parts = all_parts(chosen.schedules, chosen.shares)
    found: list[tuple[Part, Found]] = []
    for part, result in explored(parts, chosen.cores, Kept("faults")):
        found.append((part, result))
        tallies = (result.singles, result.pairs, result.more)
        schedules = sum(tally.schedules + tally.alike for tally in tallies)
        breaches = [breach for tally in tallies for breach in tally.breaches]
        write(found, f"{len(found)} of {len(parts)}")
        say(f"{len(found)}/{len(parts)} {part.kind} of story {part.story}: {schedules} schedules", *breaches[:20])
    return int(any(tally.breaches for _, one in found for tally in (one.singles, one.pairs, one.more)))


def write(found: list[tuple[Part, Found]], parts: str) -> None:
    """Write the figures of singles, pairs and random schedules so far; each single counts once, whoever ran it.

    The time is that of the processor, all cores together.
    """
    once = {part.story: result for part, result in reversed(found) if part.kind != "random"}
    pairs = [(part, result) for part, result in found if part.kind != "random"]
    stories = {part.story: result.possible for part, result in pairs if part.kind == "pairs"}
    more = [result for part, result in found if part.kind == "random"]
    runs = sum(result.runs for _, result in pairs)
    figures("faults-single", (one.singles for one in once.values()), 0.0).write()
    possible = sum(stories.values())
    time_of_pairs = sum(result.cpu for _, result in pairs)
    figures(
        "faults-pairs", (one.pairs for _, one in pairs), time_of_pairs, possible=possible, runs=runs, parts=parts
    ).write()
    figures(
        "faults-random",
        (one.more for one in more) if more else (Tally(),),
        sum(one.cpu for one in more),
        runs=sum(one.runs for one in more),
        parts=parts,
    ).write()


def say(*lines: str) -> None:
    """Write lines to standard error at once."""
    for line in lines:
        sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
