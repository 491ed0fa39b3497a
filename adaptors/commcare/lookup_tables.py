"""Lookup tables of a project space: what there is, and single rows written; nothing is repeated.

CommCare has no key for a row and no upsert: two requests to add the same row make two, and a change to a row that
is gone makes another one. So who writes lists first, and lists again after a write of unknown outcome.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from adaptors.commcare.answers import parse
from adaptors.commcare.cases import SYSTEM
from adaptors.commcare.owners import Listed, Page, Read, read_pages
from adaptors.errors import Unexpected
from adaptors.http import Answer
from adaptors.lists import ByName, ListOf
from adaptors.pace import Attend

Write = Callable[[str, str, str, Mapping[str, Any] | None, Attend | None], Awaitable[Answer]]
"""Send one change: operation, method, resource, body, who is told before. Raises InDoubt, Refused, AccessDenied,
Retriable.
"""

GONE = "gone"
"""The code of a change that is refused since its table is not there any more."""
_ID = re.compile(r"[\w-]{1,64}", re.ASCII)
Row = Mapping[str, str]


class _Field(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    field_name: str


class _Table(Listed):
    key: str = Field(min_length=1, alias="id")
    tag: str
    fields: ListOf[_Field] = Field(default_factory=list)


class _Tables(Page):
    objects: ListOf[_Table]


class _Value(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    field_value: str | None = None


class _Values(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    field_list: ListOf[_Value] = Field(default_factory=list)


class _Item(Listed):
    key: str = Field(min_length=1, alias="id")
    data_type_id: str
    fields: ByName[_Values] = Field(default_factory=dict)


class _Items(Page):
    objects: ListOf[_Item]


class _Made(Listed):
    key: str = Field(min_length=1, alias="id")


@dataclass(frozen=True)
class LookupTable:
    """A table: its id in CommCare and the names of its fields."""

    table_id: str
    tag: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class LookupRow:
    """A row: its id in CommCare and the first value of each of its fields; `single` when each has one at most."""

    row_id: str
    fields: Row = field(repr=False)
    single: bool = True


class LookupTables:
    """The lookup tables of one project space. Endpoints: lookup_table/v1, lookup_table_item/v1 and v2."""

    def __init__(self, read: Read, write: Write) -> None:
        self._read = read
        self._write = write
        self.announce: Attend | None = None
        """Who is told when it is a change's turn, immediately before each transmission."""

    async def find(self, tag: str) -> LookupTable | None:
        """Return the table with an ID; None when there is none."""
        tables: list[_Table] = await read_pages(self._read, "lookup table", "lookup_table/v1", {}, _Tables)
        found = next((one for one in tables if one.tag == tag), None)
        if found is None:
            return None
        return LookupTable(found.key, tag, tuple(one.field_name for one in found.fields))

    async def rows(self, table: LookupTable) -> list[LookupRow]:
        """Return the rows of a table; CommCare lists those of all tables, 1,000 to a request.

        Raises Retriable when the list changed while it was read.
        """
        # The rows come in no order: between two pages one may move, and would be missed and made a second time.
        items: list[_Item] = await read_pages(
            self._read, "lookup table row", "lookup_table_item/v1", {}, _Items, whole=True
        )
        same = table.table_id.replace("-", "")
        return [_row(item) for item in items if item.data_type_id.replace("-", "") == same]

    async def make(self, tag: str, fields: Sequence[str]) -> None:
        """Make a table that every mobile worker gets; its id is found by looking for it."""
        body = {"tag": tag, "is_global": True, "fields": _definitions(fields)}
        await self._send("make a lookup table", "POST", "lookup_table/v1", body)

    async def set_fields(self, table: LookupTable, fields: Sequence[str]) -> None:
        """Give a table these fields; the others would be lost, so name them all."""
        body = {"tag": table.tag, "fields": _definitions(fields)}
        await self._send("change a lookup table", "PUT", f"lookup_table/v1/{_id(table.table_id)}", body)

    async def add(self, table: LookupTable, row: Row) -> str:
        """Add a row and return its id."""
        operation = "add a row to a lookup table"
        answer = await self._send(operation, "POST", "lookup_table_item/v2", _body(table, row))
        return parse(_Made, answer, operation).key

    async def change(self, table: LookupTable, row_id: str, row: Row) -> None:
        """Give a row these fields and no others; only for an id that was listed just now."""
        path = f"lookup_table_item/v1/{_id(row_id)}"
        await self._send("change a row of a lookup table", "PUT", path, _body(table, row))

    async def remove(self, row_id: str) -> None:
        """Take a row away; one that is gone already is as good."""
        path = f"lookup_table_item/v1/{_id(row_id)}"
        await self._send("take a row out of a lookup table", "DELETE", path, None)

    async def _send(self, operation: str, method: str, path: str, body: Mapping[str, Any] | None) -> Answer:
        return await self._write(operation, method, path, body, self.announce)


def _row(item: _Item) -> LookupRow:
    values = {name: found.field_list for name, found in item.fields.items()}
    fields = {name: found[0].field_value or "" if found else "" for name, found in values.items()}
    return LookupRow(item.key, fields, all(len(found) < 2 for found in values.values()))


def _definitions(fields: Sequence[str]) -> list[dict[str, Any]]:
    return [{"field_name": name, "properties": []} for name in fields]


def _body(table: LookupTable, row: Row) -> dict[str, Any]:
    fields = {name: {"field_list": [{"field_value": value, "properties": {}}]} for name, value in row.items()}
    return {"data_type_id": table.table_id, "fields": fields}


def _id(text: str) -> str:
    """Return an id of CommCare as part of an address."""
    if not _ID.fullmatch(text):
        raise Unexpected("CommCare gave an id that is none.", system=SYSTEM, operation="lookup tables")
    return quote(text, safe="")
