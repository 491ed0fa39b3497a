"""What a transform is: a function with typed settings, a sentence of help and an example that is its test."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from mappings.engine.problems import one_of, quoted
from mappings.engine.texts import Invalid

Value = object
Refusal = Callable[[Mapping[str, Any]], str]

TRANSFORMS: Final[dict[str, Transform]] = {}
"""All transforms by name, filled by the decorator below."""

UNSEEN: Final = "unseen"
"""What a transform takes that was not loaded: nobody knows."""

SURROUNDINGS: Final = ("zone", "today", "table")
"""Parameters that come from the project or the run, never from the mapping."""


@dataclass(frozen=True)
class Setting:
    """One setting of a transform; `kind` is text, whole, number or choice, `parameter` the function's own name."""

    name: str
    parameter: str
    kind: str
    choices: tuple[str, ...] = ()
    required: bool = False

    def read(self, given: object) -> Any:
        """Return a setting as the function takes it; ValueError with a sentence when it is of another kind."""
        if not isinstance(given, str):
            raise ValueError(f"'{self.name}' takes one {'text' if self.kind == 'text' else 'value'}")
        if self.kind == "choice" and given not in self.choices:
            raise ValueError(f"{quoted(given)} is not allowed here; use {one_of(self.choices)}")
        if self.kind in ("whole", "number"):
            return self._as_number(given)
        return given

    def _as_number(self, given: str) -> int | float:
        digits = given.replace(".", "", 1) if self.kind == "number" else given
        if len(given) > 15 or not (digits.isascii() and digits.isdigit()):
            raise ValueError(f"{quoted(given)} is not a {'whole ' if self.kind == 'whole' else ''}number")
        return int(given) if self.kind == "whole" else float(given)


@dataclass(frozen=True)
class Transform:
    """A transform; `takes` is text, number, moment, list or each (a text, or every entry of a list).

    `gives` is text, number or list; one that takes `each` gives a list for a list, and one with `list_without`
    gives a list when that setting is left out. `digest` is the hash of a plug-in's source, "" for our own.

    `example` is (settings as a mapping writes them, value, result); `open_settings` allows further names with
    numbers, as `bands` has; `needs` are its parameters of SURROUNDINGS, and `country` when it has one; `table` is
    "code list" or "lookup" when its only setting names one.
    """

    name: str
    function: Callable[..., Value]
    help: str
    example: tuple[object, Value, Value]
    takes: str
    gives: str
    settings: Mapping[str, Setting]
    open_settings: bool
    needs: frozenset[str]
    refusal: Refusal | None
    table: str
    list_without: str = ""
    digest: str = ""

    def result(self, kind: str, settings: Mapping[str, Any]) -> str:
        """Return the kind of value it gives for a kind of value and its settings."""
        if self.takes == "each" and kind == "list":
            return "list"
        return "list" if self.list_without and self.list_without not in settings else self.gives

    @property
    def bare(self) -> Setting | None:
        """The setting that a bare value stands for: the only one there is, or the only one that must be given."""
        if self.open_settings:
            return None
        given = [setting for setting in self.settings.values() if setting.required or len(self.settings) == 1]
        return given[0] if len(given) == 1 else None

    @property
    def usage(self) -> str:
        """How the transform is written, with its settings."""
        if not self.settings:
            return self.name
        shown = {"text": "..", "whole": "n", "number": "n", "choice": ".."}
        parts = [f"{setting.name}: {shown[setting.kind]}" for setting in self.settings.values()]
        parts += ["name: number, .."] if self.open_settings else []
        if len(parts) == 1:
            return f"{{{self.name}: {parts[0].split(': ')[1]}}}"
        return f"{{{self.name}: {{{', '.join(parts)}}}}}"


def _not_seen(_value: object) -> Value:
    raise Invalid("not_looked_at")


@dataclass(frozen=True)
class TransformList:
    """The transforms that a project's mappings may use: those of the language, and its plug-ins' by name.

    `unseen` says that there are plug-ins that were not loaded; any other name then stands for one of theirs.
    """

    plugins: Mapping[str, Transform] = field(default_factory=dict)
    unseen: bool = False

    def find(self, name: str) -> Transform | None:
        """Return a transform, None when there is none; one that was not loaded makes every value unusable."""
        found = TRANSFORMS.get(name) or self.plugins.get(name)
        return found or (_unseen(name) if self.unseen else None)

    @property
    def names(self) -> list[str]:
        """Return the names that are known."""
        return [*TRANSFORMS, *self.plugins]


OURS: Final = TransformList()
"""The transforms of the language and no others."""


def _unseen(name: str) -> Transform:
    """Return what stands for a transform of a plug-in that was not loaded."""
    nothing = (None, None, None)
    return Transform(name, _not_seen, "", nothing, UNSEEN, "text", {}, True, frozenset(), None, "")


def transform(
    *,
    example: tuple[object, Value, Value],
    takes: str = "text",
    gives: str = "text",
    refuse: Refusal | None = None,
    table: str = "",
    list_without: str = "",
) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Register a function as a transform; its keyword-only parameters are its settings."""

    def register(function: Callable[..., Value]) -> Callable[..., Value]:
        hints = get_type_hints(function)
        parameters = inspect.signature(function).parameters.values()
        keywords = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        settings = [_setting(p, hints[p.name]) for p in keywords if p.name not in SURROUNDINGS]
        settings += [Setting("name", "name", "text", (), True)] if table else []
        name = function.__name__
        TRANSFORMS[name] = Transform(
            name=name,
            function=function,
            help=inspect.getdoc(function) or "",
            example=example,
            takes=takes,
            gives=gives,
            settings={setting.name: setting for setting in settings},
            open_settings=any(p.kind is p.VAR_KEYWORD for p in parameters),
            needs=frozenset(p.name for p in keywords) & {*SURROUNDINGS, "country"},
            refusal=refuse,
            table=table,
            list_without=list_without,
        )
        return function

    return register


def _setting(parameter: inspect.Parameter, hint: Any) -> Setting:
    name = parameter.name.rstrip("_")
    required = parameter.default is parameter.empty and name != "country"
    if get_origin(hint) is Literal:
        return Setting(name, parameter.name, "choice", get_args(hint), required)
    kind = {int: "whole", float: "number"}.get(hint, "text")
    return Setting(name, parameter.name, kind, (), required)
