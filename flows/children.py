"""The processes of `serve`: each in a group of its own with a log file, stopped gently in order, then killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from adaptors.pace import Clock
from state.folders import make_folder

LARGEST_LOG = 10_000_000
"""Bytes of a log file from which a start puts it aside, over the one before."""
DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux' prctl
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
STEP = 0.1


@dataclass
class Child:
    """One process and what belongs to it; `patience` is how many seconds it may take to end."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    patience: float

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    @property
    def code(self) -> int | None:
        """Return its exit code, None while it runs; below 0 the number of a signal."""
        return self.process.poll()

    def signal(self, number: int) -> None:
        """Send a signal to the process itself."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def kill_group(self) -> None:
        """Kill what is left of the process and of all that it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def last_words(self) -> str:
        """Return the last line of its log that says something."""
        lines = log_tail(self.log).splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "nothing at all")


@dataclass
class Children:
    """All processes of one `serve`, in the order of their start; they are stopped the other way round."""

    clock: Clock
    logs: Path
    running: list[Child] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], patience: float) -> Child:
        """Start a process that no terminal reaches, with its output in a log file of its own."""
        log = fresh_log(self.logs, name)
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - our own programs
                [*command],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        child = Child(name, process, log, patience)
        self.running.append(child)
        return child

    def ended(self) -> Child | None:
        """Return the first process that has ended, None while all run."""
        return next((child for child in self.running if not child.is_alive), None)

    def let_go(self, child: Child) -> None:
        """Go on without a process that has ended."""
        child.kill_group()
        self.running.remove(child)

    def stop(self, hurry: threading.Event, say: Callable[[str], None]) -> None:
        """Stop one after the other, the last started first; `hurry` cuts every wait short."""
        for child in reversed(self.running):
            child.signal(signal.SIGTERM)
            if not self._wait(child, hurry):
                say(f"The process '{child.name}' did not end in time and was killed.")
            child.kill_group()
        self.running.clear()

    def _wait(self, child: Child, hurry: threading.Event) -> bool:
        """Wait for the end of a process; False when it took too long."""
        until = self.clock.monotonic() + child.patience
        while child.is_alive and self.clock.monotonic() < until:
            if hurry.wait(STEP):
                break
        return not child.is_alive


def fresh_log(folder: Path, name: str) -> Path:
    """Return the log file of a process, empty when the one there has grown large."""
    make_folder(folder)
    log = folder / f"{name}.log"
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
    log.touch(mode=0o600)
    return log


def log_tail(log: Path, size: int = 20_000) -> str:
    """Return the last part of a log file."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - size))
        return file.read().decode("utf-8", "replace")


def _die_with_parent() -> None:
    """Ask Linux to end this process when its parent is killed: nothing is left behind then either."""
    LIBC.prctl(  # type: ignore[union-attr]  # only called where it is there
        DIES_WITH_PARENT, signal.SIGTERM
    )
