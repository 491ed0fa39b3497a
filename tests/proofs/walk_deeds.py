"""What people did in a walk, as far as what must hold depends on it: Moodle's and CommCare's data do not tell."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from tests.proofs.walk_mappings import OLD

BY_HAND = "By hand"
"""What people write into cases in CommCare."""


@dataclass
class Deeds:
    """Who was erased, what was written, closed or deleted by hand, which terms began, and what restores forgot."""

    erased: set[int] = field(default_factory=set)
    """People of whom nothing is read, and nothing may be in CommCare at the end."""
    unfinished: set[int] = field(default_factory=set)
    """People whose erasure was begun, as far as its caller knows."""
    kept_out: set[str] = field(default_factory=set)
    """Keys that a mapping kept out at the time of any process."""
    answers: dict[tuple[int, float], bool] = field(default_factory=dict)
    """By course and its new start: whether it is the same term."""
    new_terms: set[int] = field(default_factory=set)
    """Courses in which a new term began with new cases."""
    by_hand: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Cases that somebody edited in CommCare, and which properties."""
    closed: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    """Keys of cases that somebody closed or deleted in CommCare."""
    orphans: set[str] = field(default_factory=set)
    """External ids that there were, or that were on their way, when older books were put back."""
    word: str = OLD
    """What stands in the keys of enrolments now."""
