"""The commands `status` and `metrics`: where things stand, by the books alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.endings import plain_endings, print_json, say
from flows.options import ENV_FILE, AsJson, EnvFile, read_settings

if TYPE_CHECKING:
    from flows.settings import Settings


def status(
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with charts into this file, for you alone (0600).")
    ] = None,
    withdrawn: Annotated[
        bool,
        typer.Option("--withdrawn", help="List by their keys the cases of people whom the mappings keep out."),
    ] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Tell where things stand: what needs a person, how fresh each course is, cases, problems, runs."""
    from flows.clock import SystemClock
    from flows.errors import UsageError
    from flows.show_status import show_status
    from flows.status import status_of
    from flows.status_json import status_json

    with plain_endings(as_json):
        if withdrawn and html is not None:
            raise UsageError("Give --withdrawn or --html: the page has no keys in it.")
        if withdrawn:
            _withdrawn(read_settings(env_file), as_json)
            return
        found = status_of(read_settings(env_file), SystemClock().now())
        if html is not None:
            from flows.page import write_page

            write_page(html, found)
            say(f"Written: {html}.")
        if as_json:
            print_json(status_json(found))
        elif html is None:
            show_status(found)


def _withdrawn(settings: Settings, as_json: bool) -> None:
    from flows.show_books import show_withdrawn
    from flows.withdrawn import withdrawn_here

    found = withdrawn_here(settings)
    if as_json:
        print_json({"withdrawn": [one.as_json() for one in found]})
    else:
        show_withdrawn(found)


def metrics(
    file: Annotated[
        Path | None, typer.Option("--file", help="Write them into this file at once, for node_exporter.")
    ] = None,
    courses: Annotated[
        int, typer.Option("--courses", help="Courses that get lines of their own, those longest ago first.", min=0)
    ] = 100,
    env_file: EnvFile = ENV_FILE,
) -> None:
    """Print the status as metrics for Prometheus, in its text format."""
    from flows.clock import SystemClock
    from flows.metrics import metrics_text, write_metrics
    from flows.status import status_of

    with plain_endings():
        text = metrics_text(status_of(read_settings(env_file), SystemClock().now()), courses)
        if file is None:
            typer.echo(text, nl=False)
        else:
            write_metrics(file, text)
