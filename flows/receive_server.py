"""The receiver as a process: listens on one port, lets posts under way finish when it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn

from flows.clock import SystemClock
from flows.open import open_store
from flows.receive import Receiver, require_secrets
from flows.receive_inbox import Intake
from flows.receive_tally import Tally
from flows.settings import Settings

CONNECTIONS = 256
"""Connections at the same time, answered or not; the next one gets a 503."""
GRACE_S = 10


class _Server(uvicorn.Server):
    """A server whose signals are ours to handle: the usual one ends the process by the signal, as if it failed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def serve(settings: Settings, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Listen until SIGTERM or Ctrl-C; `ready` is told the address once posts are taken.

    Raises SettingsError without any secret, StateError for books that cannot be opened, OSError for a taken port.
    """
    require_secrets(settings)
    with socket.create_server((host, port), family=_family(host)) as listening:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each answer waits 40 ms
        asyncio.run(_serve(settings, host, listening, ready))


async def _serve(settings: Settings, host: str, listening: socket.socket, ready: Callable[[str], None]) -> None:
    clock = SystemClock()
    intake = Intake(lambda: open_store(settings), clock)
    server = _Server(config(Receiver(settings, intake, Tally(clock)).app()))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, server.handle_exit, number, None)
    name = f"[{host}]" if ":" in host else host
    ready(f"http://{name}:{listening.getsockname()[1]}")
    await server.serve([listening])


def config(app: Callable[..., object]) -> uvicorn.Config:
    """Return how the server runs: quiet, bounded, and nothing of a proxy's headers believed."""
    return uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        log_level="warning",
        http="h11",
        ws="none",
        server_header=False,
        date_header=False,
        access_log=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE_S,
    )


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
