"""Which fields of its source a mapping looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from mappings.engine.spec import ConditionSpec, MappingSpec, PropertySpec
from mappings.engine.templates import template_paths

Join = Callable[[frozenset[str], frozenset[str]], frozenset[str]]


def value_paths(spec: PropertySpec) -> list[str]:
    """Return the paths whose values end up in a property."""
    if spec.one_property_per is not None:
        return [f"{spec.one_property_per.each}[].{spec.one_property_per.source}"]
    if spec.template is not None:
        return template_paths(spec.template)
    return [spec.source] if spec.source is not None else list(spec.first_of or [])


def reads(spec: MappingSpec) -> Iterator[str]:
    """Return every path of the source that a mapping looks at."""
    yield from template_paths(spec.external_id)
    yield from template_paths(spec.case_name)
    yield from (condition.source for condition in [*spec.include, *spec.exclude])
    yield from (rule.source for rule in spec.owner.first_of)
    for index in spec.indices.values():
        yield from template_paths(index.external_id)
    for found in spec.properties.values():
        yield from value_paths(found)
        yield from (condition.source for case in found.cases or [] for condition in case.when)
        if found.one_property_per is not None:
            yield f"{found.one_property_per.each}[].{found.one_property_per.key.source}"


def included(spec: MappingSpec) -> Mapping[str, frozenset[str]]:
    """Return the words that `include` asks for (`is`, `any_of`), by path: those that each condition names."""
    return _words(spec.include, frozenset.__and__)


def excluded(spec: MappingSpec) -> Mapping[str, frozenset[str]]:
    """Return the words that `exclude` asks for (`is`, `any_of`), by path: those that any condition names."""
    return _words(spec.exclude, frozenset.__or__)


def _words(conditions: Iterable[ConditionSpec], join: Join) -> Mapping[str, frozenset[str]]:
    words: dict[str, frozenset[str]] = {}
    for condition in conditions:
        wanted = frozenset([condition.is_] if condition.is_ is not None else condition.any_of or ())
        if wanted:
            words[condition.source] = join(words.get(condition.source, wanted), wanted)
    return words
