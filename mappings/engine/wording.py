"""Conditions and problems of a mapping as words of a sentence, for people who did not write it."""

from __future__ import annotations

from collections.abc import Sequence

from mappings.engine.draft import REASONS, ValueProblem
from mappings.engine.spec import ConditionSpec
from mappings.engine.texts import to_text


def condition_words(spec: ConditionSpec) -> str:
    """Return a comparison as the end of a sentence that starts with the field."""
    words = {
        "is": f"is '{spec.is_}'",
        "is_not": f"is not '{spec.is_not}'",
        "any_of": f"is any of {_either(spec.any_of)}",
        "none_of": f"is none of {_either(spec.none_of)}",
        "like": f"is like '{spec.like}'",
        "at_least": f"is at least {to_text(spec.at_least)}",
        "below": f"is below {to_text(spec.below)}",
        "is_empty": "is empty" if spec.is_empty else "is not empty",
    }
    return words[spec.operators[0]]


def negated_words(spec: ConditionSpec) -> str:
    """Return in words that a comparison does not hold: has none of student."""
    if spec.any_of is not None:
        return f"has none of {_either(spec.any_of)}"
    return f"does not meet: {condition_words(spec)}"


def problem_words(problem: ValueProblem) -> str:
    """Return why a record is held back, never a value."""
    parts = {"@key": "external_id", "@name": "case_name", "@include": "a condition", "@owner": "owner"}
    part = parts.get(problem.property, problem.property.removeprefix("@index:"))
    field = f" ({problem.detail})" if problem.detail and problem.reason == "not_sent" else ""
    return f"{part}{field} {REASONS.get(problem.reason, problem.reason)}"


def _either(words: Sequence[str] | None) -> str:
    return ", ".join(words or ())
