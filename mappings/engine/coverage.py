"""Codes that no code list or lookup has, counted over many records, with the rows that would help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from mappings.engine.compile import CompiledMapping
from mappings.engine.draft import ValueProblem
from mappings.engine.spec import StepSpec
from mappings.engine.transform import TRANSFORMS

MOST: Final = 500  # different codes of a mapping that are told apart


@dataclass(frozen=True)
class Code:
    """A code without a translation: where it came up, how many records have it; `code` is "" when personal.

    `kind` is "code list" or "lookup", `table` the names of the ones that the property uses.
    """

    mapping: str
    property: str
    code: str
    records: int
    kind: str
    table: str


@dataclass
class Codes:
    """Unknown codes being counted."""

    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _mapping: CompiledMapping | None = None

    def take(self, mapping: CompiledMapping, problems: Iterable[ValueProblem]) -> None:
        """Count the unknown codes among the problems of one record."""
        self._mapping = mapping
        for problem in {p for p in problems if p.reason == "unknown_code"}:
            name = mapping.definition_of(problem.property) or problem.property
            known = (name, problem.detail) in self._counts or len(self._counts) < MOST
            self._counts[name, problem.detail if known else ""] += 1

    def found(self) -> Iterator[Code]:
        """Yield what was found, most frequent first."""
        if self._mapping is None:
            return
        for (name, code), count in sorted(self._counts.items(), key=lambda item: (-item[1], item[0])):
            tables = tables_of(self._mapping, name)
            kind = next(iter(tables.values()), "")
            yield Code(self._mapping.name, name, code, count, kind, ", ".join(tables))


def tables_of(mapping: CompiledMapping, name: str) -> dict[str, str]:
    """Return the code lists and lookups of a property or of "@owner": name -> "code list" or "lookup"."""
    if name == "@owner":
        return {rule.lookup: "lookup" for rule in mapping.spec.owner.first_of if rule.lookup}
    spec = mapping.spec.properties.get(name)
    if spec is None:
        return {}
    steps = list(spec.transform)
    if spec.one_property_per is not None:
        steps += [*spec.one_property_per.key.transform, *spec.one_property_per.transform]
    return {_table(step): TRANSFORMS[step.name].table for step in steps if _is_table(step)}


def _is_table(step: StepSpec) -> bool:
    return step.name in TRANSFORMS and bool(TRANSFORMS[step.name].table)


def _table(step: StepSpec) -> str:
    return str(step.settings["name"] if isinstance(step.settings, dict) else step.settings)
