"""`mappings coverage`: what is left over: data that nothing reads, properties nobody fills, codes no list has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.catalogue import field_catalogue
from flows.fields import Filling
from flows.live import look_at, paths_of, watch
from flows.settings import Settings
from mappings.engine import CompiledMapping, Context, Draft, Excluded, Project
from mappings.engine.catalogue import Catalogue, absolute
from mappings.engine.coverage import Code, Codes

Row = dict[str, Any]


@dataclass
class Made:
    """What one mapping made of the records: cases (or rows) by property, and codes that no list has."""

    mapping: CompiledMapping
    cases: int = 0
    filled: Counter[str] = field(default_factory=Counter)
    codes: Codes = field(default_factory=Codes)

    def take(self, record: Mapping[str, Any], context: Context) -> None:
        """Count what the mapping makes of one record; records that it leaves out are none."""
        outcome = self.mapping.draft(record, context)
        if isinstance(outcome, Excluded):
            return
        self.codes.take(self.mapping, outcome.problems)
        if isinstance(outcome, Draft):
            self.cases += 1
            filled = {self.mapping.definition_of(name) for name, text in outcome.properties.items() if text}
            self.filled.update(filled)

    def never_filled(self) -> list[str]:
        """Return the properties without a value in any case."""
        if not self.cases:
            return []
        return [name for name in self.mapping.notes if name not in self.mapping.retired and not self.filled[name]]


@dataclass
class Coverage:
    """The outcome of one read: by source what was in the records, by mapping what became of them."""

    catalogue: Catalogue
    sources: dict[str, Filling] = field(default_factory=dict)
    mappings: dict[str, Made] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def unread(self) -> Iterator[Row]:
        """Yield fields with data that no mapping reads, each once; ids are not asked for."""
        mappings = [made.mapping for made in self.mappings.values()]
        done = {_place(mapping.source, path) for mapping in mappings for path in mapping.reads}
        for source, filling in sorted(self.sources.items(), key=lambda item: item[0] not in ("users", "courses")):
            for path, seen in filling.fields.items():
                place = _place(source, path)
                if seen.filled and place not in done and not path.endswith("id"):
                    done.add(place)
                    yield {"source": source, "field": path, "filled": filling.share(path)}

    def empty(self) -> Iterator[Row]:
        """Yield properties that no case has."""
        for name, made in self.mappings.items():
            for each in () if made.mapping.is_table else made.never_filled():
                yield {"mapping": name, "property": each, "cases": made.cases}

    def empty_fields(self) -> Iterator[Row]:
        """Yield fields of lookup tables that no row has."""
        for name, made in self.mappings.items():
            for each in made.never_filled() if made.mapping.is_table else ():
                yield {"table": name, "field": each, "rows": made.cases}

    def codes(self) -> Iterator[Code]:
        """Yield the codes that no list has, most frequent first."""
        for made in self.mappings.values():
            yield from made.codes.found()

    def as_json(self) -> Row:
        """Return the report for `--json`."""
        return {
            "records": {source: filling.records for source, filling in self.sources.items()},
            "unread_fields": list(self.unread()),
            "empty_properties": list(self.empty()),
            "empty_fields_of_tables": list(self.empty_fields()),
            "unknown_codes": [vars(code) for code in self.codes()],
            "messages": self.notes,
        }


def run_coverage(settings: Settings, courses: Sequence[int]) -> Coverage:
    """Read all that the mappings and their sources could use, and count it."""
    coverage = Coverage(field_catalogue())

    def make(project: Project) -> list[CompiledMapping]:
        return [_watcher(coverage, mapping) for mapping in (*project.mappings, *project.tables)]

    _, result = look_at(settings, make, courses=courses)
    coverage.notes = list(result.messages)
    return coverage


def _watcher(coverage: Coverage, mapping: CompiledMapping) -> CompiledMapping:
    """Return the watcher of a mapping; the first one of a source also counts the source's fields."""
    made = coverage.mappings[mapping.name] = Made(mapping)
    is_first = mapping.source not in coverage.sources
    filling = coverage.sources.setdefault(mapping.source, Filling(mapping.source, coverage.catalogue))

    def see(record: Mapping[str, Any], context: Context) -> None:
        if is_first and not mapping.excludes(record):
            filling.take(record)
        made.take(record, context)

    return watch(mapping, see, reads=_cheap(coverage.catalogue, mapping))


def _cheap(catalogue: Catalogue, mapping: CompiledMapping) -> list[str]:
    """Return the fields that cost nothing more to read than what the mapping reads already."""
    fields = catalogue[mapping.source]
    paid = {fields[path].cost for path in mapping.reads if path in fields}
    free = {"", *paid}
    return [path for path in paths_of(catalogue, mapping.source) if fields[path].cost in free]


def _place(source: str, path: str) -> str:
    """Return a field as all sources together know it: people and courses are the same wherever they are read."""
    path = path.partition("[]")[0]
    own = {"users": "user.", "courses": "course."}.get(source, "")
    found = f"{own}{path}" if own and path.startswith("profile.") else absolute(source, path)
    return found if found.startswith(("user.", "course.")) else f"{source} {path}"
