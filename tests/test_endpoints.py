"""docs/endpoints.md lists every call that is made, and no other: the fakes are taken through all that there is."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from adaptors.commcare.endpoints import ENDPOINTS, endpoint_of
from adaptors.moodle.fake import BATCH
from adaptors.moodle.fake_marking import plugins
from adaptors.moodle.functions import FUNCTIONS, PAGES
from tests.endpoints import PAGE, called_by, endpoints_page
from tests.flows.terminal import Ports, Terminal, open_ports
from tests.flows.worlds import SHIPPED

ASSIGNMENTS = """
language: 1
source: assignments
case_type: assignment
case_name: assignment.name
external_id: "{site}-assignment-{assignment.id}-{user.id}"
owner: {otherwise: project}
existing_cases: ignore
include:
  - {source: roles, any_of: [student]}
properties:
  handed_in: submission.status
"""


ALIKE = ("find", "fetch")


def set_up(terminal: Terminal) -> None:
    """Switch everything on: all mappings and one of assignments, a category, the sign-in by name."""
    for file in terminal.mappings.glob("*.yaml"):
        file.write_text(file.read_text("utf-8").replace("enabled: false\n", ""), "utf-8")
    engagement = terminal.mappings / "engagement.yaml"
    more = "\nproperties:\n  all_done: {source: courses_completed, transform: [text]}\n"
    engagement.write_text(engagement.read_text("utf-8").replace("\nproperties:\n", more, 1), "utf-8")
    shutil.copyfile(SHIPPED / "offline" / "courses.table.yaml", terminal.mappings / "courses.table.yaml")
    (terminal.mappings / "assignment.yaml").write_text(ASSIGNMENTS, "utf-8")
    report = terminal.box.site.activities.set(terminal.box.courses["CHW-101"], "Report")
    back = f"write_back: [{{feedback: coach_feedback, assignment: {report}}}]\nproperties:\n  course_id"
    terminal.edit("enrolment.yaml", "properties:\n  course_id", back)
    project = terminal.mappings / "project.yaml"
    project.write_text(project.read_text("utf-8").replace('shortname_like: "CHW-*"', "categories: [1]"), "utf-8")
    terminal.box.moodle.account.passwords["svc_commcare"] = "canary-password"
    del terminal.env["MOODLE_TOKEN"]
    terminal.env |= {"MOODLE_USERNAME": "svc_commcare", "MOODLE_PASSWORD": "canary-password"}
    terminal.env["MOODLE_SERVICE"] = terminal.box.moodle.account.service


def mark(terminal: Terminal) -> None:
    """Use every command of assignments: blind marking, a marking workflow, an earlier attempt, files, feedback."""
    box, course = terminal.box, terminal.box.courses["CHW-101"]
    activities = box.site.activities
    for name, more in (("Blind", {"blindmarking": 1}), ("Workflow", {"markingworkflow": 1})):
        cmid = activities.set(course, name, **more)
        for attempt in range(2):
            activities.submit(cmid, box.learners[0], box.site.now, attemptnumber=attempt)
            row = activities.submissions[activities.instance_of(cmid)][-1]
            row["plugins"] = plugins(
                box.site.marking.add_files(cmid, row["id"], {"a.txt": b"a"}, box.site.now), ""
            )
        where = (str(course), f"cmid:{cmid}")
        listed = terminal.folder / f"{name}.json"
        listed.write_text(json.dumps([{"extId": box.learners[0], "text": "Well done", "grade": 70}]), "utf-8")
        terminal.run("assignments", "list", str(course))
        terminal.run("assignments", "users", *where)
        terminal.run("assignments", "submissions", *where, "--attempts")
        terminal.run("assignments", "download", *where, "--to", str(terminal.folder / name))
        terminal.run("assignments", "feedback", *where, "--from", str(listed), "--yes")


def keep_books(terminal: Terminal) -> None:
    """Use what looks at CommCare: owners of every kind, matching, phones, the audit, a server without upserts."""
    box, learner = terminal.box, terminal.box.learners[0]
    box.project.add_location("Siaya", "siaya-02")
    rules = "owner:\n  first_of: [{location: department}, {user: institution}]\n"
    terminal.edit("student.yaml", "owner:\n  # first_of:", f"{rules}  # first_of:")
    box.site.update_user(learner, department="siaya-02", institution="joseph.kariuki")
    case = box.project.add_case(
        "student", "Amina Otieno", properties={"email": "amina.otieno@training.example.org"}
    )
    do(terminal, "match")
    do(terminal, "match", "--workers")
    do(terminal, "match", "approve", str(learner), case.case_id)
    do(terminal, "check", "--feedback")
    do(terminal, "preview")
    do(terminal, "sync", "--yes")
    box.site.update_user(terminal.box.learners[1], institution="new.worker")
    do(terminal, "workers", "create", "--to", str(terminal.folder / "workers.csv"), "--count", "1")
    box.commcare.upserts = False
    box.site.enrol(box.courses["CHW-201"], box.site.add_user("Naomi", "Were"))
    do(terminal, "sync")
    for words in (("phones",), ("gaps",), ("audit",), ("feedback", "preview"), ("feedback", "send")):
        do(terminal, *words)
    keep_table(terminal)


def keep_table(terminal: Terminal) -> None:
    """Let a lookup table get another field, and a row that changes and then goes."""
    box, table = terminal.box, "courses.table.yaml"
    terminal.edit(table, "  shortname: shortname\n", "  shortname: shortname\n  course_language: lang\n")
    box.site.rename(box.courses["CHW-102"], "Mother and child health")
    do(terminal, "sync")
    box.site.courses[box.courses["CHW-201"]]["visible"] = 0
    do(terminal, "sync")
    do(terminal, "sync")


def do(terminal: Terminal, *words: str) -> None:
    """Type a command that has to succeed or to ask something; a preview may hold back what it cannot know."""
    ended = terminal.run(*words)
    assert ended.code in ((0, 4) if words != ("preview",) else (0, 1)), (words, ended.text)


class Tour(Terminal):
    """A terminal at which everything is used; `answers` has by endpoint the keys of CommCare's answers."""

    def __init__(self, folder: Path, ports: Ports) -> None:
        super().__init__(folder, ports)
        self.answers: defaultdict[str, set[str]] = defaultdict(set)
        ports.answer["commcare"] = self._overheard

    def _overheard(self, request: httpx.Request) -> httpx.Response:
        response = self.box.commcare(request)
        call = self.box.commcare.calls[-1]
        self.answers[endpoint_of(call.method, call.target, call.kind)] |= set(
            keys_in(response.json() if response.content else None)
        )
        return response


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tour]:
    """Give a terminal at which everything was used."""
    with open_ports() as ports:
        tour = Tour(tmp_path_factory.mktemp("tour"), ports)
        set_up(tour)
        keep_books(tour)
        mark(tour)
        yield tour


def moodle_calls(terminal: Terminal) -> set[str]:
    """Return what was called in Moodle, also inside of batches."""
    found = set()
    for name, parameters in terminal.box.moodle.calls:
        found.add(name.lstrip("/"))
        if name == BATCH:
            found |= {request["function"] for request in parameters["requests"]}
    return found


def test_the_page_is_fresh() -> None:
    """The page is what the adaptors say today; else: make docs."""
    assert endpoints_page() == PAGE.read_text("utf-8")


def test_moodle_is_asked_for_nothing_else(toured: Tour) -> None:
    """What is listed is called, and what is called is listed."""
    assert {one.name for one in (*FUNCTIONS, *PAGES)} == moodle_calls(toured)


def test_commcare_is_asked_for_nothing_else(toured: Tour) -> None:
    """The same for CommCare; a request that no entry of the page fits has no name."""
    called = {endpoint_of(call.method, call.target, call.kind): call.target for call in toured.box.commcare.calls}
    assert "" not in called, called
    assert {one.name for one in ENDPOINTS} == called.keys()


def test_every_call_has_a_caller() -> None:
    """Each function says which command or which mapping calls it."""
    assert [] == [one.name for one in FUNCTIONS if not called_by(one.name)]


@pytest.mark.parametrize("name", [one.name for one in ENDPOINTS if one.sample])
def test_samples_are_like_commcares(name: str, toured: Tour) -> None:
    """A sample holds only keys that the answers had; those of one case and of many are alike."""
    (endpoint,) = [one for one in ENDPOINTS if one.name == name]
    seen = toured.answers[name] | (toured.answers["write"] | toured.answers["probe"] if name in ALIKE else set())
    assert set() == set(keys_in(json.loads(endpoint.sample))) - seen


def keys_in(answer: Any) -> Iterator[str]:
    """Yield the keys of an answer, but not the names of properties, which are ours."""
    if isinstance(answer, dict):
        for key, value in answer.items():
            yield key
            if key not in ("properties", "user_data"):
                yield from keys_in(value)
    if isinstance(answer, list):
        for one in answer:
            yield from keys_in(one)
