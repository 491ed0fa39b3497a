"""The `moodle-commcare` command. Each sub-command imports what it needs when it is called."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from flows.result import Result
    from flows.settings import Settings
    from flows.sync import Options

app = typer.Typer(
    help="Keeps Moodle's people, enrolments and grades right in CommCare.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
mappings_app = typer.Typer(help="The mapping files.", no_args_is_help=True)
app.add_typer(mappings_app, name="mappings")

EnvFile = Annotated[Path, typer.Option("--env-file", help="File with the settings; the environment wins over it.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, all else elsewhere.")
]
Courses = Annotated[list[int] | None, typer.Option("--course", help="Only this course id; may be repeated.")]
Mappings = Annotated[list[str] | None, typer.Option("--mapping", help="Only this mapping; may be repeated.")]
Full = Annotated[bool, typer.Option("--full", help="Read everything anew; still only differences are sent.")]
ENV_FILE = Path(".env")


@app.command()
def init(env_file: EnvFile = ENV_FILE) -> None:
    """Ask for the settings and write .env and mappings/project.yaml."""
    from flows.init import run_init

    with _plain_errors():
        run_init(_ask, env_file.parent)


@app.command()
def demo() -> None:
    """Run the main job on local fakes: the whole story in half a minute."""
    from rich.console import Console

    from flows.demo import run_demo

    with _plain_errors():
        asyncio.run(run_demo(Path("var/demo").absolute(), Console()))


@app.command()
def sandbox(
    moodle_port: Annotated[int, typer.Option(help="Port of the made-up Moodle; 0 takes a free one.")] = 0,
    commcare_port: Annotated[int, typer.Option(help="Port of the made-up CommCare; 0 takes a free one.")] = 0,
) -> None:
    """Serve a made-up Moodle and CommCare until Ctrl-C; prints the settings to reach them."""
    from flows.sandbox import export_lines, make_sandbox, serving, wait_for_end

    with (
        _plain_errors(),
        serving(
            make_sandbox(), Path("var/sandbox").absolute(), moodle_port=moodle_port, commcare_port=commcare_port
        ) as settings,
    ):
        print(export_lines(settings), flush=True)  # noqa: T201 - meant for `eval`
        _say("The sandbox is running. Paste the lines above into another terminal; Ctrl-C ends it.")
        wait_for_end()


@app.command()
def check(env_file: EnvFile = ENV_FILE, as_json: AsJson = False) -> None:
    """Tell what works and what is missing, each with what to do about it."""
    from flows.check import run_checks
    from flows.show import show_findings

    with _plain_errors(as_json):
        settings = _settings(env_file)
        findings = asyncio.run(run_checks(settings))
        if as_json:
            _print_json({"ok": all(f.level != "fail" for f in findings), "findings": [vars(f) for f in findings]})
        else:
            show_findings(findings)
        raise typer.Exit(1 if any(finding.level == "fail" for finding in findings) else 0)


@app.command()
def sync(
    course: Courses = None,
    mapping: Mappings = None,
    full: Full = False,
    yes: Annotated[bool, typer.Option("--yes", help="Approve the first run of a mapping without asking.")] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Read Moodle and send CommCare what differs."""
    from flows.sync import Options

    options = Options(tuple(course or ()), tuple(mapping or ()), full=full, yes=yes)
    with _plain_errors(as_json):
        settings = _settings(env_file)
        result = _run(settings, options, as_json)
        if result.plan and not as_json and sys.stdin.isatty():
            from flows.show import show_plan

            show_plan(result)
            if typer.confirm("CommCare's API cannot delete cases: what is created stays. Go ahead?"):
                result = _run(settings, Options(options.courses, options.mappings, full, yes=True), as_json)
        _report(result, as_json)


@app.command()
def preview(
    course: Courses = None,
    mapping: Mappings = None,
    full: Full = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Read Moodle and tell what a run would send; nothing is sent."""
    from flows.sync import Options

    options = Options(tuple(course or ()), tuple(mapping or ()), full=full, preview=True)
    with _plain_errors(as_json):
        _report(_run(_settings(env_file), options, as_json), as_json)


@app.command("confirm-leavers")
def confirm_leavers(
    course: Annotated[int, typer.Argument(help="Course id; 0 for the people of the site.")] = -1,
    every: Annotated[bool, typer.Option("--all", help="Every course that waits.")] = False,
    count: Annotated[int, typer.Option(help="How many people left, as the run said; the sum with --all.")] = -1,
    env_file: EnvFile = ENV_FILE,
) -> None:
    """Confirm that people who are missing are really gone; the next run marks them."""
    from flows.confirm import confirm
    from flows.open import open_store

    with _plain_errors():
        settings = _settings(env_file)
        with open_store(settings) as store:
            _say(confirm(store, None if every else course, count))


@mappings_app.command("check")
def mappings_check(
    folder: Annotated[Path | None, typer.Argument(help="Folder of the mappings; default MAPPINGS_DIR.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check the mapping files and run their tests: every problem with file, line and what to do."""
    from flows.catalogue import field_catalogue
    from mappings.engine import check_project

    place = folder or Path(os.environ.get("MAPPINGS_DIR", "mappings"))
    with _plain_errors(as_json):
        report = check_project(place, field_catalogue())
        wrong = any(problem.severity == "error" for problem in report.problems)
        if as_json:
            _print_json({"ok": not wrong, "problems": [_problem_json(problem) for problem in report.problems]})
        else:
            for problem in report.problems:
                print(problem.render(), end="\n\n")  # noqa: T201
            verdict = "not right yet" if wrong else "all right"
            _say(f"{report.mappings} mappings, {report.tests_run} tests: {verdict}.")
        raise typer.Exit(1 if wrong else 0)


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    app(prog_name="moodle-commcare")
    raise SystemExit(0)


def _run(settings: Settings, options: Options, as_json: bool) -> Result:
    """Open the world, run once with progress on standard error, close it."""
    from flows.open import open_world
    from flows.show import progress_bar
    from flows.sync import sync as sync_once

    async def run() -> Result:
        task = asyncio.current_task()
        if task is not None:  # so that `systemctl stop` lets go of the lease
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        world = open_world(settings)
        try:
            with progress_bar(quiet=as_json) as progress:
                return await sync_once(world, options, progress)
        finally:
            await world.close()

    return asyncio.run(run())


def _report(result: Result, as_json: bool) -> NoReturn:
    from flows.show import show_result

    if as_json:
        _print_json(result.as_json())
    else:
        show_result(result)
    raise typer.Exit(result.state.exit_code)


def _settings(env_file: Path) -> Settings:
    from flows.redact import install
    from flows.settings import load_settings

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    settings = load_settings(os.environ, env_file)
    install(settings.secrets())
    return settings


@contextmanager
def _plain_errors(as_json: bool = False) -> Iterator[None]:
    """Turn every expected error into a sentence and an exit code: 2 for wrong usage, 1 for the rest."""
    from adaptors.errors import AdaptorError
    from flows.errors import UsageError
    from flows.settings import SettingsError
    from mappings.engine import MappingError
    from state import StateError

    try:
        yield
    except (UsageError, SettingsError) as error:
        _fail(str(error), 2, as_json)
    except (AdaptorError, MappingError, StateError) as error:
        _fail(str(error), 1, as_json)
    except (KeyboardInterrupt, asyncio.CancelledError):
        _fail("Stopped. What was under way is found again by the next run.", 130, as_json)
    except OSError as error:
        _fail(f"{error.strerror or 'The system refuses'}: {error.filename or 'no file'}.", 1, as_json)


def _fail(message: str, code: int, as_json: bool) -> NoReturn:
    if as_json:
        _print_json({"state": "failed", "messages": message.splitlines()})
    else:
        _say(message)
    raise typer.Exit(code)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _print_json(found: dict[str, Any]) -> None:
    typer.echo(json.dumps(found, ensure_ascii=False, default=str))


def _problem_json(problem: Any) -> dict[str, Any]:
    names = ("path", "line", "column", "severity", "sentence", "remedy")
    return {name: getattr(problem, name) for name in names}


def _ask(question: str, default: str, secret: bool) -> str:
    answer: str = typer.prompt(question, default=default, hide_input=secret, show_default=bool(default))
    return answer


Asker = Callable[[str, str, bool], str]

if __name__ == "__main__":
    main()
