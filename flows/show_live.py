"""How the implementer's live tools look on a screen of 80 columns or more."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.masked import Eyes
from flows.show import laid_out
from flows.words import listed, numbered

if TYPE_CHECKING:
    from flows.explain import Explained
    from flows.fields import Filling

NARROWEST = 80
LABELS = 34  # columns for the labels of an explanation


def show_table(
    rows: Sequence[Mapping[str, object]], headings: Mapping[str, str], right: Iterable[str] = ()
) -> None:
    """Print rows as a table with the columns of `headings` that hold anything; long cells are wrapped."""
    used = [name for name in headings if any(row.get(name) not in ("", None) for row in rows)]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in used:
        table.add_column(headings[name], justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(row.get(name) or "")) for name in used))
    screen().print(table)


def show_heading(text: str) -> None:
    """Print a line in bold."""
    screen().print(Text(laid_out(text), "bold"), soft_wrap=True)


def show_text(text: str, *, first: str = "", then: str = "") -> None:
    """Print a sentence."""
    screen().print(Text(laid_out(text, first=first, then=then)), soft_wrap=True)


def show_explained(found: Sequence[Explained], eyes: Eyes) -> None:
    """Print an explanation line by line: what is looked at, its value, a remark."""
    for each in found:
        if each.where:
            show_heading(each.where)
        width = min(LABELS, max(len(line.label) for line in each.lines))
        for line in each.lines:
            value = eyes.see(line.value, personal=line.personal) if line.has_value else ""
            note = f"({line.note})" if value and line.note else line.note
            said = "   ".join(part for part in (value, note) if part)
            style = "bold" if line.label.startswith("->") else ""
            text = laid_out(f"{line.label:<{width}}  {said}", first="  ", then=" " * (width + 4))
            screen().print(Text(text, style), soft_wrap=True)


FIELDS = {"field": "field", "type": "type", "filled": "filled", "sample": "sample", "personal": "personal"}


def show_fields(found: Sequence[Mapping[str, str]], filling: Filling | None) -> None:
    """Print the fields of a source, live with what is in them, else with what they mean."""
    more = {"meaning": "meaning"} if filling is None else {}
    show_table(found, FIELDS | more, right=["filled"])
    if filling is not None:
        records = numbered(filling.records, "record")
        show_text(f"Looked at {records}; a dash stands for a field that Moodle never sent.")
    for name in ("function", "cost"):
        kinds: dict[str, list[str]] = {}
        for row in found:
            kinds.setdefault(row[name], []).append(row["field"])
        for kind, paths in kinds.items():
            words = "all" if len(paths) == len(found) else listed(paths, 6)
            if kind:
                show_text(f"{words}: {'from' if name == 'function' else 'cost'} {kind}", first="- ", then="  ")


def screen() -> Console:
    """Return the terminal, or a page of at least 80 columns for a file."""
    width = None if sys.stdout.isatty() else max(NARROWEST, shutil.get_terminal_size().columns)
    return Console(highlight=False, width=width)
