"""How far a run is: a bar per stage on a terminal, a few plain lines elsewhere; always on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from flows.world import Progress as Tell

STAGES = {
    "people": "Reading who is in the courses",
    "profiles": "Reading profiles",
    "courses": "Reading courses",
    "engagement": "Reading what people did",
    "cases": "Sending cases",
    "files": "Fetching files",
    "feedback": "Publishing feedback",
    "audit": "Listing CommCare's cases",
    "match": "Comparing CommCare's cases",
}
PARTS = 5  # lines a stage, where there is no terminal


@contextmanager
def shown_progress() -> Iterator[Tell]:
    """Yield what a run tells its progress to."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bars(bars)


class _Bars:
    """Moves the bars of rich."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(STAGES.get(stage, stage), total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)


class _Lines:
    """Prints a line for each fifth of a stage."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        part = PARTS * done // total if total > 2 * PARTS else PARTS * (done >= total)
        if part > self._told.get(stage, 0):
            self._told[stage] = part
            print(f"{STAGES.get(stage, stage)}: {done} of {total}", file=sys.stderr, flush=True)  # noqa: T201
