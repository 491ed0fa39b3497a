"""A real receiver on a port, five thousand posts, a kill in the middle: what was answered 202 is in the inbox."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from bench.posting import post_all
from flows.drain import drain
from flows.result import RunState
from state import Store
from tests.flows.test_drain import class_of
from tests.flows.worlds import Lab
from tests.postgres import both_books as state_url  # noqa: F401 - a fixture: on both kinds of books

ROOT = Path(__file__).parent.parent.parent
TOKEN = "sharedsecret-of-the-burst"
POSTS, ON_A_SERVER, AT_ONCE = 5_000, 2_000, 150


class Posts:
    """What is posted, and which of it was answered 202."""

    def __init__(self, courses: list[int], count: int) -> None:
        self.bodies = [_grade(number, courses[number % len(courses)]) for number in range(count)]
        self.taken: set[int] = set()

    async def post(self, port: int) -> None:
        """Post what is not taken yet, many at once, until all is or the receiver is gone."""
        left = [number for number in range(len(self.bodies)) if number not in self.taken]

        def answered(place: int, status: int) -> None:
            if status == 202:
                self.taken.add(left[place])

        await post_all(port, "/moodle", [self.bodies[number] for number in left], answered, AT_ONCE)


def _grade(number: int, course: int) -> bytes:
    """Return the grade of somebody, as Moodle tells it."""
    event = {
        "eventname": "\\core\\event\\user_graded",
        "objectid": str(number),
        "contextid": 18,
        "userid": "2",
        "courseid": str(course),
        "relateduserid": str(number % 30 + 3),
        "timecreated": 1_795_300_000,
        "token": TOKEN,
    }
    return json.dumps(event).encode()


@contextmanager
def receiver(folder: Path, lab: Lab) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the command on a free port, with the lab's books; gives the process and the port."""
    (folder / "key").write_text(bytes(32).hex())
    (folder / "key").chmod(0o600)
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "MOODLE_URL": lab.site.url,
        "MOODLE_TOKEN": "canary",
        "COMMCARE_URL": "https://commcare.example.org",
        "COMMCARE_DOMAIN": "training",
        "COMMCARE_USERNAME": "sync@example.org",
        "COMMCARE_API_KEY": "canary",
        "STATE_URL": lab.state_url,
        "STATE_KEY_FILE": str(folder / "key"),
        "WEBHOOK_TOKEN": TOKEN,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "receiver", "--port", "0"], cwd=folder, env=env, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"Listening on http://127\.0\.0\.1:(\d+)", line)
        assert found, line
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()


def in_the_inbox(lab: Lab) -> int:
    """Return how many hints wait, as another process sees it."""
    with Store.open(lab.state_url, key=bytes(32)) as store:
        return sum(store.inbox_state(0).waiting.values())


@pytest.mark.e2e
async def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path, state_url: str) -> None:  # noqa: F811
    """The killed receiver's posts are there, the next one takes the rest, and one drain makes few runs of all."""
    site, courses, _ = class_of(3, 2, 2)
    lab = Lab(tmp_path, site, state_url=state_url)
    assert RunState.COMPLETED == (await lab.sync()).state
    count = ON_A_SERVER if state_url else POSTS
    posts = Posts(courses, count)
    with receiver(tmp_path, lab) as (process, port):
        killer = asyncio.create_task(_kill_at(process, posts, count // 3))
        await posts.post(port)
        await killer
    first = len(posts.taken)
    assert 0 < first < count, "killed in the middle"
    assert first <= in_the_inbox(lab) <= first + AT_ONCE, "some may be on disk and not answered"
    with receiver(tmp_path, lab) as (process, port):
        await posts.post(port)
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(timeout=10)
    assert count == len(posts.taken) == in_the_inbox(lab)
    lab.clock.advance(3600)
    found = await drain(lab.world())
    assert (RunState.COMPLETED, 1, set(courses), 0) == (found.state, len(found.runs), found.courses, found.left)
    lab.close()


async def _kill_at(process: subprocess.Popen[str], posts: Posts, count: int) -> None:
    """Kill the receiver, without a word, once so many posts were answered."""
    while len(posts.taken) < count:
        await asyncio.sleep(0.005)
    process.kill()


async def test_it_stops_after_what_is_under_way(tmp_path: Path) -> None:
    """SIGTERM ends it with 0; its last words are its own, without a traceback."""
    site, _, _ = class_of(1)
    lab = Lab(tmp_path, site)
    with receiver(tmp_path, lab) as (process, port):
        assert 200 == httpx.get(f"http://127.0.0.1:{port}/healthz").status_code
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=10)
    assert (0, True, False) == (process.returncode, said.rstrip().endswith("in the inbox."), "Traceback" in said)
    lab.close()
