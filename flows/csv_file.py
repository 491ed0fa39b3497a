"""Tables for spreadsheets: files for one person alone, in which no cell is taken for a formula."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from flows.errors import UsageError

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
MARK = "\ufeff"  # by which spreadsheets see that a file is UTF-8


def safe(cell: object) -> str:
    """Return a cell as text; one that a spreadsheet would calculate gets an apostrophe in front."""
    text = str(cell)
    return f"'{text}" if text.startswith(FORMULAS) else text


def new_file(file: Path | None) -> None:
    """Raise UsageError for a file that is there already, before the work that is to fill it."""
    if file is not None and file.exists():
        raise UsageError(f"{file} exists already. Name a new file.")


def write_csv(file: Path, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a new file that nobody else may read (0600); UsageError when there is one already."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{file} exists already. Name a new file.") from None
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as target:
        target.write(MARK)
        table = csv.writer(target)
        table.writerow(headings)
        table.writerows([safe(cell) for cell in row] for row in rows)
