"""How a command ends: a sentence or two and an exit code for whatever happens, never a traceback.

What people read goes to standard error; standard output is for results, with `--json` for exactly one object.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shlex
import shutil
import signal
import sys
import textwrap
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer

OK, FAILED, USAGE, POSTPONED, WAITING = range(5)
NAME = "moodle-commcare"
COMMANDS = re.compile(rf"`({NAME} [^`]*)`|({NAME} confirm-.* --count \d+)")
UNBROKEN = "\N{NO-BREAK SPACE}"


class Stopped(Exception):
    """Somebody stopped the command with a signal; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def plain_endings(as_json: bool = False, *, stopped: str = "") -> Iterator[None]:
    """Turn every error into a sentence and an exit code; `stopped` is what to say after Ctrl-C."""
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise
    except (KeyboardInterrupt, typer.Abort) as error:
        if isinstance(error, typer.Abort):
            typer.echo(err=True)  # the cursor stands behind a question
        fail(stopped or "Stopped.", 128 + signal.SIGINT, as_json)
    except Stopped as error:
        fail(stopped or "Stopped.", 128 + error.number, as_json)
    except Exception as error:
        fail(*ending(error), as_json)


def go_ahead(question: str, undone: str, code: int = FAILED, *, as_json: bool = False) -> None:
    """Ask at a terminal, and end the command without a yes: "Nothing was sent.", with `undone` for sent."""
    with plain_endings(as_json, stopped=f"Stopped; nothing was {undone}."):
        agreed = typer.confirm(question, err=True)
    if not agreed:
        fail(f"Nothing was {undone}.", code, as_json)


NO_SUCH_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


def ending(error: Exception) -> tuple[str, int]:
    """Return what to say about an error, and the exit code: 2 for wrong usage or settings, 3 for later."""
    from adaptors.errors import AdaptorError, Maintenance
    from flows.errors import NotRead, UsageError
    from flows.settings import SettingsError
    from mappings.engine import MappingError
    from state import StateError

    if isinstance(error, UsageError | SettingsError):
        return str(error), USAGE
    if isinstance(error, NotRead):
        return str(error), error.code
    if isinstance(error, Maintenance):
        return f"{error} Try again later.", POSTPONED
    if isinstance(error, MappingError):
        return str(error).replace(f"{Path.cwd()}{os.sep}", ""), FAILED  # files are named as from here
    if isinstance(error, AdaptorError | StateError):
        return str(error), FAILED
    if isinstance(error, OSError):
        return _about_a_file(error), USAGE if isinstance(error, NO_SUCH_FILE) else FAILED
    return _our_mistake(error), FAILED


def _about_a_file(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "This port is taken already. Choose another one, or leave the option out to get a free one."
    reason = error.strerror or "The system refuses"
    return f"{error.filename}: {reason}." if error.filename else f"{reason}."


def _our_mistake(error: Exception) -> str:
    """Say where our own code went wrong; what the error itself says may be about a person."""
    frames = traceback.extract_tb(error.__traceback__)
    root = Path(__file__).parent.parent
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(root / "flows")] or frames
    place = f" in {Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else ""
    return (
        f"This is a mistake in {NAME} itself: {type(error).__name__}{place}. "
        "What was sent is in the books; please report this line."
    )


def fail(message: str, code: int, as_json: bool) -> NoReturn:
    """Say a message and leave."""
    if as_json:
        print_json({"state": "postponed" if code == POSTPONED else "failed", "messages": message.splitlines()})
    say(message)
    raise typer.Exit(code)


class Said(logging.Handler):
    """Says what is logged, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        say(self.format(record))


def say(text: str) -> None:
    """Print for people, on standard error."""
    typer.echo(wrapped(text, sys.stderr.isatty()), err=True)


def wrapped(text: str, terminal: bool, *, first: str = "", then: str = "") -> str:
    """Break lines at words on a terminal, behind `first` and later `then`; elsewhere a line stays a line."""
    if not terminal:
        return first + text
    text = called_from_here(text)
    breaks = textwrap.TextWrapper(
        width=max(40, shutil.get_terminal_size().columns),
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )
    # A line that begins with a blank is a picture (the marked place in a file), not a sentence.
    lines = (line if line[:1] in ("", " ") else breaks.fill(line) for line in text.split("\n"))
    return "\n".join(lines).replace(UNBROKEN, " ")


def called_from_here(text: str) -> str:
    """Return a text with its commands as they are called from here, in one piece each, to be copied."""

    def called(found: re.Match[str]) -> str:
        return (found[1] or found[2]).replace(NAME, command(), 1).replace(" ", UNBROKEN)

    return COMMANDS.sub(called, text)


def print_json(found: dict[str, Any]) -> None:
    """Print the one object of `--json`."""
    typer.echo(json.dumps(found, ensure_ascii=False, default=str, indent=2 if sys.stdout.isatty() else None))


def tell(messages: Iterable[str], as_json: bool, found: Mapping[str, Any] | None = None) -> None:
    """Say what was done, a sentence a line; with `--json` as one object, with what was `found` beside it."""
    told = [*messages]
    if as_json:
        print_json({"state": "completed", "messages": told, **(found or {})})
        return
    for sentence in told:
        say(sentence)


def command() -> str:
    """Return how this command is called from here: its name, or the way to it when it is not on the PATH."""
    if shutil.which(NAME):
        return NAME
    beside = Path(sys.executable).with_name(NAME)
    if not beside.exists():
        return f"{Path(sys.executable).name} -m flows"
    return shlex.quote(str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside))
