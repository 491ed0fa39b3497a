"""The runs, as the books saw them: when, with which mappings, how they ended, what they counted."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from state.books import Books
from state.tables import lease, run

PER_COURSE = '"courses": {"'
"""How the counts of a run begin to tell of each course, as JSON is written here."""
ERASED = "(erased)"
"""Stands in what runs told for the key of somebody who was erased."""
AT_ONCE = 500  # runs that are summed up together: about a second, in which nobody else writes
_ALIVE = select(lease.c.holder).where(lease.c.expires_at > bindparam("now"))
CRASHED = update(run).where(run.c.state == "running", run.c.id.not_in(_ALIVE)).values(state="crashed")
NEW = insert(run)
FINISH = (
    update(run)
    .where(run.c.id == bindparam("run_id"))
    .values(finished_at=bindparam("now"), state=bindparam("ended_as"), counts=bindparam("counted"))
)
_BY_AGE = select(run.c.started_at).order_by(run.c.started_at.desc())
_EDGE = _BY_AGE.limit(1).offset(bindparam("newest")).scalar_subquery()
WIDE = select(run.c.id).where(run.c.started_at < _EDGE, run.c.counts.contains(PER_COURSE)).limit(AT_ONCE)


class Runs(Books):
    """One row per run."""

    def start_run(self, run_id: str, now: float, revision: str) -> None:
        """Open a run; earlier ones that never finished and hold no lease any more are marked crashed."""
        new = {"id": run_id, "started_at": now, "state": "running", "revision": revision, "counts": "{}"}
        with self._database.writing() as connection:
            connection.execute(CRASHED, {"now": now})
            connection.execute(NEW, new)

    def finish_run(self, run_id: str, now: float, state: str, counts: Mapping[str, Any]) -> None:
        """Close a run with its state and its counts (numbers and codes that JSON can hold)."""
        told = {"run_id": run_id, "now": now, "ended_as": state, "counted": json.dumps(counts, sort_keys=True)}
        with self._database.writing() as connection:
            connection.execute(FINISH, told)

    def last_run(self) -> tuple[str, str, float] | None:
        """Return id, state and time (finished, else started) of the run that started last."""
        with self._database.reading() as connection:
            row = connection.execute(select(run).order_by(run.c.started_at.desc()).limit(1)).first()
        if row is None:
            return None
        return row.id, row.state, row.started_at if row.finished_at is None else row.finished_at


def read_counts(text: str) -> dict[str, Any]:
    """Return what a run counted; nothing where that cannot be read."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def forget_messages(connection: Connection, user_id: int, keys: Collection[str]) -> None:
    """Take out of what runs told the sentences about a person, and the keys of his or her records."""
    about = re.compile(rf"\bperson (?:erase )?{user_id}\b")
    named = re.compile("|".join(rf"(?<![\w-]){re.escape(key)}(?![\w-])" for key in sorted(keys)) or "(?!)")
    likely = or_(run.c.counts.contains(f"person {user_id}"), run.c.counts.contains(f"-{user_id}"))
    for one in connection.execute(select(run.c.id, run.c.counts).where(likely)).all():
        counts = read_counts(one.counts)
        told = [text for text in counts.get("messages", []) if not about.search(text)]
        told = [named.sub(ERASED, text) for text in told]
        if told != counts.get("messages", []):
            text = json.dumps(counts | {"messages": told}, sort_keys=True)
            connection.execute(update(run).where(run.c.id == one.id).values(counts=text))


def find_wide(connection: Connection, newest: int) -> list[str]:
    """Return runs before so many newest ones that still hold what each course counted, some at a time."""
    return list(connection.scalars(WIDE, {"newest": newest - 1}))


def sum_up(connection: Connection, runs: Sequence[str]) -> None:
    """Put into runs how many courses ended how, in the place of what each of them counted."""
    for run_id in runs:
        one = run.c.id == run_id
        counts = read_counts(connection.scalar(select(run.c.counts).where(one)) or "")
        courses: dict[str, dict[str, Any]] = counts.get("courses", {})
        states = Counter(course.get("state", "") for course in courses.values())
        text = json.dumps(counts | {"courses": {}, "course_states": dict(states)}, sort_keys=True)
        connection.execute(update(run).where(one).values(counts=text))
