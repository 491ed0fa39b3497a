"""The commands `feedback ...`: what coaches write in CommCare goes back to Moodle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.endings import go_ahead, plain_endings, print_json, say
from flows.options import ENV_FILE, AsJson, EnvFile, read_settings

feedback_app = typer.Typer(
    help="Feedback that coaches write in CommCare, back to Moodle (`write_back` in a mapping).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@feedback_app.command("preview")
def feedback_preview(env_file: EnvFile = ENV_FILE, as_json: AsJson = False) -> None:
    """Tell which texts would go to Moodle now, and what is in the way of others; nothing is sent."""
    _send(env_file, as_json, dry_run=True)


@feedback_app.command("send")
def feedback_send(
    yes: Annotated[
        bool, typer.Option("--yes", help="Approve, without asking, what a mapping sends back from now on.")
    ] = False,
    overwrite: Annotated[
        list[str] | None,
        typer.Option("--overwrite", help="Key of a case whose text counts, not Moodle's; may be repeated."),
    ] = None,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Look for texts in cases that changed, publish them in Moodle, and read back what Moodle stored."""
    _send(env_file, as_json, yes=yes, overwrite=tuple(overwrite or ()))


def _send(
    env_file: Path, as_json: bool, *, yes: bool = False, dry_run: bool = False, overwrite: tuple[str, ...] = ()
) -> None:
    from flows.attended_feedback import run_feedback
    from flows.feedback_desk import Options

    stopped = "Stopped. Run it again at any time: what Moodle holds already is not sent again."
    with plain_endings(as_json, stopped=stopped):
        settings = read_settings(env_file)
        done = run_feedback(settings, Options(yes, dry_run, overwrite))
        if done.asked and not as_json and sys.stdin.isatty():
            for line in done.lines():
                say(line)
            go_ahead("Go ahead?", "sent", done.state.exit_code)
            done = run_feedback(settings, Options(True, dry_run, overwrite))
        if as_json:
            print_json(done.as_json())
        else:
            for line in done.lines():
                say(line)
        raise typer.Exit(done.state.exit_code)
