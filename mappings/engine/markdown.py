"""Documents as Markdown: tables whose cells may hold anything, and the specification sheet made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from mappings.engine.sheet import Section, Specification, Table

_SPECIAL = re.compile(r"([\\|*`<>\[\]#~]|(?<!\w)_|_(?!\w))")


def plain(text: str) -> str:
    """Return a text so that Markdown shows it as it is."""
    return _SPECIAL.sub(r"\\\1", text).replace("\n", "<br>")


def code(text: str) -> str:
    """Return a text in the type of code, fit for a table cell; nothing for nothing."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


def table_lines(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table; cells are Markdown already."""
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(row)} |".replace("|  |", "| |")


def specification_markdown(sheet: Specification, diagram: str) -> str:
    """Return the specification sheet with the data-flow diagram as Markdown."""
    return "\n".join(_lines(sheet, diagram)) + "\n"


def _lines(sheet: Specification, diagram: str) -> Iterator[str]:
    yield from (f"# {plain(sheet.title)}", "", plain(sheet.intro), "")
    yield from (f"## {sheet.phrases.say('flow')}", "", "```mermaid", diagram, "```", "")
    yield from (f"## {sheet.phrases.say('project')}", "")
    yield from (f"- **{plain(name)}:** {plain(text)}" for name, text in sheet.facts)
    for section in sheet.sections:
        yield from _section(section)
    for table in sheet.tables:
        yield from ("", f"## {plain(table.title)}", "")
        yield from table_lines([plain(name) for name in table.headings], _cells(table))
        yield from ("", plain(table.note)) if table.note else ()


def _section(section: Section) -> Iterator[str]:
    mark = f" ({', '.join(section.marks)})" if section.marks else ""
    yield from ("", f"## {plain(section.case_type)}{mark}", "")
    for text in (section.description, section.note):
        yield from (plain(text), "") if text else ()
    yield from (f"- **{plain(name)}:** {plain(text)}" for name, text in section.facts)
    yield ""
    yield from table_lines([plain(name) for name in section.properties.headings], _cells(section.properties))


def _cells(table: Table) -> Iterator[list[str]]:
    return ([plain(cell) for cell in row] for row in table.rows)
