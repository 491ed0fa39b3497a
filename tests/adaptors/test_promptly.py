"""Writes go out promptly once their time is noted, or not at all: what rests is measured by that time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx
import pytest

from adaptors.commcare.client import CommCareClient
from adaptors.commcare.connection import Account, Connection
from adaptors.errors import AdaptorError, InDoubt, NotSent
from adaptors.http import LONGEST, PROMPTLY, UPLOAD, network
from adaptors.serve import LocalServer
from tests.adaptors.commcare_world import row
from tests.clocks import VirtualClock
from tests.virtual_loop import run_virtually


class Asleep(httpx.AsyncBaseTransport):
    """The network of a machine that sleeps when a request is at hand, and goes on when it is awake again."""

    def __init__(self, clock: VirtualClock, seconds: float) -> None:
        self._network, self._clock, self._seconds = network(), clock, seconds

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sleep, then send it."""
        self._clock.advance(self._seconds)
        return await self._network.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._network.aclose()


@pytest.mark.parametrize(("sleep", "arrived"), [(PROMPTLY - 1, 1), (PROMPTLY + 1, 0)])
async def test_nothing_is_sent_after_a_sleep(sleep: float, arrived: int) -> None:
    """A machine that slept before it had sent a byte sends none: it is certain that nothing was done."""
    seen = list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(500)

    with LocalServer(answer) as server:
        clock, account = VirtualClock(), Account(server.url, "demo", "sync@example.org", "k" * 40)
        client = CommCareClient(Connection(account, clock=clock, transport=Asleep(clock, sleep)))
        with pytest.raises(InDoubt if arrived else NotSent):
            await client.write_cases([row()], batch="run-1")
        await client.close()
    assert arrived == len(seen)


class Slow(httpx.AsyncBaseTransport):
    """A line that tells what it does, as the real one: so many seconds for the request, and for the answer."""

    def __init__(self, request: float, answer: float) -> None:
        self._seconds = request, answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Take the request, then answer."""
        events: Sequence[str] = ("send_request_headers.started", "send_request_body.complete")
        for event, seconds in zip(events, self._seconds, strict=True):
            await request.extensions["trace"](f"http11.{event}", {})
            await asyncio.sleep(seconds)
        return httpx.Response(500)


@pytest.mark.parametrize(
    ("request_takes", "answer_takes", "ended"),
    [(UPLOAD - 1, 600.0, UPLOAD + 599), (UPLOAD + 1, 0.0, UPLOAD), (10.0, 10_000.0, LONGEST * 180)],
)
def test_a_request_that_takes_long_to_be_sent_ends(
    request_takes: float, answer_takes: float, ended: float
) -> None:
    """CommCare may take its time to answer; what is still being sent after a minute and a half is in doubt."""
    account = Account("https://commcare.example.org", "demo", "sync@example.org", "k" * 40)
    client = CommCareClient(Connection(account, clock=VirtualClock(), transport=Slow(request_takes, answer_takes)))

    async def seconds() -> tuple[AdaptorError, float]:
        with pytest.raises(InDoubt) as error:
            await client.write_cases([row()], batch="run-1")
        await client.close()
        return error.value, asyncio.get_running_loop().time()

    assert ended == run_virtually(seconds())[1]
