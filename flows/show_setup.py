"""What a person sees of a checklist: numbered steps with a box to tick, fit to be sent on as a text."""

from __future__ import annotations

import sys

import typer

from flows.endings import wrapped
from flows.setup_steps import Checklist, Line, Step

INDENT = " " * 8


def show_checklist(checklist: Checklist) -> None:
    """Print a checklist on standard output."""
    _print(f"What {checklist.system} has to allow")
    for sentence in checklist.found:
        _print(sentence)
    for number, step in enumerate(checklist.steps, start=1):
        _print("")
        _show(number, step)


def _show(number: int, step: Step) -> None:
    _print(f"[ ] {step.title}", first=f"{number:>2}. ", then=INDENT)
    _print(f"→ {step.screen}", first=INDENT, then=f"{INDENT}  ")
    for sentence in step.do:
        _print(sentence, first=INDENT, then=INDENT)
    for line in step.lines:
        _line(line)


def _line(line: Line) -> None:
    _print(f"- {line.name}", first=f"{INDENT}  ", then=f"{INDENT}    ")
    _print(line.why, first=f"{INDENT}    ", then=f"{INDENT}    ")


def _print(text: str, *, first: str = "", then: str = "") -> None:
    typer.echo(wrapped(text, sys.stdout.isatty(), first=first, then=then))
