"""A status in sentences and table cells: the same words on a terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from flows.status import (
    AT_WORK,
    ROW_STATES,
    CourseStatus,
    ProblemStatus,
    RunStatus,
    Status,
    TableStatus,
)
from flows.words import DAY, HOUR, MINUTE, ago, duration, listed, numbered

SIGNS = {
    "completed": "✓",
    "degraded": "▲",
    "waiting": "?",
    "postponed": "–",
    "failed": "✗",
    "stopped": "✗",
    AT_WORK: "…",
}
"""A mark for each way a run ends, so that nothing is told by colour alone."""
NO_BOOKS = (
    "There are no books yet: no run was made here. Start with `moodle-commcare check`, then "
    "`moodle-commcare preview` and `moodle-commcare sync`."
)
AGES = ((2 * HOUR, "under 2 hours"), (6 * HOUR, "2 to 6 hours"), (DAY, "6 to 24 hours"), (3 * DAY, "1 to 3 days"))
OLDER, NEVER = "over 3 days", "never"
OLD = (AGES[-1][1], OLDER)
NO_PLURALS = {"engagement": ("what learners have done is", "it as it is")}
"""Streams whose name is no plural -> what is read of them, and how it is left."""


def moment(at: float, status: Status) -> str:
    """Return a time in the project's time zone: Sun 29 Nov 10:07."""
    return f"{datetime.fromtimestamp(at, status.zone):%a %d %b %H:%M}" if at else "never"


def short_moment(at: float, status: Status) -> str:
    """Return a time for a narrow column: 29 Nov 10:07."""
    return f"{datetime.fromtimestamp(at, status.zone):%d %b %H:%M}" if at else "never"


def ahead(at: float, status: Status) -> str:
    """Return when something is to come: in 48 minutes (Sun 29 Nov 11:07)."""
    left = at - status.now
    return f"in {duration(left)} ({moment(at, status)})" if left >= 1 else "now"


def headline(status: Status) -> str:
    """Return in a sentence how the last run ended and what it did."""
    if not status.books:
        return NO_BOOKS
    if not status.runs:
        return "No run has been made with these books yet."
    run = status.runs[0]
    when = ago(run.started_at, status.now)
    if run.state == AT_WORK:
        return f"A run is at work; it began {when}."
    return f"The last run was {run.state}, {when}: {run_words(run)}."


def last_messages(status: Status) -> list[str]:
    """Return what the last run said, without the questions that wait: they stand where they are answered."""
    asked = {need.message for need in status.needs}
    return [message for message in (status.runs[0].messages if status.runs else ()) if message not in asked]


def run_words(run: RunStatus) -> str:
    """Return what a run did: 3 records sent, 1 not sent, 2 courses not read, 42 s."""
    parts = [f"{numbered(run.sent, 'record')} sent" if run.sent else "nothing sent"]
    parts += [f"{run.not_sent:,} not sent"] if run.not_sent else []
    parts += [f"{numbered(run.failed_courses, 'course')} not read"] if run.failed_courses else []
    return ", ".join([*parts, took(run)])


def took(run: RunStatus) -> str:
    """Return how long a run took, short: 0.8 s, 42 s, 12 min, 2.5 h."""
    if run.seconds is None:
        return "at work" if run.state == AT_WORK else "never finished"
    for unit, mark in ((HOUR, "h"), (MINUTE, "min")):
        if run.seconds >= unit:
            return f"{run.seconds / unit:.1f}".removesuffix(".0") + f" {mark}"
    return f"{run.seconds:.1f} s" if run.seconds < 10 else f"{run.seconds:.0f} s"


def run_cells(run: RunStatus, status: Status) -> list[str]:
    """Return a run as a line of a table: when, how it ended, how long, sent, not sent, requests to both."""
    asked = (f"{run.requests.get(system, 0):,}" for system in ("moodle", "commcare"))
    ended = f"{SIGNS.get(run.state, '?')} {run.state}"
    return [short_moment(run.started_at, status), ended, took(run), _n(run.sent), _n(run.not_sent), *asked]


BROKEN_MAPPINGS = "The mappings are not right, so no run can be made: `moodle-commcare mappings check` says why."
RUN_HEADINGS = ("started", "ended", "took", "sent", "not sent", "to Moodle", "to CommCare")


def freshness(status: Status) -> str:
    """Return in a sentence how fresh the courses are."""
    courses = status.chosen
    if not courses:
        return "No course has been read yet."
    known = [one for one in courses if one.complete_at]
    never, failing = len(courses) - len(known), sum(bool(one.failures) for one in courses)
    parts = [numbered(len(courses), "course")]
    if known:
        parts.append(f"read longest ago: course {known[0].course}, {_read(known[0], status)}")
    parts += [f"{never:,} never read completely"] if never else []
    parts += [f"{failing:,} could not be read the last time"] if failing else []
    return "; ".join(parts) + "."


def course_cells(one: CourseStatus, status: Status) -> list[str]:
    """Return a course as a line of a table: id, people, last complete read, reads that failed since."""
    return [f"{one.course}", f"{one.people:,}", _read(one, status), _n(one.failures)]


COURSE_HEADINGS = ("course", "people", "last complete read", "failed since")


def by_age(status: Status) -> dict[str, int]:
    """Return how many courses were last read how long ago, all spans in order."""
    found = dict.fromkeys([*(words for _, words in AGES), OLDER, NEVER], 0)
    for one in status.chosen:
        age = status.now - one.complete_at
        found[NEVER if not one.complete_at else next((words for most, words in AGES if age < most), OLDER)] += 1
    return found


def case_table(cases: Mapping[str, Mapping[str, int]]) -> tuple[list[str], list[list[str]]]:
    """Return headings and lines of the rows by case type and state; states that no row has are left out."""
    used = [state for state in ROW_STATES if any(counts.get(state) for counts in cases.values())]
    lines = [[name, *(_n(counts.get(state, 0)) for state in used)] for name, counts in cases.items()]
    return ["case type", *(ROW_STATES[state] for state in used)], lines


def table_table(status: Status) -> tuple[list[str], list[list[str]]]:
    """Return headings and lines of the lookup tables: rows, those whose course is gone, when written last."""
    used = any(one.missing for one in status.tables)
    headings = ["lookup table", "rows", *(["missing"] if used else []), "last written"]
    lines = [
        [one.table, _n(one.rows), *([_n(one.missing)] if used else []), _written(one, status)]
        for one in status.tables
    ]
    return headings, lines


def table_lines(status: Status) -> Iterator[str]:
    """Yield what is to be known about lookup tables."""
    for one in status.tables:
        if one.in_doubt_since:
            yield (
                f"{one.table}: CommCare did not answer a write {ago(one.in_doubt_since, status.now)}; the table "
                "rests, and a later run looks what came of it."
            )
        if not one.used:
            yield f"{one.table}: no file of the mappings makes it any more; its rows stay in CommCare as they are."


def _written(one: TableStatus, status: Status) -> str:
    return ago(one.written_at, status.now) if one.written_at else "·"


def doubt_lines(status: Status) -> Iterator[str]:
    """Yield what waits to be confirmed, a mapping a line."""
    for one in status.in_doubt:
        rows = numbered(one.count, f"record of {one.mapping}", f"records of {one.mapping}")
        yield f"{rows}, the oldest first sent {ago(one.oldest_at, status.now)}"


def undelivered_words(status: Status) -> str:
    """Return which nudges did not arrive, "" when all did."""
    found = status.undelivered
    return found.sentence(moment(found.since, status)) if found else ""


def problem_words(one: ProblemStatus) -> str:
    """Return a problem in a sentence: 12 × student, phone: not a telephone number."""
    return f"{one.count:,} × {one.mapping}: {one.sentence}"


def next_lines(status: Status) -> Iterator[str]:
    """Yield when the next runs are, as far as that can be known here, and what they leave out."""
    for one in status.next_runs:
        yield f"{one.what}: {ahead(one.at, status)}, by the schedule in prefect.yaml"
    if status.next_runs:
        yield "these begin only while `moodle-commcare serve` or Prefect runs; what cron starts is not known here"
    else:
        yield "not known here: no schedule in a prefect.yaml of this folder; whatever starts the runs knows"
    for read in status.reads:
        if read.due_at > status.now:
            every = "hour" if read.hours == 1 else f"{read.hours:g} hours"
            when = f"read again {ahead(read.due_at, status)}, every {every}"
            what, rest = NO_PLURALS.get(read.stream, (f"{read.stream} are", "them as they are"))
            yield f"{read.mapping}: {what} {when}; until then runs leave {rest}"


def care_lines(status: Status) -> Iterator[str]:
    """Yield how the books are kept and who is at work on them."""
    if status.backups is None:
        yield "Backups: by the database server's own tools."
    elif status.backups[0]:
        yield f"Backups: {status.backups[0]}, the newest made {ago(status.backups[1], status.now)}."
    else:
        yield "Backups: none yet; each run makes one before it begins."
    if status.at_work:
        yield f"At work: {status.at_work[0]}; nobody else can begin until it ends, at the latest {_until(status)}."
    else:
        yield "At work: nobody."


def unread(status: Status) -> str:
    """Return which courses nobody reads any more, "" for none."""
    courses = [f"{one.course}" for one in status.courses if not one.chosen]
    return (
        f"Not read any more (over, hidden, not chosen, or not in Moodle): {listed(courses, 20)}."
        if courses
        else ""
    )


def _until(status: Status) -> str:
    return ahead(status.at_work[1], status) if status.at_work else ""


def _read(one: CourseStatus, status: Status) -> str:
    return ago(one.complete_at, status.now)


def _n(count: int) -> str:
    return f"{count:,}" if count else "·"
