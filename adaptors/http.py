"""One HTTP client for both systems: no redirects, capped bodies, errors that hold no secrets, reads retried."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
import stamina

from adaptors.circuit import RetryBudget
from adaptors.errors import AccessDenied, Maintenance, NoAnswer, NotSent, Retriable, Unexpected
from adaptors.pace import Clock

BODY_CAP = 64 * 1024 * 1024
RETRY_AFTER_CAP = 15 * 60.0

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


class Http:
    """Requests to one system at `base_url`; `operation` names a request in errors, never its content."""

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
    ) -> None:
        self.system = system
        self.base_url = base_url.rstrip("/")
        self._clock = clock
        self._setting = setting
        self._client = httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(timeout, connect=15.0),
            headers=dict(headers or {}),
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=8),
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
    ) -> Answer:
        """Send one request and read the whole answer.

        Raises NotSent when it never left, NoAnswer when it left and nothing usable came back, Unexpected for
        an answer over 64 MB, AccessDenied for a redirect (the address in the settings is not the real one).
        """
        started = self._clock.monotonic()
        try:
            async with self._client.stream(
                method, self.base_url + path, data=data, json=json, params=params, headers=headers
            ) as response:
                body = await self._read(operation, response)
                answer = Answer(response.status_code, response.headers, body, self._clock.monotonic() - started)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol):
            raise NotSent(
                f"{self.system} cannot be reached at {self.base_url}.",
                system=self.system,
                operation=operation,
                remedy=f"Check the address in {self._setting} and the network." if self._setting else "",
            ) from None
        except httpx.HTTPError as error:
            raise NoAnswer(
                f"{self.system} did not answer {operation} ({type(error).__name__}).",
                system=self.system,
                operation=operation,
            ) from None
        if 300 <= answer.status < 400 and answer.status != 304:
            raise AccessDenied(
                f"{self.system} sends {self.base_url} on to another address.",
                system=self.system,
                operation=operation,
                status=answer.status,
                remedy=f"Put the final address, usually with https://, into {self._setting or 'the settings'}.",
            )
        return answer

    async def _read(self, operation: str, response: httpx.Response) -> bytes:
        """Read the body, refusing one that would not fit into memory (counted after decompression)."""
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


def _tell_retry(details: stamina.instrumentation.RetryDetails) -> None:
    """Write a retry to the log: which system and operation, never what was asked."""
    log.warning("%s Trying again in %.0f s.", details.caused_by, details.wait_for)


stamina.instrumentation.set_on_retry_hooks([_tell_retry])


async def retried(read: Callable[[], Awaitable[T]], *, attempts: int = 5, budget: RetryBudget | None = None) -> T:
    """Run a read until it succeeds: full-jitter back-off from 1 to 60 s, Retry-After as the floor.

    Only Retriable errors are tried again, and Maintenance is not: it is for the next run. Each repeat is taken
    out of the `budget`, so that an outage does not multiply the requests; when it is used up the error stands.
    """

    tries = 0

    def wait(error: Exception) -> bool | float:
        nonlocal tries
        tries += 1
        if not isinstance(error, Retriable) or isinstance(error, Maintenance):
            return False
        if budget is not None and tries < attempts and not budget.take():
            log.warning("%s Not tried again: too many requests were repeated already.", error.message)
            return False
        return True if error.retry_after is None else max(error.retry_after, min(60.0, 2.0 ** (tries - 1)))

    async for attempt in stamina.retry_context(
        on=wait, attempts=attempts, timeout=600.0, wait_initial=1.0, wait_max=60.0, wait_jitter=1.0
    ):
        with attempt:
            return await read()
    raise AssertionError("stamina gives up by raising")  # pragma: no cover


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
