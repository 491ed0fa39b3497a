"""SIGTERM in the middle of marking, feedback and matching: the write under way is finished and booked.

The flows run without a Prefect server, with Prefect's own handler in its place; the signal comes from the system
that is asked, once it has taken the request in and before it answers.
"""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.logging import disable_run_logger
from prefect.utilities import engine

from adaptors.moodle.assignment_marks import SAVE
from adaptors.moodle.sizes import BatchSize
from flows import assignments_feedback as feedback_module
from flows.assignments_folder import Folder
from flows.assignments_manifest import MANIFEST
from flows.clock import SystemClock
from flows.deployed_assignments import assignments_download, assignments_feedback
from flows.deployed_feedback import feedback_back
from flows.deployed_match import _match, match
from flows.open import open_store
from flows.settings import load_settings
from flows.steps.gate import MATCHED
from flows.unbroken import unbroken
from state import FeedbackRow, Store
from state.facts import READS
from tests.flows.terminal import Terminal
from tests.flows.test_cli_feedback import declare, told, writes

SOON = 0.3
"""Seconds that the answer takes after the signal: were the request broken off, it would be long before that."""
Wanted = Callable[[httpx.Request], bool]


class Stopping:
    """Sends SIGTERM to the process, once, when a request comes in; the answer to it comes later."""

    def __init__(self, terminal: Terminal, system: str, wanted: Wanted) -> None:
        self._answers, self._system = terminal.ports.answer, system
        self._answer = self._answers[system]
        self._wanted = wanted
        self.signals = 0
        self.after = list[httpx.Request]()
        """What was asked after the signal."""
        self._answers[system] = self

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer; the first wanted request is taken in, then the signal is sent, then it is answered."""
        if self.signals:
            self.after.append(request)
        response = self._answer(request)
        if not self.signals and self._wanted(request):
            self.signals += 1
            stop()
            response.extensions["delay"] = SOON
        return response

    def let_go(self) -> None:
        """Answer as before."""
        self._answers[self._system] = self._answer


def stop() -> None:
    """Send SIGTERM to the main thread, where Python's handlers are called."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


@pytest.fixture
def school(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Give a terminal whose settings are those of this process, with Prefect's handler of SIGTERM in place."""
    for name, value in terminal.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(feedback_module, "save_size", lambda: BatchSize(2, ceiling=2, floor=2))
    before = signal.signal(signal.SIGTERM, engine._prefect_sigterm_handler)
    with disable_run_logger():
        yield terminal
    signal.signal(signal.SIGTERM, before)


async def stopped(flow: Coroutine[Any, Any, Any]) -> None:
    """Run a flow, which must end cancelled: then Prefect calls it Cancelled or Crashed."""
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.ensure_future(flow), 30)


def saves(request: httpx.Request) -> bool:
    """Say whether Moodle is asked to save marks."""
    return SAVE.encode() in request.content


def saved_people(terminal: Terminal) -> Counter[int]:
    """Return how often marks were saved for whom."""
    calls = [call for call in terminal.box.moodle.calls if call[0] == SAVE]
    return Counter(int(one["userid"]) for call in calls for one in call[1]["grades"])


def home_visits(terminal: Terminal) -> tuple[int, int]:
    """Return a course and the cmid of an assignment there."""
    course = terminal.box.courses["CHW-101"]
    found = terminal.box.site.activities.by_course[course].values()
    return course, next(one.cmid for one in found if one.name == "Home visits")


# --- marking ------------------------------------------------------------------------------------------------


async def test_feedback_for_an_assignment(school: Terminal, tmp_path: Path) -> None:
    """Two of five people are saved and read back when it ends; the next run finds them and saves the rest."""
    course, cmid = home_visits(school)
    people = school.box.learners[:5]
    listed = tmp_path / "feedback.json"
    listed.write_text(json.dumps([{"extId": one, "text": f"Well done {one}"} for one in people]))
    given = {"course": str(course), "assignment": f"cmid:{cmid}", "file": str(listed)}
    moodle = Stopping(school, "moodle", saves)
    await stopped(assignments_feedback.fn(**given))
    assert 1 == moodle.signals
    assert [True, True, False, False, False] == [
        told(school.box, cmid, one) == f"<p>Well done {one}</p>" for one in people
    ]
    assert moodle.after, "what was saved was not read back"
    moodle.let_go()
    state = await assignments_feedback.fn(**given)
    assert ("Completed", True) == (state.name, "3 stored, 2 there already" in (state.message or "")), state.message
    assert dict.fromkeys(people, 1) == saved_people(school)


async def test_download_of_submissions(school: Terminal, tmp_path: Path) -> None:
    """Files that are there stay and are in the list; the next run fetches the others, each file once and whole."""
    course, cmid = home_visits(school)
    target = tmp_path / "work"
    given = {"course": str(course), "assignment": f"cmid:{cmid}", "target": str(target)}
    fetched = list[str]()

    def third_file(request: httpx.Request) -> bool:
        if "pluginfile" in request.url.path:
            fetched.append(request.url.path)
        return len(fetched) == 3

    moodle = Stopping(school, "moodle", third_file)
    await stopped(assignments_download.fn(**given))
    files = json.loads((target / MANIFEST).read_text())["files"]
    there = {one["file"] for one in files.values() if one["state"] == "downloaded"}
    assert there == {path.name for path in target.glob("*.txt")}
    assert 0 < len(there) < 6
    moodle.let_go()
    state = await assignments_download.fn(**given)
    counted = f"{6 - len(there)} files downloaded (0.0 MB), {len(there)} unchanged, of 6 submissions"
    assert ("Completed", True) == (state.name, counted in (state.message or "")), state.message
    wanted = {f"Report of learner {learner}\n" for learner in school.box.learners[::2]}
    assert wanted == {path.read_text() for path in target.glob("*.txt")}
    assert not (target / ".parts").exists()


async def test_download_while_a_file_is_put_in_its_place(
    school: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that arrived whole is put there and into the list, both; nobody fetches it again."""
    course, cmid = home_visits(school)
    given = {"course": str(course), "assignment": f"cmid:{cmid}", "target": str(tmp_path / "work")}
    put, begun = Folder.put, list[str]()

    async def put_and_stop(folder: Folder, part: Path, name: str) -> None:
        begun.append(name)
        if len(begun) == 1:
            stop()
            await asyncio.sleep(SOON)
        await put(folder, part, name)

    monkeypatch.setattr(Folder, "put", put_and_stop)
    await stopped(assignments_download.fn(**given))
    files = json.loads((tmp_path / "work" / MANIFEST).read_text())["files"]
    (first,) = [one for one in files.values() if one["file"] == begun[0]]
    assert ("downloaded", True, True) == (
        first["state"],
        first["sha1"] != "",
        (tmp_path / "work" / begun[0]).exists(),
    )
    state = await assignments_download.fn(**given)
    assert ("Completed", 1) == (state.name, begun.count(begun[0]))


# --- feedback of coaches ------------------------------------------------------------------------------------


def rows_of(terminal: Terminal) -> dict[int, FeedbackRow]:
    """Return what the books know of texts, by person."""
    with open_store(load_settings(terminal.env, None)) as store:
        return {row.holder.user_id: row for row in store.feedback().values()}


async def test_feedback_of_coaches(school: Terminal) -> None:
    """What was under way is booked as told, the lease is free, and the next run tells the rest, each text once."""
    box = school.box
    cmid = declare(school.mappings, box)
    await asyncio.to_thread(school.run, "sync", "--yes")
    people = box.learners[:5]
    for one in people:
        writes(box, one, f"Confidential {one}")
    moodle = Stopping(school, "moodle", saves)
    await stopped(feedback_back.fn(approve=True))
    held = {one for one in people if told(box, cmid, one)}
    assert (1, 2) == (moodle.signals, len(held))
    rows = rows_of(school)
    assert held == rows.keys()
    assert [(True, "")] * 2 == [(row.told == row.sent != b"", row.reason) for row in rows.values()]
    moodle.let_go()
    state = await feedback_back.fn()
    assert ("Completed", True) == (state.name, "in 5 cases: 3 published." in (state.message or "")), state.message
    assert [f"<p>Confidential {one}</p>" for one in people] == [told(box, cmid, one) for one in people]
    assert dict.fromkeys(people, 1) == saved_people(school)


# --- matching -----------------------------------------------------------------------------------------------

RULES = "match: {by: [{moodle: idnumber, commcare: staff_no}], auto: [key, staff_no]}"


@pytest.fixture
def clinic(school: Terminal) -> Terminal:
    """Give a school in which a clinic made cases of two learners, known by a number that links by itself."""
    school.edit("student.yaml", "source: users", f"source: users\n{RULES}")
    for number, learner in enumerate(school.box.learners[:2]):
        school.box.site.update_user(learner, idnumber=f"S-{number}")
        school.box.project.add_case("student", f"Somebody {number}", properties={"staff_no": f"S-{number}"})
    return school


def facts_of(terminal: Terminal) -> tuple[int, bool, bool, object]:
    """Return what a match left in the books: people linked, whether it counts, is read next, and the lease."""
    settings = load_settings(terminal.env, None)
    with open_store(settings) as store:
        counts = store.get(MATCHED.format(name="student")) is not None
        is_read = store.get(READS.format(name="student")) == "{}"
        lease = store.lease_holder(SystemClock().now(), settings.lease_ttl_s)
        return len(store.matches(decision="linked")), counts, is_read, lease


async def test_match_while_cases_are_listed(clinic: Terminal) -> None:
    """Nothing is written down yet, the lease is free at once, and the next match begins anew."""
    commcare = Stopping(clinic, "commcare", lambda request: "case_type=student" in str(request.url))
    await stopped(match.fn(mappings=[]))
    assert (1, (0, False, False, None)) == (commcare.signals, facts_of(clinic))
    commcare.let_go()
    found = await _match([])
    assert [2] == [one.linked_now for one in found.mappings]
    assert (2, True, True, None) == facts_of(clinic)


async def test_match_while_it_is_written_down(clinic: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that belongs to a mapping is in the books, not a part of it; the next match has nothing to do."""
    link, calls = Store.link, list[int]()

    def link_and_stop(store: Store, links: Any, *more: Any) -> Any:
        calls.append(len(links))
        stop()
        time.sleep(SOON)  # so that the signal is heard before this is done
        return link(store, links, *more)

    monkeypatch.setattr(Store, "link", link_and_stop)
    await stopped(match.fn(mappings=[]))
    assert ([2], (2, True, True, None)) == (calls, facts_of(clinic))
    monkeypatch.setattr(Store, "link", link)
    found = await _match([])
    assert [(0, 2)] == [(one.linked_now, one.classes["linked"]) for one in found.mappings]
    ended = await asyncio.to_thread(clinic.run, "sync", "--yes")
    assert (0, 12) == (ended.code, len(clinic.box.project.of_type("student"))), ended.text


# --- by itself ----------------------------------------------------------------------------------------------


async def test_work_is_ended_before_the_task() -> None:
    """Cancelled once, it waits for the work, whatever becomes of that; cancelled twice it does not."""
    ends, done = asyncio.Event(), list[str]()

    async def work(*, fails: bool) -> None:
        await ends.wait()
        done.append("ended")
        if fails:
            raise ValueError("told to nobody")

    for fails in (False, True):
        ends.clear()
        task = asyncio.ensure_future(unbroken(work(fails=fails)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        ends.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ["ended"] * 2 == done
    ends.clear()
    task = asyncio.ensure_future(unbroken(work(fails=False)))
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ends.set()
    await asyncio.sleep(0)
    assert ["ended"] * 2 == done


async def test_work_that_ends_by_itself() -> None:
    """Its result and its error are handed on."""

    async def work(number: int) -> float:
        return 1 / number

    assert 0.5 == await unbroken(work(2))
    with pytest.raises(ZeroDivisionError):
        await unbroken(work(0))
