"""A list of feedback as people write it: CSV, JSON, or rows of a program; and HTML made of plain text."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from flows.errors import UsageError

LARGEST: Final = 64 * 2**20  # bytes of a list
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "ext_id": ("extid", "ext_id", "id", "userid", "user_id", "participant"),
    "text": ("text", "feedback", "comment"),
    "grade": ("grade", "points"),
}
_BLOCKS: Final = re.compile(r"\n[ \t]*\n\s*")
_TAGS: Final = re.compile(r"<[^>]*>")
_BREAKS: Final = re.compile(r"(?i)<(?:br|/p|/div|/li)\b[^>]*>")


@dataclass(frozen=True)
class Entry:
    """What one person is to be told; `ext_id` and `grade` are texts as they stand in the list, "" for none."""

    ext_id: str = field(repr=False)
    text: str = field(repr=False)
    grade: str = ""


def read_list(path: Path) -> list[Entry]:
    """Read a list from a .json or .csv file; raises UsageError that names the row, never what stands in it."""
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} is larger than {LARGEST // 2**20} MB.")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not in UTF-8. Save it as 'CSV UTF-8'.") from None
    if path.suffix.lower() == ".json":
        return entries(_rows_of_json(text, path))
    return entries(_rows_of_csv(text, path))


def entries(rows: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """Return rows with extId, text and maybe grade as entries; raises UsageError for one without the first two."""
    found = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise UsageError(f"Entry {number} of the list is no object with extId and text.")
        values = {str(key).strip().lower(): value for key, value in row.items() if key is not None}
        given = {name: _first(values, names) for name, names in _NAMES.items()}
        if given["ext_id"] is None or given["text"] is None:
            raise UsageError(
                f"Entry {number} of the list has no {'extId' if given['ext_id'] is None else 'text'}."
            )
        found.append(Entry(_text(given["ext_id"]), str(given["text"]), _text(given["grade"])))
    return found


def _first(values: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value).strip()


def _rows_of_json(text: str, path: Path) -> list[Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is no JSON.") from None
    if isinstance(found, Mapping):
        found = found.get("feedback")
    if not isinstance(found, list):
        raise UsageError(f"{path} holds no list: it should be [{{'extId': 16, 'text': '...'}}, ...].")
    return found


def _rows_of_csv(text: str, path: Path) -> list[dict[str, Any]]:
    head = text.split("\n", 1)[0]
    separator = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        rows = list(reader)
    except csv.Error:
        raise UsageError(f"{path} is broken near row {reader.line_num}: look at the quotes.") from None
    names = {str(name).strip().lower() for name in reader.fieldnames or ()}
    for needed, others in (("extId", _NAMES["ext_id"]), ("text", _NAMES["text"])):
        if not names & set(others):
            raise UsageError(f"{path} has no column {needed}; its first row names the columns.")
    return rows


def as_html(text: str) -> str:
    """Return plain text as HTML that shows it as it is: paragraphs at empty lines, breaks at others."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    paragraphs = [html.escape(block).replace("\n", "<br />") for block in _BLOCKS.split(lines)]
    return "".join(f"<p>{one}</p>" for one in paragraphs)


def same_text(one: str, other: str) -> bool:
    """Tell whether two pieces of HTML say the same, however a site's cleaning has written their tags."""
    return one == other or (said(one) == said(other) and said(one) != "")


def said(text: str) -> str:
    """Return the words of HTML, however its tags are written."""
    plain = html.unescape(_TAGS.sub("", _BREAKS.sub(" ", text)))
    return " ".join(plain.split())


def is_blank(text: str, *, is_html: bool) -> bool:
    """Tell whether a feedback says nothing."""
    return not (said(text) or "<img" in text.lower() if is_html else text.strip())
