"""The reference for implementers, made of the code itself: every transform, field, key and reason as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mappings.engine.catalogue import Catalogue, CatalogueField
from mappings.engine.draft import REASONS
from mappings.engine.markdown import code, plain, table_lines
from mappings.engine.project_spec import CodeListsSpec, ProjectSpec
from mappings.engine.remedies import REMEDIES
from mappings.engine.spec import MappingSpec, StepSpec
from mappings.engine.spec_table import TableSpec
from mappings.engine.transform import Setting, Transform

_MADE: Final = "<!-- Made from the code by `make docs`; a change here is lost. -->"
_KINDS: Final[Mapping[Any, str]] = {str: "text", bool: "`true`, `false`", int: "whole number", float: "number"}
_BARE: Final = re.compile(r"[\w+/\-](?!.*(: | #))")
_TAKES: Final = {
    "each": "a text or a list",
    "moment": "a time",
    "list": "a list",
    "number": "a number",
    "text": "a text",
}
_HEADINGS: Final = {
    "MappingSpec": "A mapping file",
    "TableSpec": "A lookup table file",
    "ProjectSpec": "project.yaml",
    "CodeListsSpec": "code_lists.yaml",
    "OwnerTextSpec": "Fixed owner",
    "ElementsSpec": "One property per",
    "ExpectSpec": "Expectation",
}
_IN_COMMON: Final = {
    "language": "language: 1",
    "enabled": "enabled: false",
    "include": "include: [{source: visible, is: true}]",
    "exclude": "exclude: [{source: shortname, like: TEST*}]",
    "recheck_daily": "recheck_daily: true",
}
_EXAMPLES: Final[Mapping[str, Mapping[str, str]]] = {
    "MappingSpec": _IN_COMMON
    | {
        "case_type": "case_type: student",
        "description": "description: One case per student.",
        "source": "source: users",
        "include": "include: [{source: roles, any_of: [student]}]",
        "exclude": "exclude: [{source: suspended, is: true}]",
        "external_id": 'external_id: "{site}-user-{id}"',
        "case_name": 'case_name: "{firstname} {lastname}"',
        "owner": "owner: {first_of: [{user: username}], otherwise: project}",
        "properties": "properties: {moodle_status: suspended, last_seen: {source: lastaccess, transform: [date]}}",
        "ignore_changes": "ignore_changes: [last_seen]",
        "when_left": "when_left: {set: {moodle_status: left}}",
        "existing_cases": "existing_cases: ignore",
        "tests": "tests: [{name: a teacher, given: {id: 9, roles: [teacher]}, expect: {excluded: true}}]",
    },
    "TableSpec": _IN_COMMON
    | {
        "lookup_table": "lookup_table: moodle_courses",
        "description": "description: One row for each chosen course.",
        "source": "source: courses",
        "external_id": 'external_id: "{site}-course-{id}"',
        "properties": "properties: {course_name: fullname}",
        "tests": "tests: [{name: hidden, given: {id: 7, visible: false}, expect: {excluded: true}}]",
    },
}
"""By the name of a block: how a key may look in a file."""
_SHORT: Final = {
    "description": "text, or one for each language",
    "label": "text, or one for each language",
    "when": "[condition](#condition), or a list of them",
}


def transforms_reference(transforms: Iterable[Transform]) -> str:
    """Return the list of all transforms: how to write each, what it takes, what it does, and its example."""
    lines = ["Steps of a `transform` list, done from left to right. `..` stands for a text, `n` for a number."]
    rows = (_transform_row(one) for one in sorted(transforms, key=lambda one: one.name))
    lines += ["", *table_lines(("Write", "Takes", "What it does", "Settings", "From", "To"), rows)]
    return _page("All transforms", lines)


def _transform_row(one: Transform) -> tuple[str, ...]:
    settings, value, result = one.example
    example = f" with {code(_flow(settings))}" if settings is not None else ""
    shown = "<br>".join(_setting(setting) for setting in one.settings.values() if not one.table)
    return (
        code(one.usage),
        _TAKES.get(one.takes, one.takes),
        _prose(" ".join(one.help.split())),
        shown,
        code(_flow(value)) + example,
        code(_flow(result)),
    )


def _setting(setting: Setting) -> str:
    kinds = {"whole": "whole number", "choice": ", ".join(map(code, setting.choices))}
    needed = " (needed)" if setting.required else ""
    return f"{code(setting.name)}: {kinds.get(setting.kind, setting.kind)}{needed}"


def _flow(value: object) -> str:
    """Return a value as a mapping would write it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_flow(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    text = str(value)
    return f'"{text}"' if text != text.strip() or not text or "," in text or not _BARE.match(text) else text


def _prose(text: str) -> str:
    """Return a sentence for Markdown; what stands in backticks stays code."""
    parts = text.split("`")
    return "".join(f"`{part}`" if number % 2 else plain(part) for number, part in enumerate(parts))


def fields_reference(catalogue: Catalogue) -> str:
    """Return the field catalogue: for each source, what a mapping may read and what it costs."""
    lines = [
        "What a mapping may read, by its `source`. A *time* is a number of seconds, for `date`; a *flag* is true",
        "or false; *elements* are for `one_property_per`. A *personal* field needs the word `personal` beside it.",
    ]
    for source, fields in catalogue.items():
        lines += ["", f"## {source}", ""]
        headings = ("Field", "Type", "Meaning", "Personal", "Supplied by", "Adds to a run")
        lines += table_lines(headings, (_field_row(found) for found in fields.values()))
    return _page("All fields", lines)


def _field_row(found: CatalogueField) -> tuple[str, ...]:
    personal = "yes" if found.personal else ""
    path = found.path.replace("*", "<short name>")
    return code(path), found.type, plain(found.meaning), personal, code(found.function), plain(found.cost)


def keys_reference() -> str:
    """Return every key of mapping and lookup table files, project.yaml and code_lists.yaml, with its words."""
    lines = [
        "What may stand in a file, key by key. A list stands in `[..]` or line by line behind `- `.",
        "*Without it* is the value that holds where the key is left out.",
    ]
    seen: list[type[BaseModel]] = []
    for model in (MappingSpec, TableSpec, ProjectSpec, CodeListsSpec):
        for block in _blocks(model, seen):
            lines += ["", f"## {_title(block)}", "", _prose(_first_sentence(block)), ""]
            lines += _key_table(block)
    return _page("All keys", lines)


def _key_table(block: type[BaseModel]) -> Iterator[str]:
    """Yield the keys of a block; of a whole file's with an example each."""
    examples = _EXAMPLES.get(block.__name__)
    shown = ("Example",) if examples else ()
    headings = ("Key", "What it takes", "Needed", "Without it", *shown, "What it says")
    rows = []
    for name, found in block.model_fields.items():
        *cells, says = _key_row(name, found)
        rows.append((*cells, *((code(examples.get(name, "")),) if examples else ()), says))
    return table_lines(headings, rows)


def _blocks(model: type[BaseModel], seen: list[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """Yield a model and those inside it, each once, as a reader meets them."""
    if model in seen or model is StepSpec:
        return
    seen.append(model)
    yield model
    for found in model.model_fields.values():
        for inner in _models(found.annotation):
            yield from _blocks(inner, seen)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _title(block: type[BaseModel]) -> str:
    name = block.__name__
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name.removesuffix("Spec"))
    return _HEADINGS.get(name, words.strip().capitalize())


def _first_sentence(block: type[BaseModel]) -> str:
    return " ".join((block.__doc__ or "").split("\n\n")[0].split())


def _key_row(name: str, found: FieldInfo) -> tuple[str, ...]:
    needed = "yes" if found.is_required() else ""
    takes = _SHORT.get(name) or _takes(found.annotation)
    return code(found.alias or name), takes, needed, code(_default(found)), plain(found.description or "")


def _default(found: FieldInfo) -> str:
    """Return what a key that is left out stands for, as a file would say it; "" for nothing at all."""
    if found.is_required() or found.default in (None, ""):
        return ""
    if isinstance(found.default, bool):
        return str(found.default).lower()
    return str(found.default) if isinstance(found.default, str | int | float) else ""


def _takes(annotation: Any) -> str:
    """Return in words what may stand behind a key."""
    origin, parts = get_origin(annotation), [part for part in get_args(annotation) if part is not type(None)]
    if annotation in _KINDS:
        return _KINDS[annotation]
    if origin is Literal:
        return ", ".join(code(str(word)) for word in parts)
    if origin in (Union, UnionType) or hasattr(annotation, "__metadata__"):
        return _takes(parts[0])
    if origin is tuple:
        return f"list of {_takes(parts[0])}"
    if origin is dict:
        return f"names, each with {_takes(parts[1])}"
    if annotation is StepSpec:
        return "[transforms](transforms.md)"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        title = _title(annotation)
        return f"[{title.lower()}](#{title.lower().replace(' ', '-')})"
    return "day, as in 2026-01-31" if getattr(annotation, "__name__", "") == "date" else "fields of the source"


def reasons_reference() -> str:
    """Return every reason with which a value is listed, and what to do about it."""
    lines = [
        "A value that cannot be used is listed after a run, with a reason and the number of people it concerns.",
        "What happens to the property is said by `when_blank`, `when_not_sent` and `when_invalid`.",
        "",
    ]
    rows = ((code(name), f"... {plain(text)}", REMEDIES.get(name, "")) for name, text in REASONS.items())
    return _page("All reasons", [*lines, *table_lines(("Reason", "The property ...", "What to do"), rows)])


def _page(title: str, lines: Iterable[str]) -> str:
    return "\n".join((f"# {title}", "", _MADE, "", *lines)) + "\n"
