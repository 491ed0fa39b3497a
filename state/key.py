"""The key of the digests: kept beside the books, never in them, so that a copy of the books gives nothing away.

A lost key costs one run that sends everything again, and no more.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from state.errors import StateError

SIZE = 32
_HEX = re.compile(r"[0-9a-fA-F]{64}")


def read_or_make_key(path: Path) -> bytes:
    """Return the 32 bytes of the key file; made on first use with mode 0600 in a folder of mode 0700.

    StateError when others may read the file, when it does not hold 64 hexadecimal digits, or cannot be used.
    """
    try:
        if not path.exists():
            _make(path)
        return _read(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise StateError(
            f"The key file {path} cannot be used: {reason}. Correct it, or name another in STATE_KEY_FILE."
        ) from None


def _make(path: Path) -> None:
    """Write a new key; the one of a process that was faster is kept."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(SIZE) + "\n")


def _read(path: Path) -> bytes:
    """Read a key file that nobody else may read."""
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise StateError(f"The key file {path} can be read by others. Run: chmod 600 {path}")
    text = path.read_text(encoding="ascii").strip()
    if not _HEX.fullmatch(text):
        raise StateError(
            f"The key file {path} does not hold 64 hexadecimal digits. Restore it from a backup; or delete it, "
            "and the next run makes a new key and sends every case once more."
        )
    return bytes.fromhex(text)
