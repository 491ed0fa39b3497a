"""The `.env` file: read as it stands, changed line by line so that all else in it stays, kept to ourselves."""

from __future__ import annotations

import io
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

PLAIN = re.compile(r"[\w./:@%+,-]*", re.ASCII)  # what needs no quotes
HEAD = "# Written by `moodle-commcare init`, read by every command. It holds secrets: keep it to yourself.\n"


def parsed(text: str) -> dict[str, str]:
    """Return the variables of a file's text; nothing inside a value is replaced."""
    found = dotenv_values(stream=io.StringIO(text.removeprefix("\ufeff")), interpolate=False)
    return {name: value or "" for name, value in found.items()}


def changed(text: str, changes: Mapping[str, str | None]) -> str:
    """Return a file's text with some variables set, or taken out (None); all other lines stay as they are."""
    lines, done = [], set()
    for binding in parse_stream(io.StringIO(text.removeprefix("\ufeff"))):
        line, name = binding.original.string, binding.key
        if name is None or name not in changes:
            lines.append(line)
            continue
        blank_lines = line[: len(line) - len(line.lstrip())]
        lines.append(blank_lines if name in done else blank_lines + _line(name, changes[name]))
        done.add(name)
    new = "".join(_line(name, value) for name, value in changes.items() if name not in done)
    kept = "".join(lines) or HEAD
    return kept + ("" if kept.endswith("\n") or not new else "\n") + new


def write_private(path: Path, text: str) -> None:
    """Write a text file that only its owner may read (0600), whole or not at all."""
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _line(name: str, value: str | None) -> str:
    """Return the line that sets a variable, nothing to take it out."""
    if value is None:
        return ""
    if PLAIN.fullmatch(value):
        return f"{name}={value}\n"
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{quoted}'\n"
