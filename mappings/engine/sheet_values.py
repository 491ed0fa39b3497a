"""Conditions and transforms in words, for the specification sheet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mappings.engine.catalogue import CatalogueField
from mappings.engine.moments import day_text
from mappings.engine.phrases import Phrases
from mappings.engine.spec import ConditionSpec, StepSpec
from mappings.engine.steps import table_name

_SOME_DAY: Final = datetime(2026, 1, 31, tzinfo=UTC)


def condition_words(condition: ConditionSpec, types: Mapping[str, CatalogueField], phrases: Phrases) -> str:
    """Return a condition as the end of "when ...": "suspended is yes"; `types` are the fields of its source."""
    operator = condition.operators[0]
    found = types.get(condition.source)
    kind = found.type if found is not None else "text"
    if operator == "is_empty":
        return phrases.say("is_empty" if condition.is_empty else "is_not_empty", field=condition.source)
    given = getattr(condition, "is_" if operator == "is" else operator)
    if isinstance(given, float):
        value = f"{given:g}"
    else:
        texts = [given] if isinstance(given, str) else list(given)
        value = phrases.any_of(
            [_flag(text, phrases) if kind == "flag" else quoted_text(text) for text in texts] or ["-"]
        )
    listed = {"is": "has", "any_of": "has", "is_not": "has_not", "none_of": "has_not"} if kind == "list" else {}
    return phrases.say(listed.get(operator, operator), field=condition.source, value=value)


def _flag(text: str, phrases: Phrases) -> str:
    return {"true": phrases.say("yes"), "false": phrases.say("no")}.get(text, text)


def quoted_text(text: str) -> str:
    """Return a text as it is when it is one word, else in quotes, so that its ends and blanks are seen."""
    return text if text and text.replace("_", "x").replace("-", "x").isalnum() else f'"{text}"'


def steps_words(steps: Sequence[StepSpec], phrases: Phrases) -> Iterator[str]:
    """Yield what each transform of a list does."""
    for step in steps:
        yield _step_words(step, phrases)


def _step_words(step: StepSpec, phrases: Phrases) -> str:
    given: dict[str, Any] = step.settings if isinstance(step.settings, dict) else {}
    only = step.settings if isinstance(step.settings, str) else None
    if step.name in ("code_list", "lookup"):
        return phrases.transform(step.name, name=table_name(step))
    if step.name == "phone":
        return phrases.transform(f"phone_{given.get('format', 'e164')}")
    if step.name == "number":
        return _number_words(given.get("decimals", only), phrases)
    if step.name in ("date", "parse_date"):
        layouts = [str(given.get("format", only or "%Y-%m-%d")), *([str(given["or"])] if "or" in given else [])]
        examples = [day_text(_SOME_DAY, layout) for layout in layouts]
        return phrases.transform(step.name, example=phrases.any_of(examples))
    if step.name == "date_once":
        return phrases.transform("date_once", days=given.get("days_ago", only))
    if step.name == "bands":
        return "; ".join(_bands(given, phrases))
    if step.name == "split":
        by = quoted_text(str(given.get("by", only)))
        return phrases.transform("split_take" if "take" in given else "split", by=by, take=given.get("take"))
    if step.name == "replace":
        texts = {name: quoted_text(str(text)) for name, text in given.items()}
        return phrases.transform("replace", **texts)
    if given.get("longer") == "refuse":
        return phrases.transform("shorten_refuse", length=given.get("length"))
    if step.name in ("join", "shorten"):
        name = "shorten_refuse" if given.get("longer") == "refuse" else step.name
        return phrases.transform(name, by=f'"{given.get("by", only)}"', length=given.get("length", only))
    return phrases.transform(step.name) or phrases.transform("own", name=step.name)


def _number_words(decimals: object, phrases: Phrases) -> str:
    if decimals is None:
        return phrases.transform("number")
    return phrases.transform("number_whole" if decimals == "0" else "number_decimals", decimals=decimals)


def _bands(given: Mapping[str, str], phrases: Phrases) -> Iterator[str]:
    for name, limit in given.items():
        if name != "otherwise":
            yield phrases.transform("band", name=name, limit=limit)
    yield phrases.say("otherwise", value=given.get("otherwise", ""))
