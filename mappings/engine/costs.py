"""What the fields that a mapping uses add to a run: some need calls to Moodle that nothing else needs."""

from __future__ import annotations

from typing import NamedTuple

from mappings.engine.catalogue import Catalogue, find_field
from mappings.engine.compile import CompiledMapping


class Cost(NamedTuple):
    """One thing that a run does because of a mapping; `fields` as the catalogue writes them, blocks as grade.*."""

    mapping: str
    fields: tuple[str, ...]
    cost: str

    @property
    def sentence(self) -> str:
        """Return it for people: "enrolment: grade.*, items: one read of the grades of each course"."""
        return f"{self.mapping}: {', '.join(self.fields)}: {self.cost}"


def costs_of(mapping: CompiledMapping, catalogue: Catalogue) -> tuple[Cost, ...]:
    """Return what the costly fields of a mapping add to a run, one entry for each kind of cost."""
    found: dict[str, dict[str, None]] = {}
    for path in sorted(mapping.reads):
        known = find_field(catalogue, mapping.source, path)
        if known is not None and known.cost:
            found.setdefault(known.cost, {})[_block(path)] = None
    return tuple(Cost(mapping.name, tuple(fields), cost) for cost, fields in sorted(found.items()))


def _block(path: str) -> str:
    block, dot, _ = path.partition("[]." if "[]." in path else ".")
    return f"{block}.*" if dot == "." else block
