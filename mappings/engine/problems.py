"""What is wrong with a mapping, told to the person who wrote it: where, what, and what to do about it.

A problem never shows a Python word or a traceback; it is one clickable line, the line of the file and a remedy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "test", "warning"]
"""An error stops every run; a test in a mapping file that failed stops none, and neither does a warning."""

_WIDEST = 70  # characters of a source line that are shown: with what stands before them they fit 80 columns
_LONGEST_WORD = 60  # longer words are cut in sentences and get no suggestion


@dataclass(frozen=True)
class Problem:
    """One finding in one file; `line` and `column` count from 1, `length` is the number of marked characters."""

    path: str
    line: int
    column: int
    length: int
    sentence: str
    remedy: str
    source_line: str
    severity: Severity = "error"

    def render(self) -> str:
        """Return the finding as text: `file:line:column: sentence`, the line, a caret and the remedy."""
        lines = [f"{self._prefix()}{self.path}:{self.line}:{self.column}: {self.sentence}"]
        if self.source_line.strip():
            shown, start = self._window()
            marked = max(1, min(self.length, len(shown) - start))
            lines += [f"{self.line:4} | {shown}", f"     | {' ' * start}{'^' * marked}"]
        if self.remedy:
            lines.append(f"     = {self.remedy}")
        return "\n".join(lines)

    def _prefix(self) -> str:
        return "" if self.severity == "error" else f"{self.severity} "

    def _window(self) -> tuple[str, int]:
        """Return the part of a long line that holds the marked text, and where the mark starts in it."""
        line = "".join(letter if letter.isprintable() else " " for letter in self.source_line).rstrip()
        start = min(self.column - 1, len(line))
        cut = max(0, start - _WIDEST // 2) if start + self.length > _WIDEST else 0
        shown = line[cut : cut + _WIDEST]
        before, after = "…" * (cut > 0), "…" * (len(line) > cut + _WIDEST)
        return f"{before}{shown}{after}", start - cut + len(before)


class MappingError(Exception):
    """The mappings cannot be used as they are; `problems` holds every finding, in file order. Never retried."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = list(problems)

    def __str__(self) -> str:
        return "\n\n".join(problem.render() for problem in self.problems)


def in_file_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sort findings as a reader meets them: project.yaml first, then file by file, top to bottom."""
    return sorted(
        set(problems),
        key=lambda p: (not p.path.endswith("project.yaml"), p.path, p.line, p.column, p.sentence),
    )


def quoted(text: str) -> str:
    """Return a word from a file in quotes, cut and without control characters, fit for a sentence."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:_LONGEST_WORD])
    return f"'{shown}…'" if len(text) > _LONGEST_WORD else f"'{shown}'"


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return the choice that looks most like `word`, or "" when none is close."""
    if len(word) > _LONGEST_WORD:
        return ""
    import difflib  # only somebody who made a mistake needs it

    known = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return known[found[0]] if found else ""


def suggestion(word: str, choices: Iterable[str], *, none: str = "") -> str:
    """Return the remedy for an unknown word: the near one, else the list of what there is, else `none`."""
    known = sorted(choices)
    near = nearest(word, known)
    if near:
        return f"did you mean '{near}'?"
    if not known:
        return none
    return f"there is {one_of(known, last='and')}" if len(known) <= 25 else none


def one_of(words: Iterable[str], *, last: str = "or") -> str:
    """Join words for a sentence: 'a', 'b' or 'c'."""
    shown = [f"'{word}'" for word in words]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {last} {shown[-1]}"
