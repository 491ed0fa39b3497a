"""`mappings test`: runs the tests in the mapping files, and with --update brings what they expect up to date."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.catalogue import field_catalogue
from flows.errors import UsageError
from flows.live import TABLE
from mappings.engine import Problem
from mappings.engine.examples import Examples
from mappings.engine.expectations import Change, changes, updated
from mappings.engine.graph import MappingFile
from mappings.engine.load import run_tests
from mappings.engine.reading import read_text


@dataclass(frozen=True)
class Tested:
    """One mapping file with its tests run; `examples` is None for a file that has mistakes."""

    __test__ = False  # not a test class for pytest

    file: MappingFile
    examples: Examples | None

    @property
    def path(self) -> Path:
        """The mapping file."""
        return Path(self.file.document.path)

    @property
    def problems(self) -> list[Problem]:
        """What keeps the tests from running, or the expectations that were not met."""
        if self.examples is not None:
            return self.examples.problems
        return [problem for problem in self.file.problems if problem.severity == "error"]


@dataclass
class Update:
    """What has to be written into one file for its tests to pass."""

    path: Path
    text: str
    changes: list[Change] = field(default_factory=list)


def run(folder: Path, name: str | None, *, plugins: bool = True) -> list[Tested]:
    """Run the tests of all mappings, or of one; raises UsageError for an unknown name, MappingError."""
    found = [Tested(file, examples) for file, examples in run_tests(folder, field_catalogue(), plugins=plugins)]
    if name is None:
        return found
    wanted = Path(name).name.removesuffix(".yaml")
    chosen = [tested for tested in found if tested.file.name == wanted]
    chosen = chosen or [tested for tested in found if wanted in _other_names(tested.file)]
    if not chosen:
        there = ", ".join(tested.file.name for tested in found)
        raise UsageError(f"There is no mapping '{wanted}' in {folder}. There are: {there}.")
    return chosen


def _other_names(file: MappingFile) -> tuple[str, ...]:
    """Return what a lookup table goes by beside the name of its file: that without `.table`, and its ID."""
    if not file.name.endswith(TABLE):
        return ()
    return file.name.removesuffix(TABLE), file.spec.case_type if file.spec is not None else ""


def updates(found: Sequence[Tested]) -> list[Update]:
    """Return what has to be written for the tests to pass, file by file."""
    needed = []
    for tested in found:
        spec = tested.file.spec
        if tested.examples is None or spec is None or not tested.problems:
            continue
        text = read_text(tested.path)
        if made := changes(text, tested.examples, spec.tests):
            needed.append(Update(tested.path, text, made))
    return needed


def write(update: Update) -> None:
    """Write a file's changes; every other byte of it stays. Raises UsageError when it was edited meanwhile."""
    if read_text(update.path) != update.text:
        raise UsageError(f"{update.path} was changed in the meantime; nothing was written. Run this again.")
    write_text(update.path, updated(update.text, update.changes))


def write_text(path: Path, text: str) -> None:
    """Put a new text in place of a mapping file's, whole or not at all; its mark of UTF-8 and its rights stay."""
    old = path.read_bytes()
    mark = b"\xef\xbb\xbf" if old.startswith(b"\xef\xbb\xbf") else b""
    target = path.resolve()
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        beside.write_bytes(mark + text.encode("utf-8"))
        beside.chmod(target.stat().st_mode & 0o777)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
