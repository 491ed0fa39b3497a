"""How CommCare takes writes: rows checked, ids looked up, one form built, and all of it applied or nothing.

Looking up and applying are two steps here as there: what happens between them is where doubles come from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from adaptors.commcare.cases import MAX_LENGTH, MAX_ROWS, is_sendable
from adaptors.commcare.fake_project import Case, FakeProject
from adaptors.commcare.fake_rows import REQUIRED, Crash, Mode, UserError, bulk_mode, check_row

_LENGTHS = {"case_name": "name", "case_type": "type", "external_id": "external_id", "owner_id": "owner_id"}
_LOST = {"external_id", "date_opened", "case_id", "date_modified", "location_id", "user_id"}
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?")


@dataclass(frozen=True)
class Change:
    """One case block of a form: what becomes of which case, ids already looked up."""

    case_id: str
    creates: bool
    fields: Mapping[str, str]
    properties: Mapping[str, str]
    indices: Mapping[str, Mapping[str, str]]
    close: bool


def plan_bulk(
    project: FakeProject, rows: Sequence[Any], refusals: Mapping[int, str], *, upserts: bool = True
) -> list[Change]:
    """Check and look up the rows of a bulk; `refusals` are texts for single rows (0-based). Raises UserError."""
    if len(rows) > MAX_ROWS:
        raise UserError(f"You cannot submit more than {MAX_ROWS} updates in a single request")
    modes: list[Mode] = []
    errors: list[str] = []
    for index, row in enumerate(rows):
        try:
            modes.append(bulk_mode(row, upserts=upserts))
            check_row({name: value for name, value in row.items() if name != "create"}, modes[-1])
            if index in refusals:
                raise UserError(refusals[index])
        except UserError as error:
            errors.append(f"Error in row {index + 1}: {error}")
    if errors:
        raise UserError("; ".join(errors))
    return plan(project, [(mode, row) for mode, row in zip(modes, rows, strict=True)])


def plan_single(project: FakeProject, data: Any, mode: Mode) -> list[Change]:
    """Check and look up the one case of a request with an object. Raises UserError."""
    check_row(data, mode)
    return plan(project, [(mode, data)])


def plan(project: FakeProject, rows: Sequence[tuple[Mode, Mapping[str, Any]]]) -> list[Change]:
    """Look up every id, build the form and check it as a whole; nothing is changed yet."""
    lookup = _Lookup(project, rows)
    changes = [lookup.change(position) for position in range(len(rows))]
    created = {change.case_id for change in changes if change.creates}
    for change in changes:
        _check_form(project, change, created)
    return changes


def apply(project: FakeProject, changes: Sequence[Change]) -> list[Case]:
    """Apply a form and return the changed cases, each once."""
    changed: dict[str, Case] = {}
    for change in sorted(changes, key=lambda change: change.case_id):
        case = changed.get(change.case_id) or project.cases.get(change.case_id)
        case = case or project.deleted.get(change.case_id)
        if case is None:
            now = project.clock()
            case = Case(change.case_id, "", "", project.api_user_id, date_opened=now)
        _apply_fields(project, case, change)
        _apply_properties(project, case, change.properties)
        for name, index in change.indices.items():
            if index["case_id"]:
                case.indices[name] = dict(index)
            else:
                case.indices.pop(name, None)
        if change.close and not case.closed:
            case.closed, case.date_closed = True, project.clock()
        project.save(case)
        changed[case.case_id] = case
    return list(changed.values())


# --- a whole request ------------------------------------------------------------------------------------


class _Lookup:
    """Which case each row, and each index of a row, means at this moment."""

    def __init__(self, project: FakeProject, rows: Sequence[tuple[Mode, Mapping[str, Any]]]) -> None:
        self._project = project
        self._rows = rows
        # A row that creates gets its id at once; only these can be referred to from other rows.
        self._new_ids = {n: project.new_id("case") for n, (mode, _) in enumerate(rows) if mode == "create"}
        self._temporary: dict[str, str] = {}
        self._in_request: dict[str, str] = {}
        for position, (_, row) in enumerate(rows):
            case_id = self._new_ids.get(position) or row.get("case_id")
            if case_id and row.get("external_id"):
                self._in_request[row["external_id"]] = case_id
            if case_id and row.get("temporary_id"):
                self._temporary[row["temporary_id"]] = case_id

    def change(self, position: int) -> Change:
        """Return the case block of one row."""
        mode, row = self._rows[position]
        case_id, creates = self._case(position, mode, row)
        fields = {name: row[name] for name in _LENGTHS if row.get(name) is not None}
        if creates and any(name not in fields for name in REQUIRED):
            raise Crash  # an upsert that turns out to be a create, without what a create needs
        indices = {name: self._index(index) for name, index in (row.get("indices") or {}).items()}
        return Change(case_id, creates, fields, row.get("properties", {}), indices, bool(row.get("close")))

    def _case(self, position: int, mode: Mode, row: Mapping[str, Any]) -> tuple[str, bool]:
        if mode == "create":
            return self._new_ids[position], True
        if row.get("case_id"):
            if row["case_id"] not in self._project.cases and row["case_id"] not in self._project.hidden:
                raise UserError(f"No case found with ID '{row['case_id']}'")
            return row["case_id"], False
        found = self._by_external_id(row.get("external_id"))
        if found:
            return found, False
        if mode == "upsert":
            return self._project.new_id("case"), True
        raise UserError(f"Could not find a case with external_id '{row.get('external_id')}'")

    def _by_external_id(self, external_id: str | None) -> str:
        if not external_id:
            return ""
        if external_id in self._in_request:
            return self._in_request[external_id]
        found = self._project.by_external_id(external_id, deleted=True)
        if len(found) > 1:
            raise UserError(f"There are multiple cases with external_id {external_id}")
        return found[0].case_id if found else ""

    def _index(self, index: Mapping[str, Any]) -> dict[str, str]:
        case_id = index.get("case_id")
        if index.get("temporary_id"):
            case_id = self._temporary.get(index["temporary_id"])
            if case_id is None:
                raise UserError(f"Could not find a case with temporary_id '{index['temporary_id']}'")
        elif index.get("external_id"):
            case_id = self._by_external_id(index["external_id"])
            if not case_id:
                raise UserError(f"Could not find a case with external_id '{index['external_id']}'")
        if index.get("relationship") is None:
            raise Crash
        return {
            "case_id": str(case_id),  # left out it is the text "None", as there
            "case_type": index.get("case_type") or "",
            "relationship": index["relationship"],
        }


def _check_form(project: FakeProject, change: Change, created: set[str]) -> None:
    """Check a case block as the form's processing does: characters, lengths, indices."""
    texts = [*change.fields.values(), *change.properties.values()]
    texts += [text for index in change.indices.values() for text in index.values()]
    if not is_sendable("".join(texts)):
        raise Crash
    for name, known_as in _LENGTHS.items():
        if len(change.fields.get(name, "")) > MAX_LENGTH:
            raise UserError(
                f"CaseValueError: Error processing case update: Field: {known_as}, "
                f"Error: Value exceeds allowed length: {MAX_LENGTH}",
                form=True,
            )
    for index in change.indices.values():
        target = index["case_id"]
        if target and not (target in project.cases or target in created or target in project.hidden):
            raise UserError(
                f"InvalidCaseIndex: Case '{change.case_id}' references non-existent case '{target}'", form=True
            )


# --- applying -------------------------------------------------------------------------------------------


def _apply_fields(project: FakeProject, case: Case, change: Change) -> None:
    case.case_name = stored(change.fields.get("case_name", case.case_name))
    case.case_type = change.fields.get("case_type", case.case_type)
    case.owner_id = change.fields.get("owner_id", case.owner_id) or project.api_user_id
    if "external_id" in change.fields:
        project.rename_external_id(case, change.fields["external_id"])


def _apply_properties(project: FakeProject, case: Case, properties: Mapping[str, str]) -> None:
    """Merge properties; some names are lost without a word, and two mean something else."""
    for name, value in properties.items():
        if name == "name":
            case.case_name = stored(value)
        elif name == "hq_user_id":
            project.rename_external_id(case, value)
        elif name not in _LOST and not name.startswith("_"):
            case.properties[name] = stored(value)


def stored(value: str) -> str:
    """Return a value as CommCare keeps it: LF for line ends, and date-times in UTC (dates stay as they are)."""
    if "\r" in value:
        value = value.replace("\r\n", "\n").replace("\r", "\n")
    if len(value) > 35 or not _DATE_TIME.fullmatch(value):
        return value
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return value
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
