"""The commands `history`, `phones` and `gaps`: looks back and around that send nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.endings import plain_endings, print_json, say
from flows.options import ENV_FILE, AsJson, Courses, EnvFile, ShowValues, read_settings

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
    from flows.history import Past, open_books, past_of, past_of_run, zone_of
    from flows.show_history import show_past, show_past_run

    with plain_endings(as_json):
        if bool(key) == bool(run):
            raise UsageError("Give the KEY of a record, as in test-user-1042, or --run with the name of a run.")
        settings = read_settings(env_file)
        with open_books(settings) as store:
            found = past_of(store, key) if key else past_of_run(store, run, limit)
        if as_json:
            print_json(found.as_json())
        elif isinstance(found, Past):
            show_past(found, *zone_of(settings))
        else:
            show_past_run(found, *zone_of(settings))


def phones(
    csv: Csv = None,
    show_values: ShowValues = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Tell how many open cases each mobile worker's phone holds, how many changed, and what CommCare advises."""
    from flows.attended_looks import run_phones
    from flows.csv_file import new_file, write_csv
    from flows.masked import Eyes
    from flows.show_phones import CSV, csv_rows, show_phones

    with plain_endings(as_json):
        eyes = Eyes(show_values)
        new_file(csv)
        found, now, zone = run_phones(read_settings(env_file))
        if csv is not None:
            write_csv(csv, CSV, csv_rows(found, eyes))
        if as_json:
            print_json(found.as_json(eyes))
        else:
            show_phones(found, eyes, now, zone)
        if csv is not None:
            say(f"Written: {csv}")


def gaps(
    course: Courses = None,
    csv: Csv = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also other blank fields that the mappings read, such as the city.")
    ] = False,
    show_values: ShowValues = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Tell Moodle's admin who lacks a telephone, e-mail address, group or owner; reads Moodle, sends nothing."""
    from flows.attended_looks import run_gaps
    from flows.csv_file import new_file, write_csv
    from flows.masked import Eyes
    from flows.show_gaps import csv_headings, csv_rows, show_gaps

    with plain_endings(as_json):
        eyes = Eyes(show_values)
        new_file(csv)
        found = run_gaps(read_settings(env_file), tuple(course or ()), everything=everything, eyes=eyes)
        if csv is not None:
            write_csv(csv, csv_headings(eyes), csv_rows(found, eyes))
        if as_json:
            print_json(found.as_json())
        else:
            show_gaps(found)
        if csv is not None:
            say(f"Written: {csv}. Give it only to those who care for these people in Moodle.")
