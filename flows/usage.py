"""Commands that were typed wrong: told in our words, and with `--json` in one object, like all that goes wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import typer
from typer.core import TyperGroup

from flows.endings import print_json

UsageError = cast(type[typer.BadParameter], typer.BadParameter.__base__)
"""What all mistakes of typing are; the library gives it no name of its own."""
IN_OUR_WORDS = {
    "Input should be a valid integer, unable to parse string as an integer": "It has to be a whole number.",
    "Input should be a valid number, unable to parse string as a number": "It has to be a number.",
}


ORDER = (
    *("demo", "sandbox", "init", "setup", "check"),
    *("sync", "preview", "serve", "receiver", "drain", "shard"),
    *("status", "metrics", "history", "phones", "gaps", "problems", "audit"),
    *("confirm-leavers", "confirm-blanks", "confirm-withdrawn", "confirm-existing", "confirm-term"),
    *("match", "merge", "workers", "assignments", "feedback", "mappings", "state", "person", "automations"),
)
"""The commands as README.md lists them: first what one begins with."""


class Commands(TyperGroup):
    """The commands; a mistake of typing is one object on standard output too where `--json` was typed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the help."""
        return sorted(super().list_commands(ctx), key=ORDER.index)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read what comes before the name of a sub-command."""
        self._typed = [*args]
        with _in_our_words(self._typed):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run a sub-command, which reads the rest."""
        with _in_our_words(self._typed):
            return super().invoke(ctx)


@contextmanager
def _in_our_words(typed: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        error.message = IN_OUR_WORDS.get(error.message, error.message)
        if "--json" in typed and "--json" not in error.message:
            print_json({"state": "failed", "messages": [error.format_message()]})
        raise
