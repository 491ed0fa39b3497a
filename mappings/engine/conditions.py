"""Conditions: yes, no, or unknown when Moodle did not send the field."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence

from mappings.engine.paths import Record, getter
from mappings.engine.spec import ConditionSpec
from mappings.engine.texts import ABSENT, Invalid, to_number, to_text

Holds = Callable[[Record], "bool | None"]  # None: the field was not sent
Match = Callable[[object], bool]


def compile_condition(spec: ConditionSpec) -> Holds:
    """Return a function that says whether a record meets one condition."""
    get, match = getter(spec.source), _matcher(spec)
    field = spec.source if "." not in spec.source else ""
    yes, no, blank = match(True), match(False), match(None)

    def holds(record: Record) -> bool | None:
        value = record.get(field)  # flags and lists of the record itself are settled here, to save the calls
        if value is True:
            return yes
        if value is False:
            return no
        if value.__class__ is list and value:
            return match(value)
        value = get(record)
        if value is ABSENT:
            return None
        return blank if value is None else match(value)

    return holds


def all_of(specs: Sequence[ConditionSpec]) -> Holds:
    """Return a function for "all hold": one that fails settles it, otherwise one unknown makes it unknown."""
    conditions = [compile_condition(spec) for spec in specs]
    if len(conditions) == 1:
        return conditions[0]

    def holds(record: Record) -> bool | None:
        answer: bool | None = True
        for condition in conditions:
            found = condition(record)
            if found is False:
                return False
            if found is None:
                answer = None
        return answer

    return holds


def any_of(specs: Sequence[ConditionSpec]) -> Holds:
    """Return a function for "any holds": one that holds settles it, otherwise one unknown makes it unknown."""
    conditions = [compile_condition(spec) for spec in specs]
    if not conditions:
        return lambda _: False

    def holds(record: Record) -> bool | None:
        answer: bool | None = False
        for condition in conditions:
            found = condition(record)
            if found:
                return True
            if found is None:
                answer = None
        return answer

    return holds


def not_sent(specs: Sequence[ConditionSpec], record: Record) -> list[str]:
    """Return the fields of these conditions that Moodle did not send."""
    paths = dict.fromkeys(spec.source for spec in specs)
    return [path for path in paths if getter(path)(record) is ABSENT]


def _matcher(spec: ConditionSpec) -> Match:
    """Return the comparison as a function of a value that was sent; blank compares as ""."""
    operator = spec.operators[0]
    if operator == "is_empty":
        return lambda value: (value is None) is spec.is_empty
    if operator == "at_least":
        return _number_match(lambda number: number >= float(spec.at_least or 0))
    if operator == "below":
        return _number_match(lambda number: number < float(spec.below or 0))
    if operator == "like":
        return _text_match(_pattern(spec.like or ""))
    wanted = {
        "is": [spec.is_ or ""],
        "is_not": [spec.is_not or ""],
        "any_of": spec.any_of or [],
        "none_of": spec.none_of or [],
    }[operator]
    match = _text_match(frozenset(text.strip() for text in wanted).__contains__)
    return match if operator in ("is", "any_of") else lambda value: not match(value)


def _pattern(pattern: str) -> Callable[[str], bool]:
    whole = re.compile(fnmatch.translate(pattern))
    return lambda text: bool(text) and whole.match(text) is not None


def _text_match(single: Callable[[str], bool]) -> Match:
    """Return a match on text; of a list, one element is enough."""

    def match(value: object) -> bool:
        if isinstance(value, str):
            return single(value.strip())
        if isinstance(value, list | tuple):
            for element in value:  # a loop: any() with a generator takes three times as long
                if single(element.strip()) if element.__class__ is str else match(element):
                    return True
            return False
        try:
            return single(to_text(value))
        except Invalid:
            return False

    return match


def _number_match(single: Callable[[float], bool]) -> Match:
    """Return a match on numbers; a value that is no number is neither at least nor below anything."""

    def match(value: object) -> bool:
        if isinstance(value, list | tuple):
            return any(match(element) for element in value)
        try:
            return value is not None and single(float(to_number(value)))
        except Invalid:
            return False

    return match
