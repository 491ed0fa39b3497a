"""The runs, as the books saw them: when, with which mappings, how they ended, what they counted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert, select, update

from state.books import Books
from state.tables import lease, run


class Runs(Books):
    """One row per run."""

    def start_run(self, run_id: str, now: float, revision: str) -> None:
        """Open a run; earlier ones that never finished and hold no lease any more are marked crashed."""
        alive = select(lease.c.holder).where(lease.c.expires_at > now)
        crashed = update(run).where(run.c.state == "running", run.c.id.not_in(alive)).values(state="crashed")
        new = {"id": run_id, "started_at": now, "state": "running", "revision": revision, "counts": "{}"}
        with self._database.writing() as connection:
            connection.execute(crashed)
            connection.execute(insert(run), new)

    def finish_run(self, run_id: str, now: float, state: str, counts: Mapping[str, Any]) -> None:
        """Close a run with its state and its counts (numbers and codes that JSON can hold)."""
        values = {"finished_at": now, "state": state, "counts": json.dumps(counts, sort_keys=True)}
        with self._database.writing() as connection:
            connection.execute(update(run).where(run.c.id == run_id).values(**values))

    def last_run(self) -> tuple[str, str, float] | None:
        """Return id, state and time (finished, else started) of the run that started last."""
        with self._database.reading() as connection:
            row = connection.execute(select(run).order_by(run.c.started_at.desc()).limit(1)).first()
        if row is None:
            return None
        return row.id, row.state, row.started_at if row.finished_at is None else row.finished_at
