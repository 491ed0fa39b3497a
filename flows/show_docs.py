"""What the command says about the documents it made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flows.docs import Documents
from flows.endings import command, say


def show_documents(made: Documents, folder: Path, stale: Sequence[Path], *, only_check: bool) -> None:
    """Say which documents were written, or which are stale, and what they do not hold."""
    for path in stale:
        say(f"{'Not up to date' if only_check else 'Written'}: {path}")
    if not stale:
        say(f"The {len(made.files)} documents in {folder} are up to date.")
    elif only_check:
        say(f"{command()} mappings docs writes them anew.")
    for note in made.notes:
        say(f"Note: {note}.")
