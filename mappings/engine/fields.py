"""The kinds of setting a mapping file is made of: everything is text until one of these reads it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError

from mappings.engine.problems import quoted


class Strict(BaseModel):
    """A block that knows all its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def refuse(sentence: str, remedy: str = "", *, at: str = "") -> NoReturn:
    """Stop reading a block with a sentence for its author; `at` names the key inside the block that is meant."""
    context = {"sentence": sentence, "remedy": remedy, "at": at}
    raise PydanticCustomError("told", "{sentence}", context)


def _flag(value: Any) -> Any:
    if value in ("true", "false"):
        return value == "true"
    if isinstance(value, bool) or not isinstance(value, str):
        return value
    refuse(f"{quoted(value)} is neither true nor false", "write true or false")


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        if len(value) <= 15 and value.isascii() and value.isdigit():
            return int(value)
        refuse(f"{quoted(value)} is not a whole number", "write digits only")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, str):
        digits = value.removeprefix("-").replace(".", "", 1)
        if len(value) <= 15 and digits.isascii() and digits.isdigit():
            return float(value)
        refuse(f"{quoted(value)} is not a number", "write digits, with a point before decimals")
    return value


def _day(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            refuse(f"{quoted(value)} is not a date", "write it as 2026-01-31")
    return value


Flag = Annotated[bool, BeforeValidator(_flag)]
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]
Day = Annotated[date, BeforeValidator(_day)]
