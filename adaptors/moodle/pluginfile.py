"""Files of a Moodle site: from this site only, the token in the form, an error in JSON never taken for a file."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from adaptors.errors import AccessDenied, NoAnswer, Unexpected
from adaptors.http import Answer, Streamed
from adaptors.moodle.client import MoodleClient, parsed
from adaptors.moodle.errors import answer_error, file_error

FILES: Final = "webservice/pluginfile.php"
_WEB_FILES: Final = f"/{FILES}/"
_PLAIN_FILES: Final = "/pluginfile.php/"
_ERROR_CAP: Final = 64 * 1024
_PORTS: Final = {"http": 80, "https": 443}
_HASH: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Arriving:
    """A file on its way: `offset` is where in the file it begins, `size` how much comes (None when not told).

    `sha1` is the content's hash, which Moodle sends as its ETag ("" from sites that send another). An
    `unchanged` file has no content.
    """

    offset: int
    size: int | None
    sha1: str
    unchanged: bool
    chunks: AsyncIterator[bytes] = field(repr=False)


def file_path(site_url: str, url: str) -> str:
    """Return the path of a file below the site's address; raises AccessDenied for a file of any other address."""
    site, found = urlsplit(site_url), urlsplit(url)
    base = site.path.rstrip("/")
    inside = found.path.removeprefix(base) if found.path.startswith(base) else ""
    if inside.startswith(_PLAIN_FILES):
        inside = f"/webservice{inside}"
    parts = [unquote(part) for part in inside.split("/")]
    same = _origin(site_url) == _origin(url) and not (found.username or found.password)
    if not same or not inside.startswith(_WEB_FILES) or {".", ".."} & set(parts) or "\\" in "".join(parts):
        raise AccessDenied(
            "Moodle lists a file at an address that is not that of the configured site; it was not asked for.",
            system="Moodle",
            operation=FILES,
            remedy="Put the address that Moodle has for itself ($CFG->wwwroot) into MOODLE_URL.",
        )
    return "/".join(quote(part, safe="") for part in parts)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        port = None
    return parts.scheme, (parts.hostname or "").lower(), port


@asynccontextmanager
async def open_file(
    client: MoodleClient, url: str, *, now: float, offset: int = 0, sha1: str = ""
) -> AsyncIterator[Arriving]:
    """Ask for a file (`webservice/pluginfile.php`), from `offset` on; what has the hash `sha1` is unchanged.

    Moodle gives no part of a text: then it comes whole, from offset 0. Raises Refused for a file that is not
    there, AccessDenied, Maintenance, Retriable, Unexpected.
    """
    headers: dict[str, str] = {}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    elif sha1:
        headers["If-None-Match"] = f'"{sha1}"'
    async with client.stream(FILES, file_path(client.url, url), headers) as answer:
        yield await _arriving(answer, offset, now, known=client.is_known)


async def _arriving(answer: Streamed, offset: int, now: float, *, known: bool) -> Arriving:
    head = answer.headers
    is_json = head.get("Content-Type", "").startswith("application/json") and "Content-Disposition" not in head
    maybe_error = is_json or (answer.status == 404 and "Content-Disposition" not in head)
    body = await _short(answer) if maybe_error or answer.status == 403 else b""
    if maybe_error and (code := _error_code(body)):
        raise file_error(FILES, answer.status, code)
    found = head.get("Etag", "").removeprefix("W/").strip('"')
    sha1 = found if _HASH.fullmatch(found) else ""
    if answer.status == 304:
        return Arriving(0, 0, sha1, True, answer.chunks)
    if answer.status == 416 and offset:  # the file has become shorter than what is here
        return Arriving(0, None, sha1, False, _nothing())
    if answer.status not in (200, 206):
        error = answer_error(FILES, Answer(answer.status, head, body), now=now, known=known)
        raise error if error is not None else _odd(answer.status)
    if "Content-Disposition" not in head:  # a web page, a login form
        raise Unexpected("Moodle sends a page in place of a file.", system="Moodle", operation=FILES, status=200)
    if head.get("Content-Encoding", "identity") != "identity":
        raise NoAnswer("Moodle packs a file although it was asked not to.", system="Moodle", operation=FILES)
    length = head.get("Content-Length", "")
    size = int(length) if length.isdecimal() else None
    return Arriving(offset if answer.status == 206 else 0, size, sha1, False, answer.chunks)


async def _short(answer: Streamed) -> bytes:
    body = b""
    async for chunk in answer.chunks:
        body += chunk
        if len(body) > _ERROR_CAP:
            break
    return body[:_ERROR_CAP]


def _error_code(body: bytes) -> str:
    """Return the code of an error of this address, a word in any case, "" for what is none."""
    try:
        found: Any = parsed(body)
    except (ValueError, RecursionError):
        return ""
    if isinstance(found, Mapping) and ("errorcode" in found or "error" in found):
        return str(found.get("errorcode") or "unnamed")
    return ""


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def _odd(status: int) -> Unexpected:
    return Unexpected(f"Moodle answers with status {status}.", system="Moodle", operation=FILES, status=status)
