"""JSON Schemas for editors, so that a key is completed and explained where it is typed.

They are looser than the checker on purpose: editors read `language: 1` as a number and `is: true` as a flag, and
names (fields, tables, parents) are left to `check`, which knows them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from mappings.engine import transforms as _transforms  # noqa: F401  (fills TRANSFORMS)
from mappings.engine.catalogue import Catalogue
from mappings.engine.check_table import CASE_WORDS, WITHOUT_MEANING
from mappings.engine.project_spec import CodeListsSpec, ProjectSpec
from mappings.engine.spec import MappingSpec
from mappings.engine.spec_table import TableSpec
from mappings.engine.transform import TRANSFORMS, Setting, Transform

Schema = dict[str, Any]

_DRAFT: Final = "http://json-schema.org/draft-07/schema#"
_SCALAR: Final = ["string", "number", "boolean"]
_BLOCKS: Final = ("properties", "$defs")
_FIELD_KEYS: Final = ("source", "each", "user", "location", "group")
_NOT_FOR_EDITORS: Final = ("title", "default", "format", "prefixItems")


def write_schemas(folder: Path, catalogue: Catalogue) -> list[Path]:
    """Write the schemas into a folder, which is made if need be, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, schema in schemas(catalogue).items():
        file = folder / name
        text = json.dumps(schema, indent=2, ensure_ascii=False)
        file.write_text(f"{text}\n", encoding="utf-8", newline="\n")
        files.append(file)
    return files


def schemas(catalogue: Catalogue, transforms: Mapping[str, Transform] = TRANSFORMS) -> dict[str, Schema]:
    """Return the schemas by file name; `transforms` are those that may be used, plug-ins included."""
    mapping = _draft07(MappingSpec)
    _describe_mapping(mapping, catalogue, transforms.values())
    table = _draft07(TableSpec)
    _describe_mapping(table, catalogue, transforms.values())
    table["properties"]["source"]["enum"] = ["courses"]
    for part, words in (("PropertySpec", WITHOUT_MEANING), ("ExpectSpec", CASE_WORDS)):
        for word in words:
            del table["definitions"][part]["properties"][word]
    return {
        "mapping.schema.json": mapping,
        "table.schema.json": table,
        "project.schema.json": _draft07(ProjectSpec),
        "code_lists.schema.json": _draft07(CodeListsSpec),
    }


def _draft07(model: type[BaseModel]) -> Schema:
    """Return a model's schema as editors understand it."""
    found: Schema = _loosened(model.model_json_schema(mode="validation"))
    parts = found.pop("$defs", {})
    return {"$schema": _DRAFT, **found, "definitions": parts}


def _loosened(node: Any) -> Any:
    """Return a part of a schema with texts that may look like numbers, and without what only pydantic needs."""
    if isinstance(node, list):
        return [_loosened(part) for part in node]
    if not isinstance(node, dict):
        return node.replace("#/$defs/", "#/definitions/") if isinstance(node, str) else node
    kept = {name: _inside(name, part) for name, part in node.items() if name not in _NOT_FOR_EDITORS}
    if "anyOf" in kept:
        kept = _without_null(kept)
    if "const" in kept or "enum" in kept:
        words = kept.pop("enum", None) or [kept.pop("const")]
        kept = {**kept, "enum": [*words, *(int(word) for word in words if str(word).isdigit())]}
        kept.pop("type", None)
    elif kept.get("type") == "string":
        kept["type"] = _SCALAR
    if "$ref" in kept and len(kept) > 1:  # draft-07 reads nothing beside a reference
        kept["allOf"] = [{"$ref": kept.pop("$ref")}]
    return kept


def _inside(name: str, part: Any) -> Any:
    """Return a part by its name; in a block of named parts no name is a word of JSON Schema."""
    if name in _BLOCKS:
        return {inner: _loosened(found) for inner, found in part.items()}
    return _loosened(part)


def _without_null(node: Schema) -> Schema:
    ways = [way for way in node["anyOf"] if way != {"type": "null"}]
    rest = {name: part for name, part in node.items() if name != "anyOf"}
    if len(ways) > 1:
        return {**rest, "anyOf": ways}
    return {**ways[0], **rest}


def _describe_mapping(schema: Schema, catalogue: Catalogue, transforms: Iterable[Transform]) -> None:
    """Add what the models cannot know: sources, fields as proposals, transforms with their settings."""
    parts = schema["definitions"]
    schema["properties"]["source"] |= {"enum": sorted(catalogue)}
    schema["properties"]["source"].pop("type", None)
    fields = sorted({path.rpartition("[].")[2] for source in catalogue.values() for path in source})
    for part in parts.values():
        for key in _FIELD_KEYS:
            if key in part.get("properties", {}):
                part["properties"][key]["examples"] = fields
    parts["StepSpec"] = _steps(transforms)


def _steps(transforms: Iterable[Transform]) -> Schema:
    """Return the schema of one transform: its bare name, or its name with settings."""
    known = sorted(transforms, key=lambda each: each.name)
    bare = [
        {"const": each.name, "description": each.help}
        for each in known
        if not each.open_settings and not any(setting.required for setting in each.settings.values())
    ]
    named = {each.name: _settings(each) for each in known if each.settings or each.open_settings}
    block = {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": False}
    return {"description": "One transform, with its settings.", "anyOf": [*bare, {**block, "properties": named}]}


def _settings(transform: Transform) -> Schema:
    settings = transform.settings.values()
    block: Schema = {
        "type": "object",
        "properties": {setting.name: _setting(setting) for setting in settings},
        "required": [setting.name for setting in settings if setting.required],
        "additionalProperties": {"type": "number"} if transform.open_settings else False,
    }
    described = {"description": f"{transform.help} Write {transform.usage}"}
    if transform.bare is not None:
        return {**described, "anyOf": [_setting(transform.bare), block]}
    return {**described, **block}


def _setting(setting: Setting) -> Schema:
    if setting.kind == "choice":
        return {"enum": list(setting.choices)}
    return {"type": {"whole": "integer", "number": "number"}.get(setting.kind, _SCALAR)}
