"""A private PostgreSQL server for the kills, where its programs are on this machine."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PLACES = "/usr/lib/postgresql"


def programs() -> Path | None:
    """Return the folder of PostgreSQL's own programs, the newest where there are several; None without any."""
    found = sorted(Path(PLACES).glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextmanager
def private_server() -> Iterator[str]:
    """Start a server with nothing in it on a free port of 127.0.0.1, and yield the address of a database."""
    folder = programs()
    assert folder is not None, "there is no PostgreSQL here"
    place = Path(tempfile.mkdtemp(prefix="kill-pg-"))
    who = _unprivileged(place)
    data, port = place / "data", _free_port()

    def run(program: str, *arguments: str) -> None:
        command = [str(folder / program), *arguments]
        subprocess.run(  # noqa: S603 - a program of this machine, arguments of ours
            command,
            check=True,
            cwd=place,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
            **who,
        )

    try:
        run("initdb", "-D", str(data), "-A", "trust", "-U", "books", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {place}"
        run("pg_ctl", "-D", str(data), "-o", options, "-l", str(place / "log"), "-w", "start")
        try:
            yield f"postgresql+psycopg://books@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(place)


def _unprivileged(place: Path) -> dict[str, Any]:
    """Return how to start a program as somebody else when this is root, as whom no server starts."""
    if os.getuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(place, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
