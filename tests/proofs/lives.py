"""`python -m tests.proofs.lives`: twenty thousand lives of the state machine, part by part; each has its seed.

It may be stopped at any time: the next start goes on with the parts that are still to be done.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed

from hypothesis import seed

from tests.proofs.campaign import CORES
from tests.proofs.figures import Figures
from tests.proofs.kept import Kept
from tests.proofs.machine import TALLY, Machine, run_examples

PART = 50  # lives of one part


def live(number: int, *, shrink: bool = False) -> Counter[str]:
    """Do a part; for a process of its own."""
    logging.disable(logging.CRITICAL)
    started = time.process_time()
    seeded = seed(number)(type("Seeded", (Machine,), {}))
    run_examples(seeded, PART, derandomize=False, shrink=shrink)
    TALLY["cpu"] = round(time.process_time() - started)
    return Counter(TALLY)


def live_on(parts: int, cores: int) -> Figures:
    """Do so many parts, those kept of an earlier time included; a part that fails is told and counts as wrong."""
    kept, context = Kept("machine"), multiprocessing.get_context("spawn")
    found = {number: done for number in range(parts) if (done := kept.get(str(number), Counter))}
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        waiting = {pool.submit(live, number): number for number in range(parts) if number not in found}
        for done in as_completed(waiting):
            number, error = waiting[done], done.exception()
            if error is None:
                kept.put(str(number), done.result())
            else:
                _say(f"Part {number} fails. The smallest life that does: --part {number}")
                _say(*traceback.format_exception(error))
            found[number] = Counter(wrong=1) if error else done.result()
            _say(str(_added_up(found.values(), f"{len(found)} of {parts}")))
    return _added_up(found.values(), f"{len(found)} of {parts}")


def _added_up(found: Iterable[Counter[str]], parts: str) -> Figures:
    """Write down what all parts did together."""
    total = sum(found, Counter[str]())
    figures = Figures("machine", total["examples"], total["faults"], wrong=total["wrong"])
    figures.seconds, figures.notes = float(total["cpu"]), {"runs": total["runs"], "parts": parts}
    figures.write()
    return figures


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)  # noqa: T201


def main() -> int:
    """Prove as much as the command asks for; 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--cores", type=int, default=CORES)
    parser.add_argument("--part", type=int, help="only this part, and the smallest life of it that fails")
    asked = parser.parse_args()
    if asked.part is not None:
        _say(str(live(asked.part, shrink=True)))
        return 0
    return int(bool(live_on(-(-asked.examples // PART), asked.cores).wrong))


if __name__ == "__main__":
    sys.exit(main())
