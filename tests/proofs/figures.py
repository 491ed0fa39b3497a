"""What a proof covered, as a file: docs/guarantees.md is made of these, so that no figure is written by hand."""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

HOUSE = Path(__file__).parent.parent.parent
ENGINE = ("adaptors", "flows/steps", "mappings/engine", "state", "tests/proofs")
ALONE = ("flows/sync.py", "flows/run.py")
PAGE = "guarantees.py"
"""Tells of the proofs, and proves nothing."""
FOLDER = HOUSE / "var" / "proofs"


@cache  # one process proves one state of the code
def digest_here() -> str:
    """Return the digest of the code that runs."""
    return code_digest(HOUSE)


def code_digest(house: Path) -> str:
    """Return a digest of the engine and its proofs: twelve hexadecimal digits.

    It is one of what is done, not of how it is written down: comments, docstrings and line breaks are left out.
    """
    found = hashlib.sha256()
    files = [house / name for name in ALONE] + [file for name in ENGINE for file in (house / name).rglob("*.py")]
    for file in sorted(file for file in files if not file.name.startswith("test_") and file.name != PAGE):
        found.update(f"{file.relative_to(house)}\n{_done(file)}\n".encode())
    return found.hexdigest()[:12]


def _done(file: Path) -> str:
    """Return what a file does."""
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)]
    return ast.dump(tree)


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


@dataclass
class Figures:
    """One line of the table: what was tried, how often something struck, and what was found wrong."""

    name: str
    tried: int = 0
    fired: int = 0
    duplicates: int = 0
    lost: int = 0
    wrong: int = 0
    writes_on_unchanged: int = 0
    seconds: float = 0.0
    notes: dict[str, int | str] = field(default_factory=dict)
    code: str = ""
    """The digest of the code that was proven; given when it is written down."""

    def write(self, folder: Path = FOLDER) -> Path:
        """Write them down, over those of an earlier time."""
        self.code = digest_here()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / f"{self.name}.json"
        file.write_text(json.dumps(asdict(self), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return file


if __name__ == "__main__":
    print(digest_here())  # noqa: T201
