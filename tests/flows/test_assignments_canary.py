"""The token and people's values in the work with assignments: only where a person asked for them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from adaptors.errors import AdaptorError
from adaptors.moodle.assignment_marks import SAVE
from adaptors.moodle.assignment_work import Filter
from adaptors.moodle.assignments import SUBMISSIONS
from adaptors.moodle.client import Login, MoodleClient
from adaptors.moodle.fake_answers import FAILURES
from adaptors.moodle.fake_marking import WEB_FILES
from flows.assignments import Desk
from flows.assignments_csv import people_rows, submission_rows
from flows.assignments_download import download
from flows.assignments_download import told as download_told
from flows.assignments_feedback import publish
from flows.assignments_feedback import told as feedback_told
from flows.assignments_list import entries
from flows.errors import UsageError
from flows.masked import Eyes
from flows.show_assignments import handed_json, masked_row, show_download, show_handed, show_people, show_published
from tests.canaries import Witness, found_in
from tests.flows.marking_world import MarkingWorld
from tests.flows.worlds import TOKEN

FILE = "QanaryFile.pdf"


class CanaryWorld(MarkingWorld):
    """A world whose people, files and texts are recognised; `sent` are the requests as they left."""

    def __init__(self) -> None:
        super().__init__(token=TOKEN)
        for number, learner in enumerate(self.learners):
            names = {"firstname": f"QanaryFirst{number}", "lastname": f"QanaryLast{number}"}
            mail = f"qanarymail{number}@example.org"
            self.site.update_user(learner, **names, username=f"qanaryuser{number}", email=mail)
            self.hand_in("Essay", learner, {FILE: b"%PDF QanaryContent"}, text="<p>QanaryText</p>")
        self.sent: list[httpx.Request] = []
        transport = httpx.MockTransport(self._answer)
        client = MoodleClient(self.site.url, Login(TOKEN), clock=self.clock, transport=transport)
        self.desk = Desk(client)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        return self.fake(request)

    async def everything(self, folder: Path) -> list[str]:
        """Do all there is to do and return what is told of it, on the screen and as JSON."""
        eyes = Eyes()
        found = await self.find("Essay")
        people, handed = await self.desk.people(found), await self.desk.submissions(found, Filter(attempts=True))
        rows, work = people_rows(people), submission_rows(handed)
        show_people(rows, eyes, of_assignment=True)
        show_handed(work, eyes)
        done = await download(self.desk, found, str(folder), self.clock)
        show_download(done)
        listed = entries(
            [{"extId": one, "text": "QanaryFeedback", "grade": 71} for one in self.learners]
            + [{"extId": "QanaryFirst0", "text": "x"}, {"extId": 999, "text": "QanaryFeedback"}]
        )
        told = await publish(self.desk, found, listed)
        show_published(told)
        masked = [masked_row(row, eyes) for row in rows]
        shown = [handed_json(one, row, eyes) for one, row in zip(handed, work, strict=True)]
        return [
            *(json.dumps(one) for one in (masked, shown, done.as_json(), told.as_json())),
            *download_told(done),
            *feedback_told(told),
            repr(people),
            repr(handed),
            repr(listed),
            repr(self.desk),
        ]


@pytest.fixture
def witness(caplog: pytest.LogCaptureFixture) -> Iterator[Witness]:
    """Watch a test with every logger as talkative as it can be."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "stamina", "fsspec"):
        caplog.set_level(logging.DEBUG, name)
    with Witness(alone=True) as witness:
        logging.getLogger("flows").debug("watched")
        yield witness


async def test_nothing_is_told(tmp_path: Path, witness: Witness, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither logs nor screens nor JSON hold a value of a person or the token; no address ever has the token."""
    world = CanaryWorld()
    told = await world.everything(tmp_path)
    screen = capsys.readouterr()
    assert [] == found_in("\n".join([*told, screen.out, screen.err]))
    assert [] == witness.hits()
    assert [] == [
        request.url for request in world.sent if TOKEN in str(request.url) or TOKEN in str(request.headers)
    ]
    assert {"POST"} == {request.method for request in world.sent}


async def test_the_list_of_a_folder(tmp_path: Path) -> None:
    """It has the names that people gave their files, and nothing else of them; the token is in no file."""
    world = CanaryWorld()
    await world.everything(tmp_path)
    listed = (tmp_path / "manifest.json").read_text("utf-8")
    assert {FILE.removesuffix(".pdf")} == set(found_in(listed))
    assert [] == [path.name for path in tmp_path.iterdir() if found_in(path.name)]
    assert [] == [path.name for path in tmp_path.iterdir() if TOKEN.encode() in path.read_bytes()]


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("function", [SUBMISSIONS, WEB_FILES, SAVE])
async def test_nothing_is_told_when_something_fails(
    tmp_path: Path, witness: Witness, function: str, kind: str
) -> None:
    """Whatever goes wrong, wherever: logs, errors and their tracebacks hold nothing."""
    world = CanaryWorld()
    world.fake.fail_next(function, kind, times=9)
    told: list[Any] = []
    try:
        told = await world.everything(tmp_path)
    except (AdaptorError, UsageError) as error:
        told = [str(error), repr(error)]
    assert [] == found_in("\n".join(told))
    assert [] == witness.hits()
