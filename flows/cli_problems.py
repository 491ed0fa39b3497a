"""The commands `problems ...` and `audit`: what could not be sent, and whether CommCare holds what we sent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.endings import plain_endings, print_json, tell
from flows.options import ENV_FILE, AsJson, EnvFile, read_settings

problems_app = typer.Typer(
    help="What could not be sent as it is, and what to do about it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
Key = Annotated[str, typer.Argument(metavar="KEY", help="The record's external id, as the list names it.")]
OfReason = Annotated[str, typer.Option("--reason", help="Only this reason, by the code that the list shows.")]
OfCourse = Annotated[
    int | None,
    typer.Option("--course", help="Only records of this course id; 0: of the site itself, as people are.", min=0),
]


@problems_app.command("list")
def problems_list(
    mapping: Annotated[str, typer.Option("--mapping", help="Only this mapping.")] = "",
    reason: OfReason = "",
    course: OfCourse = None,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """List what could not be sent as it is: which record, why, since when, and what to do."""
    from flows.open import open_store
    from flows.problems import Meant, count_reasons, list_problems
    from flows.show_books import show_list
    from flows.typed import refuse_unknown_course, refuse_unknown_mapping, refuse_unknown_reason

    with plain_endings(as_json):
        settings = read_settings(env_file)
        with open_store(settings) as store:
            found = list_problems(store, mapping, reason, course)
            if not found:
                refuse_unknown_mapping(store, Path(settings.mappings_dir), mapping)
                refuse_unknown_reason(reason, {one.reason for one in list_problems(store, mapping)})
                refuse_unknown_course(store, course)
        if as_json:
            print_json({"counts": count_reasons(found), "problems": [one.as_json() for one in found]})
        else:
            show_list(found, Meant(course=course).words)


@problems_app.command("show")
def problems_show(key: Key, env_file: EnvFile = ENV_FILE, as_json: AsJson = False) -> None:
    """Show everything that is wrong with one record."""
    from flows.open import open_store
    from flows.problems import show_problem
    from flows.show_books import show_one

    with plain_endings(as_json):
        with open_store(read_settings(env_file)) as store:
            found = show_problem(store, key)
        if as_json:
            print_json({"problems": [one.as_json() for one in found]})
        else:
            show_one(found)


@problems_app.command("retry")
def problems_retry(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The record's external id; or give an option.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Everything that CommCare refused.")] = False,
    reason: OfReason = "",
    course: OfCourse = None,
    recreate: Annotated[
        bool, typer.Option("--recreate", help="Make a new case, where the old one was deleted in CommCare.")
    ] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Have records that CommCare refused sent again by the next run."""
    from flows.clock import SystemClock
    from flows.errors import UsageError
    from flows.open import open_store
    from flows.problems import retry
    from flows.typed import refuse_unknown_course

    with plain_endings(as_json):
        if bool(key) + every + (bool(reason) or course is not None) != 1:
            raise UsageError("Give one of them: the KEY of a record, --reason or --course (or both), or --all.")
        with open_store(read_settings(env_file)) as store:
            refuse_unknown_course(store, course)
            done = retry(store, SystemClock().now(), key=key, reason=reason, course=course, recreate=recreate)
        tell([done], as_json)


@problems_app.command("drop")
def problems_drop(key: Key, env_file: EnvFile = ENV_FILE, as_json: AsJson = False) -> None:
    """Take a refused record off the list; it stays as it is in CommCare until it changes."""
    from flows.clock import SystemClock
    from flows.open import open_store
    from flows.problems import drop

    with plain_endings(as_json):
        with open_store(read_settings(env_file)) as store:
            done = drop(store, key, SystemClock().now())
        tell([done], as_json)


def audit(
    repair: Annotated[
        bool, typer.Option("--repair", help="Let the next run write again what people changed in CommCare.")
    ] = False,
    recreate: Annotated[
        bool, typer.Option("--recreate", help="Let the next run make anew what people deleted in CommCare.")
    ] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """List our cases in CommCare and tell what is double, deleted, closed, moved, or not as it was sent."""
    from flows.attended import run_audit
    from flows.show_books import show_audit

    with plain_endings(as_json, stopped="Stopped. Nothing is half done; start it again at any time."):
        found = run_audit(read_settings(env_file), repair=repair, recreate=recreate)
        if as_json:
            print_json(found.as_json())
        else:
            show_audit(found)
        raise typer.Exit(found.state.exit_code)
