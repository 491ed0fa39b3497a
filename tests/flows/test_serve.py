"""`serve` without Prefect: what stands in its way, its processes, and how it ends, whatever happens."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows import serve as serve_module
from flows.children import Child, Children, fresh_log
from flows.clock import SystemClock
from flows.errors import UsageError
from flows.prefect_home import DATABASE, alone, check_database, known_versions, prefect_env
from flows.serve import Plan, Serving, answers, check_ports, free_port, is_free
from flows.settings import load_settings
from state import StateError
from tests.flows.terminal import Terminal

ENV = {
    "MOODLE_URL": "http://127.0.0.1:9",
    "MOODLE_TOKEN": "canary0moodle0token0canary0token",
    "COMMCARE_DOMAIN": "training",
    "COMMCARE_USERNAME": "sync@example.org",
    "COMMCARE_API_KEY": "canary-api-key-0815",
}
TOKEN = "canary0webhook0token"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)
GENTLE = "import time; print('up', flush=True); time.sleep(60)"


def plan(folder: Path, webhook_token: str = "", **values: Any) -> Plan:
    """Return a plan to serve in a folder, on free ports; webhooks are taken in with a token."""
    posted = {"WEBHOOK_TOKEN": webhook_token} if webhook_token else {}
    settings = load_settings({**ENV, **posted, "STATE_URL": f"sqlite:///{folder / 'state.db'}"}, None)
    given = {
        "settings": settings,
        "env": {**os.environ, **ENV},
        "settings_file": "",
        "home": folder / "prefect",
        "host": "127.0.0.1",
        "port": free_port("127.0.0.1"),
        "receiver_port": free_port("127.0.0.1"),
    }
    return Plan(**{**given, **values})


# --- what stands in the way ---------------------------------------------------------------------------------


@pytest.fixture
def taken() -> Iterator[int]:
    """Give a port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("option", ["port", "receiver_port"])
def test_a_taken_port_is_named_with_a_free_one(tmp_path: Path, taken: int, option: str) -> None:
    """The option and a port that can be had are in the sentence."""
    with pytest.raises(UsageError) as refused:
        check_ports(plan(tmp_path, TOKEN, **{option: taken}))
    told = str(refused.value)
    assert told.startswith(f"Port {taken} of 127.0.0.1 is taken by another program.")
    name, number = told.rsplit(" ", 2)[1:]
    assert f"--{option.replace('_', '-')}" == name
    assert is_free("127.0.0.1", int(number))


def test_the_port_of_no_receiver_may_be_taken(tmp_path: Path, taken: int) -> None:
    """Without webhooks nobody listens there, so it is in nobody's way."""
    check_ports(plan(tmp_path, receiver_port=taken))


def test_an_address_of_another_computer() -> None:
    """It is told as such, not as a taken port."""
    for host in ("192.0.2.1", "no-such-host.example.org"):
        with pytest.raises(UsageError, match=f"'{host}' is no address of this computer"):
            is_free(host, 4200)


def test_two_on_one_folder(tmp_path: Path) -> None:
    """The second is told who is there, and the lock is free again when the first has ended."""
    lock = tmp_path / "serve.lock"
    words = rf"at work on var/prefect \(process {os.getpid()}\)"
    with alone(lock, "var/prefect"), pytest.raises(UsageError, match=words), alone(lock, "var/prefect"):
        pass
    with alone(lock, "var/prefect"):
        assert f"process {os.getpid()}" == lock.read_text()


@pytest.mark.parametrize("other", ["prefect/serve.lock", "state.db.serve.lock"])
def test_neither_folder_nor_books_are_shared(tmp_path: Path, other: str) -> None:
    """Another `serve` on the same books is refused even when Prefect's folder is another one."""
    with alone(tmp_path / other, "x"), pytest.raises(UsageError, match="Another serve is at work on"):
        Serving(plan(tmp_path), SystemClock(), print).run()


def database(folder: Path, version: str) -> Path:
    """Make a Prefect database of a version, without its other tables."""
    folder.mkdir(exist_ok=True)
    with closing(sqlite3.connect(folder / "prefect.db")) as made:
        made.execute("CREATE TABLE alembic_version (version_num TEXT)")
        made.execute("INSERT INTO alembic_version VALUES (?)", (version,))
        made.commit()
    return folder / "prefect.db"


def test_a_database_that_can_be_used(tmp_path: Path) -> None:
    """None yet, one of a version that is known, and one on a server are no reason to stop."""
    check_database(tmp_path / "none", {})
    database(tmp_path, max(known_versions()))
    check_database(tmp_path, {})
    database(tmp_path / "other", "ffffffffffff")
    check_database(tmp_path / "other", {DATABASE: "postgresql+asyncpg://prefect@127.0.0.1/prefect"})


def test_a_database_of_a_newer_prefect(tmp_path: Path) -> None:
    """It is left as it is, and the sentence says what to do."""
    file = database(tmp_path, "ffffffffffff")
    before = file.read_bytes()
    with pytest.raises(StateError, match=f"made by a newer Prefect than this one.*mv {tmp_path} {tmp_path}.old"):
        check_database(tmp_path, {})
    assert before == file.read_bytes()


def test_a_damaged_database(tmp_path: Path) -> None:
    """The sentence says that only the history of runs is in it."""
    (tmp_path / "prefect.db").write_bytes(b"\xff" * 8192)
    with pytest.raises(StateError, match=r"is damaged\. It holds only the history of runs;"):
        check_database(tmp_path, {})


def test_a_locked_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was left behind is named as the reason."""
    file = database(tmp_path, max(known_versions()))
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **given: connect(*args, **{**given, "timeout": 0.01}))
    with closing(connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StateError, match="Another program is at work on"):
            check_database(tmp_path, {})


def test_settings_are_wanted_before_anything_starts(terminal: Terminal) -> None:
    """Without settings the command says which are missing, and makes no folder."""
    for name in [name for name in terminal.env if name.startswith("MOODLE")]:
        del terminal.env[name]
    told = terminal.run("serve")
    assert (2, True) == (told.code, "Missing: MOODLE_URL" in told.text)
    assert not Path("var/prefect").exists()


def test_wrong_mappings_are_told_and_served_all_the_same(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line says that runs will fail; the UI comes up, since that is where somebody looks."""
    served: list[Serving] = []
    monkeypatch.setattr(Serving, "run", lambda self: served.append(self))
    student = terminal.mappings / "student.yaml"
    student.write_text(student.read_text().replace("firstname, transform", "fristname, transform"))
    told = terminal.run("serve", "--port", "0", "--receiver-port", "0")
    assert (0, 1) == (told.code, len(served))
    assert re.search(
        r"The mappings are not right: student\.yaml, line \d+: .*fristname.* Every run fails", told.text
    )


def test_the_receiver_has_its_port(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """RECEIVER_PORT is the setting, the option wins, and there is one once somebody may post."""
    served: list[Serving] = []
    monkeypatch.setattr(Serving, "run", lambda self: served.append(self))
    terminal.env["RECEIVER_PORT"] = "4321"
    for options in ((), ("--receiver-port", "5432")):
        assert 0 == terminal.run("serve", *options).code
    assert [4321, 5432] == [one.plan.receiver_port for one in served]
    terminal.env["WEBHOOK_TOKEN"] = TOKEN
    assert 0 == terminal.run("serve").code
    assert [False, False, True] == [one.plan.has_receiver for one in served]


# --- the environment of Prefect -----------------------------------------------------------------------------


def test_prefect_keeps_to_itself(tmp_path: Path) -> None:
    """No telemetry, no secret of ours, no proxy for this computer; all data in one folder, none kept for ever."""
    outer = {
        **ENV,
        "PREFECT_API_URL": "https://elsewhere.example.org",
        "PREFECT_API_KEY": "x",
        "NO_PROXY": "intra",
    }
    made = prefect_env(outer, tmp_path, "127.0.0.1", 4711)
    assert {
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_API_URL": "http://127.0.0.1:4711/api",
        "PREFECT_SERVER_UI_API_URL": "/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P7D",
        "NO_PROXY": "intra,127.0.0.1,localhost,127.0.0.1",
    }.items() <= made.items()
    assert not made.keys() & {*ENV, "PREFECT_API_KEY"}


def test_prefect_knows_these_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable is one that Prefect reads, with a value that it takes: it says nothing about others."""
    from prefect.settings import Settings as PrefectSettings

    made = prefect_env({}, tmp_path, "127.0.0.1", 4711)
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    found = PrefectSettings()
    server = found.server
    assert (tmp_path, "http://127.0.0.1:4711/api", 4711) == (found.home, found.api.url, server.api.port)
    assert (False, False, False) == (
        server.analytics_enabled,
        server.ephemeral.enabled,
        server.ui.show_promotional_content,
    )
    assert {"events", "flow_runs", "orphans"} == server.services.db_vacuum.enabled_vacuum_types
    assert (30, 7) == (server.services.db_vacuum.retention_period.days, server.events.retention_period.days)
    assert server.concurrency.lease_storage.endswith(".filesystem")


def test_yours_win_over_ours(tmp_path: Path) -> None:
    """Who keeps runs longer, or has a database for Prefect, says so in the environment."""
    own = {"PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "999", DATABASE: "postgresql+asyncpg://x"}
    assert own.items() <= prefect_env(own, tmp_path, "127.0.0.1", 4200).items()


def test_open_to_others(tmp_path: Path) -> None:
    """The pages ask the API where they came from, also through a proxy or a tunnel; we ask this computer."""
    for host, api in (("::", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")):
        made = prefect_env({}, tmp_path, host, 4200)
        assert (f"http://{api}:4200/api", "/api") == (made["PREFECT_API_URL"], made["PREFECT_SERVER_UI_API_URL"])


# --- processes ----------------------------------------------------------------------------------------------


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    """Give processes that end with the test."""
    made = Children(SystemClock(), tmp_path)
    yield made
    for child in made.running:
        child.kill_group()


def started(children: Children, name: str, program: str, patience: float = 10.0) -> Child:
    """Start a Python program and wait until it says that it is up."""
    child = children.start(name, [sys.executable, "-c", program], os.environ, patience)
    until = time.monotonic() + 20
    while "up" not in child.last_words() and child.is_alive and time.monotonic() < until:
        time.sleep(0.01)
    return child


def test_stopped_in_order_and_killed_when_they_will_not(children: Children) -> None:
    """The last started ends first; who ignores the signal is killed after its patience, and that is said."""
    said: list[str] = []
    first = started(children, "server", GENTLE)
    second = started(children, "runs", STUBBORN, patience=0.2)
    children.stop(threading.Event(), said.append)
    assert (-signal.SIGTERM, -signal.SIGKILL) == (first.code, second.code)
    assert ["The process 'runs' did not end in time and was killed."] == said


def test_a_second_signal_kills_at_once(children: Children) -> None:
    """Nobody waits for the patience of a process after Ctrl-C twice."""
    child = started(children, "runs", STUBBORN, patience=60.0)
    hurry = threading.Event()
    hurry.set()
    before = time.monotonic()
    children.stop(hurry, lambda _: None)
    assert -signal.SIGKILL == child.code
    assert time.monotonic() - before < 10


def test_what_a_process_started_ends_with_it(children: Children, tmp_path: Path) -> None:
    """The whole group is killed: a run whose parent died does not go on alone."""
    note = tmp_path / "grandchild"
    program = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        f"open({str(note)!r}, 'w').write(str(p.pid)); print('up', flush=True)"
    )
    child = started(children, "runs", program)
    child.process.wait()
    child.kill_group()
    until = time.monotonic() + 10
    while is_running(int(note.read_text())) and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_running(int(note.read_text()))


def is_running(pid: int) -> bool:
    """Say whether a process is there and no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_large_logs_are_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log begins anew once it has grown large; the one before is kept, and nobody else may read either."""
    monkeypatch.setattr("flows.children.LARGEST_LOG", 10)
    log = fresh_log(tmp_path, "server")
    log.write_text("x" * 11)
    assert "" == fresh_log(tmp_path, "server").read_text()
    assert "x" * 11 == (tmp_path / "server.log.1").read_text()
    assert 0o600 == log.stat().st_mode & 0o777


# --- the whole, with programs in Prefect's place ------------------------------------------------------------


class Stage:
    """A `serve` whose processes are small programs of the test's own."""

    def __init__(self, serving: Serving, said: list[str]) -> None:
        self.serving, self.said = serving, said
        self.programs = {"server": GENTLE, "runs": GENTLE, "receiver": GENTLE}
        self.found = {"sync": "1"}
        self.envs = dict[str, dict[str, str]]()

    def start(self, name: str, command: list[str], env: dict[str, str], patience: float) -> Child:
        """Start the program of a name; the runs tell at once that they are ready."""
        self.envs[name] = env
        if name == "runs":
            Path(command[-1]).write_text(json.dumps(self.found))
        program = [sys.executable, "-c", self.programs[name]]
        return Children.start(self.serving.children, name, program, env, min(patience, 2.0))


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stage]:
    """Give a maker of stages; each `serve` there stops by itself once everything was said."""

    def make(stops: bool = True, **values: Any) -> Stage:
        said: list[str] = []
        serving = Serving(plan(tmp_path, **values), SystemClock(), said.append)
        made = Stage(serving, said)
        monkeypatch.setattr(serving.children, "start", made.start)
        monkeypatch.setattr(serve_module, "answers", lambda _: True)
        if stops:
            monkeypatch.setattr(serving, "_watch", serving.stopped.set)
        return made

    return make


def test_a_line_for_each_address(stage: Callable[..., Stage], tmp_path: Path) -> None:
    """UI, API, receiver, state, logs: one line each; then everything ends and nothing is left."""
    made = stage()
    made.serving.run()
    url = made.serving.plan.url
    labels = [line.split(":")[0] for line in made.said[1:-2]]
    assert ["UI", "Forms", "Artifacts", "API", "Receiver", "State", "Logs"] == labels
    assert f"UI:         {url}" in made.said
    assert f"State:      {tmp_path / 'state.db'}" in made.said
    assert made.said[-1].startswith("Stopping;")
    assert [] == made.serving.children.running
    assert not made.serving.told.exists()


@pytest.mark.parametrize(("host", "is_open", "said"), [("::", True, 1), ("::", False, 0), ("::1", True, 0)])
def test_a_server_that_is_open_to_others(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch, host: str, is_open: bool, said: int
) -> None:
    """It is said, unless a password is asked for or nobody else reaches it."""
    monkeypatch.setattr(serve_module, "check_ports", lambda _: None)
    made = stage(host=host)
    monkeypatch.setattr(serve_module, "answers", lambda url: is_open or url.endswith("/health"))
    made.serving.run()
    assert said == len([line for line in made.said if line.startswith("Prefect asks for no password:")])


def test_one_password_is_enough(stage: Callable[..., Stage]) -> None:
    """The runs say to the server what it was given, not what another server wants; the server has no other one."""
    made = stage(
        env={**ENV, "PREFECT_SERVER_API_AUTH_STRING": "ops:ours", "PREFECT_API_AUTH_STRING": "ops:theirs"}
    )
    made.serving.run()
    assert "ops:ours" == made.envs["runs"]["PREFECT_API_AUTH_STRING"]
    assert "PREFECT_API_AUTH_STRING" not in made.envs["server"]
    assert "ops:ours" == made.envs["server"]["PREFECT_SERVER_API_AUTH_STRING"]


def test_a_line_for_the_nudges(stage: Callable[..., Stage]) -> None:
    """What the process of the runs found out about them is said beside the rest."""
    made = stage()
    made.found["nudges"] = "to NUDGE_MAIL_URL"
    made.serving.run()
    assert "Nudges:     to NUDGE_MAIL_URL" in made.said


@pytest.mark.parametrize("name", ["server", "runs"])
def test_who_dies_takes_all_along(stage: Callable[..., Stage], name: str) -> None:
    """A sentence with the process, its last line and its log, an error for the exit code, and nothing left."""
    made = stage(stops=False)
    made.programs[name] = "import time; time.sleep(0.5); print('out of memory', flush=True); raise SystemExit(3)"
    with pytest.raises(StateError) as died:
        made.serving.run()
    told = str(died.value)
    assert told.startswith(f"The process '{name}' ended by itself (exit code 3), so everything was stopped;")
    assert "Its last line: out of memory" in told
    assert [] == made.serving.children.running


def test_a_server_that_does_not_start(stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is noticed at once, not after the longest wait."""
    made = stage(stops=False)
    monkeypatch.setattr(serve_module, "answers", lambda _: False)
    made.programs["server"] = "raise SystemExit('no such table')"
    with pytest.raises(StateError, match=r"'server' did not start \(exit code 1\).*no such table"):
        made.serving.run()


def test_a_receiver_that_cannot_listen_is_let_go(stage: Callable[..., Stage]) -> None:
    """Webhooks are an extra: when their settings are wrong, all else is served, and that is said."""
    made = stage(stops=False, webhook_token=TOKEN)
    made.programs["receiver"] = "import sys; print('Missing: WEBHOOK_TOKEN.'); sys.exit(2)"
    timer = threading.Timer(30, made.serving.stopped.set)
    timer.start()

    def say(line: str) -> None:
        made.said.append(line)
        if line.startswith("No webhooks"):
            made.serving.stopped.set()

    made.serving.say = say
    made.serving.run()
    timer.cancel()
    assert "No webhooks are taken in: Missing: WEBHOOK_TOKEN." in made.said
    assert any(line.startswith("Receiver:   http://127.0.0.1:") for line in made.said)


def test_answers_of_nobody() -> None:
    """A port without a server is no answer, whatever proxy is set."""
    assert not answers(f"http://127.0.0.1:{free_port('127.0.0.1')}/api/health")
