"""A Prefect server on PostgreSQL and two workers, each a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

HOUSE = Path(__file__).parent.parent.parent
SECONDS = 300.0  # for anything that Prefect does on a busy machine


class OnPrefect:
    """Prefect with two workers of the work pool `default`, one run at a time each."""

    def __init__(self, folder: Path, database_url: str, env: Mapping[str, str]) -> None:
        with socket.socket() as place:
            place.bind(("127.0.0.1", 0))
            port = place.getsockname()[1]
        self._folder = folder
        self.api = f"http://127.0.0.1:{port}/api"
        self._env = {
            "PREFECT_HOME": str(folder), "PREFECT_API_URL": self.api, "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url.replace("postgresql:", "postgresql+asyncpg:"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false", "PREFECT_SERVER_UI_ENABLED": "false",
        }  # fmt: skip
        self._worker_env = dict(env)
        self._running: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Run the server and both workers while the block lasts."""
        try:
            self._start("server", "start", "--host", "127.0.0.1", "--port", self._env["PREFECT_SERVER_API_PORT"])
            _wait(self._is_healthy)
            self._do("work-pool", "create", "--type", "process", "default")
            self._do("--no-prompt", "deploy", "--all")
            for name in ("one", "two"):
                self._start("worker", "start", "--pool", "default", "--name", name, "--limit", "1")
            yield
        finally:
            for process in reversed(self._running):
                process.send_signal(signal.SIGINT)
            for process in reversed(self._running):
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def run(self, deployment: str, **parameters: Any) -> str:
        """Start a run and return its id."""
        found = self._ask("GET", f"/deployments/name/{deployment}/{deployment}")
        made = self._ask("POST", f"/deployments/{found['id']}/create_flow_run", json={"parameters": parameters})
        return str(made["id"])

    def ended(self, run_id: str) -> tuple[str, str]:
        """Wait for a run; return the name of its state and the message."""
        _wait(lambda: self._state(run_id)["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"))
        state = self._state(run_id)
        return state["name"], state["message"] or ""

    def runs_of(self, flow: str) -> list[str]:
        """Return the ids of the runs of a flow, the newest first."""
        wanted = {"flows": {"name": {"any_": [flow]}}, "sort": "EXPECTED_START_TIME_DESC"}
        return [run["id"] for run in self._ask("POST", "/flow_runs/filter", json=wanted)]

    def _state(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("GET", f"/flow_runs/{run_id}")["state"]
        return found

    def _ask(self, method: str, path: str, **values: Any) -> Any:
        answer = httpx.request(method, self.api + path, timeout=60, **values)
        answer.raise_for_status()
        return answer.json()

    def _is_healthy(self) -> bool:
        try:
            return httpx.get(f"{self.api}/health", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def _start(self, *words: str) -> None:
        said = (self._folder / f"{words[0]}-{len(self._running)}.log").open("wb")
        with said:
            self._running.append(
                subprocess.Popen(  # noqa: S603 - ourselves
                    [sys.executable, "-m", "prefect", *words], stdout=said, stderr=said, cwd=HOUSE, env=self._all()
                )
            )

    def _do(self, *words: str) -> None:
        ran = subprocess.run(  # noqa: S603 - ourselves
            [sys.executable, "-m", "prefect", *words],
            cwd=HOUSE, env=self._all(), capture_output=True, text=True, check=False, timeout=SECONDS,
        )  # fmt: skip
        assert not ran.returncode, ran.stdout + ran.stderr

    def _all(self) -> dict[str, str]:
        return os.environ | self._env | self._worker_env


def _wait(happens: Any) -> None:
    end = time.monotonic() + SECONDS
    while not happens():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.25)
