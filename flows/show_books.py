"""What the books hold for people to look at: problems, whose cases are withdrawn, and what an audit found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.problems import Listed, count_reasons, moment
from flows.reasons import reason_words, remedy
from flows.show_problems import laid_out
from flows.words import numbered

if TYPE_CHECKING:
    from flows.audited import Audit
    from flows.withdrawn import Withdrawn

MOST = 50  # rows of a table
WHOLE = ("record", "since (UTC)", "reads", "sent", "finding")
"""Columns that stay in one line while the terminal has room for them."""


def show_list(found: Sequence[Listed], of: str = "") -> None:
    """Print the problems: a table, then each reason with what to do; `of` says where there are none."""
    console = _console()
    if not found:
        console.print(Text(f"No problem{of} is listed."))
        return
    table = _table("record", "reason, property", "since (UTC)", "reads", "sent")
    for one in found[:MOST]:
        what = "\n".join(filter(None, (one.reason, one.name.lstrip("@"))))
        cells = (one.row.key, what, _day(one.first_at))
        table.add_row(*cells, str(one.reads or "·"), str(one.attempts or "·"))
    console.print(table)
    if len(found) > MOST:
        console.print(Text(laid_out(f"... and {len(found) - MOST:,} more; `--json` lists all.")))
    for reason, count in count_reasons(found).items():
        console.print(Text(laid_out(f"{count:,} × {reason}: {reason_words(reason)}", first="- ", then="  ")))
        if todo := remedy(reason, next(one.name for one in found if one.reason == reason)):
            console.print(Text(laid_out(f"→ {todo}", first="  ", then="    ")))


def show_one(found: Sequence[Listed]) -> None:
    """Print all that is known of one record's problems."""
    console = _console()
    console.print(Text(found[0].row.key, "bold"))
    for one in found:
        course = f", course {one.row.scope}" if one.row.scope else ""
        console.print(Text(laid_out(f"{one.sentence} ({one.reason})", first="- ", then="  ")))
        if one.detail:
            console.print(Text(laid_out(one.detail, first="  ", then="  ")))
        times = f"since {_minute(one.first_at)}, last {_minute(one.last_at)} UTC"
        counted = [numbered(one.reads, "read") if one.reads else ""]
        counted += [f"sent {numbered(one.attempts, 'time')}" if one.attempts else ""]
        counts = ", ".join(part for part in counted if part)
        console.print(
            Text(laid_out(f"mapping {one.row.mapping}{course}; {times}; {counts}", first="  ", then="  "))
        )
        if one.remedy:
            console.print(Text(laid_out(f"→ {one.remedy}", first="  ", then="    ")))
    console.print(Text(laid_out(f"`moodle-commcare history {found[0].row.key}` tells what was sent, and when.")))


def show_withdrawn(found: Sequence[Withdrawn]) -> None:
    """Print whose cases are withdrawn, or are about to be."""
    console = _console()
    if not found:
        console.print(Text("No case is withdrawn."))
        return
    table = _table("record", "mapping", "course", "state", "written (UTC)")
    for one in found[:MOST]:
        row, at = one.row.row, one.row.at
        table.add_row(row.key, row.mapping, str(row.scope or "·"), one.words, _day(at) if at else "·")
    console.print(table)
    if len(found) > MOST:
        console.print(Text(laid_out(f"... and {len(found) - MOST:,} more; `--json` lists all.")))
    waiting = sum(not one.is_done for one in found)
    more = f", {waiting:,} of them not known to be in CommCare yet" if waiting else ""
    console.print(Text(laid_out(f"{numbered(len(found), 'case')} withdrawn{more}.")))


def show_audit(found: Audit) -> None:
    """Print what an audit found: a line, a table, and what each kind means."""
    console = _console()
    console.print(Text.assemble(("Audit: ", "bold"), found.summary))
    if found.findings:
        table = _table("finding", "record", "mapping", "case", "what")
        for one in found.findings[:MOST]:
            table.add_row(one.kind.replace("_", " "), one.key, one.mapping, one.case_id, one.what)
        console.print(table)
        if found.count > MOST:
            console.print(Text(laid_out(f"... and {found.count - MOST:,} more; `--json` lists them.")))
    for message in found.messages:
        console.print(Text(laid_out(message, first="- ", then="  ")))


def _table(*headings: str) -> Table:
    """Return a table that cuts nothing off: what it shows is typed into the next command."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading in WHOLE)
    return table


def _day(seconds: float) -> str:
    return _minute(seconds)[:10]


def _minute(seconds: float) -> str:
    return moment(seconds)[:16].replace("T", " ")


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False)
