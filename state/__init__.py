"""What has been seen and sent: ids, keyed digests and times in SQLite or PostgreSQL, never a value of a person."""

from state.care import Condition
from state.digest import NO_VALUE
from state.errors import StateError
from state.inbox import Hint, HintRow, InboxState, hints_wait
from state.people import Erased, PersonRows
from state.rows import (
    Ack,
    CaseRow,
    CourseRow,
    Held,
    Intent,
    IntentRow,
    Missing,
    ProblemRow,
    Refusal,
    RefusalRow,
    RowId,
)
from state.store import Store

__all__ = [
    "NO_VALUE",
    "Ack",
    "CaseRow",
    "Condition",
    "CourseRow",
    "Erased",
    "Held",
    "Hint",
    "HintRow",
    "InboxState",
    "Intent",
    "IntentRow",
    "Missing",
    "PersonRows",
    "ProblemRow",
    "Refusal",
    "RefusalRow",
    "RowId",
    "StateError",
    "Store",
    "hints_wait",
]
