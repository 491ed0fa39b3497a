"""`python -m tests.proofs.lives`: twenty thousand lives of the state machine, part by part; each has its seed.

It may be stopped at any time: the next start goes on with the parts that are still to be done.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed

from hypothesis import seed

from tests.proofs.campaign import CORES, column_of
from tests.proofs.figures import Figures
from tests.proofs.kept import Kept
from tests.proofs.machine import TALLY, Machine, run_examples

PART = 50  # lives of one part


def live(number: int, *, shrink: bool = False) -> Counter[str]:
    """Do a part; for a process of its own."""
    started = time.process_time()
    seeded = seed(number)(type("Seeded", (Machine,), {}))
    run_examples(seeded, PART, derandomize=False, shrink=shrink)
    TALLY["cpu"] = round(time.process_time() - started)
    return Counter(TALLY)


def live_on(parts: int, cores: int) -> Figures:
    """Do so many parts, those kept of an earlier time included; one that fails is told and counts once."""
    kept, context = Kept("machine"), multiprocessing.get_context("spawn")
    found = {number: done for number in range(parts) if (done := kept.get(str(number), Counter))}
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        waiting = {pool.submit(live, number): number for number in range(parts) if number not in found}
        for done in as_completed(waiting):
            number, error = waiting[done], done.exception()
            if error is None:
                found[number] = done.result()
                kept.put(str(number), found[number])
            else:
                told = "".join(traceback.format_exception(error))
                found[number] = Counter({column_of(told): 1})
                _say(f"Part {number} fails. The smallest life that does: --part {number}", told)
            _say(str(_added_up(found.values(), f"{len(found)} of {parts}")))
    return _added_up(found.values(), f"{len(found)} of {parts}")


def _added_up(found: Iterable[Counter[str]], parts: str) -> Figures:
    """Write down what all parts did together."""
    total = sum(found, Counter[str]())
    columns = {name: total[name] for name in ("duplicates", "lost", "wrong")}
    figures = Figures("machine", total["examples"], total["faults"], **columns, seconds=float(total["cpu"]))
    figures.notes = {"runs": total["runs"], "lines of logs searched": total["logged"], "parts": parts}
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
    figures = live_on(-(-asked.examples // PART), asked.cores)
    return int(any((figures.duplicates, figures.lost, figures.wrong)))


if __name__ == "__main__":
    sys.exit(main())
