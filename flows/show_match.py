"""What a match found, for somebody at a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.matched import CLASSES, REASONS, Matched
from flows.problems import moment
from flows.show_problems import laid_out
from flows.words import numbered
from state import MatchRow

MOST = 50  # rows of a table


def show_matched(found: Matched) -> None:
    """Print how many people are of each class, and what is to be done."""
    console = _console()
    for one in found.mappings:
        console.print(
            Text(f"{one.name}: {numbered(one.cases, 'case')} of type '{one.case_type}' compared", "bold")
        )
        table = _table("people", "class", "meaning")
        for name, meaning in CLASSES.items():
            if one.classes[name]:
                table.add_row(f"{one.classes[name]:,}", name, meaning)
        console.print(table)
    for message in found.messages:
        console.print(Text(laid_out(message, first="- ", then="  ")), soft_wrap=True)


def show_rows(rows: Sequence[MatchRow], *, everything: int) -> None:
    """Print matches as a table."""
    console = _console()
    if not rows:
        console.print(Text(laid_out("Nothing is listed: `moodle-commcare match` looks for people with cases.")))
        return
    table = _table("Moodle id", "case id", "class", "by")
    for row in rows[:MOST]:
        lines = [row.case_id or "no case", REASONS.get(row.reason, row.reason), _decided(row)]
        table.add_row(str(row.user_id), "\n".join(filter(None, lines)), row.kind, row.matched_by or "·")
    console.print(table)
    if everything > MOST:
        console.print(Text(laid_out(f"... and {everything - MOST:,} more; `--json` lists all.")))


def _decided(row: MatchRow) -> str:
    """Return what was decided, by whom and when; nothing of what is open."""
    when = moment(row.decided_at)[:10]
    return f"{row.decision} by a {row.decided_by}, {when}" if row.decision else ""


def row_json(row: MatchRow) -> dict[str, object]:
    """Return one match for `--json`."""
    return {
        "mapping": row.mapping,
        "moodle_id": row.user_id,
        "case_id": row.case_id,
        "class": row.kind,
        "matched_by": row.matched_by,
        "why": row.reason,
        "decision": row.decision or "open",
        "decided_by": row.decided_by,
        "decided_at": moment(row.decided_at) if row.decision else None,
        "found_at": moment(row.found_at),
    }


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="right" if heading == "people" else "left")
    return table


def _console() -> Console:
    return Console(highlight=False)
