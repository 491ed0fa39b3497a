"""Two systems on ports and workers that are processes of their own, as on several machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adaptors.commcare.fake import FakeCommCare
from adaptors.commcare.fake_project import FakeProject
from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from adaptors.serve import LocalServer
from state import Store
from tests.flows.worlds import API_KEY, DOMAIN, OWNER, PROJECT, TOKEN, USERNAME, mappings_folder

HOUSE = Path(__file__).parent.parent.parent
GRADES = "gradereport_user_get_grade_items"
REST, LEASE = 1.0, 6.0  # seconds: stand for 20 and 10 minutes


class Machines:
    """A school on two ports, with the settings that every machine has; each `start` is a process."""

    def __init__(self, folder: Path, state_url: str, lease: float = LEASE) -> None:
        self.folder, self.lease = folder, lease
        self.site = school()
        self.moodle = FakeMoodle(self.site, token=TOKEN)
        self.project = FakeProject()
        self.project.add_group(OWNER)
        self.commcare = FakeCommCare(
            self.project, domain=DOMAIN, username=USERNAME, api_key=API_KEY, clock=time.time
        )
        self.mappings = mappings_folder(folder, PROJECT)
        self.state_url = state_url
        self.env: dict[str, str] = {}
        self._running: list[subprocess.Popen[str]] = []

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve both systems; whoever is still at work afterwards is ended."""
        with LocalServer(self.moodle) as moodle, LocalServer(self.commcare) as commcare:
            self.site.url = moodle.url
            self.env = {
                "MOODLE_URL": moodle.url, "MOODLE_TOKEN": TOKEN,
                "COMMCARE_URL": commcare.url, "COMMCARE_DOMAIN": DOMAIN,
                "COMMCARE_USERNAME": USERNAME, "COMMCARE_API_KEY": API_KEY,
                "STATE_URL": self.state_url, "STATE_KEY_FILE": str(self.folder / "state.key"),
                "MAPPINGS_DIR": str(self.mappings),
                "IN_DOUBT_REST_S": str(REST), "LEASE_TTL_S": str(self.lease),
            }  # fmt: skip
            try:
                yield
            finally:
                for process in self._running:
                    process.kill()
                    process.communicate()

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command in a process of its own."""
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "flows", *words, "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HOUSE, env=os.environ | self.env,
        )  # fmt: skip
        self._running.append(process)
        return process

    def ended(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """Wait for a command and return the object that it printed."""
        out, err = process.communicate(timeout=120)
        self._running.remove(process)
        assert out, err
        found: dict[str, Any] = json.loads(out)
        return found

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill a worker as nothing else does."""
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        self._running.remove(process)

    def store(self) -> Store:
        """Open the books, to look at them."""
        return Store.open(self.state_url, key=(self.folder / "state.key").read_bytes())


def wait_until(happens: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for something that other processes do."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.05)


def school() -> FakeSite:
    """Make eight courses of up to sixteen people, with a grade each."""
    site = FakeSite()
    people = [site.add_user(f"First{n}", f"Last{n}", city="Bondo") for n in range(40)]
    for number in range(8):
        course = site.add_course(f"C{number}", f"Course {number}")
        item = site.set_grade_item(course, "Quiz")
        for person in people[number * 3 : number * 3 + 9 + number]:
            site.enrol(course, person)
            site.grade(item, person, 50 + number)
    return site
