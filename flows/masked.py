"""How people's values are shown: never whole, unless somebody at a terminal asks for it."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from flows.errors import UsageError
from mappings.engine.texts import ABSENT, Invalid, to_text

SHOWN = 2  # letters of a value that are shown
HIDDEN = "***"
WIDEST = 48  # letters of a value that is no secret


def masked(text: str) -> str:
    """Return the first two letters of a value; of a short one, which they would tell whole, nothing."""
    if not text:
        return ""
    return f"{text[:SHOWN]}{HIDDEN}" if len(text) > 2 * SHOWN else HIDDEN


class Eyes:
    """Who looks: somebody who may see people's values, or everybody else."""

    def __init__(self, show_values: bool = False) -> None:
        """Raise UsageError when values are asked for where they would be kept: in a file, a pipe, a log."""
        if show_values and not sys.stdout.isatty():
            raise UsageError("--show-values shows people's values on a terminal only, so that no file keeps them.")
        self.sees_values = show_values

    def see(self, value: object, *, personal: bool) -> str:
        """Return a value of a record or a case for the screen: masked when personal, in quotes when a text."""
        if value is ABSENT:
            return "not sent by Moodle"
        if value is None or value == "" or value == []:
            return "blank"
        if isinstance(value, Mapping):
            return "a block"
        if isinstance(value, list | tuple):
            if value and isinstance(value[0], Mapping):
                return f"{len(value)} entries"
            return ", ".join(self.see(entry, personal=personal) for entry in value[:5]) + (
                ", …" if len(value) > 5 else ""
            )
        return self._text(value, personal)

    def _text(self, value: object, personal: bool) -> str:
        try:
            text = to_text(value)
        except Invalid:
            return "something that is no text"
        if personal and not self.sees_values:
            return masked(text)
        shown = text if self.sees_values or len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
        return repr(shown) if isinstance(value, str) and shown != shown.strip() else shown
