"""How the load of phones looks at a terminal and in a table for spreadsheets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from typing import TYPE_CHECKING

from flows.history import local
from flows.masked import Eyes
from flows.phones import ADVICE, MONTH, name_of
from flows.show_live import show_heading, show_table, show_text
from flows.words import numbered
from state.care import DAY

if TYPE_CHECKING:
    from flows.phones import Load, Owned, Phones

MOST = 50  # rows of a table
STATES = {
    "deactivated": "is deactivated",
    "not_sharing": "does not share cases",
    "no_worker": "has no mobile worker",
    "": "is not synced",
}
VERDICTS = {"over": "too many", "near": "nearly too many", "": ""}
COUNTS = {"cases": "cases", "largest": "most of a type", "week": "changed, 7 days", "month": "30 days"}
CSV = (
    *("kind", "id", "name", "phones", "cases", "case_type_with_most", "cases_of_it"),
    *("changes_7_days", "changes_30_days", "state"),
)


def show_phones(found: Phones, eyes: Eyes, now: float, zone: tzinfo) -> None:
    """Print the phones, the fullest first, then cases that are on no phone, then what CommCare advises."""
    full = [one for one in found.phones if one.load.cases.total() or one.load.month]
    if full:
        rows = [
            {"worker": name_of(one.holder, eyes), **_counts(one.load), "verdict": VERDICTS[one.load.verdict]}
            | {kind: f"{one.by_kind.get(kind, 0):,}" for kind in ("group", "location") if one.by_kind.get(kind)}
            for one in full[:MOST]
        ]
        headings = {"worker": "mobile worker", **COUNTS, "group": "by groups", "location": "by locations"}
        show_table(rows, headings | {"verdict": ""}, right=[*COUNTS, "group", "location"])
        if len(full) > MOST:
            show_text(f"... and {len(full) - MOST:,} more; `--csv FILE` has all of them.")
    idle = len(found.phones) - len(full)
    if idle or not full:
        show_text(f"{numbered(idle, 'mobile worker')} with no case of ours.")
    if found.unsynced:
        show_heading("\nOn nobody's phone")
        rows = [
            {"owner": _owner(one, eyes), **_counts(one.load), "why": _why(one)} for one in found.unsynced[:MOST]
        ]
        show_table(rows, {"owner": "owner", "cases": "cases", "why": "the owner"}, right=["cases"])
    show_text(ADVICE)
    if found.begins is None or found.begins > now - MONTH * DAY:
        since = "no change yet" if found.begins is None else f"changes since {local(found.begins, zone)} only"
        show_text(f"The log has {since}.")
    for note in found.notes:
        show_text(note, first="- ", then="  ")


def csv_rows(found: Phones, eyes: Eyes) -> Iterator[tuple[object, ...]]:
    """Yield a row for each phone, then one for each owner."""
    for one in found.phones:
        name, owner_id = name_of(one.holder, eyes), one.holder.owner_id
        yield ("phone", owner_id, name, 1, *_cells(one.load), VERDICTS[one.load.verdict])
    for owned in found.owners:
        kind = owned.holder.kind if owned.holder is not None else "unknown"
        name = name_of(owned.holder, eyes) if owned.holder is not None else ""
        state = "" if owned.phones else _why(owned)
        yield (f"owner: {kind}", owned.owner_id, name, owned.phones, *_cells(owned.load), state)


def _cells(load: Load) -> tuple[object, ...]:
    return load.cases.total(), *load.largest, load.week, load.month


def _counts(load: Load) -> dict[str, str]:
    kind, most = load.largest
    return {
        "cases": f"{load.cases.total():,}",
        "largest": f"{most:,} {kind}" if kind else "",
        "week": f"{load.week:,}",
        "month": f"{load.month:,}",
    }


def _owner(one: Owned, eyes: Eyes) -> str:
    return one.owner_id if one.holder is None else f"{one.holder.kind} {name_of(one.holder, eyes)}"


def _why(one: Owned) -> str:
    return "is none that phones sync" if one.holder is None else STATES[one.holder.state]
