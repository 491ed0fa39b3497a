"""The keys of the digests: kept beside the books, never in them, so that a copy of the books gives nothing away.

The file holds one key a line. A new key is put behind the others: a digest under the first is carried over to the
next without the value it was made of, so that a rotation sends nothing. All of them are needed from then on; who
has only the old ones can try no value against the new books. A lost file costs a run that sends everything again.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from glob import escape
from pathlib import Path

from state.errors import StateError
from state.folders import make_folder

SIZE = 32
_HEX = re.compile(r"[0-9a-fA-F]{64}")

Keys = tuple[bytes, ...]


def read_or_make_keys(path: Path) -> Keys:
    """Return the keys of the file, 32 bytes each; made on first use with mode 0600 in a folder of mode 0700.

    StateError when others may read the file, when it does not hold lines of 64 hexadecimal digits, or cannot be
    used.
    """
    try:
        if not path.exists():
            _make(path)
        return _read(path)
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, error) from None


def add_key(path: Path) -> Keys:
    """Put a new key behind those of the file, in one step, and return all; errors as above."""
    keys = (*read_or_make_keys(path), secrets.token_bytes(SIZE))
    beside = path.with_name(f"{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        _write(beside, keys)
        beside.replace(path)
        _keep_folder(path.parent)
        _clear_away(path)
    except OSError as error:
        raise _unusable(path, error) from None
    return keys


def _make(path: Path) -> None:
    """Write a first key; the one of a process that was faster is kept.

    The name appears with the key in it: another process may look at any moment.
    """
    make_folder(path.parent)
    keys = (secrets.token_bytes(SIZE),)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        _write(beside, keys)
        os.link(beside, path)
    except FileExistsError:
        return
    except OSError:  # a disk without second names; or without room, and then this says so
        with suppress(FileExistsError):
            _write(path, keys)
    finally:
        beside.unlink(missing_ok=True)
    _clear_away(path)


def _clear_away(path: Path) -> None:
    """Delete what processes that were killed left of keys they made; one that is still at it finds ours."""
    for left in path.parent.glob(f"{escape(path.name)}.{'[0-9a-f]' * 8}.new"):
        with suppress(OSError):
            left.unlink()


def _write(path: Path, keys: Keys) -> None:
    """Write keys to a new file and wait until they are on disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("".join(f"{key.hex()}\n" for key in keys))
        file.flush()
        os.fsync(file.fileno())


def _keep_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk, where the system can tell."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read(path: Path) -> Keys:
    """Read a key file that nobody else may read."""
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise StateError(f"The key file {path} can be read by others. Run: chmod 600 {path}")
    lines = path.read_text(encoding="ascii").split()
    if not lines or not all(_HEX.fullmatch(line) for line in lines):
        raise StateError(
            f"The key file {path} does not hold 64 hexadecimal digits a line. Restore it from a backup; or delete "
            "it, and the next run makes a new key and sends every case once more."
        )
    return tuple(bytes.fromhex(line) for line in lines)


def _unusable(path: Path, error: OSError | UnicodeDecodeError) -> StateError:
    reason = error.strerror if isinstance(error, OSError) else "it is no text"
    return StateError(
        f"The key file {path} cannot be used: {reason}. Correct it, or name another in STATE_KEY_FILE."
    )
