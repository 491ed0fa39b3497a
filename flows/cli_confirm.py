"""The commands `confirm-...` and `merge`: a person's word about what a run asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.endings import go_ahead, plain_endings, tell
from flows.options import ENV_FILE, NOT_GIVEN, AsJson, Count, EnvFile, read_settings

if TYPE_CHECKING:
    from state import Store


def confirm_leavers(
    course: Annotated[int | None, typer.Argument(help="Course id; 0 for the people of the site.")] = None,
    count: Count = NOT_GIVEN,
    every: Annotated[bool, typer.Option("--all", help="Every course that waits; the count is their sum.")] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Confirm that people who are missing are really gone; the next run marks them."""
    from flows.confirm import confirm

    _of_courses(confirm, course, count, every, env_file, as_json)


def confirm_withdrawn(
    course: Annotated[int | None, typer.Argument(help="Course id; 0 for the people of the site.")] = None,
    count: Count = NOT_GIVEN,
    every: Annotated[bool, typer.Option("--all", help="Every course that waits; the count is their sum.")] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Confirm that the mappings rightly keep out people with a case; the next run empties what is personal."""
    from flows.confirm import confirm_withdrawn

    _of_courses(confirm_withdrawn, course, count, every, env_file, as_json)


def _of_courses(
    confirm: Callable[[Store, int | None, int], str],
    course: int | None,
    count: int,
    every: bool,
    env_file: Path,
    as_json: bool,
) -> None:
    """Write down what a person says about one course, or about every course that waits."""
    from flows.errors import UsageError

    def word(store: Store) -> str:
        return confirm(store, course, count)

    with plain_endings(as_json):
        if every == (course is not None):
            raise UsageError("Name the course, or give --all for every course that waits.")
    _take(word, env_file, as_json)


def _take(word: Callable[[Store], str], env_file: Path, as_json: bool) -> None:
    """Write a word into the books and say what follows from it."""
    from flows.open import open_store

    with plain_endings(as_json):
        with open_store(read_settings(env_file)) as store:
            done = word(store)
        tell([done], as_json)


def confirm_term(
    course: Annotated[int, typer.Argument(help="Course id, as the run named it.")],
    new: Annotated[
        bool, typer.Option("--new/--same", help="A new term with new cases, or still the same one.")
    ] = True,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Say whether a course with a new start date is in a new term: then its people get new cases."""
    from flows.confirm import confirm_term as confirm

    _take(lambda store: confirm(store, course, not new), env_file, as_json)


def merge_people(
    old: Annotated[int, typer.Argument(help="Moodle number of the person who is no more.", min=1)],
    new: Annotated[int, typer.Argument(help="Moodle number of the person who goes on.", min=1)],
    undo: Annotated[bool, typer.Option("--undo", help="Take it back.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, also at a terminal.")] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Say that two people of Moodle are one: the old cases are marked as left, the new ones go on."""
    from flows.clock import SystemClock
    from flows.merge import asked, merge, unmerge
    from flows.open import open_store

    if sys.stdin.isatty() and not yes:
        with plain_endings(as_json), open_store(read_settings(env_file)) as store:
            question = asked(store, old, new, undo=undo)
        go_ahead(question, "changed", as_json=as_json)
    _take(lambda store: (unmerge if undo else merge)(store, old, new, SystemClock().now()), env_file, as_json)


def confirm_blanks(
    mapping: Annotated[str | None, typer.Argument(help="The mapping, as the run named it.")] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="PROPERTY", help="The property that would be emptied.")
    ] = None,
    count: Count = NOT_GIVEN,
    every: Annotated[bool, typer.Option("--all", help="Every one that waits; the count is their sum.")] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Confirm that many people really lost a value; the next run empties it in CommCare."""
    from flows.confirm import confirm_all_blanks
    from flows.confirm import confirm_blanks as confirm
    from flows.errors import UsageError

    def word(store: Store) -> str:
        return confirm_all_blanks(store, count) if every else confirm(store, mapping or "", name or "", count)

    with plain_endings(as_json):
        if every == (mapping is not None) or (mapping is None) != (name is None):
            raise UsageError("Name the mapping and the property, or give --all for every property that waits.")
    _take(word, env_file, as_json)


def confirm_existing(
    mapping: Annotated[str, typer.Argument(help="The mapping, as the run named it.")],
    count: Count = NOT_GIVEN,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Confirm that a mapping's first run may make new cases beside those that CommCare already has."""
    from flows.confirm import confirm_existing as confirm

    _take(lambda store: confirm(store, mapping, count), env_file, as_json)


ANSWERS: dict[str, Callable[..., None]] = {
    "confirm-leavers": confirm_leavers,
    "confirm-withdrawn": confirm_withdrawn,
    "confirm-term": confirm_term,
    "confirm-blanks": confirm_blanks,
    "confirm-existing": confirm_existing,
    "merge": merge_people,
}
"""The commands of this file by name."""
