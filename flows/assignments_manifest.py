"""What lies in a folder of downloaded submissions: safe names, and a list that says what each file is.

The list (`manifest.json`) holds Moodle's ids of people and the names they gave their files, which are personal; it
holds no token. Files and list are for their owner only where the folder is on this machine.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from adaptors.moodle.assignment_work import Handed, WorkFile
from flows.errors import UsageError

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
_WHOSE: Final = ("person", "participant", "group", "members", "attempt")
LONGEST_NAME: Final = 200  # bytes of an original name that are kept
_ENDING: Final = re.compile(r"\.([A-Za-z0-9]{1,8})$")


@dataclass
class Entry:
    """One file of the list; `file` is its name in the folder, "" when it is not there.

    `state` is downloaded, gone (not among the submissions any more; the copy stays) or failed, with `reason`.
    """

    file: str
    name: str
    path: str
    submission: int
    person: int | None
    participant: int | None
    group: int | None
    members: list[int]
    attempt: int
    area: str
    type: str
    size: int
    time: int
    sha1: str = ""
    state: str = "failed"
    reason: str = ""

    def renew(self, fresh: Entry) -> bool:
        """Take over whose work it is from a fresh entry of the same file, and tell whether that is news."""
        before = [getattr(self, name) for name in _WHOSE]
        for name in _WHOSE:
            setattr(self, name, getattr(fresh, name))
        return before != [getattr(self, name) for name in _WHOSE]


@dataclass
class Manifest:
    """The list of a folder; `files` by submission, area, path, name and time: a new version is a new file."""

    site: str
    course: int
    assignment: dict[str, Any]
    files: dict[str, Entry] = field(default_factory=dict)

    def text(self) -> str:
        """Return the list as it is written."""
        about = {"format": FORMAT, "site": self.site, "course": self.course, "assignment": self.assignment}
        files = {key: asdict(entry) for key, entry in sorted(self.files.items())}
        return json.dumps(about | {"files": files}, ensure_ascii=False, indent=1) + "\n"

    def take(self, text: str) -> None:
        """Take over what an earlier download wrote; raises UsageError for a list of another assignment."""
        try:
            found = json.loads(text)
            same = (found["site"], found["assignment"]["id"]) == (self.site, self.assignment["id"])
            files = {key: Entry(**entry) for key, entry in found["files"].items()} if same else {}
            safe = all(_is_safe(entry.file) for entry in files.values()) and found["format"] == FORMAT
        except (ValueError, KeyError, TypeError, AttributeError):
            same, safe, files = True, False, {}
        if not same:
            raise UsageError("The folder holds the submissions of another assignment. Name a new one.")
        if not safe:
            raise UsageError(f"The folder's {MANIFEST} is not one of ours, or damaged. Take a new folder.")
        self.files = files


def key_of(one: Handed, file: WorkFile) -> str:
    """Return what names one version of one file of one submission."""
    return f"{one.id}/{file.area}{clean_name(file.path, 'folder')}{clean_name(file.name)}@{file.time}"


def entry_of(one: Handed, file: WorkFile) -> Entry:
    """Return the entry of a file that is not there yet; its name in the folder tells whose it is, nothing else."""
    person = one.person.id if one.person is not None else None
    return Entry(
        file=disk_name(one, file),
        name=clean_name(file.name),
        path=clean_name(file.path, "folder"),
        submission=one.id,
        person=person,
        participant=one.participant,
        group=one.group,
        members=[member.id for member in one.members],
        attempt=one.attempt,
        area=file.area,
        type=file.type,
        size=file.size,
        time=file.time,
    )


def with_known(entry: Entry, before: Entry, shown: Collection[int] | None) -> Entry:
    """Return a fresh entry with what an earlier one knows of the people and Moodle does not tell now.

    A member whom Moodle does not tell stays only where it cannot show everybody (`shown`: who may submit and is
    shown, None for all of them) and the member is among those: who is shown without the group has left it.
    """
    unseen = [] if shown is None else [one for one in before.members if one not in shown]
    number = before.participant if entry.participant is None else entry.participant  # it is for good
    return replace(entry, participant=number, members=sorted({*entry.members, *unseen}))


def disk_name(one: Handed, file: WorkFile) -> str:
    """Return a name that is safe on any system and unique: `user-16_attempt-1_3f2a9c81d0.pdf`."""
    whose = f"group-{one.group}" if one.group is not None else f"submission-{one.id}"
    if one.participant is not None:
        whose = f"participant-{one.participant}"
    elif one.person is not None:
        whose = f"user-{one.person.id}"
    ending = _ENDING.search(file.name)
    mark = hashlib.sha256(key_of(one, file).encode("utf-8", "replace")).hexdigest()[:10]
    return f"{whose}_attempt-{one.attempt}_{mark}{'.' + ending[1].lower() if ending else ''}"


def clean_name(name: str, kind: str = "file") -> str:
    """Return a name as it may stand in a list: composed, without control characters, at most 200 bytes."""
    kept = "".join(
        letter
        for letter in unicodedata.normalize("NFC", name)
        if unicodedata.category(letter)[0] != "C" and (kind == "folder" or letter not in "/\\")
    )
    return kept.encode("utf-8", "replace")[:LONGEST_NAME].decode("utf-8", "ignore")


def _is_safe(name: str) -> bool:
    """Tell a name that we could have given: a list that somebody changed must not lead out of its folder."""
    return name == "" or bool(re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,120}", name) and ".." not in name)
