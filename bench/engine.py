"""One run of the engine in a process of its own, and what it cost."""

from __future__ import annotations

import asyncio
import cProfile
import multiprocessing
import pstats
import resource
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flows.open import open_world
from flows.result import Result
from flows.settings import load_settings
from flows.sync import Options, sync

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Figures:
    """What one run cost: seconds, megabytes (resident, before it and at its highest), rows and requests."""

    state: str
    wall: float
    cpu: float
    before_mb: float
    peak_mb: float
    rows: int
    written: int
    moodle: int
    commcare: int

    @property
    def grown_mb(self) -> float:
        """Return by how much the run made the process grow."""
        return self.peak_mb - self.before_mb

    @property
    def rows_a_second(self) -> float:
        """Return cases compared per second of processor time."""
        return self.rows / self.cpu if self.cpu else 0.0


def measured(settings: Mapping[str, str], profile: int = 0) -> Figures:
    """Run once in a fresh process; `profile` prints so many of the most expensive functions."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_run, dict(settings), profile).result()


def _run(settings: dict[str, str], profile: int) -> Figures:
    return asyncio.run(_timed(settings, profile))


async def _timed(settings: dict[str, str], profile: int) -> Figures:
    world = open_world(load_settings(settings, None))
    profiles = [cProfile.Profile(), cProfile.Profile()] if profile else []
    try:
        forget_peak()
        before, cpu, wall = memory()[0], time.process_time(), time.perf_counter()
        if profiles:
            await world.books.do(profiles[1].enable)  # the books have a thread of their own
            profiles[0].enable()
        result = await sync(world, Options(yes=True))
        if profiles:
            profiles[0].disable()
            await world.books.do(profiles[1].disable)
            pstats.Stats(*profiles).sort_stats("tottime").print_stats(profile)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return _figures(result, wall, cpu, before, memory()[1])
    finally:
        await world.close()


def _figures(result: Result, wall: float, cpu: float, before: float, peak: float) -> Figures:
    counts = result.cases.values()
    written = sum(count.created + count.updated + count.marked_left for count in counts)
    return Figures(
        state=str(result.state),
        wall=wall,
        cpu=cpu,
        before_mb=before,
        peak_mb=peak,
        rows=written + sum(count.unchanged + count.held_back for count in counts),
        written=written,
        moodle=sum(result.requests["moodle"].values()),
        commcare=sum(result.requests["commcare"].values()),
    )


def memory() -> tuple[float, float]:
    """Return the megabytes of this process that are in memory, now and at their highest."""
    if STATUS.exists():
        lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
        now, highest = (int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        return now, highest
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    return highest, highest


def forget_peak() -> None:
    """Let the highest memory count from now on, where the system can do that."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
