"""A real run of `serve` is stopped while CommCare has a write and has not answered: cancelled, SIGTERM, SIGKILL.

CommCare has taken the write in each time and has yet to say so. What is left must be found by the next run.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from adaptors.commcare.fake import FakeCommCare
from adaptors.commcare.fake_writes import Change
from tests.flows.machines import LEASE, REST, Machines
from tests.flows.served_whole import HOUSE, Served, group_of, is_running, process_of, until, whole
from tests.flows.worlds import API_KEY, DOMAIN, USERNAME

pytestmark = pytest.mark.e2e

SLOW = 10.0  # seconds that CommCare takes to answer a write, longer than anything here waits for it


class SlowWrites(FakeCommCare):
    """Takes in a write at once and answers `slow` seconds later; counts the writes."""

    slow = 0.0
    writes = 0

    def _commit(
        self, request: httpx.Request, changes: list[Change], rows: Sequence[Any], *, bulk: bool
    ) -> httpx.Response:
        response = super()._commit(request, changes, rows, bulk=bulk)
        self.writes += 1
        response.extensions["delay"] = self.slow
        return response


@dataclass
class Lab:
    """A school, CommCare, and a `serve` that is up."""

    machines: Machines
    commcare: SlowWrites
    served: Served

    def intents(self) -> int:
        """Return how many writes the books have announced and not settled."""
        with closing(sqlite3.connect(f"file:{self.machines.folder / 'state.db'}?mode=ro", uri=True)) as books:
            return int(books.execute("SELECT count(*) FROM intent").fetchone()[0])

    def cities(self) -> Counter[str]:
        """Return how many students' cases say that they live where."""
        cases = self.machines.project.cases.values()
        return Counter(case.properties.get("city", "") for case in cases if case.case_type == "student")

    def students(self) -> int:
        """Return how many students' cases there are."""
        return self.cities().total()

    def student_cases(self) -> dict[str, str]:
        """Return the ids of students' cases by their keys."""
        cases = self.machines.project.cases.values()
        return {str(case.external_id): case.case_id for case in cases if case.case_type == "student"}

    def doubles(self) -> list[str]:
        """Return external ids that more than one case has."""
        keys = Counter(str(case.external_id) for case in self.machines.project.cases.values())
        return [key for key, count in keys.items() if count > 1]

    def stop_in_the_middle(self, town: str, stop: Callable[[Served, str], None]) -> tuple[str, str]:
        """Let everybody move and somebody come, and stop the run that tells CommCare; returns how it ended."""
        run = self.begin(town)
        announced = self.intents()
        assert self.students() == announced
        stop(self.served, run)
        ended = self.served.end_of(run)
        self.commcare.slow = 0.0
        return ended

    def begin(self, town: str) -> str:
        """Let everybody move and somebody come; returns the run that tells CommCare, once a write is there."""
        site = self.machines.site
        for person in list(site.users):
            site.update_user(person, city=town)
        new = site.add_user(f"New{town}", "Comer", city=town)
        site.enrol(max(site.members), new)
        before, self.commcare.slow = self.commcare.writes, SLOW
        run = self.served.start("sync/sync", full=True)
        until(lambda: self.commcare.writes > before)
        return run

    def next_run(self) -> tuple[str, str]:
        """Run once more and return how that ended."""
        return self.served.end_of(self.served.start("sync/sync", full=True))


@contextmanager
def school(folder: Path) -> Iterator[tuple[Machines, SlowWrites]]:
    """Give a school that is in CommCare by a first run."""
    machines = Machines(folder, f"sqlite:///{folder / 'state.db'}")
    machines.commcare = commcare = SlowWrites(
        machines.project, domain=DOMAIN, username=USERNAME, api_key=API_KEY, clock=time.time
    )
    with machines.serving():
        assert "completed" == machines.ended(machines.start("sync", "--yes"))["state"]
        yield machines, commcare


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give a school and a `serve` of it."""
    folder = tmp_path_factory.mktemp("served")
    with school(folder) as (machines, commcare), whole(folder, env=machines.env) as served:
        yield Lab(machines, commcare, served)


def send(number: int) -> Callable[[Served, str], None]:
    """Return what sends a signal to the process of a run."""
    return lambda _, run: os.kill(process_of(run), number)


def cancel(served: Served, run: str) -> None:
    """Cancel a run as its page does."""
    served.cancel(run)


@pytest.mark.parametrize(
    ("how", "stop", "state", "is_known"),
    [
        ("cancel", cancel, "Cancelled", True),
        ("SIGTERM", send(signal.SIGTERM), "Crashed", True),
        ("SIGKILL", send(signal.SIGKILL), "Crashed", False),
    ],
)
def test_stopped_while_commcare_writes(
    lab: Lab, how: str, stop: Callable[[Served, str], None], state: str, is_known: bool
) -> None:
    """The write under way is finished where that can be; nothing is lost or doubled, and the next run ends it."""
    before = lab.students()
    assert state == lab.stop_in_the_middle(how, stop)[0]
    now, cases = before + 1, lab.student_cases()
    assert {how: now} == lab.cities()
    assert (0 if is_known else now) == lab.intents()
    if not is_known:
        time.sleep(LEASE + REST)
    written = "unchanged" if is_known else "updated"
    enrolments = "enrolment: 1 created,"
    name, message = lab.next_run()
    assert ("Completed", True, True) == (name, f"student: {now} {written}." in message, enrolments in message)
    assert (0, {how: now}, []) == (lab.intents(), lab.cities(), lab.doubles())
    assert cases == lab.student_cases()
    assert 0 == message_counts(lab.next_run()[1])


def test_power_cut_while_commcare_writes(tmp_path: Path) -> None:
    """All processes end at once; the next `serve` calls the run crashed, and its first run ends what was begun.

    It is what the guide says of it, in its numbers.
    """
    with school(tmp_path) as (machines, commcare):
        with whole(tmp_path, env=machines.env) as served:
            before = (lab := Lab(machines, commcare, served)).students()
            run = lab.begin("power cut")
            now, announced, cases = before + 1, lab.intents(), lab.student_cases()
            assert (now, {"power cut": now}) == (announced, lab.cities())
            processes = [served.process.pid, *group_of(served.process.pid)]
            for pid in processes:
                os.kill(pid, signal.SIGKILL)
            served.process.wait()
            until(lambda: not any(map(is_running, processes)))
            left = lab.intents()
        commcare.slow = 0.0
        time.sleep(LEASE + REST)
        writes = commcare.writes
        with whole(tmp_path, env=machines.env) as served:
            lab = Lab(machines, commcare, served)
            name, message = served.end_of(run)
            assert ("Crashed", True) == (name, message.startswith("The program was stopped in the middle"))
            # The start alone settles nothing and writes nothing.
            assert (left, writes, {"power cut": now}) == (lab.intents(), commcare.writes, lab.cities())
            name, message = lab.next_run()
            told = f"student: {now} updated." in message, "enrolment: 1 created," in message
            assert ("Completed", True, True) == (name, *told), message
            assert (0, {"power cut": now}, [], cases) == (
                *(lab.intents(), lab.cities(), lab.doubles()),
                lab.student_cases(),
            )
            name, message = lab.next_run()
            assert ("Completed", 0, 0) == (name, message_counts(message), lab.intents())
        assert [announced, left, len(lab.doubles())] == numbers_in_guide("SIGKILL to everything")


def numbers_in_guide(stopped_by: str) -> list[int]:
    """Return what the guide says of how a run was stopped: announced before and after, cases with two of a key."""
    guide = (HOUSE / "docs" / "operations.md").read_text()
    (row,) = re.findall(rf"(?m)^\| {stopped_by}[^|]*\|(.*)\|$", guide)
    return [int(cell) for cell in row.split("|") if cell.strip().isdigit()]


def message_counts(message: str) -> int:
    """Return how many records a run says that it wrote."""
    return sum(map(int, re.findall(r"(\d+) (?:created|updated|closed)", message)))
