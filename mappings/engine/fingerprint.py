"""A short hash for each part of a mapping, so that an edit re-evaluates what it touches and nothing else.

Words for people (description, label, group), privacy and data types are left out: documenting pushes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel

from mappings.engine.spec import MappingSpec, OwnerSpec, PropertySpec, StepSpec
from mappings.engine.steps import Surroundings, table_name

_FOR_PEOPLE: Final = frozenset(("description", "label", "group", "data_type", "personal"))
_LANGUAGE: Final = 1


def fingerprints(spec: MappingSpec, around: Surroundings) -> dict[str, str]:
    """Return a hash for each property and for "@name", "@type", "@owner", "@key", "@include", "@index:<name>"."""
    prints = {name: _property(found, around) for name, found in spec.properties.items()}
    prints["@name"] = _hash(spec.case_name)
    prints["@type"] = _hash(spec.case_type)
    prints["@key"] = _hash(spec.external_id)
    prints["@owner"] = _owner(spec.owner, around)
    prints["@include"] = _hash(_plain(spec.include), _plain(spec.exclude))
    for name, index in spec.indices.items():
        prints[f"@index:{name}"] = _hash(_plain([index]))
    return prints


def _property(spec: PropertySpec, around: Surroundings) -> str:
    steps = list(spec.transform)
    if spec.one_property_per is not None:
        steps += [*spec.one_property_per.key.transform, *spec.one_property_per.transform]
    return _hash(_plain([spec]), [_depends(step, around) for step in steps])


def _depends(step: StepSpec, around: Surroundings) -> str:
    """Return what of the project a transform's result depends on."""
    known = around.transforms.find(step.name)
    if known is None or known.digest:
        return known.digest if known else ""
    if known.table:
        return around.tables(known.table)[table_name(step)].digest
    parts = [around.zone.key or ""] if "zone" in known.needs else []
    return "|".join([*parts, around.country] if "country" in known.needs else parts)


def _owner(spec: OwnerSpec, around: Surroundings) -> str:
    tables = [around.lookups[rule.lookup].digest for rule in spec.first_of if rule.lookup]
    fixed = around.owner if spec.otherwise is not None and spec.otherwise.project else None
    return _hash(_plain([spec]), tables, [fixed.kind, fixed.value] if fixed else [])


def _plain(specs: Iterable[BaseModel]) -> list[Any]:
    """Return models as plain data without what was left at its default."""
    return [_without_words(spec.model_dump(mode="json", exclude_defaults=True)) for spec in specs]


def _without_words(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in _FOR_PEOPLE}


def _hash(*parts: Any) -> str:
    content = json.dumps([_LANGUAGE, *parts], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
