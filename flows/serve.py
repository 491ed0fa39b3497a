"""`serve`: Prefect's server with its UI, the deployments and the receiver as one group of processes.

This process starts them, watches, and stops them in order; it imports no Prefect. When one of them dies, all end
with a line and an exit code other than 0: whatever started `serve` (systemd, a container) then starts it anew.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from adaptors.pace import Clock
from flows.children import Child, Children
from flows.errors import UsageError
from flows.prefect_home import (
    PASSWORD,
    SERVER_PASSWORD,
    alone,
    check_database,
    in_url,
    prefect_env,
    reach,
)
from flows.settings import SETTINGS_FILE, Settings
from state import StateError
from state.database import file_of

SERVER, RUNS, RECEIVER = "server", "runs", "receiver"
STARTS_WITHIN = 180.0
"""Seconds that Prefect's server may take: at the first start it makes its database, for half a minute."""
RUNS_END_WITHIN = 45.0
"""Seconds that runs under way may take to end in good order; Prefect itself kills them after 30."""
CLOSED_PART = "/api/admin/version"
"""What Prefect tells only those who know its password, once it has one."""
FIRST_RUN, DRAINS = "SERVE_FIRST_RUN", "SERVE_DRAINS"
STEP = 0.2
PROGRAM = Path(__file__).parent.parent
WRONG_USAGE = 2

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to serve, and where. `env` is the environment of the runs, with `settings_file` behind it."""

    settings: Settings
    env: Mapping[str, str]
    settings_file: str
    home: Path
    host: str
    port: int
    receiver_port: int
    first_run: bool = False
    tick: Callable[[], None] = lambda: None

    @property
    def has_receiver(self) -> bool:
        """Whether webhooks are taken in: somebody has a secret to post with."""
        return self.settings.may_be_posted_to

    @property
    def url(self) -> str:
        """Return the address of the UI."""
        return f"http://{in_url(reach(self.host))}:{self.port}"


@dataclass
class Serving:
    """One `serve` at work."""

    plan: Plan
    clock: Clock
    say: Say
    stopped: threading.Event = field(default_factory=threading.Event)
    hurry: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.children = Children(self.clock, self.plan.home / "logs")
        self.told = self.plan.home / "served.json"

    def run(self) -> None:
        """Serve until a signal; raises UsageError or StateError when something is in the way or dies."""
        with ExitStack() as held:
            for lock, what in self._locks():
                held.enter_context(alone(lock, what))
            held.enter_context(self._signals())
            check_ports(self.plan)
            check_database(self.plan.home, self.plan.env)
            try:
                self._start()
                self._watch()
            finally:
                if self.stopped.is_set():
                    self.say("Stopping; runs under way finish what they are at. Ctrl-C again ends at once.")
                self.children.stop(self.hurry, self.say)
                self.told.unlink(missing_ok=True)

    def _locks(self) -> Iterator[tuple[Path, str]]:
        """Yield the locks of what no other `serve` may be at work on: Prefect's folder, and the books."""
        yield self.plan.home / "serve.lock", str(self.plan.home)
        if books := file_of(self.plan.settings.state_url):
            yield books.with_name(f"{books.name}.serve.lock"), str(books)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop at the first Ctrl-C or SIGTERM, and at once at the second."""

        def stop(*_: object) -> None:
            (self.hurry if self.stopped.is_set() else self.stopped).set()

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self) -> None:
        """Start the processes one after the other, each once the one before answers, and say where they are."""
        plan = self.plan
        self.say("Starting Prefect's server; the first time this takes half a minute ...")
        env = prefect_env(plan.env, plan.home, plan.host, plan.port)
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PROGRAM), env.get("PYTHONPATH", "")]))
        program = [
            sys.executable,
            *["-m", "prefect", "server", "start", "--host"],
            plan.host,
            "--port",
            str(plan.port),
        ]
        server = self.children.start(SERVER, program, env, patience=15.0)
        self._wait_for(lambda: answers(f"{env['PREFECT_API_URL']}/health"), server)
        if self.stopped.is_set():
            return
        self.told.unlink(missing_ok=True)
        env = {**plan.env, **env, SETTINGS_FILE: plan.settings_file}
        env |= {FIRST_RUN: "1" if plan.first_run else "", DRAINS: "1" if plan.has_receiver else ""}
        if password := plan.env.get(SERVER_PASSWORD):
            env[PASSWORD] = password  # one setting is enough, and another server's own does not count here
        runs = [sys.executable, "-m", "flows.served", str(self.told)]
        child = self.children.start(RUNS, runs, env, patience=RUNS_END_WITHIN)
        self._wait_for(self.told.exists, child)
        if not self.stopped.is_set():
            self._start_receiver(env)
            self._say_where()

    def _start_receiver(self, env: Mapping[str, str]) -> None:
        """Start the receiver of webhooks where somebody may post."""
        if not self.plan.has_receiver:
            return
        options = ["--host", self.plan.host, "--port", str(self.plan.receiver_port)]
        if self.plan.settings_file:
            options += ["--env-file", self.plan.settings_file]
        self.children.start(RECEIVER, [sys.executable, "-m", "flows", RECEIVER, *options], env, patience=15.0)

    def _wait_for(self, ready: Callable[[], bool], child: Child) -> None:
        """Wait until a process is ready; StateError when it ends before that or takes too long."""
        until = self.clock.monotonic() + STARTS_WITHIN
        while not self.stopped.is_set() and not ready():
            if not child.is_alive:
                raise StateError(self._obituary(child, "did not start"))
            if self.clock.monotonic() > until:
                raise StateError(
                    f"The process '{child.name}' gave no answer for {STARTS_WITHIN:.0f} seconds. See {child.log}."
                )
            self.stopped.wait(STEP)

    def _watch(self) -> None:
        """Look after the processes until a signal; StateError when one of them dies."""
        while not self.stopped.wait(STEP):
            self.plan.tick()
            child = self.children.ended()
            if child is None:
                continue
            if child.name == RECEIVER and child.code == WRONG_USAGE:
                self.say(f"No webhooks are taken in: {child.last_words()}")
                self.children.let_go(child)
                continue
            raise StateError(self._obituary(child, "ended by itself"))

    def _obituary(self, child: Child, what: str) -> str:
        how = f"signal {-child.code}" if child.code and child.code < 0 else f"exit code {child.code}"
        return (
            f"The process '{child.name}' {what} ({how}), so everything was stopped; start it again. "
            f"Its last line: {child.last_words()} All is in {child.log}."
        )

    def _say_where(self) -> None:
        """Say where everything is, a line each."""
        plan, found = self.plan, json.loads(self.told.read_text(encoding="utf-8"))
        if plan.host not in ("127.0.0.1", "::1", "localhost") and answers(f"{plan.url}{CLOSED_PART}"):
            self.say("Prefect asks for no password: whoever reaches this address can start and approve runs.")
        if "first run" in found:
            self.say(f"First run:  {plan.url}/v2/runs/flow-run/{found['first run']}")
        self.say(f"UI:         {plan.url}")
        self.say(f"Forms:      {plan.url}/v2/deployments?limit=25")
        self.say(f"Artifacts:  {plan.url}/v2/artifacts")
        self.say(f"API:        {plan.url}/api")
        where = f"http://{in_url(plan.host)}:{plan.receiver_port}"
        self.say(
            f"Receiver:   {where if plan.has_receiver else 'none; WEBHOOK_TOKEN is not set (docs/webhooks.md)'}"
        )
        if "nudges" in found:
            self.say(f"Nudges:     {found['nudges']}")
        books = file_of(plan.settings.state_url)
        self.say(f"State:      {books.absolute() if books else 'on a database server'}")
        self.say(f"Logs:       {self.children.logs}")
        self.say("Ctrl-C stops it all.")


def check_ports(plan: Plan) -> None:
    """Raise UsageError for a port that another program has."""
    for port, option in _ports(plan):
        if not is_free(plan.host, port):
            others = {plan.port, plan.receiver_port}
            free = next((p for p in range(port + 1, port + 100) if p not in others and is_free(plan.host, p)), 0)
            raise UsageError(
                f"Port {port} of {plan.host} is taken by another program. Stop that, or choose another one: "
                f"{option} {free or '...'}"
            )


def _ports(plan: Plan) -> Iterator[tuple[int, str]]:
    """Yield the ports that are listened on, with the option that gives another one."""
    yield plan.port, "--port"
    if plan.has_receiver:
        yield plan.receiver_port, "--receiver-port"


def is_free(host: str, port: int) -> bool:
    """Say whether we could listen on a port; UsageError for an address that is none of this computer."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise UsageError(f"Port {port} needs the rights of an administrator: choose one from 1024.") from None
        except socket.gaierror:
            raise UsageError(f"'{host}' is no address of this computer.") from None
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise UsageError(f"'{host}' is no address of this computer.") from None
            return False
    return True


def free_port(host: str) -> int:
    """Return a port that is free now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Say whether a server of this computer answers; no proxy is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
