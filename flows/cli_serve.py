"""The command `serve`: everything that runs by itself, and the UI to look at it, with one word."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.endings import plain_endings, say
from flows.options import ENV_FILE, EnvFile, Port, read_settings

if TYPE_CHECKING:
    from flows.settings import Settings

HOME = Path("var/prefect")
SANDBOX_RECEIVER = 4201
SANDBOX = Path("var/sandbox")


def serve(
    port: Port = 4200,
    host: Annotated[
        str, typer.Option(help="Address to listen on; this computer only, unless given.")
    ] = "127.0.0.1",
    receiver_port: Annotated[
        int | None,
        typer.Option(help="Port for webhooks; else RECEIVER_PORT, or 4201. 0 takes a free one.", min=0, max=65535),
    ] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Serve against a made-up Moodle and CommCare; needs no account.")
    ] = False,
    home: Annotated[Path, typer.Option(help="Folder for Prefect's own data and all logs.")] = HOME,
    env_file: EnvFile = ENV_FILE,
) -> None:
    """Serve Prefect with its UI, all deployments and the receiver of webhooks, until Ctrl-C."""
    from flows.clock import SystemClock
    from flows.prefect_home import in_url, reach
    from flows.serve import Plan, Serving, free_port

    if sandbox:  # its Moodle has to know it before there are settings
        receiver_port = _receiver_port(SANDBOX_RECEIVER, receiver_port) or free_port(host)
    hooks = f"http://{in_url(reach(host))}:{receiver_port}/moodle" if sandbox else ""
    with plain_endings(), _systems(hooks, env_file) as (settings, env, file, tick):
        plan = Plan(
            settings,
            env,
            file,
            (SANDBOX / "prefect" if sandbox and home == HOME else home).absolute(),
            host,
            port or free_port(host),
            _receiver_port(settings.receiver_port, receiver_port) or free_port(host),
            first_run=sandbox,
            tick=tick,
        )
        Serving(plan, SystemClock(), say).run()
        say("Ended.")


Systems = tuple["Settings", Mapping[str, str], str, Callable[[], None]]


@contextmanager
def _systems(hooks: str, env_file: Path) -> Iterator[Systems]:
    """Give the settings of the runs, their environment and settings file, and what is to be done all the time.

    With `hooks` they are those of the sandbox, whose Moodle posts its events to that address.
    """
    if not hooks:
        settings = read_settings(env_file)
        _warn_of_mappings(settings)
        yield settings, dict(os.environ), str(env_file), lambda: None
        return
    from flows.redact import install
    from flows.sandbox import changes_on_enter, export_lines, hooked, make_sandbox, serving
    from flows.settings import KNOWN, load_settings

    box = make_sandbox()
    with serving(box, SANDBOX.absolute(), keep=True) as systems, hooked(box, hooks) as hook:
        made = {**systems, **hook}
        settings = load_settings(made, None)
        install(settings.secrets())
        typer.echo(export_lines(made))
        sys.stdout.flush()
        say(
            "A made-up Moodle and CommCare are running; pasted into another terminal in this folder, the lines "
            f"above let its commands use them too. The mappings in {SANDBOX / 'mappings'} are yours to play with. "
            "Enter changes something in Moodle, which tells the receiver."
        )
        own = {name: value for name, value in os.environ.items() if name not in KNOWN}
        yield settings, {**own, **made}, "", changes_on_enter(box, say)


def _warn_of_mappings(settings: Settings) -> None:
    """Say when the mappings are not right: runs fail until they are, and the UI is there to tell."""
    from flows.open import open_project
    from mappings.engine import MappingError

    try:
        open_project(settings)
    except MappingError as error:
        first = next((one for one in error.problems if one.severity == "error"), error.problems[0])
        say(
            f"The mappings are not right: {Path(first.path).name}, line {first.line}: "
            f"{first.sentence.rstrip('.')}. Every run fails until they are; "
            "`moodle-commcare mappings check` shows all that is wrong."
        )


def _receiver_port(usual: int, given: int | None) -> int:
    return usual if given is None else given
