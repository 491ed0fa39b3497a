"""One HTTP client for both systems: no redirects, capped bodies, errors that hold no secrets, reads retried."""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import httpx
import stamina

from adaptors.circuit import Repeats
from adaptors.errors import AccessDenied, Maintenance, NoAnswer, NotSent, Retriable, Unexpected
from adaptors.pace import Clock

BODY_CAP = 64 * 1024 * 1024
CONNECTIONS = 8
LONGEST = 4.0  # times its timeout that a request may take in all: the timeout itself is begun anew by each byte
SLOWEST = 4096  # bytes a second of a file, which may be so large that it takes longer
ENCODINGS = ("", "identity", "gzip", "deflate")  # one of them at a time: twice packed, a little becomes too much
RETRY_AFTER_CAP = 15 * 60.0
PROMPTLY = 60.0  # seconds after which a request whose time was noted is not begun any more: the machine has slept
UPLOAD = 90.0  # seconds for it to be on its way


class TooLate(httpx.TransportError):
    """A request was not begun, since too much time had gone by since it was its turn."""


NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, TooLate)

T = TypeVar("T")
Transport = httpx.AsyncBaseTransport  # what a test may put in place of the network
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read whole: status, headers (any case), body bytes, seconds it took."""

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)
    seconds: float = 0.0


@dataclass(frozen=True)
class Streamed:
    """An HTTP answer whose body is still to come; it was asked for unpacked. `seconds` is until its head."""

    status: int
    headers: httpx.Headers
    seconds: float
    chunks: AsyncIterator[bytes] = field(repr=False)


class _Unlogged:
    """Keeps httpx from logging addresses: those of files hold what people called them."""

    def __init__(self) -> None:
        self._log = logging.getLogger("httpx")
        self._count = 0

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Log nothing while at least one such request is being sent."""
        self._count += 1
        self._log.disabled = True
        try:
            yield
        finally:
            self._count -= 1
            self._log.disabled = self._count > 0


_UNLOGGED = _Unlogged()


def tls(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return how connections are made safe: always verified, TLS 1.2 or later.

    Trusts the usual authorities, or only those in a PEM file; raises OSError for a file that is none.
    """
    context = ssl.create_default_context(cafile=ca_file) if ca_file else httpx.create_ssl_context(trust_env=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def network(ca_file: Path | None = None) -> Transport:
    """Return the way to the network, without proxies or anything else of the environment."""
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    safe = tls(ca_file) if ca_file else _usual()
    return httpx.AsyncHTTPTransport(verify=safe, trust_env=False, limits=limits)


@cache
def _usual() -> ssl.SSLContext:
    """Return `tls()` with the usual authorities, read once a process: that takes longer than an answer."""
    return tls()


class Http:
    """Requests to one system at `base_url`; `operation` names a request in errors, never its content.

    `timeout` seconds may pass without a byte, and four times as many until the whole answer is there.
    `setting` is the name of the setting with the address, `when_moved` what else to do once it is another one.
    """

    def __init__(
        self,
        system: str,
        base_url: str,
        *,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 120.0,
        headers: Mapping[str, str] | None = None,
        setting: str = "",
        when_moved: str = "",
    ) -> None:
        self.system = system
        self.base_url = base_url.rstrip("/")
        self._clock = clock
        self._setting = setting
        self._when_moved = when_moved
        self._longest = LONGEST * timeout
        self._client = httpx.AsyncClient(
            transport=transport or network(),
            timeout=httpx.Timeout(timeout, connect=15.0),
            headers={"Accept-Encoding": "gzip, deflate", **(headers or {})},
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        data: Mapping[str, str] | None = None,
        json: Any = None,
        params: Any = None,
        headers: Mapping[str, str] | None = None,
        turn: float | None = None,
    ) -> Answer:
        """Send one request and read the whole answer; with a `turn` within a minute of it, or not at all.

        That is when the request was about to be announced, by the clock that never jumps: whatever keeps it back
        from then on, it must not reach the other system when nobody expects it any more.

        Raises NotSent when it never left, NoAnswer when it left and nothing usable came back, Unexpected for
        an answer over 64 MB, AccessDenied for a redirect (the address in the settings is not the real one).
        """
        started = self._clock.monotonic()
        content: dict[str, Any] = {"data": data, "json": json, "params": params, "headers": headers}
        try:
            async with (
                asyncio.timeout(self._longest) as limit,
                self._client.stream(
                    method,
                    self.base_url + path,
                    extensions=None if turn is None else {"trace": self._on_its_way(limit, turn)},
                    **content,
                ) as response,
            ):
                body = await self._read(operation, response)
                answer = Answer(response.status_code, response.headers, body, self._clock.monotonic() - started)
        except (httpx.HTTPError, TimeoutError) as error:
            failure = self._failure(operation, error)
        else:
            return self._arrived(operation, answer)
        raise failure  # only here: what httpx says holds the request, and a context would keep it

    def _on_its_way(
        self, limit: asyncio.Timeout, turn: float
    ) -> Callable[[str, Mapping[str, Any]], Awaitable[None]]:
        """Return who is told what becomes of a request: it is begun within a minute and soon on its way, or ended.

        Its time was noted, and how long it may be under way is measured by that: after a sleep of the machine, or
        minutes in which it is sent, the other system would begin when nobody expects it any more.
        """
        latest = limit.when()

        async def told(event: str, _: Mapping[str, Any]) -> None:
            if event.endswith("send_request_headers.started"):
                if self._clock.monotonic() - turn > PROMPTLY:  # also of a machine that was asleep
                    raise TooLate("It was not begun.")
                limit.reschedule(asyncio.get_running_loop().time() + UPLOAD)
            elif event.endswith("send_request_body.complete"):
                limit.reschedule(latest)

        return told

    @asynccontextmanager
    async def stream(
        self, operation: str, path: str, *, data: Mapping[str, str], headers: Mapping[str, str]
    ) -> AsyncIterator[Streamed]:
        """Post a form and hand out the answer before its body is read; errors are those of `send`."""
        started, failure = self._clock.monotonic(), None
        latest = asyncio.get_running_loop().time() + self._longest
        wanted = {"Accept-Encoding": "identity", **headers}
        request = self._client.build_request("POST", self.base_url + path, data=data, headers=wanted)
        try:
            with _UNLOGGED.sending():
                async with asyncio.timeout_at(latest):
                    response = await self._client.send(request, stream=True)
        except (httpx.HTTPError, TimeoutError) as error:
            failure = self._failure(operation, error)
        if failure is not None:
            raise failure
        try:
            seconds = self._clock.monotonic() - started
            self._arrived(operation, Answer(response.status_code, response.headers, b"", seconds))
            chunks = self._chunks(operation, response, latest)
            yield Streamed(response.status_code, response.headers, seconds, chunks)
        finally:
            await response.aclose()

    async def _chunks(self, operation: str, response: httpx.Response, latest: float) -> AsyncIterator[bytes]:
        """Yield a body as it comes, with more time the more has come; what httpx says of a broken one is not kept.

        `latest` is when an empty body has to be there, in seconds of the event loop.
        """
        self._refuse_packed(operation, response)
        body, failure = response.aiter_bytes(), None
        while True:
            try:
                async with asyncio.timeout_at(latest):
                    chunk = await anext(body)
            except StopAsyncIteration:
                return
            except (httpx.HTTPError, TimeoutError) as error:
                failure = self._failure(operation, error)
            if failure is not None:
                raise failure
            latest += len(chunk) / SLOWEST
            yield chunk

    def _failure(self, operation: str, error: httpx.HTTPError | TimeoutError) -> Retriable:
        """Return what a request without an answer means."""
        about: dict[str, Any] = {"system": self.system, "operation": operation}
        if isinstance(error, TimeoutError):
            message = f"{self.system}, or the line to it, is too slow to be waited for ({operation})."
            return NoAnswer(message, **about)
        if not isinstance(error, NEVER_LEFT):
            return NoAnswer(f"{self.system} did not answer {operation} ({type(error).__name__}).", **about)
        if isinstance(error, TooLate):
            message = f"{operation.capitalize()} took too long to begin, so nothing was sent to {self.system}."
            return NotSent(message, **about)
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            message = f"The certificate of {self.base_url} is not one that this computer trusts."
            name = self._setting.removesuffix("_URL")
            remedy = f"Have it renewed, or name the file of the authority behind it in {name}_CA_FILE."
        else:
            message = f"{self.system} cannot be reached at {self.base_url}."
            remedy = f"Check the address in {self._setting} and the network."
        return NotSent(message, remedy=remedy if self._setting else "", **about)

    def _arrived(self, operation: str, answer: Answer) -> Answer:
        """Return the answer, unless it leads elsewhere."""
        if 300 <= answer.status < 400 and answer.status != 304:
            raise AccessDenied(
                f"{self.system} sends {self.base_url} on to another address.",
                system=self.system,
                operation=operation,
                status=answer.status,
                remedy=f"Put the final address, usually with https://, into {self._setting or 'the settings'}. "
                f"{self._when_moved}".rstrip(),
            )
        return answer

    async def _read(self, operation: str, response: httpx.Response) -> bytes:
        """Read the body, refusing one that would not fit into memory (counted after decompression)."""
        self._refuse_packed(operation, response)
        chunks, size = [], 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > BODY_CAP:
                raise Unexpected(
                    f"{self.system}'s answer to {operation} is larger than {BODY_CAP // 2**20} MB.",
                    system=self.system,
                    operation=operation,
                    status=response.status_code,
                )
            chunks.append(chunk)
        return b"".join(chunks)

    def _refuse_packed(self, operation: str, response: httpx.Response) -> None:
        """Refuse what is packed otherwise than asked for, before a byte of it is unpacked."""
        if response.headers.get("Content-Encoding", "").strip().lower() not in ENCODINGS:
            raise Unexpected(
                f"{self.system}'s answer to {operation} is packed in a way that was not asked for.",
                system=self.system,
                operation=operation,
                status=response.status_code,
            )


def _tell_retry(details: stamina.instrumentation.RetryDetails) -> None:
    """Write a retry to the log: which system and operation, never what was asked."""
    log.warning("%s Trying again in %.0f s.", details.caused_by, details.wait_for)


stamina.instrumentation.set_on_retry_hooks([_tell_retry])


async def retried(read: Callable[[], Awaitable[T]], *, attempts: int = 5, budget: Repeats | None = None) -> T:
    """Run a read until it succeeds: full-jitter back-off from 1 to 60 s, Retry-After as the floor up to that.

    Only Retriable errors are tried again, and Maintenance is not: it is for the next run. Each repeat is taken
    out of the `budget`, so that an outage does not multiply the requests; when it is used up the error stands.
    A 429 that says how long to wait is none: the budget counts those seconds.
    """

    tries = 0

    def wait(error: Exception) -> bool | float:
        nonlocal tries
        tries += 1
        if not isinstance(error, Retriable) or isinstance(error, Maintenance):
            return False
        asked = None if error.retry_after is None else max(error.retry_after, 2.0 ** (tries - 1))
        if budget is not None and tries < attempts and not _take(budget, error.status, asked):
            log.warning("%s Not tried again: too many requests were repeated already.", error.message)
            return False
        # Beyond a minute it is the pace that waits, as long as the system said, and whoever attends is told.
        return True if asked is None else min(60.0, asked)

    async for attempt in stamina.retry_context(
        on=wait, attempts=attempts, timeout=600.0, wait_initial=1.0, wait_max=60.0, wait_jitter=1.0
    ):
        with attempt:
            return await read()
    raise AssertionError("stamina gives up by raising")  # pragma: no cover


def _take(budget: Repeats, status: int | None, asked: float | None) -> bool:
    """Take a repeat out of a budget, or the seconds of a wait that the system `asked` for; False: none is left."""
    return budget.wait(asked) if status == 429 and asked is not None else budget.take()


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Read a Retry-After header: seconds (also decimal, rounded up) or an HTTP date; None when there is none.

    `now` is the wall clock in epoch seconds. Nonsense counts as absent; the answer is capped at 15 minutes.
    """
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        seconds = math.ceil(float(text))
    except (ValueError, OverflowError):
        try:
            seconds = math.ceil(parsedate_to_datetime(text).timestamp() - now)
        except (TypeError, ValueError, OverflowError):
            return None
    return min(max(float(seconds), 0.0), RETRY_AFTER_CAP)
