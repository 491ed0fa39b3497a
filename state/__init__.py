"""What has been seen and sent: ids, keyed digests and times in SQLite or PostgreSQL, never a value of a person."""

from state.care import Condition
from state.digest import NO_VALUE
from state.errors import StateError
from state.feedback import FeedbackRow, Holder
from state.history import Kind, Share
from state.inbox import Hint, HintRow, InboxState, hints_wait
from state.lookup_rows import TableCount, TableRowKnown
from state.matches import BLOCKING, Link
from state.people import Erased, PersonRows
from state.rows import (
    Ack,
    CaseRow,
    Change,
    CourseRow,
    DoubtCount,
    DoubtRow,
    Held,
    Intent,
    IntentRow,
    MatchRow,
    Missing,
    OpenCount,
    ProblemCount,
    ProblemRow,
    Refusal,
    RefusalRow,
    Resting,
    RowCount,
    RowId,
    RunRow,
    Standing,
)
from state.store import Store

__all__ = [
    "BLOCKING",
    "NO_VALUE",
    "Ack",
    "CaseRow",
    "Change",
    "Condition",
    "CourseRow",
    "DoubtCount",
    "DoubtRow",
    "Erased",
    "FeedbackRow",
    "Held",
    "Hint",
    "HintRow",
    "Holder",
    "InboxState",
    "Intent",
    "IntentRow",
    "Kind",
    "Link",
    "MatchRow",
    "Missing",
    "OpenCount",
    "PersonRows",
    "ProblemCount",
    "ProblemRow",
    "Refusal",
    "RefusalRow",
    "Resting",
    "RowCount",
    "RowId",
    "RunRow",
    "Share",
    "Standing",
    "StateError",
    "Store",
    "TableCount",
    "TableRowKnown",
    "hints_wait",
]
