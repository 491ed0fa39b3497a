"""What has been seen and sent: ids, keyed digests and times in SQLite or PostgreSQL, never a value of a person."""

from state.care import Condition
from state.digest import NO_VALUE
from state.errors import StateError
from state.matches import BLOCKING, Link
from state.people import Erased, PersonRows
from state.rows import (
    Ack,
    CaseRow,
    CourseRow,
    Held,
    Intent,
    IntentRow,
    MatchRow,
    Missing,
    ProblemRow,
    Refusal,
    RefusalRow,
    RowId,
)
from state.store import Store

__all__ = [
    "BLOCKING",
    "NO_VALUE",
    "Ack",
    "CaseRow",
    "Condition",
    "CourseRow",
    "Erased",
    "Held",
    "Intent",
    "IntentRow",
    "Link",
    "MatchRow",
    "Missing",
    "PersonRows",
    "ProblemRow",
    "Refusal",
    "RefusalRow",
    "RowId",
    "StateError",
    "Store",
]
