"""Where a word stands in the files of a mappings folder, so that what a system says of it points at its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mappings.engine import Problem
from mappings.engine.reading import Document, Loc, Mark, read_document


class Places:
    """The files of one folder, read when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._documents: dict[str, Document] = {}

    def problem(
        self, name: str, word: str, sentence: str, remedy: str, *, certain: bool = True, under: str = ""
    ) -> Problem:
        """Return a finding at the first place of a word in `name`.yaml, below the key `under` when given."""
        document = self._documents.setdefault(name, read_document(self._folder / f"{name}.yaml"))
        mark = _mark(document, word, under)
        return document.problem(mark, sentence, remedy, severity="error" if certain else "warning")

    def in_table(self, file: str, word: str, sentence: str, remedy: str) -> Problem:
        """Return a finding at the row of a CSV table that holds a word in a cell of its own."""
        path = self._folder / file
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else []
        for number, line in enumerate(lines, 1):
            if found := re.search(rf'(?:^|[,;\t"])\s*({re.escape(word)})\s*(?:$|[,;\t"])', line):
                return Problem(str(path), number, found.start(1) + 1, len(word), sentence, remedy, line)
        return Problem(str(path), 1, 1, 1, sentence, remedy, "")


def _mark(document: Document, word: str, under: str) -> Mark:
    """Return where a word stands as a value, or in a template; the start of the file when it stands nowhere."""
    for loc, text in _texts(document.data, ()):
        if loc[:1] == ("tests",) or (under and loc[:1] != (under,)):
            continue
        if text.strip() == word:
            return document.mark(loc)
        if f"{{{word}}}" in text:
            return document.within(loc, text.index(f"{{{word}}}") + 1, len(word))
    return document.mark((under,), key=True) if under else Mark(1, 1, 1)


def _texts(data: Any, loc: Loc) -> Iterator[tuple[Loc, str]]:
    """Yield the texts of a file with their places, from top to bottom."""
    if isinstance(data, str):
        yield loc, data
    elif isinstance(data, dict):
        for name, value in data.items():
            yield from _texts(value, (*loc, name))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from _texts(value, (*loc, number))
