"""Who should own a case: references in order; which of them exist is the CommCare adaptor's business."""

from __future__ import annotations

from collections.abc import Callable

from mappings.engine.codes import CodeTable
from mappings.engine.draft import OwnerReference, OwnerRule, ValueProblem
from mappings.engine.paths import Getter, Record, getter
from mappings.engine.spec import OwnerRuleSpec, OwnerSpec, OwnerTextSpec
from mappings.engine.steps import Surroundings
from mappings.engine.texts import ABSENT, Invalid, clean, to_text

Own = Callable[[Record, list[ValueProblem]], OwnerRule]


def compile_owner(spec: OwnerSpec, around: Surroundings, personal: Callable[[str], bool]) -> Own:
    """Return the owner rules as a function; `personal` says of a path whether its values may be named."""
    once = spec.write == "once"
    last = _fixed(spec.otherwise, around)
    if spec.same_as is not None or not spec.first_of:
        always = OwnerRule(last, spec.same_as or "", once)
        return lambda _record, _problems: always
    rules = [_Rule(rule, around, personal=personal(rule.source)) for rule in spec.first_of]

    def own(record: Record, problems: list[ValueProblem]) -> OwnerRule:
        candidates: list[OwnerReference] = []
        certain: int | None = None
        for rule in rules:
            value = rule.get(record)
            if value is ABSENT:
                certain = len(candidates) if certain is None else certain
            elif value is not None:
                candidates += rule.references(value, problems)
        return OwnerRule((*candidates, *last), "", once, certain)

    return own


def _fixed(spec: OwnerTextSpec | None, around: Surroundings) -> tuple[OwnerReference, ...]:
    if spec is None:
        return ()
    if spec.project:
        return (around.owner,) if around.owner else ()
    return (OwnerReference(spec.kind, str(getattr(spec, spec.kind))),)


class _Rule:
    """One rule of `first_of`; a list gives one reference for each entry."""

    def __init__(self, spec: OwnerRuleSpec, around: Surroundings, *, personal: bool) -> None:
        self.get: Getter = getter(spec.source)
        self._kind = spec.kind
        self._personal = personal
        self._table: CodeTable | None = around.lookups[spec.lookup] if spec.lookup else None

    def references(self, value: object, problems: list[ValueProblem]) -> list[OwnerReference]:
        found = []
        for entry in value if isinstance(value, list | tuple) else [value]:
            try:
                name = clean(to_text(entry)).strip()
                name = self._table.translate(name).strip() if self._table and name else name
            except Invalid as invalid:
                detail = "" if self._personal else invalid.detail
                problems.append(ValueProblem("@owner", invalid.reason, detail))
                continue
            if name:
                found.append(OwnerReference(self._kind, name))
        return found
