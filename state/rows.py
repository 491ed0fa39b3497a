"""What the store takes and gives: frozen records of ids, digests and times, never a value of a person."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class RowId(NamedTuple):
    """The address of one case in the books: `scope` is the course id, 0 for sources that have no course."""

    mapping: str
    scope: int
    key: str


Ours = Callable[[int, str, int], object]
"""Says of a scope, a key in it and the person whose row has it whether a mapping makes that key of them."""


@dataclass(frozen=True, slots=True)
class CaseRow:
    """What is known of one case.

    `case_id` "" = never acknowledged with an id; `digests` None = dirty, to be sent whole, else one digest per
    property name; `status` one of those in statuses.py; `missing_count` complete reads in a row that lacked it;
    `user_id` the Moodle user, 0 if there is none; `generation` counts the cases made under this key.
    """

    key: str
    case_id: str
    owner_id: str
    digests: dict[str, bytes] | None
    status: str
    missing_count: int
    user_id: int
    generation: int = 1
    linked: bool = False
    """Whether the case was made by somebody else: it keeps an external id of its own, or none."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A row that is about to be sent.

    `op` is "create", "update", "left", "withdrawn", "ended", "closed" or "retype".
    """

    row: RowId
    user_id: int
    op: str


@dataclass(frozen=True, slots=True)
class IntentRow:
    """A row that was sent and not yet answered; `last_sent_at` in epoch seconds, `attempts` from 1."""

    row: RowId
    batch: str
    op: str
    last_sent_at: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Resting:
    """What was sent and not yet answered: rows of cases, and tables by since when (epoch seconds)."""

    intents: tuple[IntentRow, ...] = ()
    tables: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Say whether there is anything."""
        return bool(self.intents or self.tables)

    @property
    def newest(self) -> float:
        """Return when the last of it was sent, minus infinity for nothing."""
        return max((*(one.last_sent_at for one in self.intents), *self.tables.values()), default=float("-inf"))


@dataclass(frozen=True, slots=True)
class Ack:
    """CommCare's answer to one row: the case as it now is there, and the digests of what was sent.

    `whole`: the digests are of all that the case holds of ours; else only of what had changed. For the log: `op`
    as in Intent, `sent` the names of what was sent (None: those of the digests), `closed` whether the case is
    closed in CommCare now; `earlier` the generation of a case that another one of the row followed.
    """

    row: RowId
    case_id: str
    owner_id: str
    digests: Mapping[str, bytes]
    status: str
    user_id: int
    op: str = "update"
    sent: Collection[str] | None = None
    closed: bool = False
    whole: bool = False
    earlier: int = 0


@dataclass(frozen=True, slots=True)
class CourseRow:
    """The last complete read of a course: when (0.0 = never), by which run, how many people; failures since."""

    course_id: int
    complete_at: float
    run_id: str
    people: int
    failures: int


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """A problem of one property of one row: since when, when last, and in how many reads it was found."""

    row: RowId
    property: str
    reason: str
    detail: str
    first_at: float
    last_at: float
    runs: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row as CommCare refused it: `content` are digests of all that was sent, `op` as in Intent.

    There are several where cases that came before that of the row were refused as well. For the log: the Moodle
    user, and the names of what was sent. `anew`: attempts, and since when, count from this one on.
    """

    row: RowId
    op: str
    reason: str
    content: bytes
    user_id: int = 0
    sent: Collection[str] = ()
    anew: bool = False


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """A refused row: since when, when a run last had it to send, how often it was sent; `dropped` by a person."""

    row: RowId
    op: str
    reason: str
    content: bytes
    first_at: float
    last_at: float
    attempts: int
    dropped: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the log: what was meant (`op`), what came of it (`answer`), and which properties it was about.

    `op`: what an Intent says, "erase", or a word about the case: "adopt", "merge", "unmerge", "renew", "retry",
    "recreate", "drop", "doubt". `answer`: "taken"; "closed" (taken, and the case is closed there); "refused" with
    a `reason`; "unknown" (none came, and the row is written again); "found" (looked up in CommCare); "noted" (no
    request). `at` in epoch seconds; `run`, `batch`, `form_id` and `revision` (of the mappings) are "" or 0 where
    there is none; `generation` is that of the case.
    """

    row: RowId
    at: float
    op: str
    answer: str
    reason: str
    names: tuple[str, ...]
    generation: int
    run: str
    batch: int
    form_id: str
    revision: str


@dataclass(frozen=True, slots=True)
class Held:
    """A case of the books as an audit needs it: where its row is, and when CommCare last took it (epoch)."""

    row: RowId
    case: CaseRow
    pushed_at: float


@dataclass(frozen=True, slots=True)
class MatchRow:
    """A person of Moodle and a case that may be his or hers (`case_id` "" = no case): ids and words, no value.

    `kind` is duplicate, unverified, conflict, missing_email or new (the person's case was deleted); `matched_by`
    the pair, or key, email, name, phone; `reason` why a person has to look; `decision` "" (open), "linked" or
    "rejected", taken by `decided_by` ("rule" or "person").
    """

    mapping: str
    key: str
    case_id: str
    user_id: int
    kind: str
    matched_by: str = ""
    reason: str = ""
    decision: str = ""
    decided_by: str = ""
    found_at: float = 0.0
    decided_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Missing:
    """A living or replaced row that a complete read lacked; `case.missing_count` is the new count."""

    row: RowId
    case: CaseRow


@dataclass(frozen=True, slots=True)
class RowCount:
    """How many rows of a mapping have a status; `there`: CommCare has them, `dirty`: they are sent whole."""

    mapping: str
    status: str
    there: bool
    dirty: bool
    count: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What is said of one row: whose it is (0: nobody's), its case ("": none known), its status.

    `at`: when CommCare last took something of it, 0.0 for never.
    """

    row: RowId
    user_id: int
    case_id: str
    status: str
    at: float


@dataclass(frozen=True, slots=True)
class ProblemCount:
    """How many records of a mapping have a problem (`property` "": the whole record), since when, when last."""

    mapping: str
    property: str
    reason: str
    count: int
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class OpenCount:
    """How many people of a mapping have open matches of a kind, and whether the books know a case of theirs."""

    mapping: str
    kind: str
    has_case: bool
    people: int


@dataclass(frozen=True, slots=True)
class DoubtRow:
    """A row in doubt: how often in a row it was sent without an answer, when first and when last (epoch).

    First is when its run began.
    """

    row: RowId
    times: int
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class DoubtCount:
    """How many rows of a mapping wait for an answer of unknown outcome, and since when the oldest does.

    That is when it was first sent without one, however often it was sent again.
    """

    mapping: str
    count: int
    oldest_at: float


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run: `finished_at` None while it is at work, `counts` as `sync --json` prints them."""

    id: str
    started_at: float
    finished_at: float | None
    state: str
    revision: str
    counts: Mapping[str, Any]
