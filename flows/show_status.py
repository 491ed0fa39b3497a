"""Where things stand, on a terminal: first what needs a person, then how fresh, how much, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.show_problems import laid_out
from flows.status_words import (
    BROKEN_MAPPINGS,
    COURSE_HEADINGS,
    RUN_HEADINGS,
    care_lines,
    case_table,
    course_cells,
    doubt_lines,
    freshness,
    headline,
    last_messages,
    moment,
    next_lines,
    problem_words,
    run_cells,
    table_lines,
    table_table,
    undelivered_words,
    unread,
)
from flows.undelivered import COMMAND
from flows.words import numbered

if TYPE_CHECKING:
    from flows.status import Status

COURSES, RUNS, PROBLEMS = 12, 8, 12
"""Lines of each table; the page and `--json` have all."""


def show_status(status: Status) -> None:
    """Print the status."""
    console = _console()
    moodle, commcare, space = status.about or ("", "", "")
    console.print(Text(f"{moodle} → {space} on {commcare}", "bold"), soft_wrap=True)
    zone = f" ({status.zone})" if status.books else ""
    console.print(Text(f"{moment(status.now, status)}{zone}", "dim"))
    _say(headline(status))
    if status.note:
        _say(status.note)
    for message in last_messages(status):
        console.print(Text(laid_out(message, first="- ", then="  ")))
    if not status.books:
        if not status.mappings_right:
            _say(BROKEN_MAPPINGS)
        _lines("Next run", next_lines(status))
        return
    _needs(status, undelivered_words(status))
    _lines("Next run", next_lines(status))
    _courses(status)
    _cases(status)
    _tables(status)
    _problems(status)
    if status.runs:
        _heading("Last runs")
        _table(RUN_HEADINGS, [run_cells(run, status) for run in status.runs[:RUNS]], left=2)
    _lines("Books", [f"They are in {status.place}.", *care_lines(status)])


def _needs(status: Status, undelivered: str) -> None:
    _heading("Needs a person")
    if status.mappings_right and not status.needs and not undelivered:
        _say("Nothing.")
    if not status.mappings_right:
        _console().print(Text(laid_out(BROKEN_MAPPINGS, first="- ", then="  ")))
    for need in status.needs:
        console = _console()
        console.print(Text(laid_out(need.sentence, first="- ", then="  ")))
        console.print(Text(laid_out(f"{need.if_so}:", first="  ", then="  ")))
        console.print(Text(laid_out(f"→ `{need.command}`", first="  ", then="    "), "yellow"))
        console.print(
            Text(laid_out(f"or in Prefect `{need.deployment}`: {need.form_in_words}", first="    ", then="    "))
        )
        if need.or_else:
            console.print(Text(laid_out(need.or_else, first="  ", then="  ")))
    if undelivered:
        _console().print(Text(laid_out(undelivered, first="- ", then="  ")))
        _console().print(Text(laid_out(f"→ `{COMMAND}`", first="  ", then="    "), "yellow"))


def _courses(status: Status) -> None:
    _heading("Courses")
    _say(freshness(status))
    courses = status.chosen
    if courses:
        _table(COURSE_HEADINGS, [course_cells(one, status) for one in courses[:COURSES]])
    if len(courses) > COURSES:
        _say(f"... and {len(courses) - COURSES:,} more, read later than these.")
    if unread(status):
        _say(unread(status))


def _cases(status: Status) -> None:
    _heading("Cases")
    headings, rows = case_table(status.cases)
    if rows:
        _table(headings, rows)
    else:
        _say("None yet.")
    for line in doubt_lines(status):
        _say(f"Waiting to confirm: {line}.")


def _tables(status: Status) -> None:
    if not status.tables:
        return
    _heading("Lookup tables")
    _table(*table_table(status))
    for line in table_lines(status):
        _console().print(Text(laid_out(line, first="- ", then="  ")))


def _problems(status: Status) -> None:
    if not status.problems:
        return
    _heading("Problems")
    for one in status.problems[:PROBLEMS]:
        _console().print(Text(laid_out(problem_words(one), first="- ", then="  ")))
        if one.remedy:
            _console().print(Text(laid_out(f"→ {one.remedy}", first="  ", then="    ")))
    if len(status.problems) > PROBLEMS:
        more = numbered(len(status.problems) - PROBLEMS, "reason")
        _say(f"... and {more} more: `moodle-commcare problems list` has them all.")


def _lines(heading: str, lines: Iterable[str]) -> None:
    _heading(heading)
    for line in lines:
        _console().print(Text(laid_out(line, first="- ", then="  ")))


def _heading(text: str) -> None:
    _console().print(Text(f"\n{text}", "bold"))


def _say(text: str) -> None:
    _console().print(Text(laid_out(text)))


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Print a table of which all columns but the first ones hold numbers."""
    table = Table(*headings, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in table.columns[left:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    _console().print(table)


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False)
