"""Between the engine and the two fakes: requests without a network, and the faults that strike them.

`Wire` stands in the place of the HTTP library's client, whose own work costs more than all of the engine's; what
our code does around it (errors, statuses, bodies) stays as it is.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import httpx

from adaptors.commcare.fake import FakeCommCare
from adaptors.commcare.fake_requests import kind_of
from adaptors.moodle.fake import FakeMoodle
from tests.proofs.faults import Faults

Answers = Callable[[str, str, Mapping[str, Any]], Awaitable[httpx.Response]]
_REMEMBERED: dict[tuple[int, tuple[tuple[str, str], ...]], httpx.Response] = {}


class Breach(AssertionError):
    """One of the invariants does not hold."""


class Wire:
    """What `adaptors.http.Http` needs of an HTTP client."""

    def __init__(self, answers: Answers, headers: Mapping[str, str]) -> None:
        self._answers = answers
        self._headers = dict(headers)

    @asynccontextmanager
    async def stream(self, method: str, url: str, **content: Any) -> AsyncIterator[httpx.Response]:
        """Give the answer to a request."""
        content["headers"] = self._headers | dict(content.get("headers") or {})
        yield await self._answers(method, url, content)

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""


class MoodleWire:
    """A Moodle that says what the school of the moment is, and that may fail."""

    def __init__(self, faults: Faults, moodle: Callable[[], FakeMoodle]) -> None:
        self._faults = faults
        self._moodle = moodle

    async def __call__(self, method: str, url: str, content: Mapping[str, Any]) -> httpx.Response:
        """Answer one request."""
        await asyncio.sleep(0)
        form: dict[str, str] = content["data"]
        what = _what(form)
        fault = await self._faults.strike(self._faults.at("moodle", what))
        if fault == "down":
            self._faults.down.add(what)
        if what in self._faults.down:
            body = {"exception": "dml_read_exception", "errorcode": "dmlreadexception", "message": "no"}
            return httpx.Response(200, json=body)
        if fault == "503":
            return httpx.Response(503)
        if fault == "lost":
            raise httpx.ReadTimeout("No answer.")
        answer = self._answer(method, url, form)
        if fault == "short on":
            self._faults.hidden.add(what)
        if fault == "short" or what in self._faults.hidden:
            answer = self._shortened(answer, form)
        await asyncio.sleep(0)
        self._faults.live()
        return answer

    def _answer(self, method: str, url: str, form: dict[str, str]) -> httpx.Response:
        """Ask the fake; the same school answers the same question the same way."""
        moodle = self._moodle()
        key = id(moodle), tuple(form.items())
        if key not in _REMEMBERED:
            _REMEMBERED[key] = moodle(httpx.Request(method, url, data=form))
        found = _REMEMBERED[key]
        return httpx.Response(found.status_code, headers=found.headers, content=found.content)

    def _shortened(self, answer: httpx.Response, form: Mapping[str, str]) -> httpx.Response:
        """Leave out the last of a list, without a word."""
        body = json.loads(answer.content)
        rows = body if isinstance(body, list) else body.get("courses", [])
        lacked = rows.pop() if rows else {}
        if _what(form).endswith(" ids") and lacked:
            self._faults.short.add(f"test-enrol-{form['courseid']}-{lacked['id']}")
        return httpx.Response(200, json=body)


def _what(form: Mapping[str, str]) -> str:
    """Name a request: function, course, and which of its lists."""
    name, course = form["wsfunction"], form.get("courseid", "")
    if form.get("options[1][name]") == "onlysuspended":
        return f"{name} {course} suspended"
    part = "ids" if form.get("options[0][value]") == "id" else "page"
    return f"{name} {course} {part}" if course else name


class Watches(Protocol):
    """Who looks at writes: before one goes out, and after it was or was not applied."""

    def sending(self, rows: list[dict[str, Any]], batch: str) -> None:
        """Look at the rows that are about to be sent."""

    def sent(self) -> None:
        """Look at what CommCare holds now."""


class CommCareWire:
    """A CommCare that may apply a write, or not, or later, and that may answer, or not."""

    def __init__(self, faults: Faults, commcare: FakeCommCare, watch: Watches) -> None:
        self._faults = faults
        self._commcare = commcare
        self._watch = watch
        self.sent: Counter[str] = Counter()

    async def __call__(self, method: str, url: str, content: Mapping[str, Any]) -> httpx.Response:
        """Answer one request."""
        await asyncio.sleep(0)
        given = {name: value for name, value in content.items() if value is not None}
        request = httpx.Request(method, url, **given)
        kind = kind_of(method, request.url.raw_path.decode(), request.content)
        if kind != "write":
            return await self._read(request, kind)
        rows, batch = content["json"], request.headers["User-Agent"].partition("batch=")[2]
        fault = self._faults.at("write", " ".join(row.get("external_id") or row["case_id"] for row in rows))
        if fault != "crash":
            self._watch.sending(rows, batch)
        fault = await self._faults.strike(fault)
        answer = self._written(request, fault)
        await asyncio.sleep(0)
        self._faults.live()
        return answer

    async def _read(self, request: httpx.Request, kind: str) -> httpx.Response:
        fault = await self._faults.strike(self._faults.at("read", kind))
        if fault == "down":
            self._faults.down.add(kind)
        if fault == "503" or kind in self._faults.down:
            return httpx.Response(503)
        if fault == "429":
            return httpx.Response(429, headers={"Retry-After": "0.37"})
        if fault == "lost":
            raise httpx.ReadTimeout("No answer.")
        return self._commcare(request)

    def _written(self, request: httpx.Request, fault: str) -> httpx.Response:
        """Apply a write as its fault says, and answer as it says."""
        if fault in ("429", "429 long"):
            return httpx.Response(429, headers={"Retry-After": "0.37" if fault == "429" else "600"})
        if fault == "refused":
            raise httpx.ConnectError("Refused.")
        effect, _, reply = fault.partition(", ")
        answer = httpx.Response(500)
        if effect.startswith("late"):
            self._late(request, float(effect.split()[1]))
        elif effect != "none":
            answer = self._commcare(request)
        self._watch.sent()
        return self._replied(answer, reply)

    def _late(self, request: httpx.Request, seconds: float) -> None:
        self._commcare.late_write(seconds)
        try:
            self._commcare(request)
        except httpx.ReadTimeout:
            return

    def _replied(self, answer: httpx.Response, reply: str) -> httpx.Response:
        if reply == "crash":
            self._faults.die()
        if reply == "timeout":
            raise httpx.ReadTimeout("No answer.")
        if reply == "cut off":
            return httpx.Response(200, content=answer.content[:-9])
        return httpx.Response(int(reply)) if reply else answer
