"""Documents as .xlsx workbooks, the same bytes every time; texts stay texts, whatever they begin with."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mappings.engine.dictionary import HEADINGS, VALUE_HEADINGS, VALUES_SUFFIX, Dictionary
from mappings.engine.sheet import Section, Specification, Table

if TYPE_CHECKING:
    from xlsxwriter import Workbook
    from xlsxwriter.worksheet import Worksheet

_MADE: Final = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)  # the same in every workbook
_LONGEST_NAME: Final = 31
_WIDTHS: Final = (26, 34, 28, 44, 34, 10)
_OVERVIEW_WIDTHS: Final = (34, 100)
_TABLE_WIDTHS: Final = (30, 34)
_DICTIONARY_WIDTHS: Final = (28, 28, 18, 14, 60, 12)


def specification_workbook(sheet: Specification) -> bytes:
    """Return the specification sheet as a workbook: an overview, a sheet for each mapping, one for the tables."""
    written = io.BytesIO()
    with _open(written, sheet.title) as book:
        formats = _Formats(book)
        names = _Names()
        _write_overview(book.add_worksheet(names.fit(sheet.phrases.say("project"))), sheet, formats)
        for section in sheet.sections:
            _write_section(book.add_worksheet(names.fit(section.name)), section, formats)
        for table in sheet.tables:
            _write_table(book.add_worksheet(names.fit(table.title)), table, formats)
    return written.getvalue()


def dictionary_workbook(found: Dictionary) -> bytes:
    """Return the data dictionary as CommCare's upload takes it: two sheets for each case type, plain headings."""
    written = io.BytesIO()
    with _open(written, "CommCare data dictionary") as book:
        formats = _Formats(book)
        for one in found.sheets:
            _write_rows(book.add_worksheet(one.case_type), HEADINGS, one.properties, formats)
            values = book.add_worksheet(f"{one.case_type}{VALUES_SUFFIX}")
            _write_rows(values, VALUE_HEADINGS, one.values, formats)
    return written.getvalue()


def same_workbook(one: bytes, other: bytes) -> bool:
    """Say whether two workbooks hold the same, however they were packed; False for what is no workbook."""
    try:
        return _parts(one) == _parts(other)
    except (zipfile.BadZipFile, EOFError, ValueError):
        return False


def _parts(raw: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def _open(target: io.BytesIO, title: str) -> Workbook:
    from xlsxwriter import Workbook  # slow to load, and few commands need it

    book = Workbook(target, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    book.set_properties({"title": title, "created": _MADE})
    return book


class _Formats:
    """The looks of cells."""

    def __init__(self, book: Workbook) -> None:
        wrapped: dict[str, Any] = {"text_wrap": True, "valign": "top"}
        self.title = book.add_format({"bold": True, "font_size": 16})
        self.text = book.add_format(wrapped)
        self.fact = book.add_format({**wrapped, "bold": True})
        self.name = book.add_format({"bold": True, "font_size": 13, "bottom": 1})
        self.heading = book.add_format({**wrapped, "bold": True, "bg_color": "#DDE8F0", "bottom": 1})
        self.cell = book.add_format({**wrapped, "bottom": 4, "bottom_color": "#BBBBBB"})


class _Names:
    """Names of worksheets: short, without the characters that Excel forbids, none twice."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def fit(self, name: str) -> str:
        """Return a name that is still free."""
        plain = "".join(" " if letter in "[]:*?/\\'" else letter for letter in name).strip()
        plain = plain[:_LONGEST_NAME].strip() or "sheet"
        fitted, number = plain, 2
        while fitted.lower() in self._taken or fitted.lower() == "history":
            fitted = f"{plain[: _LONGEST_NAME - len(str(number)) - 1]} {number}"
            number += 1
        self._taken.add(fitted.lower())
        return fitted


def _write_overview(page: Worksheet, sheet: Specification, formats: _Formats) -> None:
    """Write what holds for the project, then a block for each mapping."""
    _columns(page, _OVERVIEW_WIDTHS)
    page.write_string(0, 0, sheet.title, formats.title)
    page.merge_range(1, 0, 1, 1, "", formats.text)
    page.write_string(1, 0, sheet.intro, formats.text)
    page.set_row(1, 48)
    row = _write_facts(page, 3, sheet.facts, formats)
    for section in sheet.sections:
        page.write_string(row + 1, 0, section.name, formats.name)
        about = [text for text in (section.description, section.note) if text]
        row = _write_facts(page, row + 2, [("", text) for text in about], formats)
        row = _write_facts(page, row, section.facts, formats)


def _write_section(page: Worksheet, section: Section, formats: _Formats) -> None:
    _columns(page, _WIDTHS)
    _write_head(page, 0, section.properties.headings, formats)
    page.freeze_panes(1, 1)
    page.repeat_rows(0)
    _write_cells(page, 1, section.properties.rows, formats)


def _write_table(page: Worksheet, table: Table, formats: _Formats) -> None:
    _columns(page, _TABLE_WIDTHS)
    page.write_string(0, 0, table.title, formats.title)
    page.write_string(1, 0, table.note)
    _write_head(page, 2, table.headings, formats)
    page.freeze_panes(3, 0)
    _write_cells(page, 3, table.rows, formats)


def _write_rows(
    page: Worksheet, headings: Sequence[str], rows: Sequence[Sequence[str]], formats: _Formats
) -> None:
    _columns(page, _DICTIONARY_WIDTHS[: len(headings)])
    _write_head(page, 0, headings, formats)
    page.freeze_panes(1, 1)
    _write_cells(page, 1, rows, formats)


def _write_facts(page: Worksheet, row: int, facts: Sequence[tuple[str, str]], formats: _Formats) -> int:
    """Write pairs of a name and a text; return the next free row."""
    for name, text in facts:
        page.write_string(row, 0, name, formats.fact)
        page.write_string(row, 1, text, formats.text)
        row += 1
    return row


def _write_head(page: Worksheet, row: int, headings: Sequence[str], formats: _Formats) -> None:
    for column, text in enumerate(headings):
        page.write_string(row, column, text, formats.heading)


def _write_cells(page: Worksheet, row: int, rows: Sequence[Sequence[str]], formats: _Formats) -> None:
    for number, cells in enumerate(rows, start=row):
        for column, text in enumerate(cells):
            page.write_string(number, column, text, formats.cell)


def _columns(page: Worksheet, widths: Sequence[int]) -> None:
    for number, width in enumerate(widths):
        page.set_column(number, number, width)
    page.set_landscape()
    page.set_paper(9)  # A4
    page.fit_to_pages(1, 0)
