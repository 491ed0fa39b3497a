"""One property: take a value, transform it, decide what nothing means, make it text. Always in this order."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Final

from mappings.engine.conditions import all_of
from mappings.engine.draft import Context, ValueProblem
from mappings.engine.paths import Getter, Record, getter
from mappings.engine.spec import CaseSpec, PropertySpec
from mappings.engine.steps import Chain, PlainSteps, Surroundings, compile_chain, plain_steps
from mappings.engine.templates import Render, compile_template
from mappings.engine.texts import ABSENT, Absent, Invalid, clean, to_text

Take = Callable[[Record, Context], object]
Evaluate = Callable[[Record, Context, list[ValueProblem]], "str | Absent"]


class Reject(enum.Enum):
    """The one value that says: hold the record back."""

    REJECT = "reject"


REJECT: Final = Reject.REJECT
Outcome = str | Absent | Reject


class Rejected(Exception):
    """A property without which the record is not sent."""

    def __init__(self, problem: ValueProblem) -> None:
        super().__init__(problem.reason)
        self.problem = problem


def compile_property(name: str, spec: PropertySpec, around: Surroundings, *, personal: bool) -> Evaluate:
    """Return a property as a function: the text to send, or ABSENT for "leave it as it is".

    It raises Rejected to hold the record back; values that cannot be used are added to the list it is given.
    """
    settle = Settling(name, spec, personal=personal)
    careful = careful_property(compile_take(spec), compile_chain(spec.transform, around), settle)
    pick, plain = _picker(spec), plain_steps(spec.transform, around)
    if pick is not None and plain is not None:
        return _quick(pick, plain, settle, careful)
    if spec.transform:
        return careful
    if spec.template is not None:
        return _rendered(compile_template(spec.template), settle, careful)
    return _chosen(spec, settle) if spec.cases is not None else careful


def careful_property(take: Take, chain: Chain | None, settle: Settling) -> Evaluate:
    """Return a property that takes anything from anywhere."""

    def evaluate(record: Record, context: Context, problems: list[ValueProblem]) -> str | Absent:
        taken: object = None
        try:
            taken = take(record, context)
            if taken is ABSENT:
                return settle.absent()
            value = chain(taken, context) if chain is not None and taken is not None else taken
            text = value if isinstance(value, str) else to_text(value)
        except Invalid as invalid:
            return settle.invalid(invalid, taken, problems)
        return clean(text) or settle.blank()

    return evaluate


def _quick(pick: Getter, plain: PlainSteps, settle: Settling, careful: Evaluate) -> Evaluate:
    """Return a property for what most values are, a text that stays one; anything else goes the careful way."""
    steps, kind = plain

    def evaluate(record: Record, context: Context, problems: list[ValueProblem]) -> str | Absent:
        value = pick(record)
        if value is None:
            return settle.blank()
        if value.__class__ is kind:
            try:
                for step in steps:
                    value = step(value)
                    if not value or value.__class__ is not str:
                        break
            except Invalid as invalid:
                return settle.invalid(invalid, pick(record), problems)
            if value.__class__ is str and value and value.isprintable():
                return value
        return careful(record, context, problems)

    return evaluate


def _rendered(render: Render, settle: Settling, careful: Evaluate) -> Evaluate:
    """Return a property that is a template and nothing else; what it gives is clean already."""

    def evaluate(record: Record, context: Context, problems: list[ValueProblem]) -> str | Absent:
        try:
            text = render(record, context)
        except Invalid:
            return careful(record, context, problems)
        if text is None:
            return settle.blank()
        return settle.absent() if text is ABSENT else text

    return evaluate


def _chosen(spec: PropertySpec, settle: Settling) -> Evaluate:
    """Return a property whose texts stand in the mapping: the value of the first of its `cases` that holds."""
    plan = [(all_of(case.when), clean(case.value)) for case in spec.cases or ()]
    otherwise = clean(spec.otherwise or "")

    def evaluate(record: Record, _: Context, __: list[ValueProblem]) -> str | Absent:
        for holds, value in plan:
            found = holds(record)
            if found:
                return value or settle.blank()
            if found is None:
                return settle.absent()
        return otherwise or settle.blank()

    return evaluate


class Settling:
    """What a property sends when there is no value: not sent by Moodle, blank, or not usable."""

    def __init__(self, name: str, spec: PropertySpec, *, personal: bool) -> None:
        self._name = name
        self._personal = personal
        self._absent = _outcome(spec, spec.when_not_sent, ABSENT)
        self._blank = _outcome(spec, spec.when_blank, "")
        self._invalid = spec.when_invalid

    def absent(self) -> str | Absent:
        """Return what is sent for a field that Moodle did not send."""
        return self._settled(self._absent, "not_sent")

    def blank(self) -> str | Absent:
        """Return what is sent for a field that is blank."""
        return self._settled(self._blank, "blank")

    def invalid(self, invalid: Invalid, taken: object, problems: list[ValueProblem]) -> str | Absent:
        """Return what is sent for a value that a transform rejects, and note the problem."""
        problem = ValueProblem(self._name, invalid.reason, "" if self._personal else invalid.detail)
        if self._invalid == "reject":
            raise Rejected(problem)
        problems.append(problem)
        if self._invalid == "original" and isinstance(taken, str | int):
            return clean(to_text(taken))
        return "" if self._invalid == "clear" else ABSENT

    def _settled(self, outcome: Outcome, reason: str) -> str | Absent:
        if isinstance(outcome, Reject):
            raise Rejected(ValueProblem(self._name, reason))
        return outcome


def _outcome(spec: PropertySpec, word: str | None, usual: str | Absent) -> Outcome:
    """Return what to do when there is nothing; a `when_...` that was written wins over `default`."""
    if spec.required or word == "reject":
        return REJECT
    if word is not None:
        return "" if word == "clear" else ABSENT
    return clean(spec.default) if spec.default is not None else usual


def compile_take(spec: PropertySpec) -> Take:
    """Return the first stage of a property: ABSENT, None when blank, or the value."""
    pick = _picker(spec)
    if pick is not None:
        return lambda record, _: pick(record)
    if spec.template is not None:
        return compile_template(spec.template)
    if spec.cases is not None:
        return _cases(spec.cases, spec.otherwise)
    constant = spec.value or None
    return lambda _record, _context: constant


def _picker(spec: PropertySpec) -> Getter | None:
    """Return how a property takes its value from the record alone; None for one that is made in another way."""
    if spec.source is not None:
        return getter(spec.source)
    return _first_of([getter(path) for path in spec.first_of]) if spec.first_of is not None else None


def _first_of(getters: list[Getter]) -> Getter:
    """Take the first value; without one it is blank when any field was sent blank, absent when none was sent."""

    first, others = getters[0], getters[1:]

    def pick(record: Record) -> object:
        nothing = first(record)
        if nothing is not None and nothing is not ABSENT:
            return nothing
        for get in others:
            value = get(record)
            if value is None:
                nothing = None
            elif value is not ABSENT:
                return value
        return nothing

    return pick


def _cases(cases: Sequence[CaseSpec], otherwise: str | None) -> Take:
    plan = [(all_of(case.when), case.value) for case in cases]

    def take(record: Record, _: Context) -> object:
        for holds, value in plan:
            found = holds(record)
            if found:
                return value
            if found is None:
                return ABSENT
        return otherwise

    return take
