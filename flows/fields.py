"""`mappings fields`: what a source offers, and with --live how much of it is filled on this site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.catalogue import field_catalogue
from flows.errors import UsageError
from flows.live import look_at, paths_of, watch_source
from flows.masked import Eyes
from flows.settings import Settings
from flows.steps.pull import Enough
from mappings.engine import CompiledMapping, Context, Project
from mappings.engine.catalogue import Catalogue, CatalogueField, find_field
from mappings.engine.paths import getter, settled
from mappings.engine.texts import ABSENT

RECORDS = 500  # looked at with --live
_WORDS = frozenset(("id", "roles", "status"))
_ENDINGS = ("lang", "country", "timezone", "auth", ".id", ".status")
_THINGS = ("course.", "item.", "assignment.", "needs_attention.course.", "items", "grade.min", "grade.max")
MOST_CUSTOM = 200  # custom fields that are listed


@dataclass
class Seen:
    """How often a field came, how often with a value, and one value."""

    sent: int = 0
    filled: int = 0
    sample: object = ABSENT


@dataclass
class Filling:
    """What the records of a source held: by path, custom fields by their short names."""

    source: str
    catalogue: Catalogue
    records: int = 0
    fields: dict[str, Seen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._getters = {path: getter(path) for path in plain_paths(self.catalogue, self.source)}

    def take(self, record: Mapping[str, Any]) -> None:
        """Count one record."""
        self.records += 1
        for path, get in self._getters.items():
            self._note(path, get(record))
        for path, value in _custom(record):
            if path in self.fields or len(self.fields) < len(self._getters) + MOST_CUSTOM:
                self._note(path, settled(value))

    def _note(self, path: str, value: object) -> None:
        seen = self.fields.setdefault(path, Seen())
        if value is ABSENT:
            return
        seen.sent += 1
        if value is not None:
            seen.filled += 1
            seen.sample = value if seen.sample is ABSENT else seen.sample

    def share(self, path: str) -> str:
        """Return how many records have a value, in percent; a dash for a field that Moodle never sent."""
        seen = self.fields.get(path)
        if seen is None or not seen.sent:
            return "-"
        share = 100 * seen.filled / self.records
        return "<1%" if 0 < share < 1 else f"{int(share)}%"


def plain_paths(catalogue: Catalogue, source: str) -> list[str]:
    """Return the paths of a source that one record has once: no elements of lists, no wildcards."""
    return [path for path in paths_of(catalogue, source) if "[]" not in path and not path.endswith("*")]


def run_fields(settings: Settings, source: str, courses: Sequence[int]) -> Filling:
    """Read records of a source, all their fields included, and count what is filled; raises UsageError."""
    catalogue = field_catalogue()
    filling = Filling(source, catalogue)

    def see(record: Mapping[str, Any], _: Context) -> None:
        filling.take(record)
        if filling.records == RECORDS:
            raise Enough

    def make(project: Project) -> list[CompiledMapping]:
        return [watch_source(project, source, see, reads=paths_of(catalogue, source))]

    _, result = look_at(settings, make, courses=courses)
    if not filling.records:
        raise UsageError(" ".join(["Moodle shows no record of this source.", *result.messages]))
    return filling


def rows(catalogue: Catalogue, source: str, filling: Filling | None, eyes: Eyes) -> Iterator[dict[str, str]]:
    """Yield a row for each field: of the catalogue, and of the custom fields that were seen."""
    paths = paths_of(catalogue, source)
    if filling is not None:
        found = [path for path in filling.fields if path not in paths]
        paths = [path for path in paths if not path.endswith("*")] + found
    for path in paths:
        known = find_field(catalogue, source, path) or catalogue[source][path]
        yield _row(path, known) | (_live(path, known, filling, eyes) if filling is not None else {})


def _row(path: str, known: CatalogueField) -> dict[str, str]:
    return {
        "field": path.replace(".*", ".<short name>"),
        "type": known.type,
        "personal": "yes" if known.personal else "",
        "meaning": known.meaning,
        "function": known.function,
        "cost": known.cost,
    }


def _live(path: str, known: CatalogueField, filling: Filling, eyes: Eyes) -> dict[str, str]:
    seen = filling.fields.get(path)
    if seen is None:
        return {"filled": "", "sample": ""}
    personal = filling.source != "courses" and _is_a_persons(path, known)
    sample = eyes.see(seen.sample, personal=personal) if seen.sample is not ABSENT else ""
    return {"filled": filling.share(path), "sample": sample}


def _is_a_persons(path: str, known: CatalogueField) -> bool:
    """Say whether a field holds what somebody entered or did, rather than a word of Moodle or of a course."""
    if known.personal:
        return True
    return not (known.type == "flag" or path in _WORDS or path.endswith(_ENDINGS) or path.startswith(_THINGS))


def _custom(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the custom fields of a record and of the person and course in it."""
    for name, value in record.items():
        if name == "profile" and isinstance(value, Mapping):
            yield from ((f"{prefix}profile.{shortname}", found) for shortname, found in value.items())
        elif isinstance(value, Mapping):
            yield from _custom(value, f"{prefix}{name}.")
