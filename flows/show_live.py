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
from flows.project_file import scalar
from flows.show_problems import laid_out
from flows.words import listed, numbered

if TYPE_CHECKING:
    from flows.coverage import Coverage
    from flows.explain import Explained
    from flows.fields import Filling
    from mappings.engine.coverage import Code

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
            text = laid_out(said, first=f"  {line.label:<{width}}  ", then=" " * (width + 4))
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


def show_coverage(coverage: Coverage) -> None:
    """Print what is left over, and rows for the code lists to paste."""
    unread, empty, codes = list(coverage.unread()), list(coverage.empty()), list(coverage.codes())
    fields = list(coverage.empty_fields())
    read = ", ".join(f"{filling.records:,} of {name}" for name, filling in coverage.sources.items())
    show_heading(f"Records looked at: {read}")
    if unread:
        show_heading("\nFields with data that no mapping reads")
        show_table(unread, {"source": "source", "field": "field", "filled": "filled"}, right=["filled"])
    if empty:
        show_heading("\nProperties that no case has a value for")
        show_table(empty, {"mapping": "mapping", "property": "property", "cases": "cases"}, right=["cases"])
    if fields:
        show_heading("\nFields of lookup tables that no row has a value for")
        show_table(fields, {"table": "table", "field": "field", "rows": "rows"}, right=["rows"])
    if codes:
        show_codes(codes)
    if not (unread or empty or fields or codes):
        show_text("Nothing is left over: each field with data is read, each property filled, each code known.")
    for note in coverage.notes:
        show_text(note, first="- ", then="  ")


def show_codes(codes: Sequence[Code]) -> None:
    """Print codes that have no translation, and rows to paste into their lists."""
    show_heading("\nCodes that are in no list")
    rows = [
        {"records": code.records, "code": code.code or "(personal, not shown)", "list": code.table}
        | {"property": f"{code.mapping} {code.property.removeprefix('@')}"}
        for code in codes
    ]
    headings = {"property": "property", "code": "code", "records": "records", "list": "list"}
    show_table(rows, headings, right=["records"])
    for kind, table in dict.fromkeys((code.kind, code.table) for code in codes if code.code and code.table):
        show_text(
            f"Rows for the {kind} {table}, to {'add to its table' if kind == 'lookup' else 'paste'} and fill in:"
        )
        for code in codes:
            if code.table == table and code.code:
                show_text(pasted(code.code, kind), first="    ")


def pasted(code: str, kind: str) -> str:
    """Return a code as a row of a code list, without its translation; for a table of unknown columns, alone."""
    return code if kind == "lookup" else f"{scalar(code)}: "


def screen() -> Console:
    """Return the terminal, or a page of at least 80 columns for a file."""
    width = None if sys.stdout.isatty() else max(NARROWEST, shutil.get_terminal_size().columns)
    return Console(highlight=False, width=width)
