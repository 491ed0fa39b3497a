"""When the next runs are, by the schedules in prefect.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml
from cronsim import CronSim, CronSimError

PREFECT_FILE = Path("prefect.yaml")


@dataclass(frozen=True)
class NextRun:
    """The next run of a deployment (`what`) by its schedule; `at` in epoch seconds."""

    what: str
    at: float


def next_runs(file: Path, now: float) -> list[NextRun]:
    """Return the next run of each deployment of a prefect.yaml with an active cron schedule, the soonest first.

    Nothing for a file that is not there or cannot be read: Prefect says then what is wrong with it.
    """
    try:
        read = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return []
    found = dict[str, float]()
    for name, schedule in _schedules(read):
        at = _next(schedule, now)
        if at is not None:
            found[name] = min(at, found.get(name, at))
    return sorted((NextRun(name, at) for name, at in found.items()), key=lambda one: (one.at, one.what))


def _schedules(read: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each active schedule with the name of its deployment, whatever else stands in the file."""
    deployments = read.get("deployments") if isinstance(read, dict) else None
    for one in deployments if isinstance(deployments, list) else ():
        schedules = one.get("schedules") if isinstance(one, dict) else None
        for schedule in schedules if isinstance(schedules, list) else ():
            if isinstance(schedule, dict) and schedule.get("active", True) is not False:
                yield str(one.get("name", "")), schedule


def _next(schedule: Mapping[str, Any], now: float) -> float | None:
    """Return when a cron schedule comes round next; None for one that is none."""
    try:
        zone = ZoneInfo(str(schedule.get("timezone") or "UTC"))
        times = CronSim(str(schedule.get("cron") or ""), datetime.fromtimestamp(now, UTC).astimezone(zone))
        return next(times).timestamp()
    except (CronSimError, StopIteration, ValueError, OSError, KeyError):  # an unknown time zone is a KeyError
        return None
