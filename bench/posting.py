"""Posts many bodies over some kept connections, with next to no work of its own: the server is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

HEAD = (
    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
)


async def post_all(
    port: int,
    path: str,
    bodies: Sequence[bytes],
    answered: Callable[[int, int], None],
    connections: int = 150,
) -> None:
    """Post each body once; `answered` is told its number and the status, 0 when the connection broke off.

    A connection that breaks off is not opened again: what it had not begun is left to the others.
    """
    numbers = iter(range(len(bodies)))

    async def one() -> None:
        number = -1
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        try:
            for number in numbers:
                head = HEAD.format(path=path, length=len(bodies[number])).encode()
                writer.write(head + bodies[number])
                answered(number, await _status(reader))
        except (OSError, asyncio.IncompleteReadError):
            answered(number, 0)
        finally:
            writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one answer and return its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, _, rest = head.partition(b"content-length:")
    await reader.readexactly(int(rest.split(b"\r\n", 1)[0] or 0))
    return int(head.split(b" ", 2)[1])
