"""`mappings explain`: why one person's case has what it has, from one live look at Moodle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from operator import itemgetter
from typing import Any

from flows.catalogue import field_catalogue
from flows.errors import UsageError
from flows.live import course_in, look_at, mapping_named, not_found, person_in, watch
from flows.masked import Eyes
from flows.settings import Settings
from flows.steps.pull import Enough
from mappings.engine import CompiledMapping, Context, Project
from mappings.engine.catalogue import find_field
from mappings.engine.explain import Line, Personal, UnknownPart, explain

MOST = 20  # records that are explained
_SOME_DAY = date(2026, 1, 31)  # for a record of nothing


@dataclass(frozen=True)
class Explained:
    """One record and the lines that explain a part of its case; `where` is "" or its course."""

    where: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Wanted:
    """What is asked for: a part of a mapping, and the id of a person (or of a course)."""

    mapping: str
    part: str
    id: int
    courses: tuple[int, ...] = ()


def run_explain(settings: Settings, wanted: Wanted) -> list[Explained]:
    """Read until the person is found and explain the part for each record about him or her.

    Raises UsageError for an unknown mapping or part, and when nobody has the id.
    """
    found: list[tuple[int, Explained]] = []
    sources: list[str] = []
    catalogue = field_catalogue()

    def make(project: Project) -> list[CompiledMapping]:
        mapping = mapping_named(project, wanted.mapping)
        sources.append(mapping.source)

        def personal(path: str) -> bool:
            field = find_field(catalogue, mapping.source, path)
            return field is not None and field.personal

        _try_out(mapping, wanted.part, personal)

        def see(record: Mapping[str, Any], context: Context) -> None:
            if person_in(record, mapping.source) != wanted.id:
                return
            lines = explain(mapping, wanted.part, record, context, personal)
            found.append(((record.get("course") or {}).get("id") or 0, Explained(course_in(record), lines)))
            if mapping.source == "users" or mapping.is_table or len(found) == MOST:
                raise Enough

        return [watch(mapping, see, wants=lambda record: person_in(record, mapping.source) == wanted.id)]

    _, result = look_at(settings, make, courses=wanted.courses, first=wanted.id)
    if not found:
        where = "this course" if wanted.courses else "the courses that project.yaml chooses"
        raise UsageError(not_found(wanted.id, sources[0], result, where))
    return [each for _, each in sorted(found, key=itemgetter(0))]


def explained_json(found: Sequence[Explained], eyes: Eyes) -> dict[str, Any]:
    """Return the explanation for `--json`, people's values masked."""
    return {
        "records": [
            {"where": each.where, "lines": [_line_json(line, eyes) for line in each.lines]} for each in found
        ]
    }


def _line_json(line: Line, eyes: Eyes) -> dict[str, str]:
    value = eyes.see(line.value, personal=line.personal) if line.has_value else ""
    return {"label": line.label.strip(), "value": value, "note": line.note}


def _try_out(mapping: CompiledMapping, part: str, personal: Personal) -> None:
    """Raise UsageError for a part that the mapping does not have, before anything is read."""
    try:
        explain(mapping, part, {}, Context("", "", _SOME_DAY), personal)
    except UnknownPart as error:
        raise UsageError(str(error)) from None
