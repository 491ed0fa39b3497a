"""Options that several commands share, and the settings that every command reads."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.endings import Said, say
from flows.usage import UsageError

if TYPE_CHECKING:
    from flows.settings import Settings

ENV_FILE = Path(".env")
ENV_HELP = "File with the settings; the environment wins over it."
JSON_HELP = "Print one JSON object on standard output, all else on standard error."
EnvFile = Annotated[Path, typer.Option("--env-file", help=ENV_HELP)]
AsJson = Annotated[bool, typer.Option("--json", help=JSON_HELP)]
Courses = Annotated[list[int] | None, typer.Option("--course", help="Only this course id; may be repeated.")]
Mappings = Annotated[list[str] | None, typer.Option("--mapping", help="Only this mapping; may be repeated.")]
PersonId = Annotated[
    int, typer.Option("--id", help="The person's number in Moodle; the profile's address ends in it.")
]
ShowValues = Annotated[bool, typer.Option("--show-values", help="Show people's values whole; on a terminal only.")]
Full = Annotated[bool, typer.Option("--full", help="Read everything anew; still only differences are sent.")]
NOT_GIVEN = -1


def _given(count: int) -> int:
    """Return the number that a person repeats; without one it is wrong usage."""
    if count == NOT_GIVEN:
        raise UsageError("Give --count and the number: `moodle-commcare status` names the whole command with it.")
    return count


Count = Annotated[
    int,
    typer.Option(
        "--count",
        help="How many people or cases it concerns, as the run said.",
        callback=_given,
        show_default=False,
    ),
]
Port = Annotated[int, typer.Option(help="Port to serve on; 0 takes a free one.", min=0, max=65535)]


def read_settings(env_file: Path) -> Settings:
    """Load the settings and keep their secrets out of all that is logged; raises SettingsError."""
    from flows.redact import install
    from flows.settings import load_settings

    logging.basicConfig(level=logging.WARNING, handlers=[Said()], format="%(levelname)s: %(message)s")
    settings = load_settings(os.environ, env_file)
    install(settings.secrets())
    say_what_wins(env_file)
    return settings


def unused(env_file: Path, env: Mapping[str, str]) -> list[str]:
    """Return the settings of a file that do not count, because the environment has another value for them."""
    from flows.settings import KNOWN, read_file

    given = {name: value.strip() for name, value in read_file(env_file).items() if name in KNOWN}
    return [name for name, value in given.items() if env.get(name, "").strip() not in ("", value)]


def say_what_wins(env_file: Path) -> None:
    """Tell somebody at a terminal that what was pasted into it once is still there."""
    if sys.stderr.isatty() and (names := unused(env_file, os.environ)):
        listed = ", ".join(names)
        say(f"The environment wins over {env_file} and has other values for {listed}. A new terminal has none.")


def mappings_folder(env_file: Path) -> Path:
    """Return the folder of the mappings without needing any other setting; raises SettingsError."""
    from flows.settings import beside_file, read_file

    given = os.environ.get("MAPPINGS_DIR") or beside_file(read_file(env_file), env_file).get("MAPPINGS_DIR")
    return Path(given or "mappings")
