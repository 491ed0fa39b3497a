"""Keys that people write by mistake: words of other tools, and right words in the wrong place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mappings.engine.problems import quoted, suggestion

_MEANT: Final[Mapping[str, str]] = {
    "constant": "value",
    "contains": "like",
    "else": "otherwise",
    "equals": "is",
    "field": "source",
    "fields": "properties",
    "filter": "include",
    "from": "source",
    "greater_than": "at_least",
    "if": "when",
    "in": "any_of",
    "less_than": "below",
    "mandatory": "required",
    "mappings": "properties",
    "not": "is_not",
    "not_in": "none_of",
    "only": "include",
    "parent": "indices",
    "parents": "indices",
    "then": "value",
    "type": "case_type",
    "where": "include",
}
_PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "at the left margin of the file": (
        *(
            "language",
            "enabled",
            "case_type",
            "include",
            "exclude",
            "external_id",
            "case_name",
            "owner",
            "indices",
        ),
        *("properties", "ignore_changes", "when_left", "when_excluded", "when_course_ends", "tests"),
        *("recheck_daily", "existing_cases", "match", "write_back"),
    ),
    "to a property: indent it under the name of one": (
        *("source", "first_of", "template", "cases", "one_property_per", "transform", "default", "required"),
        *("when_blank", "when_not_sent", "when_invalid", "personal", "data_type", "label", "group", "retire"),
    ),
    "to a parent: indent it under its name in 'indices'": ("relationship", "when_parent_unknown"),
    "to a condition, beside its 'source'": ("is", "is_not", "any_of", "none_of", "like", "at_least", "below"),
    "under 'owner'": ("same_as",),
    'to a transform, within its brackets, as in {split: {by: "_", take: 1}}': (
        *("by", "take", "format", "decimals", "length", "find", "with"),
    ),
    "to one of the 'tests'": ("given", "expect"),
    "to project.yaml": ("site", "site_url", "time_zone", "country", "courses", "code_lists", "lookups"),
}
_OF_CASES: Final = frozenset(
    (
        *("case_name", "owner", "indices", "ignore_changes", "when_left", "when_excluded", "when_course_ends"),
        *("existing_cases", "match", "write_back"),
    )
)
"""Keys at the left margin of a mapping that a lookup table has not."""


def key_remedy(key: str, known: Sequence[str]) -> str:
    """Return what to do about a key that does not exist here; `known` are those that do."""
    word = key.strip().lower().replace("-", "_").replace(" ", "_")
    if word in known:
        return f"did you mean '{word}'?"
    if word in ("user", "location", "group") and "same_as" in known:
        return f"an owner that is always the same stands under 'otherwise': {{otherwise: {{{word}: its name}}}}"
    if "lookup_table" in known:
        if word in ("case_type", "type"):
            return "the word for it is 'lookup_table'"
        if word in _OF_CASES:
            return f"take it out: a row of a lookup table has no {quoted(word)}"
    if _MEANT.get(word) in known:
        return f"the word for it is '{_MEANT[word]}'"
    place = place_of(word)
    return f"it belongs {place}" if place else suggestion(key, known, none=f"take {quoted(key)} out")


def place_of(key: str) -> str:
    """Return where a key of the language belongs, as the end of "it belongs"; "" for a word that is none."""
    return next((place for place, keys in _PLACES.items() if key in keys), "")
