"""Writing into a mapping file without touching the rest of it: where things stand, and small pieces of YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from mappings.engine.reading import Loc

_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_PLAIN: Final = re.compile(r"[A-Za-z][\w/@.-]*(?: [\w/@.&()-]+)*", re.ASCII)
_WORDS: Final = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
_WIDEST: Final = 110  # columns of a block that is written on one line


class Bare(str):
    """A number, a time or a flag: a text that is written without quotes."""

    __slots__ = ()


@dataclass(frozen=True)
class Span:
    """Where a value stands in the text; `is_flow` for one written on a line, in brackets."""

    start: int
    end: int
    is_flow: bool


@dataclass(frozen=True)
class Edit:
    """A piece of the text that is to be another one."""

    span: Span
    text: str


def spans(text: str) -> dict[Loc, Span]:
    """Return where each value of a right YAML text stands; a block ends with its last value."""
    found: dict[Loc, Span] = {}
    node = yaml.compose(text, Loader=_LOADER)
    if node is not None:
        _walk(text, node, (), found)
    return found


def _walk(text: str, node: Any, loc: Loc, found: dict[Loc, Span]) -> int:
    """Note a node and what is in it; return where its text ends."""
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    children: list[tuple[str | int, Any]] = []
    if isinstance(node, yaml.MappingNode):
        children = [(key.value, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = list(enumerate(node.value))
    ends = [_walk(text, child, (*loc, name), found) for name, child in children]
    is_flow = bool(getattr(node, "flow_style", True))
    if ends and not is_flow:
        end = ends[-1]
    end = start + len(text[start:end].rstrip())
    found[loc] = Span(start, end, is_flow)
    return end


def edited(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with the edits made, and everything else as it was, to the last byte."""
    for edit in sorted(edits, key=lambda each: -each.span.start):
        text = f"{text[: edit.span.start]}{edit.text}{text[edit.span.end :]}"
    return text


def scalar(text: str, written: str = "") -> str:
    """Return a text as YAML: in quotes where it needs them, or where the one `written` before had them."""
    if written[:1] == "'" and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    if written[:1] != '"' and _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def flow(data: Any) -> str:
    """Return data (texts, lists, dicts; True for the word true) on one line."""
    if isinstance(data, Mapping):
        return "{" + ", ".join(f"{scalar(str(name))}: {flow(value)}" for name, value in data.items()) + "}"
    if isinstance(data, Sequence) and not isinstance(data, str):
        return "[" + ", ".join(flow(value) for value in data) + "]"
    if data is True:
        return "true"
    return str(data) if isinstance(data, Bare) else scalar(str(data))


def block(data: Mapping[str, Any], indent: int) -> list[str]:
    """Return data as lines that begin in column `indent`: what is short on one line, the rest below its key."""
    lines = []
    for name, value in data.items():
        line = f"{' ' * indent}{scalar(str(name))}: {flow(value)}"
        if isinstance(value, Mapping) and value and len(line) > _WIDEST:
            lines += [f"{' ' * indent}{scalar(str(name))}:", *block(value, indent + 2)]
        elif isinstance(value, list) and len(line) > _WIDEST:
            lines.append(f"{' ' * indent}{scalar(str(name))}:")
            lines += [f"{' ' * (indent + 2)}- {flow(entry)}" for entry in value]
        else:
            lines.append(line)
    return lines
