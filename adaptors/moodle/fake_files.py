"""`webservice/pluginfile.php` of the fake Moodle: files with a token, errors as JSON, mostly with status 200."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from adaptors.moodle.fake_account import Account
from adaptors.moodle.fake_answers import php_json
from adaptors.moodle.fake_form import Refusal
from adaptors.moodle.fake_marking import WEB_FILES, made_content
from adaptors.moodle.fake_site import FakeSite

PLAIN_FILES = "/pluginfile.php"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_ERROR_HEADERS = {
    "Server": "nginx/1.22.1",
    "Content-Type": "application/json; charset=utf-8",
    "Access-Control-Allow-Origin": "*",
    "Cache-Control": "post-check=0, pre-check=0",
    "Pragma": "no-cache",
    "Accept-Ranges": "none",
}


def serve_file(
    site: FakeSite, account: Account, path: str, form: Mapping[str, Any], request: httpx.Request
) -> httpx.Response:
    """Answer a request for a file; `form` holds the token."""
    if path.startswith(PLAIN_FILES):  # wants a browser's session
        return httpx.Response(303, headers={"Location": f"{site.url}/login/index.php"})
    if "token" not in form:
        return file_error("missingparam", "A required parameter (token) was missing")
    try:
        account.check(site, str(form["token"]))
    except Refusal as refusal:
        return file_error(refusal.errorcode, refusal.message)
    if not site.info["downloadfiles"]:
        return file_error("accessexception", "Access control exception")
    inside = path.removeprefix(WEB_FILES)
    found = _listed(site, inside)
    if found is None:
        return file_error("filenotfound", "Sorry, the requested file could not be found", status=404)
    content = site.marking.contents.get(inside) or made_content(inside, found["filesize"])
    return _file(site, found, content, request)


def file_error(code: str, message: str, status: int = 200) -> httpx.Response:
    """Return an error in the shape that this address has."""
    error = {"error": message, "errorcode": code} | dict.fromkeys(("stacktrace", "debuginfo", "reproductionlink"))
    return httpx.Response(status, headers=_ERROR_HEADERS, content=php_json(error).encode())


def _listed(site: FakeSite, inside: str) -> Mapping[str, Any] | None:
    """Return the file as a submission lists it; one that no submission has is not there."""
    for rows in (*site.activities.submissions.values(), *site.marking.earlier.values()):
        for file in _files(rows):
            if unquote(urlsplit(file["fileurl"]).path).endswith(f"{WEB_FILES}{inside}"):
                return file
    return None


def _files(rows: list[dict[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for row in rows:
        for plugin in row["plugins"]:
            for area in plugin.get("fileareas", ()):
                yield from area["files"]


def _file(site: FakeSite, listed: Mapping[str, Any], content: bytes, request: httpx.Request) -> httpx.Response:
    kind = listed["mimetype"]
    is_text = kind.startswith("text/")
    etag = f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"'
    name = listed["filename"].encode()  # raw UTF-8, whatever the standards say
    headers = [
        (b"Server", b"nginx/1.22.1"),
        (b"Content-Type", f"{kind}; charset=utf-8".encode() if is_text else kind.encode()),
        (b"Access-Control-Allow-Origin", b"*"),
        (b"Content-Disposition", b'attachment; filename="' + name + b'"'),
        (b"Etag", etag.encode()),
        (b"Accept-Ranges", b"none" if is_text else b"bytes"),
    ]
    if request.headers.get("If-None-Match") == etag:
        return httpx.Response(304, headers=headers[4:5])
    status, body = 200, content
    asked = _RANGE.fullmatch(request.headers.get("Range", ""))
    if asked and not is_text:
        last = int(asked[2]) + 1 if asked[2] else len(content)
        if int(asked[1]) >= len(content):
            return httpx.Response(416, headers=headers[4:5])
        status, body = 206, content[int(asked[1]) : last]
    headers.append((b"Content-Length", str(len(body)).encode()))
    cut, site.marking.cut_after = site.marking.cut_after, None
    if cut is not None:
        return httpx.Response(status, headers=headers, stream=_Cut(body[:cut]))
    return httpx.Response(status, headers=headers, content=body)


class _Cut(httpx.AsyncByteStream):
    """A body whose connection breaks off."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body
        raise httpx.ReadError("connection reset by peer")
