"""YAML as text: every scalar stays what was typed (`no`, `007`, `0722...`), and has a line and a column.

Built from the parser's events instead of its node tree, so that aliases, doubled keys and endless nesting are
refused where they stand and nothing can grow larger than the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mappings.engine.odd_texts import odd_texts
from mappings.engine.problems import MappingError, Problem, Severity, quoted
from mappings.engine.slips import slip, slip_place

Loc = tuple[str | int, ...]

LARGEST_FILE = 1_000_000  # bytes
_DEEPEST = 20  # a mapping is 8 deep
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class Mark(NamedTuple):
    """Where a piece of text stands; `line` and `column` count from 1."""

    line: int
    column: int
    length: int


@dataclass
class Document:
    """One file as data (texts, lists and dicts only) with the place of every key and value.

    `data` is None for an empty file. A value that was left out (`key:`) is None and listed in `empty`.
    """

    path: str
    lines: list[str]
    data: Any = None
    values: dict[Loc, Mark] = field(default_factory=dict)
    keys: dict[Loc, Mark] = field(default_factory=dict)
    blocks: set[Loc] = field(default_factory=set)
    empty: list[Loc] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def first(self) -> Mark:
        """Return the beginning of the file."""
        return Mark(1, 1, 1)

    def known(self, loc: Loc) -> Loc:
        """Return the place in the file that answers to `loc`; parts that the short forms leave out are skipped."""
        found: Loc = ()
        for part in loc:
            if (*found, part) in self.values:
                found = (*found, part)
        return found

    def mark(self, loc: Loc, *, key: bool = False) -> Mark:
        """Return where `loc` stands: its key when asked for or when its value is a block, else its value."""
        found = self.known(loc)
        if found in self.keys and (key or found in self.blocks or found in self.empty):
            return self.keys[found]
        return self.values.get(found, Mark(1, 1, 1))

    def within(self, loc: Loc, offset: int, length: int) -> Mark:
        """Return where a part of a one-line text stands; the whole text when it was written with escapes."""
        mark = self.mark(loc)
        text = self.line(mark.line)[mark.column - 1 : mark.column - 1 + mark.length]
        lead = 1 if text[:1] in {'"', "'"} else 0
        if offset + length + lead > len(text) or "\\" in text or "''" in text:
            return mark
        return Mark(mark.line, mark.column + lead + offset, max(1, length))

    def problem(self, mark: Mark, sentence: str, remedy: str = "", *, severity: Severity = "error") -> Problem:
        """Return a finding at a place of this file."""
        line = self.line(mark.line)
        return Problem(self.path, mark.line, mark.column, mark.length, sentence, remedy, line, severity)

    def line(self, number: int) -> str:
        """Return a line of the file, counted from 1; "" behind its end."""
        return self.lines[number - 1] if number <= len(self.lines) else ""


def read_text(file: Path) -> str:
    """Return a file's text; MappingError when it is missing, over 1 MB or not UTF-8."""
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise _refused(file, "this file is larger than 1 MB", "a mapping is a page or two: split it up")
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _refused(
            file, "this file is not UTF-8 text", "in your editor: Save as, with the encoding UTF-8"
        ) from None
    except OSError:
        raise _refused(file, "this file cannot be read", "look at its name and its permissions") from None


def read_document(file: Path) -> Document:
    """Read one YAML file; MappingError when it is not YAML, findings that leave it readable in `.problems`."""
    return parse_document(read_text(file), str(file))


def parse_document(text: str, path: str) -> Document:
    """Turn YAML text into data with positions; see `read_document`."""
    document = Document(path, text.splitlines() or [""])
    try:
        _Builder(document, yaml.parse(text, Loader=_LOADER)).build()
    except yaml.YAMLError as error:
        raise MappingError([_not_yaml(document, error, text)]) from None
    document.problems += odd_texts(document)
    return document


class _Builder:
    """Walks the parser's events into one document."""

    def __init__(self, document: Document, events: Iterator[Any]) -> None:
        self._document = document
        self._events = events

    def build(self) -> None:
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._stop(event, "a second document starts here", "one file holds one mapping")
            elif isinstance(event, yaml.NodeEvent):
                self._document.data = self._node(event, (), 0)

    def _node(self, event: Any, loc: Loc, depth: int) -> Any:
        if depth > _DEEPEST:
            raise self._stop(event, "this is nested too deeply", "no part of a mapping is so deep")
        self._refuse_tricks(event)
        self._document.values[loc] = _mark_of(event, self._document.lines)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(loc, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(loc, depth)
        return self._scalar(event, loc)

    def _scalar(self, event: Any, loc: Loc) -> str | None:
        if isinstance(event, yaml.AliasEvent):
            return ""
        if event.value == "" and not event.style:
            self._document.empty.append(loc)
            return None
        return str(event.value)

    def _sequence(self, loc: Loc, depth: int) -> list[Any]:
        self._document.blocks.add(loc)
        items: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, (*loc, len(items)), depth + 1))
        return items

    def _mapping(self, loc: Loc, depth: int) -> dict[str, Any]:
        self._document.blocks.add(loc)
        result: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                raise self._stop(event, "a block stands here as a key", "a key is one word, then a colon")
            self._refuse_tricks(event)
            inner = (*loc, event.value)
            if event.value in result:
                self._note_double(event, self._document.keys[inner])
                self._node(next(self._events), (*loc, event.value, "again"), depth + 1)
                continue
            self._document.keys[inner] = _mark_of(event, self._document.lines)
            result[event.value] = self._node(next(self._events), inner, depth + 1)
        return result

    def _note_double(self, event: Any, first: Mark) -> None:
        sentence = f"{quoted(event.value)} is given twice"
        self._note(event, sentence, f"first given on line {first.line}")

    def _refuse_tricks(self, event: Any) -> None:
        """Note anchors, aliases and tags: they hide what a mapping says."""
        if event.anchor is not None:
            kind = "an alias (*)" if isinstance(event, yaml.AliasEvent) else "an anchor (&)"
            self._note(event, f"{kind} is not part of the mapping language", "write the text out, or quote it")
        if getattr(event, "tag", None) not in (None, "!"):
            self._note(event, "a tag (!) is not part of the mapping language", "leave it out, or quote the text")

    def _note(self, event: Any, sentence: str, remedy: str) -> None:
        mark = _mark_of(event, self._document.lines)
        self._document.problems.append(self._document.problem(mark, sentence, remedy))

    def _stop(self, event: Any, sentence: str, remedy: str) -> MappingError:
        mark = _mark_of(event, self._document.lines)
        return MappingError([*self._document.problems, self._document.problem(mark, sentence, remedy)])


def _mark_of(event: Any, lines: list[str]) -> Mark:
    start, end = event.start_mark, event.end_mark
    if end.line == start.line:
        return Mark(start.line + 1, start.column + 1, max(1, end.column - start.column))
    rest = lines[start.line][start.column :].rstrip() if start.line < len(lines) else ""
    return Mark(start.line + 1, start.column + 1, max(1, len(rest)))


def _not_yaml(document: Document, error: yaml.YAMLError, text: str) -> Problem:
    place = slip_place(error, document.lines)
    if place is None:  # a character YAML does not allow; its place is counted from the start of the file
        before = text[: int(getattr(error, "position", 0) or 0)]
        mark = Mark(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1, 1)
    else:
        mark = Mark(min(place[0], len(document.lines) - 1) + 1, place[1] + 1, 1)
    sentence, remedy = slip(error, document.lines[min(mark.line, len(document.lines)) - 1])
    return document.problem(mark, sentence, remedy)


def _refused(file: Path, sentence: str, remedy: str) -> MappingError:
    return MappingError([Problem(str(file), 1, 1, 1, sentence, remedy, "")])
