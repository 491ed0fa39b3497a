"""Matches as a table for a spreadsheet, and the same table back with somebody's decisions in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from flows.decide import Decision
from flows.errors import UsageError
from flows.matched import REASONS
from state import MatchRow

COLUMNS = ("mapping", "moodle_id", "case_id", "class", "matched_by", "why", "decision")
VALUES = ("moodle_name", "moodle_email", "case_name", "case_email")
WORDS = {"link": True, "reject": False}
DECIDED = {"linked": "link", "rejected": "reject"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
LARGEST = 50_000_000  # bytes of a table that is read


def write_table(path: Path, rows: Sequence[MatchRow], values: Mapping[str, tuple[str, str]] | None = None) -> None:
    """Write matches into a new CSV file that only its owner may read; with `values` names and addresses too.

    Raises UsageError when there is a file already: it may hold decisions.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow([*COLUMNS, *(VALUES if values is not None else ())])
    for row in rows:
        cells = [row.mapping, str(row.user_id), row.case_id, row.kind, row.matched_by, REASONS.get(row.reason, "")]
        cells.append(DECIDED.get(row.decision, ""))
        if values is not None:
            cells += [*values.get(row.key, ("", "")), *values.get(row.case_id, ("", ""))]
        table.writerow([_harmless(cell) for cell in cells])
    try:
        path.touch(0o600, exist_ok=False)
    except FileExistsError:
        raise UsageError(f"{path} is there already, maybe with decisions in it. Give another name.") from None
    path.write_text(text.getvalue(), "utf-8-sig", newline="")


def read_table(path: Path) -> list[Decision]:
    """Return the decisions of a reviewed table; raises UsageError naming the line that is wrong."""
    rows = list(_rows(path))
    found = [one for number, row in rows if (one := _decision(path, number, row)) is not None]
    if not found:
        words = " or ".join(WORDS)
        raise UsageError(f"{path}: no line has a decision. Write {words} into the column 'decision'.")
    return found


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield the lines of a table with their numbers, whatever a spreadsheet put between the cells."""
    if path.stat().st_size > LARGEST:
        raise UsageError(f"{path} is too large for a table of matches.")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8. Save it as 'CSV UTF-8'.") from None
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    table = csv.DictReader(io.StringIO(text), delimiter=separator, restval="")
    missing = [name for name in ("moodle_id", "case_id", "decision") if name not in (table.fieldnames or ())]
    if missing:
        raise UsageError(f"{path} has no column '{missing[0]}'; the table of `moodle-commcare match --csv` has.")
    try:
        for row in table:
            yield table.line_num, {str(name): str(cell or "").strip() for name, cell in row.items()}
    except csv.Error:
        raise UsageError(f"{path}, line {table.line_num}: this is no line of a table.") from None


def _decision(path: Path, number: int, row: Mapping[str, str]) -> Decision | None:
    word, person = row["decision"].casefold(), _bare(row["moodle_id"])
    if not word:
        return None
    where = f"{path.name}, line {number}: "
    if word not in WORDS:
        raise UsageError(f"{where}'decision' is none of the words {', '.join(WORDS)}, or blank.")
    if not (person.isascii() and person.isdecimal()) or len(person) > 18:
        raise UsageError(f"{where}'moodle_id' is no number.")
    return Decision(int(person), _bare(row["case_id"]), WORDS[word], _bare(row.get("mapping", "")), where)


def _harmless(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _bare(text: str) -> str:
    return text.removeprefix("'")
