"""The mappings as they were: a folder out of git's history, in a private place that is taken away afterwards."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.errors import UsageError

LONGEST = 60.0  # seconds git may take
LARGEST = 50_000_000  # bytes of one revision
PROJECT = "project.yaml"


@contextmanager
def old_folder(folder: Path, revision: str) -> Iterator[Path]:
    """Yield a copy of a mappings folder as `revision` has it, code lists, lookups and plug-in included.

    Neither the repository nor its work tree is changed. Raises UsageError when there is no git, no repository, no
    such revision or no such folder in it.
    """
    if revision.startswith("-"):
        raise UsageError(f"'{revision}' is no revision. Give a branch, a tag or a commit, as in --since HEAD~3.")
    folder = folder.resolve()
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}. MAPPINGS_DIR names it.")
    top = Path(_git(folder, "rev-parse", "--show-toplevel", otherwise=_no_repository(folder)).decode().strip())
    commit = f"{revision}^{{commit}}"
    _git(folder, "rev-parse", "--verify", "--quiet", commit, otherwise=_no_revision(revision))
    inside = folder.relative_to(top.resolve()).as_posix()
    where = f"{revision}:{inside}" if inside != "." else f"{revision}:"
    packed = _git(top, "archive", "--format=tar", where, otherwise=_no_folder(inside, revision))
    if len(packed) > LARGEST:
        raise UsageError(f"The folder {inside} is larger than 50 MB in {revision}: that is no folder of mappings.")
    with tempfile.TemporaryDirectory(prefix="moodle-commcare-") as place:  # made with mode 0700
        with tarfile.open(fileobj=io.BytesIO(packed)) as files:
            files.extractall(place, filter="data")
        _lay_beside(folder / PROJECT, Path(place) / PROJECT)
        yield Path(place)


def _lay_beside(now: Path, then: Path) -> None:
    """Let a project file that git was never given count for then as well: it says whose mappings these are."""
    if now.exists() and not then.exists():
        shutil.copyfile(now, then)


def _git(folder: Path, *words: str, otherwise: str) -> bytes:
    """Run git and return what it printed; UsageError with a sentence of ours when it fails."""
    try:
        ran = subprocess.run(  # noqa: S603 - the words are ours, a revision never begins with a dash
            ["git", "-C", str(folder), *words],  # noqa: S607 - the git of the PATH
            capture_output=True,
            check=True,
            timeout=LONGEST,
        )
    except FileNotFoundError:
        raise UsageError(
            "git is not installed here, so there is no earlier version to compare with. "
            "`moodle-commcare preview` shows what a run would send."
        ) from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        raise UsageError(otherwise) from None
    return ran.stdout


def _no_repository(folder: Path) -> str:
    return (
        f"The folder {folder} is not under git, so there is no earlier version to compare with. Begin with (in "
        "that folder): git init && git add . && git commit -m start. `moodle-commcare preview` shows what a run "
        "would send."
    )


def _no_revision(revision: str) -> str:
    return f"git knows no revision '{revision}'. Give a branch, a tag or a commit, as in --since HEAD~3."


def _no_folder(inside: str, revision: str) -> str:
    return (
        f"The revision '{revision}' has no folder {inside}: nothing was there to compare with. Commit the folder "
        "as it was before your edit; one that git ignores, like the sandbox's, wants a git of its own (in the "
        "folder: git init && git add . && git commit -m start)."
    )
