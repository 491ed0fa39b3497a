"""Where downloaded submissions go: a folder here, for its owner only, or any place that fsspec knows (s3://, ...).

A folder here takes a file in parts, so that an interrupted one goes on; elsewhere a file is sent when it is whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from flows.assignments_manifest import MANIFEST
from flows.errors import UsageError

PARTS: Final = ".parts"
_BLOCK: Final = 1024 * 1024
_SECRET: Final = ("token", "password", "secret")


class Folder:
    """A target of a download; blocking work runs on threads."""

    def __init__(self, system: Any, root: str, staging: Path) -> None:
        self._system = system
        self._root = root.rstrip("/")
        self._staging = staging
        self.is_here = isinstance(system, LocalFileSystem)

    def part(self, name: str, sha1: str) -> Path:
        """Return where the unfinished content of a file lies; another content has another place."""
        return self._staging / f"{name}.{sha1 or 'unknown'}"

    def parts(self, name: str) -> list[Path]:
        """Return all unfinished contents of a file."""
        return sorted(self._staging.glob(f"{name}.*"))

    async def holds(self, name: str, size: int) -> bool:
        """Tell whether a file is there with all its bytes."""

        def look() -> bool:
            try:
                return bool(self._system.size(self._place(name)) == size)
            except OSError:
                return False

        return await asyncio.to_thread(look)

    async def put(self, part: Path, name: str) -> None:
        """Move a finished content to its place."""
        if self.is_here:
            await asyncio.to_thread(os.replace, part, self._place(name))
            return
        await asyncio.to_thread(self._system.put_file, str(part), self._place(name))
        if not await self.holds(name, part.stat().st_size):
            raise OSError(f"{name} did not arrive whole in the target")
        part.unlink()

    async def read_manifest(self) -> str:
        """Return the list that is there, "" for none."""

        def read() -> str:
            try:
                return str(self._system.cat_file(self._place(MANIFEST)).decode("utf-8"))
            except FileNotFoundError:
                return ""
            except UnicodeDecodeError:
                return "no text"

        return await asyncio.to_thread(read)

    async def write_manifest(self, text: str) -> None:
        """Write the list whole or not at all."""
        part = self._staging / MANIFEST
        await asyncio.to_thread(write_private, part, text.encode("utf-8"))
        await self.put(part, MANIFEST)

    def _place(self, name: str) -> str:
        return f"{self._root}/{name}"


@asynccontextmanager
async def open_folder(target: str) -> AsyncIterator[Folder]:
    """Prepare a target, making the folder (0700 here); raises UsageError for one that cannot be used."""
    if any(f"{word}=" in target.lower() for word in _SECRET) or "@" in target.split("://")[-1].split("/")[0]:
        raise UsageError("The target holds a secret; give those in the settings of its own library instead.")
    try:
        system, root = fsspec.url_to_fs(target)
    except (ImportError, ValueError) as error:
        raise UsageError(f"The target cannot be used: {error}.") from None
    if isinstance(system, LocalFileSystem):
        place = Path(root)
        staging = place / PARTS
        for folder in (place, staging):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if place.stat().st_mode & 0o077 and any(place.iterdir()) and not (place / MANIFEST).exists():
            _refuse_shared(place)
        place.chmod(0o700)
        try:
            yield Folder(system, root, staging)
        finally:
            if not any(staging.iterdir()):
                staging.rmdir()
        return
    await asyncio.to_thread(system.makedirs, root, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="submissions-") as staging_name:
        yield Folder(system, root, Path(staging_name))


def _refuse_shared(place: Path) -> None:
    """Refuse a folder with other things in it that others may read: it would be closed to them."""
    if [one.name for one in place.iterdir() if one.name != PARTS]:
        raise UsageError(f"{place} holds other files and may be read by others. Name a new folder.")


async def write_part(
    part: Path, offset: int, chunks: AsyncIterator[bytes], within: Callable[[int], None]
) -> tuple[int, str]:
    """Write what arrives from `offset` on; returns the size of the whole and its SHA-1.

    `within` is told the size after each piece and raises when it is too much.
    """
    with os.fdopen(_opened(part), "r+b") as file:
        file.truncate(offset)
        digest, size = hashlib.sha1(usedforsecurity=False), offset
        while block := file.read(_BLOCK):
            digest.update(block)
        async for chunk in chunks:
            size += len(chunk)
            within(size)
            file.write(chunk)
            digest.update(chunk)
        file.flush()
        os.fsync(file.fileno())
    return size, digest.hexdigest()


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read."""
    with os.fdopen(_opened(path), "r+b") as file:
        file.truncate(0)
        file.write(content)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
