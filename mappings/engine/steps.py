"""From a transform as a mapping names it to a function: settings read and bound, a list of them made into one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from mappings.engine.codes import CodeTable
from mappings.engine.draft import Context, OwnerReference
from mappings.engine.moments import day_writer
from mappings.engine.paths import settled
from mappings.engine.phones import phone_writer
from mappings.engine.problems import quoted, suggestion
from mappings.engine.reading import Loc
from mappings.engine.spec import PropertySpec, StepSpec
from mappings.engine.texts import to_text
from mappings.engine.transform import OURS, UNSEEN, Transform, TransformList
from mappings.engine.transforms import date, lower, part_taker, phone, split, trim, upper

Chain = Callable[[object, Context], object]
Step = Callable[[Any], object]

_QUICK: Final[Mapping[object, Callable[..., Step]]] = {
    trim: lambda: str.strip,
    lower: lambda: str.lower,
    upper: lambda: str.upper,
    phone: lambda country, format="e164": phone_writer(country, format),
    date: lambda zone, format="%Y-%m-%d": day_writer(format, zone),
    split: lambda by, take: part_taker(by, take),
}
"""For transforms that everybody uses: from the settings to a function that does the same with fewer calls."""


_MEANT: Final[Mapping[str, str]] = {
    "capitalize": "the word for it is 'title'",
    "concat": 'write a property with template: "{firstname} {lastname}"',
    "concatenate": 'write a property with template: "{firstname} {lastname}"',
    "default": "'default' stands beside 'transform', not in it",
    "if": "write a property with 'cases'",
    "left": "the word for it is 'shorten', as in {shorten: 3}",
    "map": "the word for it is 'code_list'",
    "proper": "the word for it is 'title'",
    "regex": "there are no patterns here; see whether 'split' or 'replace' will do",
    "round": "the word for it is 'number', as in {number: 1}",
    "strip": "the word for it is 'trim'",
    "substitute": "the word for it is 'replace', as in {replace: {find: a, with: b}}",
    "vlookup": "the word for it is 'lookup', with the name of a table of project.yaml",
    "xlookup": "the word for it is 'lookup', with the name of a table of project.yaml",
}
"""What spreadsheets and other tools call a transform, and what to write instead."""


@dataclass(frozen=True)
class Surroundings:
    """What project.yaml gives to every mapping."""

    zone: ZoneInfo
    country: str
    code_lists: Mapping[str, CodeTable] = field(default_factory=dict)
    lookups: Mapping[str, CodeTable] = field(default_factory=dict)
    owner: OwnerReference | None = None
    parked_owner: OwnerReference | None = None
    transforms: TransformList = OURS

    def tables(self, kind: str) -> Mapping[str, CodeTable]:
        """Return the tables of a kind, "code list" or "lookup"."""
        return self.code_lists if kind == "code list" else self.lookups


class StepFault(NamedTuple):
    """What is wrong with one transform; `loc` is relative to it, `key` marks the key instead of the value."""

    loc: Loc
    sentence: str
    remedy: str = ""
    key: bool = False


class StepError(Exception):
    """A transform that cannot be bound."""

    def __init__(self, *faults: StepFault) -> None:
        super().__init__(faults)
        self.faults = faults


def bind_settings(step: StepSpec, transforms: TransformList = OURS) -> tuple[Transform, dict[str, Any]]:
    """Return the transform that a step names, and its settings as its function takes them; else StepError."""
    known = transforms.find(step.name)
    if known is None:
        remedy = _MEANT.get(step.name.lower(), "") or suggestion(step.name, transforms.names)
        raise StepError(StepFault((step.name,), f"there is no transform {quoted(step.name)}", remedy, key=True))
    if known.takes == UNSEEN:
        return known, {}
    given = _named(known, step.settings)
    settings: dict[str, Any] = {}
    faults: list[StepFault] = []
    for name, written in given.items():
        try:
            settings[name] = _read(known, name, written)
        except ValueError as error:
            loc = (step.name, name) if isinstance(step.settings, dict) else (step.name,)
            faults.append(StepFault(loc, f"{quoted(known.name)}: {error}", f"write {known.usage}"))
    missing = [s.name for s in known.settings.values() if s.required and s.name not in given]
    if missing:
        sentence = f"{quoted(known.name)}: missing the setting: {', '.join(quoted(name) for name in missing)}"
        faults.append(StepFault((step.name,), sentence, f"write {known.usage}", key=True))
    refusal = known.refusal(settings) if known.refusal and not faults else ""
    if refusal:
        faults.append(StepFault((step.name,), f"{quoted(known.name)}: {refusal}", f"write {known.usage}"))
    if faults:
        raise StepError(*faults)
    return known, settings


def _named(known: Transform, written: object) -> Mapping[str, object]:
    """Return settings by name; a bare value stands for the one of `Transform.bare`."""
    if written is None:
        return {}
    if isinstance(written, dict):
        return written
    if known.bare is not None:
        return {known.bare.name: written}
    needs = "takes no settings" if not known.settings else "needs its settings by name"
    raise StepError(StepFault((known.name,), f"{quoted(known.name)} {needs}", f"write {known.usage}"))


def _read(known: Transform, name: str, written: object) -> Any:
    setting = known.settings.get(name)
    if setting is not None:
        return setting.read(written)
    if known.open_settings:
        return _limit(name, written)
    near = suggestion(name, known.settings, none="it has none")
    raise ValueError(f"there is no setting {quoted(name)}; {near}")


def _limit(name: str, written: object) -> float:
    digits = written.removeprefix("-").replace(".", "", 1) if isinstance(written, str) else ""
    if not (digits.isascii() and digits.isdigit() and len(digits) < 15):
        raise ValueError(f"{quoted(name)} takes a number")
    return float(str(written))


def table_name(step: StepSpec) -> str:
    """Return the name of the code list or lookup that a right step uses."""
    return str(step.settings["name"] if isinstance(step.settings, dict) else step.settings)


def bind_step(step: StepSpec, around: Surroundings) -> Chain:
    """Return a right step as a function of a value and the run's context."""
    known, settings = bind_settings(step, around.transforms)
    return _function(known, _arguments(known, settings, around))


def _arguments(known: Transform, settings: Mapping[str, Any], around: Surroundings) -> dict[str, Any]:
    """Return what a transform's function is called with beside the value."""
    arguments = {_parameter(known, name): setting for name, setting in settings.items()}
    if known.table:
        arguments = {"table": around.tables(known.table)[arguments["name"]]}
    if "zone" in known.needs:
        arguments["zone"] = around.zone
    if "country" in known.needs:
        arguments.setdefault("country", around.country)
    return arguments


def _parameter(known: Transform, name: str) -> str:
    return known.settings[name].parameter if name in known.settings else name


def _function(known: Transform, arguments: Mapping[str, Any]) -> Chain:
    function = known.function
    if "today" in known.needs:
        return lambda value, context: function(value, today=context.today, **arguments)
    if known.takes == "text":
        return lambda value, _: function(value if isinstance(value, str) else to_text(value), **arguments)
    if known.takes == "each":
        return lambda value, _: _each(function, value, arguments)
    if known.takes == "list":
        return lambda value, _: function(value if isinstance(value, list | tuple) else [value], **arguments)
    return lambda value, _: function(value, **arguments)


def _each(function: Callable[..., Any], value: object, arguments: Mapping[str, Any]) -> object:
    """Apply a function to a text, or to every entry of a list; results that are the same are told once."""
    if not isinstance(value, list | tuple):
        return function(value if isinstance(value, str) else to_text(value), **arguments)
    found = [function(to_text(entry), **arguments) for entry in value if settled(entry) is not None]
    return list(dict.fromkeys(found)) or None


def compile_chain(steps: Sequence[StepSpec], around: Surroundings) -> Chain | None:
    """Return a list of transforms as one function; it stops at the first empty value. None for an empty list."""
    bound = [bind_step(step, around) for step in steps]
    if not bound:
        return None

    def run(value: object, context: Context) -> object:
        for function in bound:
            value = function(value, context)
            if value is None or value == "":
                return None
        return value

    return run


class PlainSteps(NamedTuple):
    """Transforms as functions of one value of just this `kind`; each gives a text, None or Invalid."""

    steps: Sequence[Step]
    kind: type[Any]


def plain_steps(steps: Sequence[StepSpec], around: Surroundings) -> PlainSteps | None:
    """Return a list of transforms without what only rare values need; None when one needs today's date or a list,
    or gives anything but a text.
    """
    bound = [bind_settings(step, around.transforms) for step in steps]
    for known, settings in bound:
        if "today" in known.needs or known.takes == "list" or known.result("text", settings) != "text":
            return None
    numbers = bool(bound) and bound[0][0].takes in ("number", "moment")
    return PlainSteps([_plain(*each, around) for each in bound], int if numbers else str)


def _plain(known: Transform, settings: Mapping[str, Any], around: Surroundings) -> Step:
    if known.table:
        return around.tables(known.table)[str(settings["name"])].translate
    return _QUICK.get(known.function, partial(partial, known.function))(**_arguments(known, settings, around))


def listed_values(spec: PropertySpec, around: Surroundings) -> tuple[str, ...]:
    """Return the texts that a property can have when the mapping itself lists them; () when any text may come."""
    elements = spec.one_property_per
    values = _ends_with(elements.transform if elements else spec.transform, around)
    if not values and spec.cases is not None and not spec.transform:
        values = [*(case.value for case in spec.cases), spec.otherwise or ""]
    if not values and spec.value is not None and not spec.transform:
        values = [spec.value]
    return tuple(dict.fromkeys(text for text in [*values, spec.default or ""] if text)) if values else ()


def _ends_with(steps: Sequence[StepSpec], around: Surroundings) -> list[str]:
    """Return the values of the table that a list of transforms ends with; `join` after it changes none."""
    last = next((step for step in reversed(steps) if step.name != "join"), None)
    known = around.transforms.find(last.name) if last is not None else None
    if last is None or known is None or not known.table:
        return []
    table = around.tables(known.table)[table_name(last)]
    return [*table.values.values(), table.otherwise or ""]
