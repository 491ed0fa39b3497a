"""The commands `match ...`: people of Moodle and the cases that are there, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.endings import POSTPONED, fail, plain_endings, print_json, tell
from flows.options import ENV_FILE, AsJson, EnvFile, Mappings, ShowValues, read_settings

if TYPE_CHECKING:
    from state import Store

match_app = typer.Typer(
    help="Find out which cases in CommCare are people of Moodle already, before anything is written.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)
MoodleId = Annotated[int, typer.Argument(metavar="[MOODLE_ID]", help="The person's number in Moodle.", min=0)]
CaseId = Annotated[str, typer.Argument(metavar="[CASE_ID]", help="The case's id in CommCare.")]
Mapping = Annotated[str, typer.Option("--mapping", help="Only this mapping.")]
Class = Annotated[str, typer.Option("--class", help="Everybody of this class; needs --count.")]
Count = Annotated[int, typer.Option("--count", help="How many people these are, as the match said.")]
File = Annotated[
    Path | None, typer.Option("--file", help="A reviewed table, with link or reject in its column 'decision'.")
]


@match_app.callback()
def match(
    context: typer.Context,
    mapping: Mappings = None,
    workers: Annotated[
        bool, typer.Option("--workers", help="Compare with mobile workers instead, and only tell.")
    ] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write what is open into a new table, to be reviewed.")
    ] = None,
    show_values: ShowValues = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Compare people of Moodle with the cases that are in CommCare; nothing is written there."""
    if context.invoked_subcommand is not None:
        return
    stopped = "Stopped. Nothing was written down; start it again at any time."
    with plain_endings(as_json, stopped=stopped):
        if workers:
            _workers(env_file, mapping or (), csv, as_json)
        else:
            _match(env_file, mapping or (), (csv, show_values), as_json)


def _match(env_file: Path, names: Any, table: tuple[Path | None, bool], as_json: bool) -> None:
    from flows.attended_match import run_match
    from flows.errors import UsageError
    from flows.masked import Eyes
    from flows.match_table import write_table
    from flows.show_match import show_matched

    csv, show_values = table
    eyes = Eyes(show_values)
    if show_values and csv is None:
        raise UsageError("--show-values puts names and addresses into the table: give --csv FILE as well.")
    _refuse_old(csv)
    found = run_match(read_settings(env_file), names, eyes.sees_values)
    if csv is not None and found.mappings:
        write_table(csv, found.rows, found.values if eyes.sees_values else None)
        found.messages.append(f"Written: {csv}. {_HOW}")
    if as_json:
        print_json(found.as_json())
    else:
        show_matched(found)
    raise typer.Exit(found.state.exit_code)


_HOW = (
    "Write link or reject into its column 'decision', save it as CSV, then "
    "`moodle-commcare match approve --file` with its name."
)


def _workers(env_file: Path, names: Any, csv: Path | None, as_json: bool) -> None:
    from flows.attended_match import run_workers
    from flows.match_table import write_table

    _refuse_old(csv)
    found = run_workers(read_settings(env_file), names)
    if csv is not None:
        write_table(csv, found.rows)
    if as_json:
        print_json(found.as_json())
        return
    for line in found.lines():
        typer.echo(line)


def _refuse_old(csv: Path | None) -> None:
    """Refuse a table that is there before minutes are spent on a new one."""
    from flows.errors import UsageError

    if csv is not None and csv.exists():
        raise UsageError(f"{csv} is there already, maybe with decisions in it. Give another name.")


@match_app.command("list")
def match_list(
    kind: Annotated[str, typer.Option("--class", help="Only this class, such as duplicate or unverified.")] = "",
    mapping: Mapping = "",
    every: Annotated[bool, typer.Option("--all", help="Also what was decided, by a rule or by somebody.")] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """List what the last match found and what was decided: ids and classes."""
    from flows.errors import UsageError
    from flows.matched import CLASSES
    from flows.open import open_store
    from flows.show_match import row_json, show_rows
    from flows.typed import refuse_unknown_mapping

    with plain_endings(as_json):
        if kind and kind not in CLASSES:
            raise UsageError(f"There is no class '{kind}'. There are: {', '.join(CLASSES)}.")
        settings = read_settings(env_file)
        with open_store(settings) as store:
            rows = store.matches(mapping, kind, None if every else "")
            if not rows:
                refuse_unknown_mapping(store, Path(settings.mappings_dir), mapping)
        if as_json:
            print_json({"matches": [row_json(row) for row in rows]})
        else:
            show_rows(rows, everything=len(rows))


@match_app.command("approve")
def match_approve(
    moodle_id: MoodleId = 0,
    case_id: CaseId = "",
    kind: Class = "",
    count: Count = 0,
    file: File = None,
    mapping: Mapping = "",
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Say that a case is a person's, one by one, by class, or with a table; the next sync writes to it."""
    from flows.decide import Decision, approve_class, decide
    from flows.match_table import read_table

    def word(store: Store, now: float) -> str:
        if file is not None:
            return decide(store, read_table(file), now)
        if kind:
            return approve_class(store, kind, count, now, mapping)
        return decide(store, [Decision(moodle_id, case_id, True, mapping)], now)

    with plain_endings(as_json):
        _one_way(moodle_id, kind, file)
        tell([_decided(env_file, word, as_json)], as_json)


@match_app.command("reject")
def match_reject(
    moodle_id: MoodleId = 0,
    case_id: CaseId = "",
    kind: Class = "",
    count: Count = 0,
    mapping: Mapping = "",
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Say that a case is not a person's; without CASE_ID that none of those found is. They get new cases."""
    from flows.decide import Decision, all_of, decide, reject_class

    def word(store: Store, now: float) -> str:
        if kind:
            return reject_class(store, kind, count, now, mapping)
        if case_id:
            return decide(store, [Decision(moodle_id, case_id, False, mapping)], now)
        return decide(store, all_of(store, moodle_id, mapping), now)

    with plain_endings(as_json):
        _one_way(moodle_id, kind, None)
        tell([_decided(env_file, word, as_json)], as_json)


def _one_way(moodle_id: int, kind: str, file: Path | None) -> None:
    from flows.errors import UsageError

    if bool(moodle_id) + bool(kind) + (file is not None) != 1:
        raise UsageError("Give one of them: MOODLE_ID with CASE_ID, --class with --count, or --file.")


def _decided(env_file: Path, word: Callable[[Store, float], str], as_json: bool) -> str:
    """Take in a word while no run is at work, and return a sentence."""
    from flows.clock import SystemClock
    from flows.decide import alone
    from flows.errors import Overlap
    from flows.open import open_store

    settings, now = read_settings(env_file), SystemClock().now()
    try:
        with open_store(settings) as store, alone(store, now, settings.lease_ttl_s):
            return word(store, now)
    except Overlap as error:
        fail(str(error), POSTPONED, as_json)
