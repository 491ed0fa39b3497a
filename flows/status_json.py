"""A status as the object of `status --json`: times in UTC, null for never."""

from __future__ import annotations

from typing import Any

from flows.problems import moment
from flows.status import CourseStatus, RunStatus, Status


def status_json(status: Status) -> dict[str, Any]:
    """Return everything that the status knows."""
    return {
        "at": moment(status.now),
        "books": status.place if status.books else None,
        "about": dict(zip(("moodle", "commcare", "project_space"), status.about, strict=False)),
        "note": status.note,
        "mappings_right": status.mappings_right,
        "needs": [
            {"kind": one.kind, "count": one.count, "sentence": one.sentence, "if_so": one.if_so}
            | {"command": one.command, "deployment": one.deployment, "form": one.form, "or_else": one.or_else}
            for one in status.needs
        ],
        "undelivered_nudges": _undelivered(status),
        "courses": [_course(one, status.now) for one in status.courses],
        "cases": {name: dict(counts) for name, counts in status.cases.items()},
        "lookup_tables": {
            one.table: {"rows": one.rows, "missing": one.missing, "written_at": _time(one.written_at)}
            | {"in_doubt_since": _time(one.in_doubt_since), "in_mappings": one.used}
            for one in status.tables
        },
        "in_doubt": {
            one.mapping: {"rows": one.count, "oldest_sent_at": moment(one.oldest_at)} for one in status.in_doubt
        },
        "problems": [
            {"mapping": one.mapping, "property": one.name, "reason": one.reason, "count": one.count}
            | {"sentence": one.sentence, "remedy": one.remedy, "first_at": moment(one.first_at)}
            for one in status.problems
        ],
        "runs": [_run(one) for one in status.runs],
        "reads": [
            {"mapping": one.mapping, "stream": one.stream, "read_at": _time(one.read_at), "every_hours": one.hours}
            | {"due_at": _time(one.due_at)}
            for one in status.reads
        ],
        "next_runs": {one.what: moment(one.at) for one in status.next_runs},
        "backups": _backups(status),
        "at_work": {"holder": status.at_work[0], "until": moment(status.at_work[1])} if status.at_work else None,
    }


def _undelivered(status: Status) -> dict[str, Any] | None:
    if status.undelivered is None:
        return None
    found = status.undelivered
    return {"since": moment(found.since), "nudges": dict(found.nudges), "places": [*found.places]}


def _course(one: CourseStatus, now: float) -> dict[str, Any]:
    age = round(max(0.0, now - one.complete_at)) if one.complete_at else None
    return {
        "course": one.course,
        "complete_at": _time(one.complete_at),
        "age_seconds": age,
        "people": one.people,
        "failures": one.failures,
        "chosen": one.chosen,
    }


def _run(one: RunStatus) -> dict[str, Any]:
    return {
        "run_id": one.id,
        "started_at": moment(one.started_at),
        "seconds": None if one.seconds is None else round(one.seconds, 2),
        "state": one.state,
        "sent": one.sent,
        "not_sent": one.not_sent,
        "cases": {name: {what: n for what, n in counts.items() if n} for name, counts in one.cases.items()},
        "requests": dict(one.requests),
        "courses": one.courses,
        "failed_courses": one.failed_courses,
        "messages": [*one.messages],
    }


def _backups(status: Status) -> dict[str, Any] | None:
    if status.backups is None:
        return None
    return {"count": status.backups[0], "newest_at": _time(status.backups[1])}


def _time(at: float) -> str | None:
    return moment(at) if at else None
