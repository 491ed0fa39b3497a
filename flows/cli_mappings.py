"""`moodle-commcare mappings ...`: the implementer's bench. Each command imports what it needs when called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from flows.endings import FAILED, OK, plain_endings, print_json
from flows.options import ENV_FILE, AsJson, EnvFile

mappings_app = typer.Typer(help="Check, test and explain the mapping files.", no_args_is_help=True)


@mappings_app.command("check")
def mappings_check(
    folder: Annotated[Path | None, typer.Argument(help="Folder of the mappings; default MAPPINGS_DIR.")] = None,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Check the mapping files and run their tests: every problem with file, line and what to do."""
    from flows.catalogue import field_catalogue
    from flows.settings import read_file
    from flows.show import problem_json, show_mappings
    from mappings.engine import check_project

    with plain_endings(as_json):
        place = os.environ.get("MAPPINGS_DIR") or read_file(env_file).get("MAPPINGS_DIR") or "mappings"
        folder = folder or Path(place)
        report = check_project(folder, field_catalogue())
        if as_json:
            print_json(
                {"ok": not report.errors, "problems": [problem_json(problem) for problem in report.problems]}
            )
        else:
            show_mappings(report, folder)
        raise typer.Exit(FAILED if report.errors else OK)
