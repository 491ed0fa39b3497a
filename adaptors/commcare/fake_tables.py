"""FakeCommCare's lookup tables, as strict as CommCare's: no key, no upsert, a change to what is gone makes one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from adaptors.commcare.fake_project import FakeProject
from adaptors.commcare.fake_reads import page

TABLES = re.compile(r"/a/([^/]+)/api/lookup_table(_item)?/(v1|v2)/(?:([\w-]+)/)?")
Values = dict[str, dict[str, list[dict[str, Any]]]]


@dataclass
class Table:
    """A table: its ID, whether everybody gets it, and its fields."""

    table_id: str
    tag: str
    is_global: bool
    fields: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class TableRow:
    """A row of a table."""

    row_id: str
    table_id: str
    fields: Values


@dataclass
class Shelf:
    """The lookup tables and rows of a project space, by id."""

    tables: dict[str, Table] = field(default_factory=dict)
    rows: dict[str, TableRow] = field(default_factory=dict)

    def contents(self, tag: str) -> list[dict[str, str]]:
        """Return the rows of a table as plain texts, in the order in which they were made."""
        (table,) = [one for one in self.tables.values() if one.tag == tag]
        return [
            {name: found["field_list"][0]["field_value"] for name, found in row.fields.items()}
            for row in self.rows.values()
            if row.table_id == table.table_id
        ]


class _Bad(Exception):
    """A request that CommCare refuses with 400 and this text."""


class _Malformed(Exception):
    """A request whose body has not CommCare's shape; `args` are the texts of its 400."""


def serve(shelf: Shelf, project: FakeProject, request: httpx.Request, found: re.Match[str]) -> httpx.Response:
    """Answer a request for lookup tables or their rows; `found` is its path as TABLES reads it."""
    items, version, number = bool(found[2]), found[3], found[4] or ""
    if not items and version == "v2":
        return httpx.Response(404, text="<html></html>")
    try:
        if request.method == "GET":
            return _listed(shelf, request, items=items) if not number else httpx.Response(405)
        if request.method == "DELETE" and number:
            return _deleted(shelf, number, items=items)
        if (request.method, bool(number)) not in {("POST", False), ("PUT", True)}:
            return httpx.Response(405)
        body = json.loads(request.content)
        made = _row_saved(shelf, project, body, number) if items else _table_saved(shelf, project, body, number)
    except _Bad as error:
        return httpx.Response(400, json={"error": str(error)})
    except _Malformed as error:
        return httpx.Response(400, json=[*error.args])
    except LookupError:
        return httpx.Response(404, json={"error_message": "Sorry, this request could not be processed."})
    status = 204 if request.method == "PUT" and number == made else 201
    if version == "v2":
        return httpx.Response(200 if status == 204 else 201, json=_row_json(shelf.rows[made]))
    return httpx.Response(status)


def _listed(shelf: Shelf, request: httpx.Request, *, items: bool) -> httpx.Response:
    objects: list[Mapping[str, Any]] = (
        [_row_json(row) for row in shelf.rows.values()]
        if items
        else [
            {"id": one.table_id, "tag": one.tag, "is_global": one.is_global, "fields": one.fields}
            for one in shelf.tables.values()
        ]
    )
    return page(objects, request.url.params, max_limit=1000)


def _row_json(row: TableRow) -> dict[str, Any]:
    return {"id": row.row_id, "data_type_id": row.table_id, "fields": row.fields, "item_attributes": {}}


def _deleted(shelf: Shelf, number: str, *, items: bool) -> httpx.Response:
    if items:
        if shelf.rows.pop(number, None) is None:
            return httpx.Response(404)
        return httpx.Response(204)
    if shelf.tables.pop(number, None) is None:
        return httpx.Response(404)
    shelf.rows = {key: row for key, row in shelf.rows.items() if row.table_id != number}
    return httpx.Response(202)


def _table_saved(shelf: Shelf, project: FakeProject, body: Any, number: str) -> str:
    known = shelf.tables.get(number)
    if not isinstance(body, dict) or not isinstance(body.get("tag"), str):
        raise _Bad("tag must be specified")
    for definition in body.get("fields", []):
        if set(definition) - {"field_name", "properties"} or not isinstance(definition["field_name"], str):
            raise _Malformed("Additional properties are not allowed")
    if known is None:
        if any(one.tag == body["tag"] for one in shelf.tables.values()):
            raise _Bad(f"A lookup table with name {body['tag']} already exists")
        known = Table(project.new_id("table"), body["tag"], bool(body.get("is_global", False)))
        shelf.tables[known.table_id] = known
    if known.tag != body["tag"]:
        raise _Bad("Lookup table tag cannot be changed")
    known.is_global = body.get("is_global", known.is_global)
    known.fields = body.get("fields", known.fields)
    return known.table_id


def _row_saved(shelf: Shelf, project: FakeProject, body: Any, number: str) -> str:
    if not isinstance(body, dict) or not body.get("data_type_id"):
        raise _Bad("data_type_id must be specified")
    fields = body.get("fields", {})
    for values in fields.values():
        for value in values["field_list"]:
            if not isinstance(value.get("field_value"), str):
                raise _Malformed(f"{value.get('field_value')!r} is not of type 'string'")
    if body["data_type_id"] not in shelf.tables:
        raise LookupError(body["data_type_id"])
    known = shelf.rows.get(number)
    if known is None:  # also for a PUT: a row that is gone comes back as another one
        known = TableRow(project.new_id("row"), body["data_type_id"], {})
        shelf.rows[known.row_id] = known
    known.fields = fields
    return known.row_id
