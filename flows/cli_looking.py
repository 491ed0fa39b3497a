"""The commands `history`, `phones` and `gaps`: looks back and around that send nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.endings import plain_endings, print_json
from flows.options import ENV_FILE, AsJson, EnvFile, read_settings

Csv = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Also write a table for spreadsheets, for you alone.")
]


def history(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="The record's external id, or the id of its case in CommCare.")
    ] = "",
    run: Annotated[str, typer.Option("--run", metavar="RUN", help="What one run did, by its name.")] = "",
    limit: Annotated[int, typer.Option(help="With --run: changes to show.", min=1)] = 50,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Tell every write of one record: when, which properties, in which run, and what CommCare answered."""
    from flows.errors import UsageError
    from flows.history import open_books, past_of, past_of_run, zone_of
    from flows.show_history import show_past, show_past_run

    with plain_endings(as_json):
        if bool(key) == bool(run):
            raise UsageError("Give the KEY of a record, as in test-user-1042, or --run with the name of a run.")
        settings = read_settings(env_file)
        with open_books(settings) as store:
            found = past_of(store, key) if key else past_of_run(store, run, limit)
        if as_json:
            print_json(found.as_json())
        elif key:
            show_past(found, *zone_of(settings))
        else:
            show_past_run(found, *zone_of(settings))
