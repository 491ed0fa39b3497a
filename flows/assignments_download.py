"""Fetches submitted files into a folder: each once, whole and as Moodle has it, going on where it was stopped."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from adaptors.errors import AccessDenied, Maintenance, NoAnswer, Refused, Retriable, Unexpected
from adaptors.moodle.assignment_work import Filter, Handed, WorkFile
from adaptors.moodle.pluginfile import FILES, Arriving, open_file
from adaptors.pace import Clock
from flows.assignments import Desk, Found
from flows.assignments_folder import Folder, open_folder, write_part
from flows.assignments_manifest import MANIFEST, Entry, Manifest, entry_of, key_of, with_known
from flows.result import RunState
from flows.unbroken import unbroken
from flows.words import numbered
from flows.world import Progress, silent

MB: Final = 2**20
AT_ONCE: Final = 3  # files on their way; Moodle's pace may let fewer through
SAVE_EVERY: Final = 20  # files between two copies of the list
REASONS: Final = {
    "too_large": "larger than one file may be (`--max-file`)",
    "over_total": "not begun: the download is as large as it may be (`--max-total`)",
    "not_there": "Moodle lists it and does not have it",
    "elsewhere": "kept outside Moodle, or listed at an address that is not that of the configured site",
    "no_file": "Moodle sent a page or an error that is not understood in its place",
    "changed": "arrived with another size or content than Moodle lists; run the same command again",
    "no_answer": "Moodle did not send it whole; run the same command again, it goes on where it stopped",
}


@dataclass(frozen=True)
class Caps:
    """How much may be fetched, in bytes; counted while it arrives."""

    file: int = 50 * MB
    total: int = 500 * MB


@dataclass
class Download:
    """What came of a download; `counts`: downloaded, unchanged, gone, and each reason of REASONS."""

    target: str
    assignment: dict[str, object]
    state: RunState = RunState.COMPLETED
    submissions: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    renewed: int = 0
    """Unchanged files of which the list now says something else about whose work they are."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Names in the folder, each with the reason."""
    requests: dict[str, int] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`: ids and names in the folder, no names of people or of their files."""
        return {
            "state": str(self.state),
            "target": self.target,
            "assignment": self.assignment,
            "submissions": self.submissions,
            "files": dict(self.counts),
            "bytes": self.bytes,
            "renewed": self.renewed,
            "failed": [{"file": name, "reason": reason} for name, reason in self.failed],
            "requests": self.requests,
            "messages": self.messages,
        }


class _TooMuch(Exception):
    """A cap was reached; the argument is the reason."""


async def download(
    desk: Desk,
    found: Found,
    target: str,
    clock: Clock,
    *,
    wanted: Filter | None = None,
    caps: Caps | None = None,
    progress: Progress = silent,
) -> Download:
    """Fetch the files of the submissions (default: those submitted) into a folder or any fsspec address.

    What the folder holds already and Moodle has not changed is not asked for; nothing there is overwritten or
    deleted. Raises UsageError for a target that cannot be used, Maintenance and AccessDenied for a Moodle that
    gives nothing; what else happens to single files is told in the result.
    """
    wanted = wanted or Filter(statuses=frozenset({"submitted"}))
    handed = await desk.submissions(found, wanted)
    without = await desk.without_work(found, wanted, handed)
    unshown = desk.messages
    done = Download(target, found.as_json(), submissions=len(handed), messages=[*without, *unshown])
    numbers = {"id": found.assignment.id, "cmid": found.assignment.cmid}
    manifest = Manifest(desk.client.url, found.course.id, numbers)
    async with open_folder(target) as folder:
        if text := await folder.read_manifest():
            manifest.take(text)
        fetcher = Fetcher(desk, folder, manifest, clock, caps or Caps(), done)
        try:
            await fetcher.all(handed, progress)
        finally:
            if wanted == Filter(statuses=wanted.statuses):  # a part of the time says nothing about the rest
                fetcher.mark_gone(handed)
            await folder.write_manifest(manifest.text())
    if done.failed or unshown:
        done.state = RunState.DEGRADED
    done.requests = dict(desk.client.requests)
    return done


class Fetcher:
    """Fetches files one after the other, a few at a time, and keeps the list."""

    def __init__(
        self, desk: Desk, folder: Folder, manifest: Manifest, clock: Clock, caps: Caps, done: Download
    ) -> None:
        self._desk, self._folder, self._manifest = desk, folder, manifest
        self._clock, self._caps, self._done = clock, caps, done
        self._under_way = 0  # bytes that count towards the total and have not arrived
        self._settled = 0

    async def all(self, handed: Sequence[Handed], progress: Progress) -> None:
        """Fetch all files; the first error that concerns all of them ends it."""
        queue = list(_files(handed))
        total = len(queue)
        waiting = iter(queue)

        async def work() -> None:
            for one, file in waiting:
                await self._one(one, file)
                self._settled += 1
                progress("files", self._settled, total)
                if self._settled % SAVE_EVERY == 0:
                    await self._folder.write_manifest(self._manifest.text())

        if not queue:
            return
        tasks = [asyncio.create_task(work()) for _ in range(min(AT_ONCE, total))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()  # once altogether: a file on its way into the folder gets there
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ends:
            if isinstance(error, Exception):
                raise error

    def mark_gone(self, handed: Iterable[Handed]) -> None:
        """Note in the list what Moodle does not list any more; its copy stays."""
        listed = {key_of(one, file) for one, file in _files(handed)}
        for key, entry in self._manifest.files.items():
            if key not in listed and entry.state == "downloaded":
                entry.state = "gone"
                self._done.counts["gone"] += 1

    async def _one(self, one: Handed, file: WorkFile) -> None:
        key = key_of(one, file)
        entry = entry_of(one, file)
        before = self._manifest.files.get(key)
        if before is not None:
            entry = with_known(entry, before, self._desk.shown)
        known = before is not None and before.sha1 and before.size == file.size
        if before is not None and known and await self._folder.holds(before.file, before.size):
            before.state, before.reason = "downloaded", ""
            self._done.renewed += before.renew(entry)
            self._done.counts["unchanged"] += 1
            return
        self._manifest.files[key] = entry
        reason = await self._reason(entry, file)
        entry.state, entry.reason = ("failed", reason) if reason else ("downloaded", "")
        self._done.counts[reason or "downloaded"] += 1
        if reason:
            self._done.failed.append((entry.file, reason))

    async def _reason(self, entry: Entry, file: WorkFile) -> str:
        """Fetch a file; returns why it was not, "" when it was."""
        if file.external or not file.url:
            return "elsewhere"
        if file.size > self._caps.file:
            return "too_large"
        if self._done.bytes + self._under_way + file.size > self._caps.total:
            return "over_total"
        self._under_way += file.size
        try:
            return await self._desk.client.retried(lambda: self._try(entry, file))
        except _TooMuch as error:
            for part in self._folder.parts(entry.file):
                part.unlink()
            return str(error)
        except Refused:
            return "not_there"
        except Unexpected:
            return "no_file"
        except Maintenance:
            raise
        except AccessDenied as error:
            if error.code or error.status:
                raise
            return "elsewhere"
        except Retriable:
            return "no_answer"
        finally:
            self._under_way -= file.size

    async def _try(self, entry: Entry, file: WorkFile) -> str:
        """Try once, going on with what an earlier try left."""
        parts = [part for part in self._folder.parts(entry.file) if part.stat().st_size]
        part = parts[0] if parts else None
        had, known = (part.stat().st_size, part.suffix[1:]) if part is not None else (0, "")
        had = had if had < file.size else 0
        async with open_file(self._desk.client, file.url, now=self._clock.now(), offset=had) as arriving:
            if arriving.offset and (not arriving.sha1 or arriving.sha1 != known):
                if part is not None:  # what is here is of another content: it cannot be gone on with
                    part.unlink()
                raise NoAnswer("The file has changed in between.", system="Moodle", operation=FILES)
            return await self._take(entry, file, arriving, part)

    async def _take(self, entry: Entry, file: WorkFile, arriving: Arriving, old: Any) -> str:
        here = self._folder.part(entry.file, arriving.sha1)
        if old is not None and old != here:
            old.unlink()

        def within(size: int) -> None:
            if size > self._caps.file:
                raise _TooMuch("too_large")
            if size > file.size and self._done.bytes + self._under_way + size - file.size > self._caps.total:
                raise _TooMuch("over_total")

        size, sha1 = await write_part(here, arriving.offset, arriving.chunks, within)
        if arriving.size is not None and size < arriving.offset + arriving.size:
            raise NoAnswer("Moodle broke off in the middle of a file.", system="Moodle", operation=FILES)
        if size != file.size or (arriving.sha1 and sha1 != arriving.sha1):
            here.unlink()
            return "changed"
        await unbroken(self._keep(here, entry, sha1))
        self._done.bytes += size
        return ""

    async def _keep(self, part: Path, entry: Entry, sha1: str) -> None:
        """Put a whole file into the folder and into the list, both or neither."""
        await self._folder.put(part, entry.file)
        entry.sha1, entry.state = sha1, "downloaded"


def _files(handed: Iterable[Handed]) -> Iterator[tuple[Handed, WorkFile]]:
    for one in handed:
        for file in one.files:
            yield one, file


def told(done: Download) -> list[str]:
    """Return sentences about a download."""
    counts = done.counts
    lines = [
        f"{numbered(counts['downloaded'], 'file')} downloaded ({done.bytes / MB:,.1f} MB), "
        f"{counts['unchanged']:,} unchanged, of {numbered(done.submissions, 'submission')}, into {done.target}."
    ]
    if done.renewed:
        lines.append(f"{MANIFEST}: whose work it is was renewed for {numbered(done.renewed, 'unchanged file')}.")
    if counts["gone"]:
        lines.append(
            f"{numbered(counts['gone'], 'file')} that are not among these submissions any more: the copies stay."
        )
    lines += [f"{counts[reason]:,} × {reason}: {text}." for reason, text in REASONS.items() if counts[reason]]
    return [*lines, *done.messages]
