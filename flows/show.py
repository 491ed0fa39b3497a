"""What a person at a terminal sees: progress while it runs, then counts, reasons and what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from flows.check import Finding
from flows.result import Result, RunState
from flows.world import Progress as Tell
from flows.world import silent

COLUMNS = ("created", "updated", "unchanged", "marked_left", "held_back", "problems", "in_doubt")
HEADINGS = {"in_doubt": "waiting to confirm", "marked_left": "marked as left", "held_back": "held back"}
STAGES = {"people": "Reading who is in the courses", "profiles": "Reading profiles", "courses": "Reading courses"}
MARKS = {"ok": "[green]ok  [/]", "warn": "[yellow]note[/]", "fail": "[red]FAIL[/]"}
STYLES = {RunState.COMPLETED: "green", RunState.FAILED: "red"}


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Tell]:
    """Show a bar per stage on a terminal, a line per stage elsewhere, nothing when quiet."""
    if quiet:
        yield silent
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield _telling(bars)
    else:
        yield _line


def _bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _telling(bars: Progress) -> Tell:
    tasks = {}

    def tell(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(STAGES.get(stage, stage), total=total)
        bars.update(tasks[stage], completed=done, total=total)

    return tell


def _line(stage: str, done: int, total: int) -> None:
    if done >= total:
        Console(stderr=True).print(f"{STAGES.get(stage, stage)}: {total} done")


def show_result(result: Result) -> None:
    """Print a run: one line, the counts, the reasons, and what a person has to do."""
    console = Console()
    style = STYLES.get(result.state, "yellow")
    what = "Preview: nothing was sent" if result.preview else f"Run {result.run_id}"
    console.print(f"[bold]{what}[/] — [{style}]{result.state}[/]")
    if result.cases:
        console.print(_counts(result))
    requests = " · ".join(
        f"{sum(kinds.values())} requests to {name}"
        for name, kinds in (("Moodle", result.requests["moodle"]), ("CommCare", result.requests["commcare"]))
    )
    console.print(f"{len(result.courses)} courses · {requests} · {result.seconds:.1f} s")
    for reason, count in result.reasons.most_common():
        console.print(f"  {count} × {reason.replace('_', ' ')}")
    for message in result.messages:
        console.print(f"[{style}]•[/] {escape(message)}")


def show_plan(result: Result) -> None:
    """Print what a first run would do, for a person to approve."""
    console, plan = Console(), result.plan
    console.print("[bold]This would be the first run of these mappings. It would:[/]")
    for case_type, count in plan["creates"].items():
        there = plan["existing_cases"].get(case_type, 0)
        console.print(f"  create {count} cases of type {case_type} (CommCare has {there} now)")
    for reason, count in plan["held_back"].items():
        console.print(f"  hold back or leave incomplete {count} × {reason.replace('_', ' ')}")
    console.print(f"  take {plan['commcare_requests']} requests, about {plan['expected_minutes']} min\n")


def show_findings(findings: Sequence[Finding]) -> None:
    """Print the checks, one line each; what is missing comes with what to do."""
    console = Console(soft_wrap=True)
    for finding in findings:
        console.print(f"{MARKS[finding.level]} {escape(finding.what)}")
        if finding.remedy:
            console.print(f"       → {escape(finding.remedy)}")


def _counts(result: Result) -> Table:
    used = [name for name in COLUMNS if any(getattr(counts, name) for counts in result.cases.values())]
    table = Table("case type", *(HEADINGS.get(name, name) for name in used))
    for column in table.columns[1:]:
        column.justify = "right"
    for case_type, counts in result.cases.items():
        table.add_row(case_type, *(str(getattr(counts, name)) for name in used))
    return table
