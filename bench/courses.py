"""Many courses: what a first load, a run without changes and a run with a few cost, and how memory grows.

Run as `python -m bench.courses`; the engine and the fakes have a process each, every measurement a fresh one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from bench.engine import Figures, measured
from bench.fakes import serving
from bench.site import Load

CHANGED_PERCENT = 2.0
FIRST, AGAIN, CHANGED = "first load", "no change", "2 % changed"


@dataclass(frozen=True)
class Line:
    """One line of the table: the best of the repeats."""

    courses: int
    run: str
    figures: Figures


def story(load: Load, *, slow: bool = False, profile: int = 0) -> dict[str, Figures]:
    """Measure the three runs one after the other on one site."""
    with serving(load, slow=slow) as fakes:
        found = {run: measured(fakes.settings, profile) for run in (FIRST, AGAIN)}
        fakes.change(CHANGED_PERCENT)
        found[CHANGED] = measured(fakes.settings, profile)
    return found


def measure(options: argparse.Namespace) -> Iterator[Line]:
    """Measure each size, several times over, and keep what took the least processor time."""
    for courses in options.courses:
        load = Load(courses, options.people, options.grades, options.shared)
        print(f"{courses} courses ...", file=sys.stderr)
        stories = [story(load, slow=options.slow, profile=options.profile) for _ in range(options.repeat)]
        for run in stories[0]:
            yield Line(courses, run, min((found[run] for found in stories), key=lambda figures: figures.cpu))


def table(lines: list[Line], options: argparse.Namespace) -> Table:
    """Draw the figures."""
    people = f"the same {options.shared} people in turns" if options.shared else "people of their own"
    found = Table(
        title=f"Courses of {options.people} people and {options.grades} grades, {people}", title_justify="left"
    )
    for name in ("courses", "run", "state", "wall s", "CPU s", "peak MB", "of it the run", "Moodle", "CommCare"):
        found.add_column(name, justify="left" if name in ("run", "state") else "right")
    for name in ("cases", "written", "cases per CPU s"):
        found.add_column(name, justify="right")
    for line in lines:
        figures = line.figures
        found.add_row(
            *(str(line.courses), line.run, figures.state, f"{figures.wall:.1f}", f"{figures.cpu:.1f}"),
            *(f"{figures.peak_mb:.0f}", f"{figures.grown_mb:.0f}", str(figures.moodle), str(figures.commcare)),
            *(str(figures.rows), str(figures.written), f"{figures.rows_a_second:,.0f}"),
        )
    return found


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.courses", description=__doc__)
    add = parser.add_argument
    add("--courses", type=int, nargs="+", default=[10, 100, 400], help="sizes to measure (10 100 400)")
    add("--people", type=int, default=200, help="people in each course (200)")
    add("--grades", type=int, default=10, help="grades of each person in each course (10)")
    add("--shared", type=int, default=0, help="so many people in all, in all courses by turns; 0: all apart")
    add("--repeat", type=int, default=1, help="measure so many times and keep the best")
    add("--slow", action="store_true", help="let Moodle take its time, as a small PHP site does")
    add("--profile", type=int, default=0, help="print so many of the most expensive functions of each run")
    add("--json", action="store_true", help="print one JSON object instead of the table")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    """Measure and print."""
    options = arguments(given)
    lines = list(measure(options))
    if options.json:
        runs = [{"courses": line.courses, "run": line.run, **asdict(line.figures)} for line in lines]
        print(json.dumps({"people": options.people, "grades": options.grades, "runs": runs}))
        return
    Console(width=160).print(table(lines, options))


if __name__ == "__main__":
    main()
