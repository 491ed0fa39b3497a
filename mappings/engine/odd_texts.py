"""Texts that are valid YAML and still not what somebody meant: signs that word processors leave behind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mappings.engine.problems import Problem, quoted

if TYPE_CHECKING:
    from mappings.engine.reading import Document, Loc, Mark

_QUOTES: Final = "“”„‟‘’‚«»"
_FOR_PEOPLE: Final = ("description", "label", "group", "name")
UNSEEN: Final = re.compile("[\u00a0\u00ad\u200b-\u200f\u202a-\u202f\u2060\ufeff]")
"""Signs that look like a blank or like nothing, and are not what YAML takes for a blank."""
_CUT: Final = re.compile(r"\s+#[{\d]")
_SCHEMA: Final = "# yaml-language-server: $schema="


def odd_texts(document: Document) -> Iterator[Problem]:
    """Yield what is odd about the keys and values of a file."""
    for loc, mark in document.keys.items():
        yield from _odd(document, mark, str(loc[-1]))
    for loc, mark in document.values.items():
        if loc in document.blocks or loc in document.empty:
            continue
        text = _written(document, mark)
        if not _is_for_people(loc):
            yield from _odd(document, mark, text)
        if text[:1] not in ("'", '"') and _CUT.match(_behind(document, mark)):
            sentence = f"{quoted(text)} ends here: what follows a blank and # is a comment"
            remedy = 'put the whole text in quotes, as in "Learner #{id}"'
            yield document.problem(mark, sentence, remedy, severity="warning")


def is_table(name: str) -> bool:
    """Say whether a file of this name holds a lookup table."""
    return name.endswith(".table.yaml")


def schema_line(name: str) -> str:
    """Return the first line of a file, by which editors find its schema; `name` is the file's own name."""
    kind = name.removesuffix(".yaml") if name in ("project.yaml", "code_lists.yaml") else "mapping"
    kind = "table" if is_table(name) else kind
    return f"{_SCHEMA}schema/{kind}.schema.json"


def no_schema_line(document: Document) -> Iterator[Problem]:
    """Yield a warning for a file whose first lines do not tell editors how to help."""
    if not any(known.startswith(_SCHEMA) for known in document.lines[:2]):
        sentence = "editors cannot help with this file: it has no $schema line"
        remedy = f"make this its first line: {schema_line(Path(document.path).name)}"
        yield document.problem(document.first, sentence, remedy, severity="warning")


def _odd(document: Document, mark: Mark, text: str) -> Iterator[Problem]:
    if text[:1] and text[:1] in _QUOTES:
        sentence = f"{text[0]} is a typographic quotation mark, and part of the text here"
        yield document.problem(mark, sentence, "type straight ones, \" or ', at both ends")
    elif UNSEEN.search(text):
        shown = UNSEEN.sub(" ", text).strip()
        sentence = f"a sign that cannot be seen stands in or before {quoted(shown)}"
        yield document.problem(
            mark, sentence, "it was copied along from somewhere: delete this text and type it again"
        )


def _is_for_people(loc: Loc) -> bool:
    return loc[:1] == ("tests",) or any(part in _FOR_PEOPLE for part in loc[-2:])


def _written(document: Document, mark: Mark) -> str:
    return document.line(mark.line)[mark.column - 1 : mark.column - 1 + mark.length]


def _behind(document: Document, mark: Mark) -> str:
    return document.line(mark.line)[mark.column - 1 + mark.length :]
