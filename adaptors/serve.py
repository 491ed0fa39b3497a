"""Serves a fake on a real local port, so that the demo and end-to-end tests use the same client as a real site."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any

import httpx
import uvicorn

Handler = Callable[[httpx.Request], httpx.Response]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class LocalServer:
    """Answers on 127.0.0.1 with a callable from request to response; a context manager.

    Port 0 takes a free one. Requests are handled one after the other; a response with the extension `delay` waits
    that many seconds without holding others up. A handler that raises an httpx error closes the connection.
    """

    def __init__(self, handler: Handler, port: int = 0) -> None:
        self._handler = handler
        self._socket = socket.create_server(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each answer waits 40 ms
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            lifespan="off",
            log_level="warning",
            http="h11",
            ws="none",
            server_header=False,
            date_header=False,
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    @property
    def url(self) -> str:
        """Return the address, without a slash at the end."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def start(self) -> LocalServer:
        """Start answering; returns once requests are accepted."""
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        if not self._server.started:
            raise RuntimeError(f"the server at {self.url} did not start")
        return self

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(timeout=10)
        self._socket.close()

    def __enter__(self) -> LocalServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _app(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Speak ASGI: build the request, ask the handler, pass its answer on unchanged."""
        if scope["type"] != "http":
            return
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        try:
            response = self._handler(self._request(scope, bytes(body)))
        except httpx.TransportError:
            await _hang_up(receive, send)
            return
        await asyncio.sleep(response.extensions.get("delay", 0.0))
        headers = [(name.lower(), value) for name, value in response.headers.raw]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": response.content})

    def _request(self, scope: Mapping[str, Any], body: bytes) -> httpx.Request:
        query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
        path = scope["raw_path"].decode()
        return httpx.Request(scope["method"], f"{self.url}{path}{query}", headers=scope["headers"], content=body)


async def _hang_up(receive: Receive, send: Send) -> None:
    """Close the connection without an answer, as a server does that dies in the middle of a request."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:  # not uvicorn's own: an answer that breaks off is the next best thing
        await send({"type": "http.response.start", "status": 502, "headers": [(b"content-length", b"1")]})
        return
    transport.abort()
    await receive()  # returns when the connection is gone, so that nothing is logged about a missing answer
