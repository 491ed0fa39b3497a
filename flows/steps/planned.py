"""What the steps hand to each other: scopes that were read, and rows that have to be sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from adaptors.commcare.cases import CaseWrite
from flows.steps.unshown import Unshown
from mappings.engine import CompiledMapping, Draft
from state import RowId
from state.outcomes import RETYPE, TYPE

WAITS = "waits_for_parent"
UNDECIDED = "match_undecided"
IN_PART = "other_courses_unread"
PARENT = "parent "  # the detail of a problem about a parent: this, and the parent's key
OTHER_TYPE = "other_case_type"
SITE_SCOPE = 0  # the scope of sources without a course
SITE_SOURCES = frozenset({"users", "courses", "engagement"})


@dataclass(frozen=True)
class Planned:
    """One row to send: the write, and the digests that become true when CommCare has it."""

    row: RowId
    case_type: str
    user_id: int
    write: CaseWrite
    digests: Mapping[str, bytes]
    op: str
    status: str = "active"
    reasons: frozenset[str] = frozenset()
    """What has to be sent; the rest only goes along."""
    emptied: frozenset[str] = frozenset()
    """Properties that had a value, or may have had one, and are blank now."""
    blank: frozenset[str] = frozenset()
    """Of a row whose case nobody knows: properties that are blank now, whatever they were."""
    doubtful: frozenset[str] = frozenset()
    """Emptied properties of elements that vanished together: a lost right looks the same."""
    vanished: frozenset[str] = frozenset()
    """Emptied properties of elements that vanished, together or alone."""
    unshown: frozenset[str] = frozenset()
    """Emptied properties that nobody's profile shows any more: a field that is hidden looks the same."""
    unsent: frozenset[str] = frozenset()
    """Of a row whose case nobody knows: properties of ours that it may hold, and that are left as they are."""
    owner_before: str = ""
    """For a parked case: the owner it had, who gets it back."""
    whole: bool = False
    """Whether the digests are of all that we want the case to hold, and not only of what changed."""
    earlier: int = 0
    """The generation of a case that another one of the row followed: the books say nothing of it."""
    owner_held: str = ""
    """Of a case that is there: the owner that the books have for it."""
    another: bool = False
    """Whether its key has another case from now on, to which the cases below it are to belong."""
    ours_if_closed: bool = False
    """Whether a case that turns out to be closed was closed by us: the books may be older than that."""

    @property
    def names(self) -> frozenset[str]:
        """Return the names of what is sent; what is not a property starts with '@', as among the digests."""
        write = self.write
        named = {f"@index:{index.name}" for index in write.indices} | write.properties.keys()
        named |= {"@name"} if write.name is not None else set()
        named |= {TYPE} if self.is_retyped else set()
        return frozenset(named | ({"@owner"} if write.owner_id else set()))

    @property
    def is_retyped(self) -> bool:
        """Whether the case is known to have another case type in CommCare; each row names its own."""
        return TYPE in self.reasons and (self.op == RETYPE or not self.whole)

    @property
    def intent(self) -> str:
        """Return what the books announce and remember: a case that is closed is told apart."""
        return "closed" if self.write.close else self.op


@dataclass(frozen=True)
class TablePlan:
    """What a run would do to a lookup table: the keys of rows to add, change and take away, and what stays.

    `rows` are the fields of all rows by key; `missing` counts those that this read lacks for the first time,
    `left_out` the records that include and exclude keep out. `rests`: a write is in doubt, and nothing is done.
    """

    mapping: CompiledMapping
    rows: Mapping[str, Mapping[str, str]]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    missing: int = 0
    held_back: int = 0
    left_out: int = 0
    rests: bool = False

    @property
    def table(self) -> str:
        """Return the ID of the table."""
        return self.mapping.case_type

    @property
    def counts(self) -> dict[str, int]:
        """Return the rows by what would happen to them."""
        unchanged = len(self.rows) - len(self.added) - len(self.changed)
        found = {"added": len(self.added), "changed": len(self.changed), "removed": len(self.removed)}
        more = {"missing": self.missing, "held_back": self.held_back, "left_out": self.left_out}
        return found | {"unchanged": unchanged} | more


@dataclass(frozen=True)
class Problem:
    """Why a record was held back, or which of its values could not be used. Never a value."""

    key: str
    property: str
    reason: str
    detail: str = ""
    holds: bool = False
    """Whether the whole record is held back because of it."""


@dataclass
class Scope:
    """One mapping in one course (or the whole site): what was read, what follows from it."""

    mapping: CompiledMapping
    number: int
    drafts: dict[str, Draft] = field(default_factory=dict)
    users: dict[str, int] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    excluded: dict[str, bool] = field(default_factory=dict)
    """Keys that `include` or `exclude` keeps out, and whether that is so whatever courses the person is in."""
    problems: list[Problem] = field(default_factory=list)
    held_back: int = 0
    waiting: int = 0
    """Those of the held back that only wait: for their parent, a person's word, or a run of all courses."""
    unshown: Unshown | None = None
    """What to look up while it is planned, where nobody shows a field any more."""
    owner_hidden: dict[str, str] = field(default_factory=dict)
    """Of whom Moodle does not show what their owner goes by, and the reason if they wait for that, by key."""

    def hold_back(self, *problems: Problem) -> None:
        """Note that a record is not sent, and why."""
        self.held_back += 1
        self.waiting += any(problem.reason in (WAITS, UNDECIDED, IN_PART) for problem in problems)
        self.problems += [replace(problem, holds=True) for problem in problems]


def external_id(key: str, generation: int) -> str:
    """Return the external id of a case: its key, and from the second case on under it the number of the case."""
    return key if generation == 1 else f"{key}~{generation}"


def scope_number(mapping: CompiledMapping, course_id: int) -> int:
    """Return the scope in which a mapping keeps its rows."""
    return SITE_SCOPE if mapping.source in SITE_SOURCES else course_id
