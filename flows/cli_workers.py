"""The command `workers create`: mobile workers for people who are to own their cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.endings import FAILED, OK, WAITING, fail, plain_endings, print_json, say
from flows.options import ENV_FILE, AsJson, EnvFile, Mappings, read_settings

workers_app = typer.Typer(help="Mobile workers for students who have phones of their own.", no_args_is_help=True)


@workers_app.callback()
def workers() -> None:
    """Keep `create` a word of its own: a command that is alone would lose it."""


@workers_app.command("create")
def create(
    to: Annotated[Path | None, typer.Option(help="New file for user names and passwords, for you alone.")] = None,
    mapping: Mappings = None,
    count: Annotated[int, typer.Option(help="Make exactly so many, as the plan says; nothing is asked then.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say who would get one.")] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Make mobile workers for people whose case no mobile worker owns yet; each is billed by CommCare."""
    from flows.attended_workers import run_creation, run_plan
    from flows.csv_file import new_file
    from flows.errors import UsageError
    from flows.show_problems import laid_out

    with plain_endings(as_json):
        if not dry_run and to is None:
            raise UsageError("Name a new file for the passwords: --to FILE. `--dry-run` shows the plan alone.")
        new_file(to)
        settings = read_settings(env_file)
        plan = run_plan(settings, mapping or [])
        wanted = len(plan.newcomers)
        if not as_json:
            for line in plan.lines():
                typer.echo(laid_out(line))
        if dry_run or not wanted or to is None:
            if as_json:
                print_json({"state": "completed", **plan.as_json()})
            return
        if count and count != wanted:
            raise UsageError(f"The plan is for {wanted}, not {count}. Give --count {wanted} if that is right.")
        if not count and (as_json or not _agrees(wanted)):
            fail(f"Nothing was made. Give --count {wanted} to make them.", WAITING, as_json)
        done = run_creation(settings, plan.newcomers, to)
        if as_json:
            state = "completed" if done.is_whole else "degraded"
            print_json({"state": state, **plan.as_json(), **done.as_json(), "file": str(to)})
        for line in [] if as_json else done.lines(to):
            say(line)
        raise typer.Exit(OK if done.is_whole else FAILED)


def _agrees(wanted: int) -> bool:
    """Ask at a terminal; without one nobody agrees."""
    import sys

    with plain_endings(stopped="Stopped; nothing was made."):
        return sys.stdin.isatty() and typer.confirm(f"Make {wanted} mobile workers in CommCare?", default=False)
