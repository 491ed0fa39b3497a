"""What is written to CommCare and what comes back, and the checks made before anything is sent.

One row that CommCare cannot store costs the other 99 of its request, and some such rows are answered with a
500 that looks like an outage. So rows are checked here, where the row at fault is known.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

from adaptors.errors import Refused

SYSTEM = "CommCare"
MAX_ROWS = 100  # CommCare refuses a longer request
MAX_LENGTH = 255  # characters of names, types and ids; property values have no limit

# CommCare refuses the first three, loses those up to user_id without a word, and lets the last two change
# the case's name and external id.
RESERVED = frozenset({"case_type", "case_name", "owner_id", "external_id", "date_opened", "case_id"})
RESERVED |= {"date_modified", "location_id", "user_id", "name", "hq_user_id"}

_UNSENDABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FIELDS = "case_id,external_id,case_type,case_name,owner_id,closed"
_BREAK = re.compile("[\t\n\r]")  # an id with one of these would not come back as it was sent


@dataclass(frozen=True)
class IndexWrite:
    """A link from a case to a case that CommCare already has; `relationship` is child or extension."""

    name: str
    case_type: str
    case_id: str
    relationship: str


@dataclass(frozen=True)
class CaseWrite:
    """One row of a bulk write.

    `case_id` "" means that CommCare's id is not known: the row is an upsert by `key`, the external id, and then
    name and owner are required. With a case id, None leaves name or owner as they are.
    """

    key: str
    case_id: str
    case_type: str
    name: str | None = field(repr=False)
    owner_id: str | None
    properties: Mapping[str, str] = field(repr=False)
    indices: tuple[IndexWrite, ...] = ()
    close: bool = False
    create: bool = False
    """Whether a row without a case id is a plain create, for servers that cannot upsert."""


@dataclass(frozen=True)
class CaseReply:
    """A case as CommCare has it; `external_id` is None when it never had one."""

    case_id: str
    external_id: str | None
    case_type: str
    name: str = field(repr=False)
    owner_id: str
    closed: bool
    properties: Mapping[str, str] = field(repr=False)
    form_id: str = ""
    """In the answer to a write: the form that CommCare made of the request, "" when it does not say."""
    modified_at: float | None = None
    """When CommCare took the latest change (epoch seconds), where the answer says so."""


class RowsRefused(Refused):
    """A bulk write that CommCare refused, or would refuse, as a whole; nothing was changed.

    `rows` maps the 0-based index of each row at fault to a reason code; empty means that CommCare did not say
    which. `named` are the ids of ours that its text names. `code` is the reason when all rows share one. The
    codes: target_deleted, no_upsert, duplicate_external_id, unknown_parent, unknown_owner, value_too_long,
    illegal_property_name, wrong_type, request_too_large, blocked, refused; and before sending: illegal_characters,
    too_long, missing_required, wrong_type, illegal_property_name.
    """

    def __init__(
        self, rows: Mapping[int, str], *, code: str = "", named: tuple[str, ...] = (), status: int | None = None
    ) -> None:
        codes = set(rows.values())
        reason = code or (codes.pop() if len(codes) == 1 else "refused")
        which = f"row {', '.join(str(index + 1) for index in sorted(rows))}" if rows else "a row it does not name"
        super().__init__(
            f"CommCare refuses the request because of {which} ({reason}).",
            system=SYSTEM,
            operation="write cases",
            status=status,
            code=reason,
        )
        self.rows = dict(rows)
        self.named = named


def trimmed(fields: Collection[str]) -> dict[str, str]:
    """Return how to ask for some properties only; CommCare takes a dot in a name for a step into an object."""
    if any("." in name for name in fields):
        return {}
    return {"fields": _FIELDS, "fields.properties": ",".join(fields)} if fields else {}


def indexed_since(moment: float | None) -> dict[str, str]:
    """Return how to ask for what CommCare has indexed since a moment; None means ever."""
    return (
        {} if moment is None else {"indexed_on.gte": f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"}
    )


def is_sendable(text: str) -> bool:
    """Return whether XML, CommCare's own format, can carry every character of `text`."""
    return _UNSENDABLE.search(text) is None


def is_property_name(name: str) -> bool:
    """Return whether CommCare stores a property of this name, and stores it as a property."""
    return name not in RESERVED and not name.startswith("_") and is_xml_name(name)


@lru_cache(maxsize=10_000)
def is_xml_name(name: str) -> bool:
    """Return whether CommCare can make an XML element of this name; its parser is asked, being the judge."""
    if name[:3].lower() == "xml" or not name.strip() or re.search(r"[\s<>/=&'\"]", name):
        return False
    try:
        ElementTree.fromstring(f"<{name}/>")  # noqa: S314 - no entity fits into what is left
    except (ElementTree.ParseError, UnicodeEncodeError):
        return False
    return True


def check_rows(rows: Sequence[CaseWrite]) -> None:
    """Raise RowsRefused naming every row that CommCare could not store, before anything is sent.

    Raises ValueError for a request that must never be made: none or over 100 rows, or one key twice.
    """
    if not 1 <= len(rows) <= MAX_ROWS:
        raise ValueError(f"A bulk write takes 1 to {MAX_ROWS} rows, not {len(rows)}.")
    if len({row.key for row in rows}) < len(rows):
        raise ValueError("A key stands in a bulk write twice: CommCare would make two cases.")
    faults = {index: fault for index, row in enumerate(rows) if (fault := _fault(row))}
    if faults:
        raise RowsRefused(faults)


def row_body(row: CaseWrite) -> dict[str, Any]:
    """Return the JSON object of one row: an update by case id, or an upsert by external id."""
    body: dict[str, Any] = {"create": False, "case_id": row.case_id}
    if not row.case_id:
        # The null must be there: CommCare refuses a row without the key.
        body = {"create": True if row.create else None, "external_id": row.key}
    fields = {"case_name": row.name, "case_type": row.case_type or None, "owner_id": row.owner_id}
    body |= {name: value for name, value in fields.items() if value is not None}
    if row.properties:
        body["properties"] = dict(row.properties)
    if row.indices:
        body["indices"] = {
            index.name: {
                "case_id": index.case_id,
                "case_type": index.case_type,
                "relationship": index.relationship,
            }
            for index in row.indices
        }
    if row.close:
        body["close"] = True
    return body


def _fault(row: CaseWrite) -> str:
    """Return why CommCare could not store this row, or ""."""
    short = list(_short_texts(row))
    texts = [*short, *row.properties, *row.properties.values()]
    if not all(isinstance(text, str) for text in texts):
        return "wrong_type"
    if not is_sendable("".join(texts)) or _BREAK.search("".join(_ids(row))):
        return "illegal_characters"
    if any(len(text) > MAX_LENGTH for text in short):
        return "too_long"
    if not all(map(is_property_name, row.properties)) or not all(is_xml_name(index.name) for index in row.indices):
        return "illegal_property_name"
    return "" if _is_complete(row) else "missing_required"


def _ids(row: CaseWrite) -> tuple[str, ...]:
    return (row.key, row.case_id, row.case_type, row.owner_id or "")


def _short_texts(row: CaseWrite) -> Iterator[Any]:
    """Yield everything that CommCare holds in a column of 255 characters."""
    yield from (row.key, row.case_id, row.case_type)
    yield from (text for text in (row.name, row.owner_id) if text is not None)
    for index in row.indices:
        yield from (index.name, index.case_type, index.case_id, index.relationship)


def _is_complete(row: CaseWrite) -> bool:
    """Return whether nothing is missing; an empty owner would make the API's own user the owner."""
    if row.owner_id == "" or not all(i.case_id and i.case_type and i.relationship for i in row.indices):
        return False
    if row.case_id:
        return True
    return bool(row.key and row.case_type) and row.name is not None and row.owner_id is not None
