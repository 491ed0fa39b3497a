"""The field catalogue: what each source can give, read off the record classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from adaptors.moodle.records import SOURCES

_DEFAULT_FUNCTION = {"users": "core_user_get_users_by_field", "courses": "core_course_get_courses_by_field"}


@dataclass(frozen=True)
class FieldInfo:
    """One line of a source's catalogue; `path` as a mapping writes it: "course.fullname", "profile.*"."""

    path: str
    type: str
    meaning: str
    personal: bool
    function: str
    cost: str = ""


def catalogue() -> dict[str, dict[str, FieldInfo]]:
    """Return, for each source, its fields by path."""
    return {
        source: {
            info.path: info
            for info in _fields(record, "", FieldInfo("", "", "", False, _DEFAULT_FUNCTION.get(source, "")))
        }
        for source, record in SOURCES.items()
    }


def _fields(record: type[BaseModel], prefix: str, parent: FieldInfo) -> Iterator[FieldInfo]:
    """Walk a record class and its nested records."""
    for name, field in record.model_fields.items():
        extra: dict[str, Any] = dict(field.json_schema_extra or {})  # type: ignore[arg-type]
        function = extra["function"] or parent.function
        info = FieldInfo(
            prefix + name,
            extra["type"],
            field.description or "",
            extra["personal"],
            function,
            extra["cost"] or parent.cost,
        )
        if info.type == "record":
            yield from _fields(_record_in(field.annotation), f"{info.path}.", info)
            continue
        if name == "profile":
            yield FieldInfo(f"{info.path}.*", info.type, info.meaning, info.personal, info.function, info.cost)
            continue
        yield info
        if info.type == "elements":
            yield from _fields(_record_in(field.annotation), f"{info.path}[].", info)


def _record_in(annotation: Any) -> type[BaseModel]:
    """Find the record class inside `X | None` or `list[X] | None`."""
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        if part is not type(None):
            return _record_in(part)
    raise TypeError(f"no record in {annotation}")
