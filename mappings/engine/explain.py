"""Why a case has what it has: one part of a mapping walked through for one record, stage by stage.

The stages are those of values.py; what is finally sent is taken from the mapping itself, so that an explanation
can be incomplete but never tell another value than a run would send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from mappings.engine.check_table import KEY
from mappings.engine.codes import CodeTable
from mappings.engine.compile import CompiledMapping
from mappings.engine.conditions import all_of, compile_condition
from mappings.engine.draft import REASONS, Context, Draft, Excluded, HeldBack, OwnerReference
from mappings.engine.paths import Record, getter
from mappings.engine.problems import one_of, suggestion
from mappings.engine.spec import ConditionSpec, OwnerRuleSpec, PropertySpec, StepSpec
from mappings.engine.steps import bind_step
from mappings.engine.templates import template_paths
from mappings.engine.texts import ABSENT, Absent, Invalid, clean, to_text
from mappings.engine.values import compile_take
from mappings.engine.wording import condition_words, negated_words, problem_words

FRAME: Final = ("external_id", "case_name", "owner", "include", "exclude")
"""What can be explained beside properties and indices."""
ROW_FRAME: Final = ("external_id", "include", "exclude")
"""What can be explained of a lookup table beside its fields; `key`, as CommCare calls it, is its external id."""

NOTHING: Final = {
    "keep": "nothing: CommCare keeps its value",
    "clear": "emptied",
    "reject": "the record is held back",
}


@dataclass(frozen=True)
class Line:
    """One line of an explanation: what is looked at, its value (`ABSENT`: none to show) and a remark.

    `personal` says that the value is about a person and is shown masked.
    """

    label: str
    value: object = ABSENT
    note: str = ""
    personal: bool = False
    has_value: bool = True


Personal = Callable[[str], bool]
"""Says of a path of the mapping's source whether its values are personal."""


class UnknownPart(Exception):
    """A mapping has no such property, index or part; says what there is."""


def explain(
    mapping: CompiledMapping, name: str, record: Mapping[str, Any], context: Context, personal: Personal
) -> list[Line]:
    """Return how `name` comes about for a record: a property, an index, or one of FRAME; UnknownPart otherwise.

    Of a lookup table: a field, or one of ROW_FRAME.
    """
    frame = ROW_FRAME if mapping.is_table else FRAME
    if mapping.is_table and name in FRAME and name not in frame:
        raise UnknownPart(
            f"{mapping.name}.yaml makes rows of a lookup table: a row has no {name}, and is on every phone"
        )
    name = "external_id" if mapping.is_table and name == KEY else name
    walk = _Walk(mapping, record, context, personal)
    parts = {
        "external_id": walk.key,
        "case_name": walk.name,
        "owner": walk.owner,
        "include": walk.conditions,
        "exclude": walk.conditions,
    }
    definition = mapping.definition_of(name) or (name if name in mapping.notes else "")
    if name not in mapping.spec.indices and not definition and name in parts:
        return list(parts[name]())
    if definition:
        return list(walk.property(definition, name))
    if name in mapping.spec.indices:
        return list(walk.index(name))
    there = [*mapping.notes, *mapping.spec.indices, *frame]
    alike = [each for each in there if name.lower() in each.lower()]
    remedy = (
        f"there is {one_of(sorted(alike), last='and')}"
        if alike
        else suggestion(name, there, none="see its properties")
    )
    what = "field" if mapping.is_table else "property"
    raise UnknownPart(f"{mapping.name}.yaml has no {what} '{name}'; {remedy}")


class _Walk:
    """One record going through one mapping."""

    def __init__(self, mapping: CompiledMapping, record: Record, context: Context, personal: Personal) -> None:
        self._mapping = mapping
        self._record = record
        self._context = context
        self._personal = personal
        self._made = mapping.draft(record, context)
        self._one = "row" if mapping.is_table else "case"

    def key(self) -> Iterator[Line]:
        """Explain the external id."""
        yield from self._template(self._mapping.spec.external_id)
        label = KEY if self._mapping.is_table else "external_id"
        yield self._sent(label, self._made.key or ABSENT, "@key", personal=False)

    def name(self) -> Iterator[Line]:
        """Explain the case name."""
        yield from self._template(self._mapping.spec.case_name)
        name = self._made.name if isinstance(self._made, Draft) else ABSENT
        secret = any(self._personal(path) for path in template_paths(self._mapping.spec.case_name))
        yield self._sent("case_name", name, "@name", personal=secret)

    def index(self, name: str) -> Iterator[Line]:
        """Explain the key of a parent."""
        spec = self._mapping.spec.indices[name]
        yield from self._template(spec.external_id)
        found = self._made.indices if isinstance(self._made, Draft) else ()
        key = next((index.key for index in found if index.name == name), ABSENT)
        yield self._sent(name, key, f"@index:{name}", personal=False)

    def conditions(self) -> Iterator[Line]:
        """Explain why a record becomes a case or is left out."""
        spec = self._mapping.spec
        for word, conditions in (("include", spec.include), ("exclude", spec.exclude)):
            for condition in conditions:
                yield self._condition(word, condition)
        if not spec.include and not spec.exclude:
            note = f"there is no condition: every record becomes a {self._one}"
            yield Line("include", has_value=False, note=note)
        yield Line("-> the record", has_value=False, note=self._verdict())

    def owner(self) -> Iterator[Line]:
        """Explain who should own the case; whether CommCare has such an owner is not looked at."""
        spec = self._mapping.spec.owner
        if spec.same_as is not None:
            yield Line("same_as", has_value=False, note=f"whoever owns the parent case '{spec.same_as}'")
        for rule in spec.first_of:
            yield from self._owner_rule(rule)
        yield self._owner_sent(spec.write == "once")

    def _owner_rule(self, rule: OwnerRuleSpec) -> Iterator[Line]:
        value, secret = self._value(rule.source), self._personal(rule.source)
        yield Line(f"{rule.kind}: {rule.source}", value, personal=secret)
        if rule.lookup is None or value is ABSENT or value is None:
            return
        table = self._mapping.around.lookups[rule.lookup]
        for entry in value if isinstance(value, list | tuple) else [value]:
            yield self._step(f"  lookup {rule.lookup}", partial(_translated, table, entry), secret)

    def _owner_sent(self, once: bool) -> Line:
        if not isinstance(self._made, Draft):
            return Line("-> owner", has_value=False, note=self._verdict())
        rule = self._made.owner
        note = "set when the case is made, then left to supervisors" if once else ""
        if rule.same_as:
            return Line("-> owner", has_value=False, note=f"the owner of the parent case '{rule.same_as}'")
        if not rule.candidates:
            return Line("-> owner", has_value=False, note="no rule names one: the record is held back")
        names = " or else ".join(_owner_words(each) for each in rule.candidates)
        personal = any(self._personal(rule.source) for rule in self._mapping.spec.owner.first_of)
        return Line("-> owner", names, note, personal=personal and len(rule.candidates) > 0)

    def property(self, definition: str, name: str) -> Iterator[Line]:
        """Explain one property; of a family of properties each element."""
        spec = self._mapping.spec.properties[definition]
        if spec.retire is not None:
            yield Line("-> retired", has_value=False, note="it is taken out of every case and never filled again")
        elif spec.one_property_per is not None:
            yield from self._family(spec, definition, name)
        else:
            yield from self._single(spec, name)

    def _single(self, spec: PropertySpec, name: str) -> Iterator[Line]:
        secret = self._mapping.is_personal(name)
        yield from self._fields(spec)
        taken, fault = self._take(spec)
        value = taken
        steps = () if fault or taken is ABSENT or taken is None else spec.transform
        for step in steps:
            bound = bind_step(step, self._mapping.around)
            line = self._step(_step_name(step), partial(bound, value, self._context), secret)
            yield line
            value = line.value
            if line.note or value is None or value == "":
                fault = line.note
                break
        yield from self._rule(spec, taken, value, fault)
        properties = self._made.properties if isinstance(self._made, Draft) else {}
        yield self._sent(name, properties.get(name, ABSENT), name, personal=secret)

    def _family(self, spec: PropertySpec, definition: str, name: str) -> Iterator[Line]:
        elements = spec.one_property_per
        if elements is None:
            return
        found = self._value(elements.each)
        yield Line(elements.each, found)
        secret = definition in self._mapping.personal
        for element in found if isinstance(found, list | tuple) else ():
            key, value = getter(elements.key.source)(element), getter(elements.source)(element)
            shown = "no key" if key is ABSENT or key is None else to_text(key)
            yield Line(f"  {elements.key.source} {shown}: {elements.source}", value, personal=secret)
        properties = self._made.properties if isinstance(self._made, Draft) else {}
        mine = [n for n in properties if self._mapping.definition_of(n) == definition]
        for each in [name] if name != definition else mine:
            yield self._sent(each, properties.get(each, ABSENT), each, personal=secret)
        if not mine and name == definition:
            yield Line("-> sent", has_value=False, note=self._verdict("@", "no property: there is no element"))

    def _fields(self, spec: PropertySpec) -> Iterator[Line]:
        """Show each field that the value may come from, as Moodle sent it."""
        for case in spec.cases or ():
            holds = all_of(case.when)(self._record)
            for condition in case.when:
                yield self._condition("when", condition)
            yield Line(f"  value {case.value}", has_value=False, note=_HOLDS[holds])
            if holds is not False:
                return
        if spec.cases is not None:
            yield Line(f"otherwise {spec.otherwise or ''}".strip(), has_value=False, note="no case holds")
        paths = [spec.source] if spec.source else list(spec.first_of or ())
        paths += template_paths(spec.template) if spec.template else []
        secret = spec.personal is not False
        for path in paths:
            yield Line(path, self._value(path), personal=secret and (self._personal(path) or bool(spec.personal)))
        if spec.value is not None:
            yield Line("value", spec.value, "always the same")

    def _take(self, spec: PropertySpec) -> tuple[object, str]:
        try:
            return compile_take(spec)(self._record, self._context), ""
        except Invalid as invalid:
            return None, f"{REASONS.get(invalid.reason, invalid.reason)}"

    def _rule(self, spec: PropertySpec, taken: object, value: object, fault: str) -> Iterator[Line]:
        """Say which rule applies when there is no value."""
        if fault:
            word = spec.when_invalid
            done = {**NOTHING, "original": "sent as it was typed"}[word]
            yield Line(f"when_invalid: {word}", has_value=False, note=done)
        elif taken is ABSENT:
            yield self._nothing(spec, "when_not_sent", spec.when_not_sent, "keep")
        elif value is None or value == "" or not _text(value):
            yield self._nothing(spec, "when_blank", spec.when_blank, "clear")

    @staticmethod
    def _nothing(spec: PropertySpec, key: str, word: str | None, usual: str) -> Line:
        if spec.required:
            return Line("required: true", has_value=False, note=NOTHING["reject"])
        if word is not None:
            return Line(f"{key}: {word}", has_value=False, note=NOTHING[word])
        if spec.default is not None:
            return Line("default", spec.default, f"because there is no {key.removeprefix('when_')} rule")
        return Line(f"{key}: {usual}", has_value=False, note=f"{NOTHING[usual]} (the rule when none is written)")

    def _template(self, template: str) -> Iterator[Line]:
        yield Line("template", template)
        for path in template_paths(template):
            yield Line(f"  {path}", self._value(path), personal=self._personal(path))

    def _condition(self, word: str, spec: ConditionSpec) -> Line:
        value, holds = self._value(spec.source), compile_condition(spec)(self._record)
        note = f"{condition_words(spec)}: {_HOLDS[holds]}"
        return Line(f"{word} {spec.source}", value, note, personal=self._personal(spec.source))

    def _step(self, label: str, run: Callable[[], object], personal: bool) -> Line:
        try:
            return Line(f"  {label}", run(), personal=personal)
        except Invalid as invalid:
            return Line(f"  {label}", has_value=False, note=REASONS.get(invalid.reason, invalid.reason))

    def _value(self, path: str) -> object:
        return getter(path)(self._record)

    def _sent(self, label: str, value: object, part: str, *, personal: bool) -> Line:
        """Return the last line: what a run would send for a part."""
        if value is not ABSENT:
            return Line(f"-> {label}", value, "emptied" if value == "" else "", personal=personal)
        return Line(f"-> {label}", has_value=False, note=self._verdict(part))

    def _verdict(self, part: str = "", sent: str = NOTHING["keep"]) -> str:
        """Say in words what becomes of the record, or why a part of it is not sent."""
        if isinstance(self._made, Excluded):
            return f"left out: {'; '.join(self._keeping_out())}"
        if isinstance(self._made, HeldBack):
            return f"held back: {'; '.join(problem_words(problem) for problem in self._made.problems)}"
        if part:
            return sent
        return f"becomes a {self._one}"

    def _keeping_out(self) -> Iterator[str]:
        """Say which conditions keep the record out."""
        for condition in self._mapping.spec.include:
            if compile_condition(condition)(self._record) is False:
                yield f"{condition.source} {negated_words(condition)}"
        for condition in self._mapping.spec.exclude:
            if compile_condition(condition)(self._record):
                yield f"{condition.source} {condition_words(condition)}"


_HOLDS: Final[Mapping[bool | None, str]] = {True: "holds", False: "does not hold", None: "Moodle did not send it"}


def _step_name(step: StepSpec) -> str:
    if step.settings is None:
        return step.name
    if isinstance(step.settings, dict):
        return f"{step.name} {', '.join(f'{name}: {value}' for name, value in step.settings.items())}"
    return f"{step.name} {step.settings}"


def _owner_words(owner: OwnerReference) -> str:
    return f"{owner.kind}:{owner.value}"


def _text(value: object | Absent) -> str:
    try:
        return clean(to_text(value)) if value is not ABSENT else ""
    except Invalid:
        return ""


def _translated(table: CodeTable, entry: object) -> str:
    return table.translate(to_text(entry))
