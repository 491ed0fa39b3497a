"""What a run is called in the end: completed, degraded, failed. A schedule that is always red is not looked at."""

from __future__ import annotations

from flows.result import Result, RunState
from flows.steps.owners import STAYS
from flows.words import courses_named, numbered
from mappings.engine import Guards

LIST = "`moodle-commcare problems list` says which and what to do."


def judge(result: Result, guards: Guards) -> None:
    """Call the run degraded when a course failed or records could not be sent, failed when CommCare refused many.

    Many are more than `problems_failed` and more than `problems_failed_percent` of the run's records, the refused
    ones among them.
    """
    failed = [number for number, course in result.courses.items() if course.state == "failed"]
    if failed:
        reasons = {course.reason for course in result.courses.values() if course.state == "failed"}
        result.worse(
            RunState.DEGRADED,
            f"Not read: {courses_named(failed)}. {' '.join(sorted(reasons))}",
        )
    records = result.refused_rows + sum(_not_refused(counts) for counts in map(vars, result.cases.values()))
    most = max(guards.problems_failed, records * guards.problems_failed_percent / 100)
    stay = result.reasons[STAYS]
    some = result.refused_rows + result.worrying + stay > guards.problems_degraded
    calm = RunState.DEGRADED if some else RunState.COMPLETED
    where = "" if result.preview else f" {LIST}"  # a preview writes no list
    if result.refused_rows:
        state = RunState.FAILED if result.refused_rows > most else calm
        result.worse(
            state, f"CommCare refused {numbered(result.refused_rows, 'row')}; the others were sent.{where}"
        )
    if result.undecided:
        people = "1 person waits" if result.undecided == 1 else f"{result.undecided:,} people wait"
        result.worse(
            RunState.WAITING,
            f"{people} until somebody says whether a case in CommCare is theirs: `moodle-commcare match list`, or "
            "in Prefect `match-review`.",
        )
    if result.worrying:
        result.worse(calm, f"{numbered(result.worrying, 'record')} {_were(result.worrying)} held back.{where}")
    if stay:
        result.worse(
            calm,
            f"{numbered(stay, 'case keeps its owner', 'cases keep their owner')}, since nobody who could own "
            f"{'it' if stay == 1 else 'them'} by the mapping was found; all else was sent.{where}",
        )


def _not_refused(counts: dict[str, int]) -> int:
    """Return how many records of a case type a run looked at, without those that CommCare refused.

    These are among the problems, together with problems of values, whose records are counted elsewhere.
    """
    return sum(count for name, count in counts.items() if name not in ("problems", "closed"))


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
