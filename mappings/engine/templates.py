"""Texts with `{path}` in them: no logic, white space squeezed, blank as soon as one path is blank."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from mappings.engine.catalogue import PROJECT_FIELDS
from mappings.engine.draft import Context
from mappings.engine.paths import Getter, Record, getter
from mappings.engine.texts import ABSENT, Absent, clean, squeezed, to_text

Render = Callable[[Record, Context], "str | Absent | None"]

_PIECE = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]|[^{}]+")


class Piece(NamedTuple):
    """A part of a template: plain `text`, or the `path` of a field; `offset` is where it starts in the text."""

    text: str
    path: str
    offset: int


class TemplateError(Exception):
    """A template that cannot be read; `offset` is where."""

    def __init__(self, sentence: str, remedy: str, offset: int) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.remedy = remedy
        self.offset = offset


def parse_template(text: str) -> tuple[Piece, ...]:
    """Split a template into its pieces; TemplateError for a lone bracket or an empty path."""
    return tuple(_piece(found.group(), found.start()) for found in _PIECE.finditer(text))


def _piece(token: str, offset: int) -> Piece:
    if token in ("{{", "}}"):
        return Piece(token[0], "", offset)
    if token in ("{", "}"):
        raise TemplateError(
            f"a '{token}' stands alone in this template", f"write '{token * 2}' for a bracket", offset
        )
    if not token.startswith("{"):
        return Piece(token, "", offset)
    path = token[1:-1].strip()
    if not path:
        raise TemplateError("nothing stands between the brackets", "write the field, as in {firstname}", offset)
    return Piece("", path, offset + 1 + len(token[1:]) - len(token[1:].lstrip()))


def template_paths(text: str) -> list[str]:
    """Return the record's fields that a template reads, in order; none for one that cannot be read."""
    try:
        pieces = parse_template(text)
    except TemplateError:
        return []
    return [piece.path for piece in pieces if piece.path and piece.path not in PROJECT_FIELDS]


def skeleton(text: str) -> tuple[tuple[str, str], ...]:
    """Return a template as (literal, path) pairs with joined literals, to compare two templates by."""
    pairs: list[tuple[str, str]] = []
    literal = ""
    for piece in parse_template(text):
        if piece.path:
            pairs.append((literal, piece.path))
            literal = ""
        else:
            literal += piece.text
    return (*pairs, (literal, "")) if literal else tuple(pairs)


@lru_cache
def key_form(text: str, site: str) -> re.Pattern[str]:
    """Return the form of the keys that a template makes on a site: the ids in them are whole numbers.

    They have 18 digits at most, so that they fit into the books whatever somebody typed into a case.
    """
    return re.compile("".join(_form_of(piece, site) for piece in parse_template(text)))


def _form_of(piece: Piece, site: str) -> str:
    if not piece.path:
        return re.escape(piece.text)
    return re.escape(site) if piece.path == "site" else r"([0-9]{1,18})"


def ids_in(text: str, site: str, key: str) -> dict[str, int] | None:
    """Return the ids in a key that a template made on a site, by path, None when it did not make it."""
    found = key_form(text, site).fullmatch(key)
    return None if found is None else dict(zip(_ids_of(text), map(int, found.groups()), strict=True))


def is_key_of(text: str, site: str, whose: str, course: int, key: str, person: int) -> bool:
    """Say whether a template made a key on a site of a course and a person, whose id is at the path `whose`.

    Ids that changed places make keys of the same form, about others; 0 stands for any course, or person.
    """
    ids = ids_in(text, site, key)
    if ids is None:
        return False
    return person in (0, ids.get(whose, person)) and course in (0, ids.get("course.id", course))


@lru_cache
def _ids_of(text: str) -> tuple[str, ...]:
    return tuple(piece.path for piece in parse_template(text) if piece.path not in ("", "site"))


def compile_template(text: str) -> Render:
    """Return a function that fills a template: ABSENT when a path was not sent, None when one is blank."""
    pieces = parse_template(text)
    plan = [_take(piece.path) for piece in pieces if piece.path and piece.path not in PROJECT_FIELDS]
    only = plan[0][0] if len(plan) == 1 else ""
    known: tuple[Context | None, str, bool] = (None, "", False)

    def render(record: Record, context: Context) -> str | Absent | None:
        nonlocal known
        if known[0] is not context:  # what a run knows is the same for all its records
            known = _of_run(pieces, context)
        _, pattern, is_tidy = known
        if is_tidy and record.get(only).__class__ is int:  # a key of one number, or a link
            filled: str = pattern % record[only]
            return filled
        values: list[str | int] = []
        blank = not pattern
        for field, get in plan:
            value = record.get(field)  # most are texts and numbers of the record itself
            if value.__class__ is int:
                values.append(value)
            elif value.__class__ is str and value and not value.isspace():
                values.append(value.strip())
            else:
                value = get(record)
                if value is ABSENT:
                    return ABSENT
                blank = blank or value is None
                values.append(to_text(value).strip())
        if blank:
            return None
        text = pattern % tuple(values)
        if text.isprintable() and "  " not in text and text[0] != " " != text[-1]:  # nothing to squeeze
            return text
        return clean(squeezed(text)) or None

    return render


def _of_run(pieces: Sequence[Piece], context: Context) -> tuple[Context, str, bool]:
    """Return a template as a pattern for `%` with what the run knows, "" when that is blank.

    Also whether the pattern stays as it is when one number is put in: nothing to squeeze, nothing to clean.
    """
    of_run = {"site": context.site.strip(), "site_url": context.site_url.strip().rstrip("/")}
    if not all(of_run.get(piece.path, "x") for piece in pieces):
        return context, "", False
    texts = [of_run.get(piece.path, piece.text).replace("%", "%%") for piece in pieces]
    paths = [piece.path not in of_run and bool(piece.path) for piece in pieces]
    pattern = "".join("%s" if is_path else text for is_path, text in zip(paths, texts, strict=True))
    if sum(paths) != 1:
        return context, pattern, False
    return context, pattern, pattern % 0 == clean(squeezed(pattern % 0))


def _take(path: str) -> tuple[str, Getter]:
    """Return how to take a path: the record's own field to look at first, and what to do when that is no text."""
    return path if "." not in path else "", getter(path)
