"""What the fake reads off a request: which endpoint, which kind, whose credentials, which body."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

import httpx

from adaptors.commcare.fake_rows import UserError

CASES = re.compile(r"/a/([^/]+)/api/(?:case/v2|v0\.6/case)(?:/(.*))?")
LOOKUP = re.compile(r"/a/[^/]+/api/lookup_table")
OWNERS = re.compile(r"/a/([^/]+)/api/(?:(user|group|location_type)/v1|(location)/v2|v0\.5/(user|group))/")


@dataclass(frozen=True)
class Call:
    """One request as the fake saw it; `status` is None when no answer went back."""

    method: str
    target: str
    kind: str
    status: int | None


def kind_of(method: str, target: str, content: bytes) -> str:
    """Return the kind of a request, in the words of the client's own counter."""
    path = target.partition("?")[0]
    if OWNERS.fullmatch(path):
        return "owners"
    if LOOKUP.match(path):
        return "tables"
    found = CASES.fullmatch(path)
    if not found:
        return "other"
    if method == "GET":
        return "get" if (found[2] or "").strip("/") else "list"
    if (found[2] or "").startswith("bulk-fetch"):
        return "get"
    return "probe" if content.replace(b" ", b"") == b'[{"create":null}]' else "write"


def credentials(request: httpx.Request) -> str:
    """Return scheme and credentials; the scheme may be in any case, and names of web users are in lower case."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            given = b64decode(given, validate=True).decode()
        except ValueError:
            return ""
    return f"{scheme.lower()} {given}"


def json_body(request: httpx.Request) -> Any:
    """Return the JSON of a request. Raises UserError."""
    try:
        return json.loads(request.content)
    except ValueError:
        raise UserError("Payload must be valid JSON") from None
