"""The commands `state ...` and `person ...`: care of the books, and one person's data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.endings import go_ahead, plain_endings, print_json, say, tell
from flows.options import ENV_FILE, AsJson, EnvFile, read_settings

state_app = typer.Typer(
    help="Care of the books: backup, restore, check, another key.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
person_app = typer.Typer(
    help="One person's data: give it out, or erase it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
Person = Annotated[int, typer.Argument(metavar="ID", help="The person's number in Moodle.", min=1)]


@state_app.command("backup")
def state_backup(env_file: EnvFile = ENV_FILE, as_json: AsJson = False) -> None:
    """Copy the books now, as every run does before it begins; 7 copies are kept, some of days before."""
    from flows.clock import SystemClock
    from flows.state_care import back_up

    with plain_endings(as_json):
        done = back_up(read_settings(env_file), SystemClock().now())
        tell(done.messages, as_json, done.found)


@state_app.command("restore")
def state_restore(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="The backup to put back.")] = None,
    lost: Annotated[bool, typer.Option("--lost", help="The key file of then is gone for good.")] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of the books; what is there is kept under another name."""
    from flows.clock import SystemClock
    from flows.state_care import restore

    with plain_endings(as_json):
        done = restore(read_settings(env_file), file, SystemClock().now(), lost=lost)
        tell(done.messages, as_json, done.found)


@state_app.command("restored")
def state_restored(env_file: EnvFile = ENV_FILE, as_json: AsJson = False) -> None:
    """Say that the books were put back with other tools (pg_restore): the next run then trusts them less."""
    from flows.clock import SystemClock
    from flows.state_care import note_restored

    with plain_endings(as_json):
        tell([note_restored(read_settings(env_file), SystemClock().now())], as_json)


@state_app.command("check")
def state_check(env_file: EnvFile = ENV_FILE, as_json: AsJson = False) -> None:
    """Look the books over: damage, who may read them, what they hold and are about."""
    from flows.state_care import condition_json, condition_lines, look_over

    with plain_endings(as_json):
        found = look_over(read_settings(env_file))
        if as_json:
            print_json(condition_json(found))
        else:
            for line in condition_lines(found):
                say(line)


@state_app.command("move")
def state_move(
    target: Annotated[
        str,
        typer.Argument(
            metavar="NEW_URL",
            help="Where to, as STATE_URL is written. Leave a password out: ~/.pgpass or PGPASSWORD gives it.",
        ),
    ],
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Move the books to another database, SQLite or PostgreSQL; what was copied is compared."""
    from flows.clock import SystemClock
    from flows.state_care import move

    with plain_endings(as_json):
        done = move(read_settings(env_file), target, SystemClock().now())
        tell(done.messages, as_json, done.found)


@state_app.command("moved-moodle")
def state_moved_moodle(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Go on with the same Moodle at another address, the one that is in MOODLE_URL now; it is compared first."""
    from flows.clock import SystemClock
    from flows.errors import UsageError
    from flows.moved_moodle import find_move, go_along

    with plain_endings(as_json):
        settings = read_settings(env_file)
        move = find_move(settings)
        if move.is_needed and not yes:
            if not sys.stdin.isatty():
                raise UsageError(
                    f"{move.found} Give --yes when it is the Moodle that was at {move.old}, and no copy."
                )
            say(move.found)
            go_ahead(f"Is it the Moodle that was at {move.old}, and no copy of it?", "changed", as_json=as_json)
        done = go_along(settings, move, SystemClock().now())
        seen = [move.found] if move.is_needed and yes else []
        tell([*seen, *done.messages], as_json, done.found)


@state_app.command("rotate-key")
def state_rotate_key(
    lost: Annotated[bool, typer.Option("--lost", help="The old key file is gone for good.")] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Make a new key for the digests; nothing has to be sent again."""
    from flows.clock import SystemClock
    from flows.state_care import rotate_key

    with plain_endings(as_json):
        tell([rotate_key(read_settings(env_file), SystemClock().now(), lost=lost)], as_json)


@person_app.command("erase")
def person_erase(
    person: Person,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Empty a person's cases in CommCare, forget the person here, and leave him or her out from now on."""
    from flows.attended_person import count_cases, run_erase
    from flows.errors import UsageError
    from flows.person import told
    from flows.words import listed, numbered

    with plain_endings(as_json, stopped="Stopped. Run the same command again: it goes on where it was."):
        settings = read_settings(env_file)
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError("This cannot be undone. Give --yes to erase without being asked.")
            cases, others = count_cases(settings, person)
            along = f", and of {listed([str(one) for one in others], 10)} merged into {person}," if others else ""
            question = (
                f"Empty {numbered(cases, 'case')} of person {person}{along} in CommCare? This cannot be undone."
            )
            if not cases:
                question = f"The books know no case of person {person}. Leave that number out of every run?"
            with plain_endings(as_json, stopped="Stopped; nothing was emptied."):
                agreed = typer.confirm(question, err=True)
            if not agreed:
                say("Nothing was changed.")
                raise typer.Exit(1)
        done = run_erase(settings, person)
        if as_json:
            print_json(done.as_json())
        else:
            for line in told(done):
                say(line)
        raise typer.Exit(done.state.exit_code)


@person_app.command("admit")
def person_admit(person: Person, env_file: EnvFile = ENV_FILE, as_json: AsJson = False) -> None:
    """Let a person who was erased be read again; the next run fills the emptied cases, or begins new ones."""
    from flows.clock import SystemClock
    from flows.errors import UsageError
    from flows.open import open_store
    from flows.state_care import refuse_other_key

    with plain_endings(as_json):
        settings = read_settings(env_file)
        with open_store(settings) as store:
            refuse_other_key(store, settings)
            if person in store.unfinished_erasures():
                raise UsageError(f"The erasure of person {person} is not finished: finish it first.")
            if not store.admit(person, SystemClock().now()):
                raise UsageError(f"Nobody with the number {person} was erased.")
        tell([f"Person {person} is read again from the next run on."], as_json)


@person_app.command("export")
def person_export(
    person: Person,
    to: Annotated[Path | None, typer.Option("--to", help="A new file, for you alone (0600).")] = None,
    env_file: EnvFile = ENV_FILE,
) -> None:
    """Write what is known of a person, values whole: to a file, or to a terminal."""
    from flows.attended_person import run_export, write_export
    from flows.errors import UsageError
    from flows.person import unknown_words

    with plain_endings():
        if to is None and not sys.stdout.isatty():
            raise UsageError("Values of people go to a terminal or into a file of yours: give --to FILE.")
        found = run_export(read_settings(env_file), person)
        unknown = unknown_words(found)
        if to is not None:
            write_export(to, found)
            say(f"Written: {to}. {unknown or 'It holds personal data: hand it over, then delete it.'}")
        else:
            print_json(found)
            say(unknown or "These are personal data.")
