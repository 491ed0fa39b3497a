"""Care of the books: a copy before each run, what is too old is forgotten, and how they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import and_, bindparam, delete, exists, func, or_, select, update

from state.backups import backups, new_name, prune, upgrade_copies
from state.facts import Facts, have_read
from state.folders import is_open
from state.history import forget_before, is_due
from state.lease import forget_round
from state.outcomes import UNSURE, becomes
from state.runs import find_wide, sum_up
from state.schema import revision
from state.tables import (
    case_row,
    change,
    course,
    erased,
    feedback,
    inbox,
    intent,
    lacking,
    lease,
    lookup_row,
    lookup_table,
    match_row,
    meta,
    occasion,
    problem,
    refusal,
    run,
)

DOUBTED = {"status": becomes(UNSURE), "digests": None, "missing_count": 0, "missing_run": ""}
"""What a row is whose case somebody else may have written to."""
DAY = 86_400.0
PROBLEMS_KEPT = 30 * DAY
RUNS_KEPT = 90 * DAY
LOG_KEPT = 90 * DAY
WHOLE_RUNS = 100
"""So many of the newest runs keep what each course counted: 55 kB a run where a thousand courses are read."""
HINTS_KEPT = 7 * DAY
DRAIN = "drain-"
"""Runs whose id begins so were asked for by hints: maybe one a minute, and kept as long as hints."""
_FOR_HINTS = and_(
    run.c.id.startswith(DRAIN),
    run.c.started_at < bindparam("hints_since"),
    ~exists(select(occasion.c.id).where(occasion.c.run == run.c.id)),
)
OLD = {
    problem: problem.c.last_at < bindparam("problems_since"),
    refusal: refusal.c.last_at < bindparam("problems_since"),
    inbox: inbox.c.done_at < bindparam("hints_since"),
    run: and_(
        or_(run.c.started_at < bindparam("runs_since"), _FOR_HINTS),
        run.c.started_at < select(func.max(run.c.started_at)).scalar_subquery(),
    ),
}
"""What is old in a table, as `forget_old` says."""
HAS_OLD = select(or_(*(exists().where(old) for old in OLD.values())))
RESTORED_AT = "@restored_at"
"""Fact: when the books were put back from a backup (epoch): what they do not know of may be under way still."""
BEGUN_AT = "@begun_at"
"""Fact: when the books were made (epoch), for others that were lost maybe."""
NEW_BOOKS = "new_books"
"""Fact: AFTER_OTHERS or FIRST until the first run that writes, "" from then on."""
AFTER_OTHERS, FIRST = "after others", "first"


@dataclass(frozen=True)
class Condition:
    """How the books are: `cases` by mapping, `counts` by what is counted, `facts` what they are about.

    `shown_folder` is the folder of the books where others may look into it.
    """

    place: str
    schema: str
    damage: tuple[str, ...]
    cases: dict[str, int]
    counts: dict[str, int]
    facts: dict[str, str]
    backups: tuple[Path, ...]
    upgrade_copies: tuple[Path, ...]
    on_server: bool = False
    shown_folder: Path | None = None


class Care(Facts):
    """What keeps the books."""

    def back_up(self, now: float) -> Path | None:
        """Copy the books to a new file beside them and keep the newest 7; None where there is no file.

        A copy of the file alone would miss what SQLite has not moved into it yet; this is one moment of the books.
        """
        file = self._database.file
        if file is None:
            return None
        made = new_name(file, now)
        self._database.copy_to(made)
        prune(file)
        return made

    def forget_old(self, now: float, log_kept: float = LOG_KEPT) -> None:
        """Delete problems and refusals that no run met for 30 days, and runs that began over 90 days ago.

        The log goes back `log_kept` seconds and up to a day more, so that it is cut once a day; as far as it goes
        back, the runs are kept too. Hints that are done go after 7 days, and with them the runs that hints asked
        for and that the log does not know. Of runs before the newest 100 the courses are summed up.
        """
        since = {"problems_since": now - PROBLEMS_KEPT, "hints_since": now - HINTS_KEPT}
        since["runs_since"] = now - max(RUNS_KEPT, log_kept + DAY)
        with self._database.reading() as connection:
            is_old = connection.scalar(HAS_OLD, since)
            is_long = is_due(connection, now - log_kept - DAY, now)
            wide = find_wide(connection, WHOLE_RUNS)
        if is_old or is_long or wide:  # most runs find nothing, and write nothing
            with self._database.writing() as connection:
                for table, old in OLD.items():
                    connection.execute(delete(table).where(old), since)
                if is_long:
                    forget_before(connection, now - log_kept, now)
                sum_up(connection, wide)

    def condition(self) -> Condition:
        """Look the books over: damage, counts, what they are about, who may read them."""
        file = self._database.file
        with self._database.reading() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check").scalars().all() if file else ["ok"]
            cases = select(case_row.c.mapping, func.count()).group_by(case_row.c.mapping)
            facts = select(meta.c.name, meta.c.value).where(meta.c.name.like("@%"))
            tables = {"courses": course, "in doubt": intent, "problems": problem, "refused": refusal, "runs": run}
            tables |= {"erased": erased, "in the log": change}
            tables |= {"matches": match_row, "texts of feedback": feedback, "rows of lookup tables": lookup_row}
            counts = {
                name: connection.scalar(select(func.count()).select_from(table)) or 0
                for name, table in tables.items()
            }
            of_site = select(func.count()).select_from(course).where(course.c.course_id == 0)  # people of all courses
            counts["courses"] -= connection.scalar(of_site) or 0
            waiting = select(func.count()).select_from(inbox).where(inbox.c.done_at.is_(None))
            counts["hints waiting"] = connection.scalar(waiting) or 0
            return Condition(
                self._database.place,
                revision(connection) or "",
                tuple(line for line in found if line != "ok"),
                {row[0]: row[1] for row in connection.execute(cases)},
                counts,
                {row.name: row.value for row in connection.execute(facts) if row.name != "@key"},
                tuple(backups(file)) if file else (),
                tuple(upgrade_copies(file)) if file else (),
                self._database.is_postgresql,
                file.parent if file and is_open(file.parent) else None,
            )

    def doubt(self, mapping: str) -> None:
        """Take in that another mapping wrote to the cases of this one: of its rows what a restore says of all."""
        with self._database.writing() as connection:
            connection.execute(update(case_row).where(case_row.c.mapping == mapping).values(DOUBTED))
            connection.execute(delete(lacking).where(lacking.c.mapping == mapping))
            have_read(self._database, connection, [mapping])

    def mark_restored(self, now: float) -> None:
        """Take in that these books were put back: what they say of CommCare may be older than CommCare is.

        Every row is dirty, also those of lookup tables, every write not answered rests anew, and nobody holds the
        lease. What reads lacked counts no more: it may have been there in a read since. Who was away then may have
        come back and gone again, so whether CommCare says so is not certain.
        """
        with self._database.writing() as connection:
            connection.execute(update(case_row).values(DOUBTED))
            connection.execute(delete(lacking))
            connection.execute(update(lookup_row).values(digest=b"", missing_count=0))
            connection.execute(update(intent).values(last_sent_at=now))
            in_doubt = lookup_table.c.doubt_at.is_not(None)
            connection.execute(update(lookup_table).where(in_doubt).values(doubt_at=now))
            connection.execute(delete(lease))
            forget_round(connection)
            self._read_all_anew(connection)  # every row is sent again, and no interval is to hold that up
            self._put(connection, RESTORED_AT, str(now))
