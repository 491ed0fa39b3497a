"""How many posts a second the receiver takes in, beside a handler of the same server that only answers.

Run as `python -m bench.receiver`; both servers have a process of their own and get the same posts in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import tempfile
import time
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvicorn

from bench.posting import post_all
from flows.receive_server import config, serve
from flows.settings import load_settings

TOKEN = "shared-secret-of-the-bench"  # noqa: S105 - of nothing but this bench
DOMAIN = "bench"


def bodies(count: int, start: int) -> list[bytes]:
    """Return so many events, none of which was posted before."""
    event: dict[str, Any] = {"eventname": "\\core\\event\\user_graded", "component": "core", "action": "graded"}
    event |= {"target": "user", "objecttable": "grade_grades", "crud": "u", "edulevel": 1, "contextid": 18}
    event |= {"contextlevel": 50, "contextinstanceid": "2", "userid": "2", "anonymous": 0, "other": None}
    return [
        json.dumps(
            event
            | {"objectid": str(number), "courseid": str(number % 20), "relateduserid": str(number % 300)}
            | {"timecreated": 1_795_300_000, "token": TOKEN}
        ).encode()
        for number in range(start, start + count)
    ]


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """Read the body and answer: what any handler of this server has to do."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"Taken in.\n"})


def _serve_bare(pipe: Connection) -> None:
    settings = config(bare)
    settings.lifespan = "off"
    server = uvicorn.Server(settings)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    pipe.send(listening.getsockname()[1])
    server.run([listening])


def _serve_receiver(pipe: Connection, folder: str, url: str) -> None:
    env = {
        "MOODLE_URL": "https://moodle.example.org",
        "MOODLE_TOKEN": "x",
        "COMMCARE_DOMAIN": DOMAIN,
        "COMMCARE_USERNAME": "sync@example.org",
        "COMMCARE_API_KEY": "x",
        "STATE_URL": url or f"sqlite:///{folder}/state.db",
        "STATE_KEY_FILE": f"{folder}/state.key",
        "WEBHOOK_TOKEN": TOKEN,
    }
    serve(load_settings(env, None), "127.0.0.1", 0, lambda address: pipe.send(int(address.rsplit(":", 1)[1])))


def rate(port: int, posts: list[bytes]) -> tuple[float, Counter[int]]:
    """Post all and return posts a second, and the statuses."""
    statuses, begun = Counter[int](), time.perf_counter()

    def answered(_: int, status: int) -> None:
        statuses[status] += 1

    asyncio.run(post_all(port, "/moodle", posts, answered))
    return len(posts) / (time.perf_counter() - begun), statuses


def _processor_s(pid: int) -> float:
    """Return the seconds that a process has had of a processor (Linux): on a busy machine they say more."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def measure(posts: int, repeat: int, url: str = "") -> dict[str, Any]:
    """Let both servers take the same posts in turns; the best of the repeats counts."""
    context = multiprocessing.get_context("spawn")
    rates: dict[str, list[float]] = {"bare": [], "receiver": []}
    cpu: dict[str, float] = {}
    taken = 0
    with tempfile.TemporaryDirectory() as folder:
        servers = {}
        for name, target, more in (("bare", _serve_bare, ()), ("receiver", _serve_receiver, (folder, url))):
            here, there = multiprocessing.Pipe()
            process = context.Process(target=target, args=(there, *more), daemon=True)
            process.start()
            servers[name] = process, here.recv()
        try:
            for turn in range(repeat):
                for name, (_, port) in servers.items():
                    found, statuses = rate(port, bodies(posts, turn * posts))
                    rates[name].append(found)
                    taken += statuses[202] if name == "receiver" else 0
            cpu = {name: _processor_s(process.pid or 0) / repeat / posts for name, (process, _) in servers.items()}
        finally:
            for process, _ in servers.values():
                process.terminate()
                with suppress(AssertionError):
                    process.join(timeout=10)
    best = {name: max(found) for name, found in rates.items()}
    return {
        "posts": posts,
        "taken": taken,
        "bare_per_s": round(best["bare"]),
        "receiver_per_s": round(best["receiver"]),
        "ratio": round(best["receiver"] / best["bare"], 2),
        "bare_cpu_us": round(cpu["bare"] * 1e6),
        "receiver_cpu_us": round(cpu["receiver"] * 1e6),
    }


def main(words: list[str] | None = None) -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=5_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--state-url", default="", help="books of the receiver; else an SQLite file")
    chosen = parser.parse_args(words)
    print(json.dumps(measure(chosen.posts, chosen.repeat, chosen.state_url)))


if __name__ == "__main__":
    main()
