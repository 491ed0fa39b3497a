"""What CommCare checks of each row by itself, and the texts with which it refuses one."""

from __future__ import annotations

from typing import Any, Literal

from adaptors.commcare.cases import is_xml_name

Mode = Literal["create", "update", "upsert"]

REQUIRED = ("case_name", "case_type", "owner_id")
_TEXTS = ("case_id", "case_name", "case_type", "external_id", "user_id", "owner_id")


class UserError(Exception):
    """A write that CommCare refuses with a 400 and this text; `form` when its form was refused in processing."""

    def __init__(self, text: str, *, form: bool = False) -> None:
        super().__init__(text)
        self.form = form


class Crash(Exception):
    """A write that CommCare answers with a 500 page."""


def bulk_mode(row: Any, *, upserts: bool = True) -> Mode:
    """Return what the `create` flag of a bulk row asks for: the key must be there, and null is an upsert.

    Servers without upserts take a null for a key that is not there.
    """
    if not isinstance(row, dict):
        raise Crash
    if row.get("create") is None and not ("create" in row and upserts):
        raise UserError("A 'create' flag is required for each update.")
    if row["create"] is None:
        return "upsert"
    return "create" if row["create"] else "update"


def check_row(row: Any, mode: Mode) -> None:
    """Check what can be said of a row by itself. Raises UserError with CommCare's text."""
    if not isinstance(row, dict):
        raise Crash
    if mode == "upsert" and not row.get("external_id"):
        raise UserError("UPSERT requires external_id to be specified")
    if mode == "upsert" and "case_id" in row:
        raise UserError("UPSERT does not allow case_id to be specified")
    if mode == "create" and "case_id" in row:
        raise UserError("You cannot specify case_id when creating a new case")
    allowed = {*_TEXTS, "properties", "indices", "close", *(["temporary_id"] if mode == "create" else [])}
    for name in row:
        if name not in allowed:
            raise UserError(f"'{name}' is not a valid field.")
    for name in (*_TEXTS, "temporary_id"):
        _check_type(row.get(name), str)
    _check_type(row.get("close"), bool)
    if mode == "create":
        for name in REQUIRED:
            if row.get(name) is None:
                raise UserError(f"Property {name} is required.")
    _check_properties(row.get("properties", {}))
    _check_indices(row.get("indices", {}))


def _check_type(value: Any, wanted: type) -> None:
    if value is not None and not isinstance(value, wanted):
        raise UserError(f"{value!r} not of type ({wanted!r}, {wanted!r})")


def _check_properties(properties: Any) -> None:
    if properties is None:
        raise Crash
    _check_type(properties, dict)
    for name, value in properties.items():
        if name in REQUIRED:
            raise UserError(f"Error with case property '{name}'. This must be specified at the top level.")
        if not is_xml_name(name):
            raise UserError(
                f"Error with case property '{name}'. Case property names must be valid XML identifiers."
            )
        if not isinstance(value, str):
            raise UserError(f"Error with case property '{name}'. Values must be strings, received '{value}'")


def _check_indices(indices: Any) -> None:
    _check_type(indices, dict)
    for name, index in (indices or {}).items():
        if not is_xml_name(name):
            raise UserError(f"Error with index '{name}'. Index names must be valid XML identifiers.")
        _check_type(index, dict)
        for part in ("case_id", "external_id", "temporary_id", "case_type", "relationship"):
            _check_type(index.get(part), str)
        if index.get("relationship") not in (None, "", "child", "extension"):
            raise UserError(f"{index['relationship']!r} not in ('child', 'extension')")
        ids = [part for part in ("case_id", "external_id", "temporary_id") if index.get(part)]
        if len(ids) > 1:
            raise UserError("Indices must specify case_id, external_id, or temporary ID, and only one")
        for part in ("case_type", "relationship") if ids else ():
            if not index.get(part):
                raise UserError(f"Property {part} is required when creating or updating case indices")
