"""How PHP and Moodle read a call: nested form fields, silent truncation, and parameters checked to the letter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

_KEYS = re.compile(r"\[([^\]]*)\]")
_REQUIRED = object()


class Refusal(Exception):
    """Moodle says no: class, errorcode and message as they stand in its answer (a PHP Error has no errorcode)."""

    def __init__(self, exception: str, errorcode: str, message: str) -> None:
        super().__init__(errorcode)
        self.exception, self.errorcode, self.message = exception, errorcode, message

    def row(self) -> dict[str, str]:
        """Return the error as the body of an answer."""
        row = {"exception": self.exception, "errorcode": self.errorcode, "message": self.message}
        return {key: value for key, value in row.items() if value or key != "errorcode"}


def moodle_error(errorcode: str, message: str) -> Refusal:
    """Return an ordinary `moodle_exception`."""
    return Refusal("core\\exception\\moodle_exception", errorcode, message)


def invalid_parameter() -> Refusal:
    """Return the one answer for every wrong parameter; with debugging off Moodle does not say which."""
    message = "Invalid parameter value detected"
    return Refusal("core\\exception\\invalid_parameter_exception", "invalidparameter", message)


def invalid_response() -> Refusal:
    """Return the one answer when something that is stored does not fit what a function promises to return."""
    message = "Invalid response value detected"
    return Refusal("core\\exception\\invalid_response_exception", "invalidresponse", message)


def missing_record(table: str) -> Refusal:
    """Return the answer for an id that is not in a table."""
    message = f"Can't find data record in database table {table}."
    return Refusal("dml_missing_record_exception", "invalidrecord", message)


@dataclass(frozen=True)
class Value:
    """A scalar parameter: "int", "float", "bool" or "text"; required when it has no default."""

    kind: str
    default: Any = _REQUIRED

    def clean(self, given: Any) -> Any:
        """Return the value as Moodle's clean_param would leave it; a value that cleaning changes is refused."""
        if given is None or isinstance(given, dict | list):
            raise invalid_parameter()
        text = str(int(given)) if isinstance(given, bool) else str(given)
        if self.kind == "text":
            return text
        if self.kind == "bool":
            if text not in {"0", "1"}:
                raise invalid_parameter()
            return text == "1"
        if self.kind == "float":
            if not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", text):
                raise invalid_parameter()
            return float(text)
        if not re.fullmatch(r"0|-?[1-9][0-9]{0,18}", text):
            raise invalid_parameter()
        return int(text)


@dataclass(frozen=True)
class Each:
    """A list parameter; PHP takes any array for it, whatever its keys."""

    of: Value | Fields
    default: Any = _REQUIRED

    def clean(self, given: Any) -> list[Any]:
        """Return the elements, cleaned, in the order given."""
        if isinstance(given, dict):
            given = list(given.values())
        if not isinstance(given, list):
            raise invalid_parameter()
        return [self.of.clean(element) for element in given]


@dataclass(frozen=True)
class Fields:
    """A structure with named parameters, and also the whole of a function's parameters."""

    of: Mapping[str, Value | Each | Fields]
    default: Any = _REQUIRED

    def clean(self, given: Any) -> dict[str, Any]:
        """Return all parameters by name; one that is unknown, or required and missing, is refused."""
        if not isinstance(given, dict) or not given.keys() <= self.of.keys():
            raise invalid_parameter()
        cleaned = {}
        for name, spec in self.of.items():
            if name in given:
                cleaned[name] = spec.clean(given[name])
            elif spec.default is _REQUIRED:
                raise invalid_parameter()
            else:
                cleaned[name] = spec.default
        return cleaned


def read_form(encoded: str, most: int) -> dict[str, Any]:
    """Decode a query string or form body into nested parameters; fields beyond `most` are dropped silently."""
    return nest(parse_qsl(encoded, keep_blank_values=True)[:most])


def nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Turn `options[0][name]=x` into nested dicts with text keys; `values[]` counts on by itself."""
    parameters: dict[str, Any] = {}
    for name, value in pairs:
        head, bracket, _ = name.partition("[")
        keys = _KEYS.findall(name) if bracket else []
        level, key = parameters, head.replace(".", "_").replace(" ", "_")
        for following in keys:
            if not isinstance(level.get(key), dict):
                level[key] = {}
            level = level[key]
            key = following or str(len(level))
        level[key] = value
    return parameters
