"""Folders that we make are for us alone, at every level; those that are there stay as somebody made them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

WRITE = 0o022  # who may write into a folder may put another file in the place of ours
ANY = 0o077


def make_folder(folder: Path) -> None:
    """Make a folder (0700), and all that are missing above it (0700 too); raises OSError."""
    missing = [one for one in folder.parents if not one.exists()]
    for one in (*reversed(missing), folder):  # the last one also where it is there: it may be none
        one.mkdir(mode=0o700, exist_ok=True)


def is_open(place: Path, rights: int = ANY) -> bool:
    """Say whether others on this machine have some of these rights to a file or folder; False for none."""
    try:
        return os.name == "posix" and bool(stat.S_IMODE(place.stat().st_mode) & rights)
    except FileNotFoundError:
        return False
