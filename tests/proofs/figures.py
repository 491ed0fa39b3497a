"""What a proof covered, as a file: docs/guarantees.md is made of these, so that no figure is written by hand."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

HOUSE = Path(__file__).parent.parent.parent
ROOMS = ("adaptors", "flows", "mappings", "state", "tests")
PROOFS = {
    "faults": ("tests.proofs.soak",),
    "machine": ("tests.proofs.lives",),
    "walks": ("tests.proofs.walks",),
    "kill": ("tests.proofs.kills", "tests.proofs.kill_server", "tests.proofs.kill_worker"),
    "mutants": (
        *(f"tests.proofs.test_{name}" for name in ("mutants", "machine", "walks", "kill")),
        "tests.proofs.kill_server",
        "tests.proofs.kill_worker",
    ),
    "moments": ("tests.flows.test_at_any_moment",),
}
"""The modules that each proof is begun with; all that they import proves, or is proven."""
TELL = frozenset({"figures.py", "kept.py", "guarantees.py"})
"""Of the proofs, what counts and tells, and proves nothing."""
FOLDER = HOUSE / "var" / "proofs"


@cache  # one process proves one state of the code
def digest_here(name: str) -> str:
    """Return the digest of the code that makes the figures of this name."""
    return code_digest(PROOFS[name.partition("-")[0]])


def code_digest(begun_with: Iterable[str], house: Path = HOUSE) -> str:
    """Return a digest of all that some modules import, and of the books and the mappings: twelve hex digits.

    It is one of what is done, not of how it is written down: comments, docstrings and line breaks are left out.
    """
    found = hashlib.sha256()
    for file in sorted(file for file in imported(begun_with, house) if file.name not in TELL):
        found.update(f"{file.relative_to(house)}\n{_done(file)}\n".encode())
    for file in sorted((house / "mappings").rglob("*.yaml")):
        text = file.read_text("utf-8").partition("\ntests:")[0]  # no proof reads the examples after it
        found.update(f"{file.relative_to(house)}\n{text}\n".encode())
    return found.hexdigest()[:12]


def imported(begun_with: Iterable[str], house: Path = HOUSE) -> set[Path]:
    """Return modules and all of ours that they import, whenever they do; and the books, whose steps go by name."""
    found = set[Path]()
    waiting = [house.joinpath(*name.split(".")).with_suffix(".py") for name in begun_with]
    waiting += (house / "state").rglob("*.py")
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imports(file, house)
    return found


@cache
def _imports(file: Path, house: Path) -> Sequence[Path]:
    """Return the files of ours that a file imports, those of the packages around them included."""
    found = list[Path]()
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for parts in (name.split(".") for name in names if name.partition(".")[0] in ROOMS):
            for place in (house.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)):
                found += (one for one in (place.with_suffix(".py"), place / "__init__.py") if one.is_file())
    return found


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes())


@cache
def _done(file: Path) -> str:
    """Return what a file does."""
    tree = _tree(file)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)]
    return ast.dump(tree)


def forget() -> None:
    """Forget what files hold: they were written anew."""
    for known in (_imports, _tree, _done):
        known.cache_clear()


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
        self.code = "" if self.name.endswith("-boxed") else digest_here(self.name)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / f"{self.name}.json"
        file.write_text(json.dumps(asdict(self), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return file


if __name__ == "__main__":
    for proof in PROOFS:
        print(f"{proof:8} {digest_here(proof)}")  # noqa: T201
