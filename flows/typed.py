"""Names that somebody typed: an empty answer about one that is of nothing would be taken for good news."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from flows.errors import UsageError
from flows.reasons import REASONS
from flows.steps.planned import SITE_SCOPE
from flows.steps.select import SELECTED
from flows.words import listed
from mappings.engine import REASONS as OF_VALUES
from mappings.engine.load import mapping_files
from mappings.engine.problems import nearest
from state import Store

SHOWN = 60


def refuse_unknown_mapping(store: Store, folder: Path, name: str) -> None:
    """Raise UsageError for a mapping that has no file and of which the books know no case; "" is none."""
    files = {file.stem for file in mapping_files(folder)}
    known = files | store.mappings_with_cases()
    if name and name not in known:
        raise UsageError(f"There is no mapping '{name}'. There are: {listed(sorted(known), SHOWN) or 'none'}.")


def refuse_unknown_reason(name: str, listed_now: Collection[str]) -> None:
    """Raise UsageError for a reason that no record can have; "" is none. Those that are listed now are named."""
    if name and name not in REASONS.keys() | OF_VALUES.keys() | {*listed_now}:
        near = nearest(name, REASONS.keys() | OF_VALUES.keys())
        meant = f" Did you mean '{near}'?" if near else ""
        there = listed(sorted({*listed_now}), SHOWN) or "none at all"
        raise UsageError(f"There is no reason '{name}'.{meant} Reasons that are listed now: {there}.")


def refuse_unknown_course(store: Store, number: int | None) -> None:
    """Raise UsageError for a course that no run has met; None is none, 0 stands for what is of no course."""
    if number in (None, SITE_SCOPE):
        return
    known = store.courses().keys() | {*json.loads(store.get(SELECTED) or "[]")} | {SITE_SCOPE}
    if number not in known and not store.mappings_in([number]):
        there = listed([str(one) for one in sorted(known - {SITE_SCOPE})], SHOWN) or "none"
        raise UsageError(f"No run has met a course {number}. Courses that runs have met: {there}.")
