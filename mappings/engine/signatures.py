"""What a plug-in's function takes and gives, read from its annotations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import FunctionType, NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from mappings.engine.paths import settled
from mappings.engine.problems import quoted
from mappings.engine.texts import to_number, to_text
from mappings.engine.transform import Setting

_GIVES: Final[Mapping[Any, str]] = {str: "text", int: "number", float: "number", Decimal: "number"}
_SETTINGS: Final[Mapping[Any, str]] = {str: "text", int: "whole", float: "number"}


class SignatureError(Exception):
    """A function that cannot be a transform; the text says why, for the developer."""


@dataclass(frozen=True)
class Signature:
    """What a function takes and gives; `read` turns a value of a record into what it takes."""

    takes: str
    gives: str
    settings: Mapping[str, Setting]
    read: Callable[[object], object]


def read_signature(name: str, function: FunctionType) -> Signature:
    """Return what a function takes and gives; SignatureError when the language cannot use it."""
    if not (name.isascii() and name.islower() and len(name) <= 60):
        raise SignatureError(f"{quoted(name)} is no name for a transform: use small letters, digits and _")
    if not inspect.getdoc(function):
        raise SignatureError(f"{quoted(name)} does not say in a sentence what it does")
    try:
        hints = get_type_hints(function)
    except Exception as error:
        raise SignatureError(f"the annotations of {quoted(name)} cannot be read: {error}") from None
    parameters = list(inspect.signature(function).parameters.values())
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    if len(places) != 1 or len(places) + len(named) != len(parameters):
        raise SignatureError(f"{quoted(name)} must take one value, and after a * its settings one by one")
    takes, read = _taken(name, hints.get(places[0].name))
    settings = [_setting(name, parameter, hints.get(parameter.name)) for parameter in named]
    return Signature(takes, _given(name, hints.get("return")), {each.name: each for each in settings}, read)


def _taken(name: str, hint: Any) -> tuple[str, Callable[[object], object]]:
    if hint is str:
        return "text", lambda value: value if isinstance(value, str) else to_text(value)
    if hint is float:
        return "number", lambda value: float(to_number(value))
    if _is_list(hint):
        return "list", _texts
    raise SignatureError(f"the value that {quoted(name)} takes must be a str, a float or a list[str]")


def _texts(value: object) -> list[str]:
    entries = value if isinstance(value, list | tuple) else [value]
    return [to_text(entry) for entry in entries if settled(entry) is not None]


def _is_list(hint: Any) -> bool:
    return get_origin(hint) in (list, Sequence) and get_args(hint) == (str,)


def _given(name: str, hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        left = [part for part in get_args(hint) if part is not NoneType]
        hint = left[0] if len(left) == 1 else None
    gives = "list" if _is_list(hint) else _GIVES.get(hint, "")
    if not gives:
        raise SignatureError(f"what {quoted(name)} returns must be a str, a number or a list[str], or None")
    return gives


def _setting(name: str, parameter: inspect.Parameter, hint: Any) -> Setting:
    required = parameter.default is parameter.empty
    word = parameter.name.rstrip("_")
    if get_origin(hint) is Literal and all(isinstance(choice, str) for choice in get_args(hint)):
        return Setting(word, parameter.name, "choice", get_args(hint), required)
    if hint not in _SETTINGS:
        wanted = "must be a str, int, float or Literal of texts"
        raise SignatureError(f"the setting {quoted(word)} of {quoted(name)} {wanted}")
    return Setting(word, parameter.name, _SETTINGS[hint], (), required)
