"""What the YAML parser says, in the words of somebody who writes mappings, with the place where to look."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from mappings.engine.odd_texts import UNSEEN

_NO_COLON: Final = "could not find expected ':'"
_SLIPS: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "tab character",
        "a tab stands where spaces should be",
        "indent with spaces, never tabs: delete the tab and type two spaces for each step",
    ),
    (
        "mapping values are not allowed",
        "a second ':' stands in this line, or it is indented further than the one above",
        'put a text that contains ": " in quotes, as in description: "One case: per learner", '
        "or start the line in the same column as its neighbours",
    ),
    (
        "did not find expected '-' indicator",
        "this line stands among the '- ' lines of a list and does not begin with '- '",
        "begin it with '- ' in the same column, or indent it under the entry it belongs to",
    ),
    (
        "sequence entries are not allowed",
        "a list begins here, behind something else on the same line",
        "begin each '- ' on a line of its own, or write the list in brackets: [student, teacher]",
    ),
    (
        "expected ',' or",
        "a bracket that was opened here is not closed, or a comma is missing between two entries",
        "close it with the same kind of bracket, and look for a missing comma or quote inside it",
    ),
    (
        _NO_COLON,
        "a ':' is missing in this line",
        "write it as 'key: value', with a blank behind the ':'; an entry of a list begins with '- '",
    ),
    (
        "unexpected end of stream",
        "a quote that was opened here is not closed",
        "put the closing quote, the same sign as the opening one, at the end of the text",
    ),
    (
        "unknown escape character",
        "inside double quotes a \\ has a meaning of its own",
        "use single quotes instead: '...'",
    ),
    (
        "cannot start any token",
        "a text cannot begin with this sign",
        "put the whole text in quotes; texts that begin with % @ ` { [ * & ! or contain ': ' or ' #' need them",
    ),
    (
        "did not find expected key",
        "what stands here does not fit to what comes before it",
        "lines that belong together begin in the same column; and quotes go around a whole text, "
        'as in "{firstname} {lastname}"',
    ),
    (
        "expected <block end>",
        "what stands here does not fit to what comes before it",
        "lines that belong together begin in the same column; and quotes go around a whole text, "
        'as in "{firstname} {lastname}"',
    ),
    (
        "did not find expected alphabetic",
        "a * or & has a meaning of its own here",
        "put the whole text in quotes",
    ),
    ("special characters", "a sign that cannot be seen stands here", "delete it and type this line again"),
    ("control characters", "a sign that cannot be seen stands here", "delete it and type this line again"),
)
_ANY: Final = (
    "this line cannot be read",
    "look at the indentation, the quotes and the brackets of this line and the one above",
)
_FROM_ITS_START: Final = ("expected ',' or", "unexpected end of stream", _NO_COLON)
"""Slips that are noticed long after they were made: what was opened is what has to be shown."""


_BELOW_A_WORD: Final = ("mapping values are not allowed", "did not find expected key", "expected <block end>")
"""Slips that may be a key without its colon: the parser takes it for a text, which goes on in the next line."""
_WORD: Final = re.compile(r"\s*[\w.-]*\w\s*(#.*)?")


def slip(error: Any, line: str) -> tuple[str, str]:
    """Return a sentence and a remedy for a YAML error; `line` is the line on which it was noticed."""
    words = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in words:
        words = "tab character"
    elif UNSEEN.search(line):
        words = "special characters"
    elif _WORD.fullmatch(line) and any(sign in words for sign in _BELOW_A_WORD):
        words = _NO_COLON
    return next(((sentence, remedy) for sign, sentence, remedy in _SLIPS if sign in words), _ANY)


def slip_place(error: Any, lines: Sequence[str]) -> tuple[int, int] | None:
    """Return the line and column, from 0, where a YAML error should be shown; None when it does not say."""
    problem, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    words = str(getattr(error, "problem", ""))
    is_later = context is not None and (problem is None or context.line < problem.line)
    mark = context if is_later and any(sign in words for sign in _FROM_ITS_START) else problem or context
    if mark is None:
        return None
    above = _word_above(lines, mark.line) if any(sign in words for sign in _BELOW_A_WORD) else None
    return above or (mark.line, mark.column)


def _word_above(lines: Sequence[str], number: int) -> tuple[int, int] | None:
    """Return where a single word stands above a line that is indented further; blanks and comments are skipped."""
    texts = (at for at in range(min(number, len(lines)) - 1, -1, -1) if lines[at].split("#")[0].strip())
    above = next(texts, None)
    if above is None or number >= len(lines) or not _WORD.fullmatch(lines[above]):
        return None
    column = _indent(lines[above])
    return (above, column) if column < _indent(lines[number]) else None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
