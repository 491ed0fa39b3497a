"""One property as a row of the specification sheet: where from, changed how, and what nothing means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mappings.engine.catalogue import PROJECT_FIELDS, Catalogue
from mappings.engine.compile import CompiledMapping
from mappings.engine.elements import KEY_MARK
from mappings.engine.phrases import Phrases
from mappings.engine.reads import value_paths
from mappings.engine.sheet_values import condition_words, quoted_text, steps_words
from mappings.engine.spec import ConditionSpec, PropertySpec, StepSpec
from mappings.engine.steps import table_name
from mappings.engine.templates import parse_template
from mappings.engine.transform import TRANSFORMS

_TEXT_STEPS: Final = ("trim", "lower", "upper", "title", "text", "html_to_text", "plain_text", "replace")
_NEVER_REFUSE: Final = frozenset((*_TEXT_STEPS, "split", "join", "count", "first"))
_FINE_WITH_NUMBERS: Final = frozenset(("number", "date", "date_time", "date_once", "days_ago", "bands"))


def plain_template(template: str) -> str:
    """Return a template as its author wrote it, with the two brackets of a written bracket as one."""
    return "".join(piece.text or f"{{{piece.path}}}" for piece in parse_template(template))


class PropertyWords:
    """Turns the properties of one mapping into rows."""

    def __init__(self, mapping: CompiledMapping, catalogue: Catalogue, phrases: Phrases) -> None:
        self._mapping = mapping
        self._types = catalogue.get(mapping.source, {})
        self._say = phrases.say
        self._phrases = phrases

    def row(self, name: str) -> tuple[str, ...]:
        """Return name, label and description, from, changed, nothing, personal."""
        spec = self._mapping.spec.properties[name]
        return (
            self._shown(name, spec),
            self._about(name),
            self._origin(spec),
            "; ".join(self._changed(name, spec)) or self._phrases.transform("text"),
            self._nothing(spec),
            self._say("yes") if name in self._mapping.personal else "",
        )

    def _shown(self, name: str, spec: PropertySpec) -> str:
        elements = spec.one_property_per
        return elements.name.replace(KEY_MARK, f"{{{elements.key.source}}}") if elements else name

    def _about(self, name: str) -> str:
        note, language = self._mapping.notes[name], self._phrases.language
        return "\n".join(text for text in (note.label_in(language), note.description_in(language)) if text)

    def _origin(self, spec: PropertySpec) -> str:
        if spec.first_of is not None and len(spec.first_of) > 1:
            return self._say("first_of", fields=", ".join(spec.first_of))
        if spec.one_property_per is not None:
            return f"{spec.one_property_per.each}: {spec.one_property_per.source}"
        paths = [path for path in value_paths(spec) if path not in PROJECT_FIELDS]
        paths += [condition.source for case in spec.cases or () for condition in case.when]
        return ", ".join(dict.fromkeys(paths)) or "-"

    def _changed(self, name: str, spec: PropertySpec) -> Iterator[str]:
        if spec.retire is not None:
            yield self._say("retired")
            return
        if spec.value is not None:
            yield self._say("always", value=quoted_text(spec.value))
        if spec.template is not None:
            yield self._say("put_together", template=plain_template(spec.template))
        yield from self._rules(spec)
        elements = spec.one_property_per
        if elements is not None:
            key = "; ".join((elements.key.source, *steps_words(elements.key.transform, self._phrases)))
            yield self._say("per_element", list=elements.each, key=key)
        yield from steps_words(_steps(spec), self._phrases)
        if spec.write == "once":
            yield self._say("written_once")
        if name in self._mapping.spec.ignore_changes:
            yield self._say("sent_along")

    def _rules(self, spec: PropertySpec) -> Iterator[str]:
        for case in spec.cases or ():
            yield self._say("by_rule", value=quoted_text(case.value), conditions=self._all(case.when))
        if spec.otherwise:
            yield self._say("otherwise", value=quoted_text(spec.otherwise))

    def _all(self, conditions: tuple[ConditionSpec, ...]) -> str:
        return self._phrases.all_of([condition_words(one, self._types, self._phrases) for one in conditions])

    def _nothing(self, spec: PropertySpec) -> str:
        if spec.retire is not None or (spec.value is not None and not spec.transform):
            return "-"
        missing = self._missing(spec)
        if not any(self._can_refuse(step, spec) for step in _steps(spec)):
            return missing
        invalid = self._invalid(spec)
        if missing == invalid:
            return self._say("unusable_too", outcome=missing)
        return f"{missing}; {self._say('unusable', outcome=invalid)}"

    def _missing(self, spec: PropertySpec) -> str:
        blank = self._outcome(spec, spec.when_blank, "emptied")
        not_sent = self._outcome(spec, spec.when_not_sent, "kept")
        if blank == not_sent or not_sent == self._say("kept"):
            return not_sent if spec.cases is not None and spec.otherwise else blank
        if spec.cases is not None and spec.otherwise:
            return not_sent
        return self._say("blank_or_not_sent", blank=blank, not_sent=not_sent)

    def _outcome(self, spec: PropertySpec, word: str | None, usual: str) -> str:
        """Return in words what happens without a value; the same order of rules as in values.py."""
        if spec.required or word == "reject":
            return self._say("held_back")
        if word is not None:
            return self._say("emptied" if word == "clear" else "kept")
        return self._say("value", value=f'"{spec.default}"') if spec.default is not None else self._say(usual)

    def _can_refuse(self, step: StepSpec, spec: PropertySpec) -> bool:
        """Say whether a transform can find a value that it cannot use."""
        known = TRANSFORMS.get(step.name)
        if known is not None and known.table:
            return self._mapping.around.tables(known.table)[table_name(step)].otherwise is None
        fields = [self._types.get(path) for path in value_paths(spec)]
        numbers = all(field is not None and field.type in ("number", "time") for field in fields)
        if step.name == "shorten":
            return isinstance(step.settings, dict) and step.settings.get("longer") == "refuse"
        return step.name not in _NEVER_REFUSE and not (numbers and step.name in _FINE_WITH_NUMBERS)

    def _invalid(self, spec: PropertySpec) -> str:
        words = {"keep": "kept", "clear": "emptied", "original": "original", "reject": "held_back"}
        return self._say(words[spec.when_invalid])


def _steps(spec: PropertySpec) -> tuple[StepSpec, ...]:
    return spec.one_property_per.transform if spec.one_property_per else spec.transform
