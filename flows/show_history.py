"""How the past of a case, and of a run, looks at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from textwrap import fill
from typing import TYPE_CHECKING

from rich.text import Text

from flows.history import ANSWERS, WHAT, answer_of, local, names_of, what_happened
from flows.reasons import reason_words
from flows.show_live import screen, show_heading, show_table, show_text
from flows.words import numbered

if TYPE_CHECKING:
    from flows.history import Past, PastRun, Standing
    from state import Change

INDENT = " " * 18
SHORT = 6  # letters of the end of a run's name: its beginning is the time
REVISION = 7


def show_past(found: Past, zone: tzinfo, zone_name: str) -> None:
    """Print each change of a key: a line, and below it the properties; then how things are now."""
    show_heading(f"{found.key}, times in {zone_name}")
    if found.changes:
        _show_changes(found.changes, zone)
    else:
        show_text("The log has nothing of it.")
    for one in found.now:
        show_text("; ".join(_now(one, zone)) + ".", then="  ")
    if found.begins is not None and not any(one.op in ("create", "adopt", "link") for one in found.changes):
        show_text(f"The log goes back to {local(found.begins, zone)}; what was before that is not known.")
    if any(one.refused or one.problems for one in found.now):
        show_text(f"`moodle-commcare problems show {found.key}` says what to do.")


def show_past_run(found: PastRun, zone: tzinfo, zone_name: str) -> None:
    """Print what a run did: counts, and the first changes."""
    revision = next((one.revision for one in found.changes if one.revision), "")
    mappings = f", mappings {revision[:REVISION]}" if revision else ""
    show_heading(f"Run {found.run_id}{mappings}, times in {zone_name}")
    rows = [
        {
            "mapping": kind.mapping,
            "what": WHAT.get(kind.op, kind.op),
            "answer": ANSWERS.get(kind.answer, kind.answer),
        }
        | {"rows": f"{count:,}"}
        for kind, count in sorted(found.counts.items())
    ]
    show_table(rows, {"mapping": "mapping", "what": "what", "answer": "CommCare", "rows": "rows"}, right=["rows"])
    show_text("")
    _show_changes(found.changes, zone, of_run=True)
    left = found.total - len(found.changes)
    if left:
        show_text(f"... and {left:,} more; `--limit` shows more of them.")


def _show_changes(changes: Sequence[Change], zone: tzinfo, *, of_run: bool = False) -> None:
    """Print a table whose properties stand below each line; of a run, whose records have all the same origin."""
    width = max(len("record"), *(len(_first(one, of_run)) for one in changes)) if changes else 0
    origin = "" if of_run else f"{'run':<{SHORT}}  {'mappings':<8}  "
    show_heading(f"{'when':<16}  {'record' if of_run else 'what':<{width}}  {origin}CommCare")
    for one in changes:
        run, revision = one.run[-SHORT:] or "-", one.revision[:REVISION] or "-"
        origin = "" if of_run else f"{run:<{SHORT}}  {revision:<8}  "
        show_text(f"{local(one.at, zone)}  {_first(one, of_run):<{width}}  {origin}{answer_of(one)}".rstrip())
        about = ", ".join(names_of(one))
        said = f"{what_happened(one)}{': ' if about else ''}{about}" if of_run else about
        if said:
            lines = fill(said, screen().width, initial_indent=INDENT, subsequent_indent=INDENT)
            screen().print(Text(lines), soft_wrap=True)


def _first(one: Change, of_run: bool) -> str:
    """Return what leads a line: the record, or what happened to it."""
    if of_run:
        return one.row.key
    return what_happened(one) + (f" (~{one.generation})" if one.generation > 1 else "")


def _now(one: Standing, zone: tzinfo) -> Iterator[str]:
    """Yield how a row is now, part by part."""
    where = f", course {one.course}" if one.course else ""
    yield f"Now, in mapping {one.mapping}{where}: {one.status or 'not taken by CommCare yet'}"
    if one.case_id:
        yield f"case {one.case_id}"
    if one.waits_since:
        yield f"waiting to confirm what was sent at {local(one.waits_since, zone)}"
    if one.refused:
        yield reason_words(one.refused)
    if one.problems:
        yield numbered(one.problems, "problem listed", "problems listed")
