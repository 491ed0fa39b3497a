"""Where things stand, by the books alone: no request to either system, and nothing but ids, counts and times."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path

from flows.due_times import StreamRead, stream_reads
from flows.need import Need
from flows.needs import needs
from flows.open import has_books, open_project, open_store
from flows.reasons import problem_words, remedy
from flows.schedule import PREFECT_FILE, NextRun, next_runs
from flows.settings import Settings
from flows.steps.planned import SITE_SCOPE
from flows.steps.renamed import renamed, will_take_over
from flows.steps.select import SELECTED
from flows.undelivered import Undelivered, undelivered
from mappings.engine import MappingError, Project
from state import DoubtCount, ProblemCount, RowCount, RunRow, Store, TableCount
from state.backups import backups
from state.database import file_of
from state.lease import LEASE_TTL

RUNS = 30
AT_WORK, STOPPED = "at work", "stopped"
RUN_STATES = ("completed", "degraded", "waiting", "postponed", "failed", STOPPED, AT_WORK)
IN_COMMCARE = "in_commcare"
ROW_STATES = {
    IN_COMMCARE: "in CommCare",
    "again": "to be sent again",
    "unknown": "not known to be there",
    "ended": "course over",
    "withdrawn": "withdrawn",
    "withdrawing": "withdrawn, to be confirmed",
    "returning": "let in again, to be confirmed",
    "left": "left",
    "leaving": "left, to be confirmed",
    "rejoining": "back, to be confirmed",
    "closing": "closed, to be confirmed",
    "closed": "closed",
    "emptying": "closed, to be emptied",
    "clearing": "left, to be emptied",
    "replaced": "under old keys",
    "erasing": "being erased",
}
"""What is known of a row: code -> in words."""
SENT = ("created", "updated", "marked_left", "closed", "withdrawn", "ended")
NOT_SENT = ("held_back", "problems", "in_doubt")


@dataclass(frozen=True)
class CourseStatus:
    """How fresh a course is: its last complete read (epoch, 0.0: never), people in it, reads that failed since.

    Course 0 is the read of all people. `chosen`: project.yaml still chooses it and it is not over.
    """

    course: int
    complete_at: float
    people: int
    failures: int
    chosen: bool


@dataclass(frozen=True)
class ProblemStatus:
    """Records of a mapping with one problem, since when, and what a person can do."""

    mapping: str
    name: str
    """Of the property, "" for the whole record."""
    reason: str
    count: int
    first_at: float

    @property
    def sentence(self) -> str:
        """Return what is wrong."""
        return problem_words(self.reason, self.name)

    @property
    def remedy(self) -> str:
        """Return what a person can do."""
        return remedy(self.reason, self.name)


@dataclass(frozen=True)
class RunStatus:
    """One run: how long it took (None: at work), by case type what happened to records, requests by system."""

    id: str
    started_at: float
    seconds: float | None
    state: str
    cases: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    courses: int = 0
    failed_courses: int = 0
    messages: Sequence[str] = ()
    """What a person has to know or do; ids, counts and commands."""

    @property
    def sent(self) -> int:
        """Return how many records were written."""
        return sum(counts.get(name, 0) for counts in self.cases.values() for name in SENT if name != "closed")

    @property
    def not_sent(self) -> int:
        """Return how many records were held back, have a problem, or wait to be confirmed."""
        return sum(counts.get(name, 0) for counts in self.cases.values() for name in NOT_SENT)


@dataclass(frozen=True)
class TableStatus:
    """A lookup table: rows that CommCare is known to have, and times in epoch seconds (0.0: never, or none).

    `missing`: rows of courses that the last read lacked. `used`: a file of the mappings still makes it.
    """

    table: str
    rows: int
    missing: int = 0
    written_at: float = 0.0
    in_doubt_since: float = 0.0
    used: bool = True


@dataclass(frozen=True)
class Status:
    """Everything that the status shows; `now` and all times in epoch seconds, `zone` is for people's eyes."""

    now: float
    zone: tzinfo = UTC
    books: bool = False
    place: str = ""
    about: Sequence[str] = ()
    """Moodle's address, CommCare's address, the project space."""
    note: str = ""
    mappings_right: bool = True
    """Whether the mapping files can be loaded: without that no run can be made."""
    courses: Sequence[CourseStatus] = ()
    cases: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By case type: rows by state."""
    tables: Sequence[TableStatus] = ()
    in_doubt: Sequence[DoubtCount] = ()
    problems: Sequence[ProblemStatus] = ()
    needs: Sequence[Need] = ()
    undelivered: Undelivered | None = None
    """Nudges that did not arrive, as the last run on Prefect found."""
    runs: Sequence[RunStatus] = ()
    """The newest first."""
    reads: Sequence[StreamRead] = ()
    next_runs: Sequence[NextRun] = ()
    backups: tuple[int, float] | None = None
    """How many there are and when the newest was made; None where the server has its own."""
    at_work: tuple[str, float] | None = None
    """Who holds the lease, and until when."""

    @property
    def chosen(self) -> list[CourseStatus]:
        """Return the courses that are to be read, those longest ago first."""
        found = [one for one in self.courses if one.chosen and one.course != SITE_SCOPE]
        return sorted(found, key=lambda one: (one.complete_at, one.course))

    @property
    def people_read_at(self) -> float:
        """Return when all people were read completely, 0.0 for never."""
        return next((one.complete_at for one in self.courses if one.course == SITE_SCOPE), 0.0)

    @property
    def doubtful(self) -> int:
        """Return how many rows wait to be confirmed."""
        return sum(one.count for one in self.in_doubt)


def status_of(settings: Settings, now: float, prefect_file: Path = PREFECT_FILE) -> Status:
    """Read where things stand; without books only that there are none. Raises StateError for damaged books."""
    about = (settings.moodle_url, settings.commcare_url, settings.commcare_domain)
    upcoming = next_runs(prefect_file, now)
    there, project = has_books(settings), _project(settings)
    if not there:
        return Status(now, about=about, mappings_right=project is not None, next_runs=upcoming)
    with open_store(settings) as store:
        return read_status(
            store,
            project,
            now,
            about=about,
            mappings_right=project is not None,
            upcoming=upcoming,
            url=settings.state_url,
            lease_ttl=settings.lease_ttl_s,
        )


def read_status(
    store: Store,
    project: Project | None,
    now: float,
    *,
    about: Sequence[str] = (),
    mappings_right: bool = True,
    upcoming: Sequence[NextRun] = (),
    url: str = "sqlite://",
    lease_ttl: float = LEASE_TTL,
) -> Status:
    """Put the status together from open books; without a project case types go by the names of the mappings."""
    types = {mapping.name: mapping.case_type for mapping in project.mappings} if project else {}
    types |= {old: types[new] for new, old in renamed(store, project).items()} if project else {}
    at_work = store.lease_holder(now, lease_ttl)
    return Status(
        now,
        project.time_zone if project else UTC,
        books=True,
        place=store.place,
        about=about,
        mappings_right=mappings_right,
        note=" ".join(will_take_over(store, project) if project else ()),
        courses=_courses(store),
        cases=_cases(store.count_rows(), types),
        tables=_tables(store.count_tables(), project),
        in_doubt=store.count_in_doubt(),
        problems=_problems(store.count_problems()),
        needs=needs(store, [one.name for one in project.mappings] if project else None),
        undelivered=undelivered(store, now),
        runs=[_run(row, at_work) for row in store.last_runs(RUNS)],
        reads=stream_reads(store, project) if project else (),
        next_runs=upcoming,
        backups=_backups(url),
        at_work=at_work,
    )


def _project(settings: Settings) -> Project | None:
    """Load the mappings, None where they are not right: everything else can be told all the same."""
    with suppress(MappingError):
        return open_project(settings)
    return None


def _courses(store: Store) -> list[CourseStatus]:
    known, text = store.courses(), store.get(SELECTED)
    chosen = set(json.loads(text)) | {SITE_SCOPE} if text else known.keys()
    found = [
        CourseStatus(number, row.complete_at, row.people, row.failures, number in chosen)
        for number, row in known.items()
    ]
    return found + [
        CourseStatus(number, 0.0, 0, 0, True) for number in sorted(chosen - known.keys() - {SITE_SCOPE})
    ]


def _cases(rows: Iterable[RowCount], types: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Return the rows by case type and state, states in the order of `ROW_STATES`."""
    found = {case_type: Counter[str]() for case_type in types.values()}
    for row in rows:
        found.setdefault(types.get(row.mapping, row.mapping), Counter())[_row_state(row)] += row.count
    return {
        name: {state: counts[state] for state in ROW_STATES if counts[state]}
        for name, counts in found.items()
        if counts
    }


def _row_state(row: RowCount) -> str:
    if not row.there:
        return "unknown"
    if row.status != "active":
        return row.status
    return "again" if row.dirty else IN_COMMCARE


def _tables(rows: Iterable[TableCount], project: Project | None) -> list[TableStatus]:
    """Return the lookup tables of the books, then those of the mappings that were never written."""
    wanted = [table.case_type for table in project.tables] if project else None
    found = [
        TableStatus(
            row.tag,
            row.rows,
            row.missing,
            row.written_at,
            row.doubt_at or 0.0,
            used=wanted is None or row.tag in wanted,
        )
        for row in rows
    ]
    known = {one.table for one in found}
    return found + [TableStatus(tag, 0) for tag in wanted or () if tag not in known]


def _problems(rows: Iterable[ProblemCount]) -> list[ProblemStatus]:
    """Return the problems, the most frequent first."""
    found = [ProblemStatus(row.mapping, row.property, row.reason, row.count, row.first_at) for row in rows]
    return sorted(found, key=lambda one: (-one.count, one.mapping, one.name, one.reason))


def _run(row: RunRow, at_work: tuple[str, float] | None) -> RunStatus:
    """Return a run with what it counted; one that never finished and holds no lease was stopped."""
    counts = row.counts
    requests = {system: sum(kinds.values()) for system, kinds in counts.get("requests", {}).items()}
    courses = counts.get("courses", {})
    state = {"crashed": STOPPED, "running": STOPPED}.get(row.state, row.state)
    if row.state == "running" and at_work is not None and at_work[0] == row.id:
        state = AT_WORK
    return RunStatus(
        row.id,
        row.started_at,
        None if row.finished_at is None else max(0.0, row.finished_at - row.started_at),
        state,
        {} if counts.get("preview") else counts.get("cases", {}),  # the plan of a first run sends nothing
        requests,
        len(courses),
        sum(course.get("state") == "failed" for course in courses.values()),
        counts.get("messages", ()),
    )


def _backups(url: str) -> tuple[int, float] | None:
    file = file_of(url)
    if file is None:
        return None
    found = backups(file)
    return len(found), max((path.stat().st_mtime for path in found), default=0.0)
