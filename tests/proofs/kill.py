"""Kills real syncs with SIGKILL, again and again, against a CommCare on a port that writes late and loses answers.

Everybody has a name that stands nowhere else: none of it may be in what the processes leave behind.

`tests.proofs.kills` goes as far as one wants.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from adaptors.commcare.fake_project import FakeProject
from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from adaptors.serve import LocalServer
from flows.catalogue import field_catalogue
from flows.clock import SystemClock
from mappings.engine import Project, load_project
from tests.canaries import found_in, found_in_files
from tests.flows.expected import PARKING, Expected
from tests.flows.worlds import API_KEY, DOMAIN, OWNER, PROJECT, TOKEN, USERNAME, mappings_folder
from tests.postgres import content
from tests.proofs.figures import Figures
from tests.proofs.kill_server import LATE, SOON, HarshCommCare

HOUSE = Path(__file__).parent.parent.parent
REST = LATE + 2.5  # stands for Q: longer than the longest write, with room for a slow machine
LEASE = 0.2  # a killed process holds it for that long
COURSES, PEOPLE = 3, 40
GUARDS = "guards: {run_cases: 100000, leavers_people: 100000}\n"


@dataclass
class Found:
    """What a soak did and found."""

    name: str
    kills: int = 0
    runs: int = 0
    entities: int = 0
    duplicates: int = 0
    lost: int = 0
    wrong: int = 0
    writes_on_unchanged: int = 0
    seconds: float = 0.0
    in_doubt: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    """What CommCare did, by kind."""

    def add(self, other: Found) -> None:
        """Add what a further soak did and found."""
        for counter in ("kills", "runs", "entities", "duplicates", "lost", "wrong", "writes_on_unchanged"):
            setattr(self, counter, getattr(self, counter) + getattr(other, counter))
        self.seconds += other.seconds
        self.in_doubt += other.in_doubt
        self.fired += other.fired

    def write(self) -> Figures:
        """Write it down where the table of guarantees takes it from."""
        notes: dict[str, int | str] = {"runs": self.runs, "cases": self.entities, "rows in doubt": self.in_doubt}
        figures = Figures(
            self.name, self.kills, sum(self.fired.values()), self.duplicates, self.lost, self.wrong,
            self.writes_on_unchanged, round(self.seconds, 1), notes | dict(self.fired),
        )  # fmt: skip
        figures.write()
        return figures


class School:
    """A site that changes while nobody runs, and a project space; looks like a Lab to who works out the truth."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.clock = folder, SystemClock()
        self.chance = random.Random(seed)
        self.site = FakeSite()
        self.courses = [self.site.add_course(f"C{number}", f"Course {number}") for number in range(COURSES)]
        self.items = {course: self.site.set_grade_item(course, "Quiz") for course in self.courses}
        self.people: list[int] = []
        for _ in range(PEOPLE):
            self.join()
        self.moodle = FakeMoodle(self.site, token=TOKEN)
        self.project = FakeProject(keep_forms=False)
        for group in (OWNER, PARKING):
            self.project.add_group(group)
        self.commcare = HarshCommCare(
            self.project, domain=DOMAIN, username=USERNAME, api_key=API_KEY, clock=time.time, seed=seed
        )
        self.mappings = mappings_folder(folder, PROJECT + GUARDS)
        self._flips: list[tuple[int, str]] = []

    def loaded(self) -> Project:
        """Return the mappings."""
        return self._loaded

    @cached_property
    def _loaded(self) -> Project:
        return load_project(self.mappings, field_catalogue())

    def join(self) -> None:
        """Let somebody new come, into two courses."""
        number = len(self.people)
        person = self.site.add_user(f"QanaryFirst{number}", f"QanaryLast{number}", city="QanaryBondo")
        self.people.append(person)
        for course in self.chance.sample(self.courses, 2):
            self.site.enrol(course, person)

    def change(self) -> None:
        """Change a tenth of the people, take back a third of the last changes, and let a few new ones come."""
        for person, city in self._flips:
            if self.chance.random() < 0.3:
                self.site.update_user(person, city=city)
        self._flips = []
        for person in self.chance.sample(self.people, max(3, len(self.people) // 10)):
            self._flips.append((person, self.site.users[person].city))
            self.site.update_user(person, city=f"QanaryTown {self.chance.randrange(99)}")
            course = self.chance.choice(self.courses)
            if person in self.site.members[course]:
                self.site.grade(self.items[course], person, self.chance.choice((20, 55, 80)))
        for _ in range(3):
            self.join()


class Worker:
    """The process that makes processes; they are killed by their own number."""

    def __init__(self, *broken: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "tests.proofs.kill_worker", *broken],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HOUSE,
        )  # fmt: skip
        self._said: Queue[str] = Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.running = 0
        if self._said.get(timeout=60) != "ready":
            self.close()
            raise AssertionError("the worker does not start")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line.strip())
        self._said.put("gone")

    def start(self, env: Mapping[str, str], output: Path) -> None:
        """Start a sync."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"env": dict(env), "output": str(output)}) + "\n")
        self._process.stdin.flush()
        self.running = int(self._said.get(timeout=60))

    def ended(self, seconds: float) -> int | None:
        """Wait so long for the sync to end; return its exit code, -9 when it was killed, None when it goes on."""
        try:
            code = int(self._said.get(timeout=seconds))
        except Empty:
            return None
        self.running = 0
        return code

    def kill(self) -> int:
        """Kill the sync as nothing else does, and return how it ended."""
        os.kill(
            self.running, signal.SIGKILL
        )  # it is not waited for before `ended`, so the number is still its own
        code = self.ended(60)
        assert code is not None
        return code

    def close(self) -> None:
        """End the worker, and what it runs; nothing happens the second time."""
        if self._process.returncode is not None:
            return
        if self.running:
            self.kill()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


class Soak:
    """One soak: a school, both systems on ports, a worker."""

    def __init__(self, folder: Path, worker: Worker, env: Mapping[str, str], *, seed: int, name: str) -> None:
        self.school = School(folder, seed)
        self.chance = random.Random(seed)
        self.figures = Found(name)
        self._worker = worker
        self._env = env
        self._output = folder / "run"

    def go(self, kills: int, *, until_double: bool = False) -> Found:
        """Kill so many syncs while the site changes, then let all go well and compare."""
        started = time.monotonic()
        commcare, figures = self.school.commcare, self.figures
        while figures.kills < kills:
            self.school.change()
            self._killed_run()
            if until_double and commcare.doubles():
                break
        commcare.harsh = False
        if not until_double:
            self._come_to_rest()
            self._compare()
        assert {} == found_in_files(self._output.parent), "values of people, or a key, are in files"
        self._search_books()
        assert "QanaryFirst" in repr(self.school.project.cases)
        figures.duplicates = commcare.doubles()
        figures.entities = len(self.school.project.cases)
        figures.fired = commcare.fired
        figures.seconds = time.monotonic() - started
        return figures

    def _search_books(self) -> None:
        """Search books on a server, which are in no file of ours."""
        if (url := self._env["STATE_URL"]).startswith("postgresql"):
            held = content(url)
            assert b"test-user-" in held, "the books are empty"
            assert [] == found_in(held), "values of people, or a key, are in the books"

    def _killed_run(self) -> None:
        """Start a sync and kill it: soon after its start, or while writes are under way."""
        before = self.school.commcare.writes
        wanted, soon = self.chance.randint(1, 4), self.chance.random() < 0.2
        limit = time.monotonic() + (self.chance.uniform(0.0, 0.3) if soon else 20.0)
        self.figures.runs += 1
        self._worker.start(self._env, self._output)
        code = None
        while code is None and time.monotonic() < limit and self.school.commcare.writes < before + wanted:
            code = self._worker.ended(0.01)
        if code is None and not soon:
            code = self._worker.ended(self.chance.uniform(0.0, SOON))
        if code is None:
            code = self._worker.kill()
        self._note(code)

    def _note(self, code: int) -> dict[str, Any]:
        """Count how a run ended; one that was not killed has not failed, and complains of lost answers at most."""
        if code == -signal.SIGKILL:
            self.figures.kills += 1
            return {}
        result: dict[str, Any] = json.loads(self._output.with_suffix(".json").read_text())
        self.figures.in_doubt += sum(counts["in_doubt"] for counts in result.get("cases", {}).values())
        unanswered = all(message.startswith("CommCare did not answer ") for message in result["messages"])
        assert result["state"] in ("completed", "postponed", *(["degraded"] if unanswered else [])), result
        return result

    def _come_to_rest(self) -> None:
        """Let what is in doubt rest, then run until two runs in a row write nothing."""
        silent, doubts = 0, -1
        for _ in range(12):
            if doubts != self.figures.in_doubt:
                time.sleep(REST)
            doubts = self.figures.in_doubt
            self._worker.start(self._env, self._output)
            code = self._worker.ended(120)
            assert code is not None
            result = self._note(code)
            self.figures.runs += 1
            wrote = result["requests"]["commcare"].get("write", 0)
            self.figures.writes_on_unchanged += wrote if silent else 0
            rests = result["state"] == "completed" and doubts == self.figures.in_doubt
            silent = silent + 1 if rests and not wrote else 0
            if silent == 2:
                return
        raise AssertionError("the runs do not come to rest")

    def _compare(self) -> None:
        """Count the cases that are missing or other than the mappings make them."""
        expected: Any = Expected(self.school)  # type: ignore[arg-type]
        known = {case.external_id: case for case in self.school.project.cases.values()}
        self.figures.lost = len(expected.drafts.keys() - known.keys())
        differing = {key: fault for key, case in known.items() if (fault := expected.differs(key or "", case))}
        self.figures.wrong = len(differing)


@contextmanager
def soak(
    *,
    seed: int = 1,
    name: str = "kill-sqlite",
    state_url: str = "",
    rest: float = REST,
    broken: tuple[str, ...] = (),
) -> Iterator[Soak]:
    """Serve a school on two ports of 127.0.0.1, with a worker; `rest` and `broken` weaken the engine."""
    with tempfile.TemporaryDirectory(prefix="kill-") as place:
        folder, worker = Path(place), Worker(*broken)
        env = dict[str, str]()
        made = Soak(folder, worker, env, seed=seed, name=name)
        school = made.school
        try:
            with LocalServer(school.moodle) as moodle, LocalServer(school.commcare) as commcare:
                school.site.url = moodle.url
                env |= {
                    "MOODLE_URL": moodle.url, "MOODLE_TOKEN": TOKEN,
                    "COMMCARE_URL": commcare.url, "COMMCARE_DOMAIN": DOMAIN,
                    "COMMCARE_USERNAME": USERNAME, "COMMCARE_API_KEY": API_KEY,
                    "STATE_URL": state_url or f"sqlite:///{folder / 'state.db'}",
                    "STATE_KEY_FILE": str(folder / "state.key"), "MAPPINGS_DIR": str(school.mappings),
                    "IN_DOUBT_REST_S": str(rest), "LEASE_TTL_S": str(LEASE),
                }  # fmt: skip
                try:
                    yield made
                finally:
                    worker.close()  # before the ports are
        finally:
            worker.close()
