"""What is wrong with mapping files, at a terminal; nothing that draws tables, so that a check starts fast."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from flows.endings import wrapped
from flows.words import numbered
from mappings.engine import CheckReport, Problem
from mappings.engine.load import mapping_files

OUT_OF_DATE = "Where the mapping is right, `moodle-commcare mappings test --update` brings old tests up to date."


def show_mappings(report: CheckReport, folder: Path) -> None:
    """Print what is wrong with the mappings, and which there are."""
    for problem in report.problems:
        typer.echo("\n".join(problem_lines(problem)) + "\n")
    tests = numbered(report.tests_run, "test") + (f", {report.tests_failed} failed" if report.tests_failed else "")
    if report.errors:
        typer.echo(laid_out(f"{numbered(len(report.errors), 'mistake')} to put right; {tests}."))
        if report.tests_failed:
            typer.echo(laid_out(OUT_OF_DATE))
        return
    if not report.is_good:
        failed = f"{report.tests_failed} of {numbered(report.tests_run, 'test')}"
        typer.echo(laid_out(f"No mistakes; {failed} failed, which stops no run."))
        typer.echo(laid_out(OUT_OF_DATE))
        return
    off = set(report.switched_off)
    names = [file.stem for file in mapping_files(folder)]
    used = ", ".join(name for name in names if name not in off)
    more = f"; switched off: {', '.join(sorted(off))}" if off else ""
    for cost in report.costs:
        typer.echo(laid_out(f"Adds to a run  {cost.sentence}"))
    found = f"{numbered(len(names) - len(off), 'mapping')} ({used}{more}){_tables(report)}"
    verdict = "no mistakes" if report.tests_failed else "all right"  # those of mappings that are off may fail
    typer.echo(laid_out(f"{found}, {tests}: {verdict}."))


def _tables(report: CheckReport) -> str:
    """Return the lookup tables for the line that ends a check, "" where there are none."""
    if not report.tables and not report.tables_off:
        return ""
    used = [", ".join(report.tables)] if report.tables else []
    off = [f"switched off: {', '.join(report.tables_off)}"] if report.tables_off else []
    return f", {numbered(len(report.tables), 'lookup table')} ({'; '.join([*used, *off])})"


def problem_json(problem: Problem) -> dict[str, Any]:
    """Return a problem for `--json`."""
    names = ("path", "line", "column", "severity", "sentence", "remedy")
    return {name: getattr(problem, name) for name in names}


def laid_out(text: str, *, first: str = "", then: str = "") -> str:
    """Break a text for the terminal; commands in it are called as from here and stay whole, to be copied."""
    return wrapped(text, sys.stdout.isatty(), first=first, then=then)


def problem_lines(problem: Problem) -> Iterator[str]:
    """Yield what and where, the marked place as it stands in the file, and the remedy."""
    for line in replace(problem, path=_from_here(problem.path)).render().split("\n"):
        words = line.lstrip()
        indent = " " * (len(line) - len(words))
        yield laid_out(words, first=indent, then=f"{indent}  ") if words.startswith("= ") else laid_out(line)


def _from_here(path: str) -> str:
    """Return a path below the folder that the command was started in without that folder."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
