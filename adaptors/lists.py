"""Lists in what others send, read up to the first element that is wrong.

Else each wrong one costs an error of some hundred bytes: a megabyte of `[0,0,...]` would take more than 200.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import FailFast

T = TypeVar("T")
ListOf = Annotated[list[T], FailFast()]
TupleOf = Annotated[tuple[T, ...], FailFast()]
ByName = Annotated[dict[str, T], FailFast()]
