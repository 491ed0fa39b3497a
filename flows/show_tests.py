"""How the tests of the mappings end, and what bringing them up to date would write."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from flows.endings import plain_endings, say
from flows.mapping_tests import Tested, Update
from flows.masked import Eyes
from flows.show_live import screen, show_heading, show_text
from flows.show_problems import OUT_OF_DATE, problem_json, problem_lines
from flows.words import listed, numbered
from mappings.engine.expectations import Change

if TYPE_CHECKING:
    from flows.example import Written

ASKED = "Write this into the files? Everything else in them stays as it is."


def show_tested(found: Sequence[Tested], written: Sequence[Update], *, updating: bool) -> None:
    """Print what failed, a line for each mapping, and unless `updating` how old tests are brought up to date."""
    for update in written:
        show_text(f"Written: {update.path}")
    for tested in found:
        for problem in tested.problems:
            screen().print(Text("\n".join(problem_lines(problem)) + "\n"), soft_wrap=True)
    for tested in found:
        show_text(_line(tested))
    if not updating and any(tested.examples is not None and tested.examples.failed for tested in found):
        show_text(OUT_OF_DATE)


def _line(tested: Tested) -> str:
    if tested.examples is None:
        return f"{tested.file.name}: the file has mistakes, so its tests were not run"
    run, failed = tested.examples.run, tested.examples.failed
    if not run:
        return f"{tested.file.name}: no test"
    verdict = f"{failed} failed" if failed else "all right"
    return f"{tested.file.name}: {numbered(run, 'test')}, {verdict}"


def show_updates(needed: Sequence[Update], eyes: Eyes) -> None:
    """Print the difference that --update would write."""
    for update in needed:
        show_heading(str(update.path))
        for change in update.changes:
            show_text(f"{change.test}: {change.what}", first="  ", then="    ")
            for mark, text in zip("-+~", _shown(change, eyes), strict=True):
                if text:
                    show_text(text, first=f"    {mark} ", then="      ")


def _shown(change: Change, eyes: Eyes) -> tuple[str, str, str]:
    """Return what goes, comes and changes; of a whole block only which parts, as whole values are people's."""
    if change.what == "expect" and not eyes.sees_values:
        return listed(change.gone), listed(change.come), listed(change.differ)
    old, new = (eyes.see(text, personal=change.personal) for text in (change.old, change.new))
    return old, new, ""


def ask_to_write() -> bool:
    """Ask at a terminal; elsewhere say how to agree."""
    if not sys.stdin.isatty():
        say("Nothing was written: give --yes to write this.")
        return False
    with plain_endings(stopped="Stopped; nothing was written."):
        return bool(typer.confirm(ASKED))


def tested_json(found: Sequence[Tested], written: Sequence[Update]) -> dict[str, Any]:
    """Return the outcome for `--json`."""
    counts = {
        tested.file.name: {"tests": tested.examples.run, "failed": tested.examples.failed}
        for tested in found
        if tested.examples is not None
    }
    problems = [problem_json(problem) for tested in found for problem in tested.problems]
    return {
        "ok": not problems,
        "mappings": counts,
        "problems": problems,
        "written": [str(update.path) for update in written],
    }


def show_example(written: Written) -> None:
    """Print the test that was written."""
    show_text(f"Written into {written.path}:")
    for line in written.lines:
        screen().print(Text(line), soft_wrap=True)
    outcome = written.outcome.replace("_", " ")
    show_text(
        f"It expects what the mapping makes of it now ({outcome}). Nothing in it should be a real person's: "
        f"read it, and give it a better name. `moodle-commcare mappings test` runs it."
    )


def example_json(written: Written) -> dict[str, Any]:
    """Return what was written for `--json`."""
    return {"file": str(written.path), "test": written.name, "expects": written.outcome, "text": [*written.lines]}
