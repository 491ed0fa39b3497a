"""The `moodle-commcare` command. Each sub-command imports what it needs when it is called."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from flows.cli_assignments import assignments_app
from flows.cli_automations import automations_app
from flows.cli_confirm import ANSWERS
from flows.cli_feedback import feedback_app
from flows.cli_hooks import drain, receiver
from flows.cli_looking import gaps, history, phones
from flows.cli_mappings import mappings_app
from flows.cli_match import match_app
from flows.cli_problems import audit, problems_app
from flows.cli_serve import serve
from flows.cli_setup import Assignments, Feedback, chosen, setup_app
from flows.cli_shards import Shards, shard
from flows.cli_state import person_app, state_app
from flows.cli_status import metrics, status
from flows.cli_workers import workers_app
from flows.endings import FAILED, NAME, OK, POSTPONED, command, fail, plain_endings, print_json, say, wrapped
from flows.options import (
    ENV_FILE,
    AsJson,
    Courses,
    EnvFile,
    Full,
    Mappings,
    Port,
    ShowValues,
    read_settings,
    say_what_wins,
)
from flows.usage import Commands

if TYPE_CHECKING:
    from flows.result import Result

app = typer.Typer(
    cls=Commands,
    help="Keeps Moodle's people, enrolments and grades right in CommCare.",
    epilog="Exit codes: 0 completed · 1 failed, or degraded · 2 wrong usage or settings · 3 postponed · "
    "4 waits for a person.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(assignments_app, name="assignments")
app.add_typer(feedback_app, name="feedback")
app.add_typer(mappings_app, name="mappings")
app.add_typer(match_app, name="match")
app.add_typer(workers_app, name="workers")
app.add_typer(problems_app, name="problems")
app.add_typer(state_app, name="state")
app.add_typer(person_app, name="person")
app.add_typer(automations_app, name="automations")
app.add_typer(setup_app, name="setup")
app.command()(audit)
app.command()(history)
app.command()(phones)
app.command()(gaps)
app.command()(status)
app.command()(metrics)
app.command()(serve)
for name, answer in ANSWERS.items():
    app.command(name)(answer)
app.command()(receiver)
app.command()(drain)
app.command()(shard)


@app.command()
def demo() -> None:
    """Run the main job on a made-up Moodle and CommCare: the whole story in a few seconds."""
    import asyncio

    from rich.console import Console

    from flows.demo import DemoFailed, run_demo

    with plain_endings():
        try:
            asyncio.run(run_demo(Path("var/demo").absolute(), Console(highlight=False)))
        except DemoFailed as error:
            fail(str(error), FAILED, False)


@app.command()
def sandbox(
    moodle_port: Port = 0,
    commcare_port: Port = 0,
    webhook: Annotated[
        str, typer.Option(help="Address to tell of changes, as Moodle's webhooks do: http://127.0.0.1:4201/moodle")
    ] = "",
) -> None:
    """Serve a made-up Moodle and CommCare until Ctrl-C; prints the settings to reach them."""
    from flows.sandbox import export_lines, hooked, make_sandbox, serving, wait_for_end

    folder, box = Path("var/sandbox").absolute(), make_sandbox()
    ports = {"moodle_port": moodle_port, "commcare_port": commcare_port}
    with (
        plain_endings(),
        serving(box, folder, keep=True, **ports) as settings,
        hooked(box, webhook) as more,
    ):
        typer.echo(export_lines(settings | more))
        sys.stdout.flush()
        say(
            f"A made-up Moodle and CommCare are running. Paste the lines above into another terminal, in this "
            f"folder; there, try {command()} check, preview and sync. The mappings in {folder / 'mappings'} are "
            "yours to play with.\nHere, Enter changes something in Moodle and Ctrl-C ends it all."
        )
        wait_for_end(box, say)
        say("Ended.")


@app.command()
def init(
    env_file: EnvFile = ENV_FILE,
    offline: Annotated[
        bool, typer.Option("--offline", help="Begin with the mappings for students who have phones of their own.")
    ] = False,
) -> None:
    """Ask for the settings and write .env and mappings/project.yaml."""
    from flows.init import run_init
    from flows.offer import offer_of, owner_trouble
    from flows.sandbox import copy_shipped

    with plain_endings(stopped="Stopped before the last answer; nothing was written."):
        result = run_init(_ask, env_file.parent, probe=offer_of, find_owner=owner_trouble, env_name=env_file.name)
        (project,) = [path for path in (*result.written, *result.kept) if path.name == "project.yaml"]
        for path in (*result.written, *copy_shipped(project.parent, offline=offline)):
            say(f"Written: {path}")
        for path in result.kept:
            say(f"Left as it is: {path}")
        option = "" if env_file == ENV_FILE else f" --env-file {env_file}"
        say(f"Next: {command()} check{option}")
        say_what_wins(env_file)


@app.command()
def check(
    assignments: Assignments = False,
    feedback: Feedback = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Tell what works and what is missing, each with what to do about it."""
    import asyncio

    from flows.attended import run_check

    with plain_endings(as_json):
        asked = chosen(assignments=assignments, feedback=feedback)
        levels = asyncio.run(run_check(read_settings(env_file), as_json, asked))
        raise typer.Exit(FAILED if "fail" in levels else POSTPONED if "later" in levels else OK)


@app.command()
def preview(
    course: Courses = None,
    mapping: Mappings = None,
    limit: Annotated[int, typer.Option(help="Records to show of those that would be sent.", min=0)] = 20,
    show_values: ShowValues = False,
    full: Full = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Read Moodle and tell what a run would send, with the first records masked; nothing is sent."""
    from flows.attended import run_preview
    from flows.masked import Eyes
    from flows.show_preview import show_preview
    from flows.sync import Options

    options = Options(tuple(course or ()), tuple(mapping or ()), full=full, preview=True)
    with plain_endings(as_json):
        eyes = Eyes(show_values)
        found = run_preview(read_settings(env_file), options, limit)
        if as_json:
            print_json(found.as_json(eyes))
        else:
            show_preview(found, eyes)
        raise typer.Exit(found.result.state.exit_code)


@app.command()
def sync(
    course: Courses = None,
    mapping: Mappings = None,
    full: Full = False,
    yes: Annotated[bool, typer.Option("--yes", help="Approve the first run of a mapping without asking.")] = False,
    rekey: Annotated[
        list[str] | None,
        typer.Option(
            "--rekey", help="Let this mapping make all its cases anew, under other keys; may be repeated."
        ),
    ] = None,
    shards: Shards = 1,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Read Moodle and send CommCare what differs."""
    from flows.attended import run_approved, run_once
    from flows.sync import Options

    options = Options(tuple(course or ()), tuple(mapping or ()), full=full, yes=yes, rekey=tuple(rekey or ()))
    options = replace(options, attended=not as_json and sys.stdin.isatty())
    stopped = "Stopped. What was not finished is found again by the next run."
    with plain_endings(as_json, stopped=stopped):
        settings = read_settings(env_file)
        result = run_once(settings, options, shards)
        if result.plan and not as_json and sys.stdin.isatty():
            result = run_approved(settings, options, result, shards)
        _report(result, as_json)


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that cannot show a letter
    app(prog_name=NAME)
    raise SystemExit(0)


def _report(result: Result, as_json: bool) -> NoReturn:
    from flows.show import show_result

    if as_json:
        print_json(result.as_json())
    else:
        show_result(result)
    raise typer.Exit(result.state.exit_code)


def _ask(question: str, default: str, secret: bool) -> str:
    """Ask one question; what is typed in secret is hidden where there is somebody to hide it from."""
    hidden = secret and sys.stdin.isatty()
    shown = wrapped(f"{question} (hidden while you type)" if hidden else question, sys.stdout.isatty())
    answer: str = typer.prompt(shown, default=default, hide_input=hidden, show_default=bool(default))
    return answer


if __name__ == "__main__":
    main()
