"""The status as metrics for Prometheus, in its text format: counts, and times of which it makes ages itself.

A time stays true however old the file is; an age would not. Labels are ids and codes, few of each: of courses only
some get lines of their own, those that were read longest ago, and the others are in the counts and the oldest.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flows.page import write_alone
from flows.status import RUN_STATES, Status

COURSES = 100
PREFIX = "moodle_commcare"


class _Told(Collector):
    """A status told once."""

    def __init__(self, status: Status, courses: int) -> None:
        self._status = status
        self._most = courses

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics; without books only that there are none, and whether a run can be made."""
        status = self._status
        yield _one("books", "Whether there are books: 1, or 0 before the first run.", float(status.books))
        yield _one("status_timestamp_seconds", "When the status was read.", status.now)
        right = "Whether the mapping files are right: 1, or 0 when no run can be made."
        yield _one("mappings_right", right, float(status.mappings_right))
        if not status.books:
            return
        yield from self._courses()
        yield from self._records()
        yield from self._runs()
        yield from self._care()

    def _courses(self) -> Iterable[Metric]:
        status, chosen = self._status, self._status.chosen
        yield _one("courses", "Courses that project.yaml chooses.", len(chosen))
        failing = sum(bool(one.failures) for one in chosen)
        yield _one("courses_failing", "Courses of which the last read failed.", failing)
        never = sum(not one.complete_at for one in chosen)
        yield _one("courses_never_read", "Courses that were never read completely.", never)
        read = [one.complete_at for one in chosen if one.complete_at]
        oldest = "Last complete read of the course that was read longest ago; 0 when none was read."
        yield _one("courses_oldest_read_timestamp_seconds", oldest, min(read, default=0.0))
        yield _one(
            "people_read_timestamp_seconds",
            "Last complete read of all people; 0 for never.",
            status.people_read_at,
        )
        at = _family("course_read_timestamp_seconds", "Last complete read of a course; 0 for never.", "course")
        failures = _family(
            "course_failures", "Reads of a course that failed since the last complete one.", "course"
        )
        for one in chosen[: self._most]:
            at.add_metric([f"{one.course}"], one.complete_at)
            failures.add_metric([f"{one.course}"], one.failures)
        yield from (at, failures)

    def _records(self) -> Iterable[Metric]:
        status = self._status
        cases = _family("cases", "Rows of the books by case type and what is known of them.", "case_type", "state")
        for case_type, counts in status.cases.items():
            for state, count in counts.items():
                cases.add_metric([case_type, state], count)
        doubt = _family("in_doubt", "Records that were sent and wait to be confirmed.", "mapping")
        since = _family("in_doubt_oldest_timestamp_seconds", "When the oldest of them was first sent.", "mapping")
        for one in status.in_doubt:
            doubt.add_metric([one.mapping], one.count)
            since.add_metric([one.mapping], one.oldest_at)
        yield from (cases, doubt, since)
        yield from self._tables()
        problems = _family("problems", "Records that could not be sent as they are.", "mapping", "reason")
        found = dict[tuple[str, str], int]()
        for each in status.problems:
            found[each.mapping, each.reason] = found.get((each.mapping, each.reason), 0) + each.count
        for place, count in sorted(found.items()):
            problems.add_metric([*place], count)
        yield problems
        needs = _family("needs_person", "Questions that wait for a person.", "kind")
        kinds = [one.kind for one in status.needs]
        for kind in sorted(set(kinds)):
            needs.add_metric([kind], kinds.count(kind))
        yield needs
        about = _family("needs_person_about", "How many people or cases these questions are about.", "kind")
        for kind in sorted(set(kinds)):
            about.add_metric([kind], sum(one.count for one in status.needs if one.kind == kind))
        yield about
        undelivered = status.undelivered.count if status.undelivered else 0
        yield _one("undelivered_nudges", "Nudges that did not arrive, as the last run found.", undelivered)

    def _tables(self) -> Iterable[Metric]:
        rows = _family("lookup_rows", "Rows of lookup tables that CommCare is known to have.", "table")
        written = _family(
            "lookup_written_timestamp_seconds", "When rows of it were written last; 0 when not known.", "table"
        )
        doubt = _family(
            "lookup_in_doubt_timestamp_seconds", "When a write began that has no answer; 0 for none.", "table"
        )
        for one in self._status.tables:
            rows.add_metric([one.table], one.rows)
            written.add_metric([one.table], one.written_at)
            doubt.add_metric([one.table], one.in_doubt_since)
        return (rows, written, doubt)

    def _runs(self) -> Iterable[Metric]:
        """Yield how the last run ended, what it did, and when the last completed one was: alerts wait for that."""
        status = self._status
        last = status.runs[0] if status.runs else None
        states = _family("last_run_state", "1 for how the last run ended, or that it is at work; 0 else.", "state")
        for state in RUN_STATES:
            states.add_metric([state.replace(" ", "_")], float(last is not None and last.state == state))
        yield states
        good = next((one.started_at for one in status.runs if one.state == "completed"), 0.0)
        yield _one(
            "last_run_timestamp_seconds", "When the last run began; 0 for never.", last.started_at if last else 0
        )
        told = f"When the last completed run of the last {len(status.runs)} began; 0 when none was."
        yield _one("last_completed_run_timestamp_seconds", told, good)
        if last is None:
            return
        yield _one("last_run_duration_seconds", "How long the last run took; 0 at work.", last.seconds or 0.0)
        records = _family(
            "last_run_records", "Records of the last run by what happened to them.", "case_type", "what"
        )
        for case_type, counts in last.cases.items():
            for what, count in counts.items():
                records.add_metric([case_type, what], count)
        asked = _family("last_run_requests", "Requests of the last run.", "system")
        for system, count in last.requests.items():
            asked.add_metric([system], count)
        yield from (records, asked)

    def _care(self) -> Iterable[Metric]:
        status = self._status
        yield _one(
            "lease_held", "Whether a run, an audit or care of the books is at work.", float(bool(status.at_work))
        )
        if status.backups is not None:
            yield _one("backups", "Copies of the books beside them.", status.backups[0])
            told = "When the newest copy of the books was made; 0 when there is none."
            yield _one("backup_newest_timestamp_seconds", told, status.backups[1])


def metrics_text(status: Status, courses: int = COURSES) -> str:
    """Return a status in Prometheus's text format; at most so many courses have lines of their own."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told(status, courses))
    return generate_latest(registry).decode()


def write_metrics(file: Path, text: str) -> None:
    """Write metrics for node_exporter's textfile collector: at once, and for it to read (0644); raises OSError."""
    write_alone(file, text, 0o644)


def _one(name: str, told: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", told, value=value)


def _family(name: str, told: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", told, labels=labels)
