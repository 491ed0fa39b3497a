"""The sandbox: settings for another shell, mappings to play with, a clean end."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.errors import UsageError
from flows.sandbox import CHANGES, copy_shipped, make_sandbox, prepare, serving

ROOT = Path(__file__).parent.parent.parent
COMMAND = (sys.executable, "-m", "flows", "sandbox")
# In a session of its own, the process takes standard input for its terminal, as a shell's foreground job has it.
AT_A_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
ENV = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}


@contextmanager
def running(folder: Path, terminal: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """Start the sandbox as a process of its own, its settings going into the file `settings`."""
    command = COMMAND if terminal is None else (sys.executable, "-c", AT_A_TERMINAL, *COMMAND)
    streams = {"stdin": terminal or subprocess.DEVNULL, "stderr": terminal or subprocess.PIPE}
    with (folder / "settings").open("w") as out:
        process = subprocess.Popen(  # noqa: S603
            command, cwd=folder, env=ENV, text=True, stdout=out, start_new_session=True, **streams
        )
    try:
        until(lambda: "MAPPINGS_DIR" in (folder / "settings").read_text())
        yield process
    finally:
        process.kill()
        process.communicate()


def until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)


def in_another_shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Take the settings from the file, as somebody in another terminal does, and run a command."""
    script = f'eval "$(cat settings)" && "{sys.executable}" -m flows {command}'
    return subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", script], cwd=folder, env=ENV, text=True, capture_output=True, timeout=30, check=False
    )


def test_its_settings_work_in_another_shell(tmp_path: Path) -> None:
    """After eval a sync works; SIGTERM ends the sandbox cleanly."""
    with running(tmp_path) as process:
        names = re.findall(r"^export (\w+)=", (tmp_path / "settings").read_text(), re.MULTILINE)
        assert {"MOODLE_URL", "MOODLE_TOKEN", "COMMCARE_API_KEY", "STATE_URL", "MAPPINGS_DIR"} < set(names)
        assert 0 == in_another_shell(tmp_path, "sync --yes").returncode
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=15)
        assert (0, True) == (process.returncode, err.rstrip().endswith("Ended."))


def test_at_a_terminal_enter_changes_moodle(tmp_path: Path) -> None:
    """Each Enter is one thing that happens; Ctrl-C ends it all."""
    ours, theirs = pty.openpty()
    with running(tmp_path, theirs) as process:
        os.close(theirs)
        shown = seen(ours, "ends it all")
        os.write(ours, b"\n")
        shown += seen(ours, "gets 88 points")
        os.write(ours, b"\x03")
        shown += seen(ours, "Ended.")
        assert (0, True) == (process.wait(timeout=15), "In Moodle: Brian Mwangi gets 88 points" in shown)
    os.close(ours)


def seen(terminal: int, words: str) -> str:
    """Read what a terminal shows until it has shown these words."""
    shown = ""
    while words not in " ".join(shown.split()) and select.select([terminal], [], [], 15)[0]:
        shown += os.read(terminal, 4096).decode(errors="replace")
    return " ".join(shown.split())


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_what_may_happen_can_happen(number: int) -> None:
    """Each change works by itself and makes a difference."""
    box, untouched = make_sandbox(), make_sandbox()
    CHANGES[number][1](box)
    assert box.site != untouched.site


def test_a_second_sandbox_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """It would take the books from under the first; it says which process that is."""
    who = rf"Another sandbox .* \(process {os.getpid()}\)"
    with serving(make_sandbox(), tmp_path), pytest.raises(UsageError, match=who):  # noqa: SIM117
        with serving(make_sandbox(), tmp_path):
            pass


def test_edited_mappings_are_kept_and_books_are_not(tmp_path: Path) -> None:
    """Who played with the mappings finds them again; the made-up CommCare begins empty, and so do the books."""
    mappings = prepare(tmp_path)
    (mappings / "student.yaml").write_text("edited")
    (tmp_path / "state.db").write_text("old")
    prepare(tmp_path, keep=True)
    assert ("edited", False) == ((mappings / "student.yaml").read_text(), (tmp_path / "state.db").exists())
    prepare(tmp_path)
    assert "edited" != (mappings / "student.yaml").read_text()


def test_shipped_mappings_do_not_replace_what_is_there(tmp_path: Path) -> None:
    """Only files that are missing are copied."""
    (tmp_path / "student.yaml").write_text("mine")
    others = ["code_lists.yaml", "course.yaml", "engagement.yaml", "enrolment.yaml", "grade_item.yaml"]
    assert others == [path.name for path in copy_shipped(tmp_path)]
    assert "mine" == (tmp_path / "student.yaml").read_text()
