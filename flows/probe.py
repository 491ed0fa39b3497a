"""What `check` passes from hand to hand: findings, and what was learned on the way."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from adaptors.commcare.client import CommCareClient
from adaptors.moodle.answers import Course, SiteInfo
from adaptors.moodle.client import MoodleClient
from adaptors.moodle.names import Names
from adaptors.moodle.roster import Roster
from adaptors.moodle.streams import MoodleReader, Wanted
from adaptors.pace import Clock
from flows.features import Feature
from flows.settings import Settings
from flows.words import numbered
from mappings.engine import Draft, Project
from state import Store


@dataclass(frozen=True)
class Finding:
    """One line of the check: level ok, note, later or fail; what it is about, what was found, what to do."""

    level: str
    area: str
    what: str
    remedy: str = ""


def ok(area: str, what: str) -> Finding:
    """Return a finding that all is well."""
    return Finding("ok", area, what)


def note(area: str, what: str, remedy: str = "") -> Finding:
    """Return a finding that may be meant so, or not."""
    return Finding("note", area, what, remedy)


def fail(area: str, what: str, remedy: str = "") -> Finding:
    """Return a finding that has to be put right."""
    return Finding("fail", area, what, remedy)


@dataclass
class Probe:
    """The systems, the books and the mappings as far as they can be used, and a sample of what is in Moodle.

    `asked` are features beside the mappings that somebody wants to use, whether they are set up or not.
    `people` and `enrolments` are source records; `drafts` holds by mapping name what it made of them.
    """

    settings: Settings
    clock: Clock
    moodle: MoodleClient
    commcare: CommCareClient
    asked: Collection[Feature] = ()
    project: Project | None = None
    store: Store | None = None
    wanted: Wanted = field(default_factory=Wanted)
    site: SiteInfo | None = None
    courses: Sequence[Course] = ()
    rosters: dict[int, Roster] = field(default_factory=dict)
    people: list[dict[str, Any]] = field(default_factory=list)
    enrolments: list[dict[str, Any]] = field(default_factory=list)
    drafts: dict[str, list[Draft]] = field(default_factory=dict)
    hidden_people: bool = False
    """Whether Moodle does not show the account who is in a course: then the sample tells nothing."""

    def __post_init__(self) -> None:
        self.reader = MoodleReader(self.moodle, self.wanted)

    def use(self, project: Project, wanted: Wanted) -> None:
        """Look at what this project needs."""
        self.project, self.wanted = project, wanted
        self.moodle.names = Names(project.names.filters, project.names.language)
        self.reader = MoodleReader(self.moodle, wanted)

    def has(self, function: str) -> bool:
        """Tell whether the Moodle service has a function."""
        return self.site is not None and function in self.site.function_names

    @property
    def where(self) -> str:
        """Return in words which courses were looked at."""
        seen, there = len(self.rosters), len(self.courses)
        return f"the {numbered(seen, 'course')} looked at" + (f" (of {there})" if seen < there else "")

    async def close(self) -> None:
        """Close connections and books."""
        await self.moodle.close()
        await self.commcare.close()
        if self.store is not None:
            self.store.close()
