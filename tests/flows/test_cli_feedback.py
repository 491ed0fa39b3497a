"""The commands of feedback as people type them, and the flow: counts and keys, a question at the beginning."""

from __future__ import annotations

from pathlib import Path

from flows.deployed_feedback import feedback_back
from flows.sandbox import Sandbox
from tests.canaries import found_in, found_in_files
from tests.flows.terminal import Terminal
from tests.flows.test_deployed import Place, ended, marked, place

pytest_plugins = ["tests.prefect_server"]
__all__ = ["place"]


def declare(mappings: Path, box: Sandbox) -> int:
    """Let the enrolment mapping send back the text for an assignment, and return its cmid."""
    course = box.courses["CHW-101"]
    found = box.site.activities.by_course[course].values()
    cmid = next(one.cmid for one in found if one.name == "Home visits")
    file = mappings / "enrolment.yaml"
    entry = f"\nwrite_back:\n  - {{feedback: coach_feedback, assignment: {cmid}}}\n"
    file.write_text(file.read_text().replace("\nwhen_left:", f"{entry}\nwhen_left:"))
    return cmid


def writes(box: Sandbox, learner: int, text: str) -> str:
    """Let a coach write into the case of a learner, and return its key."""
    ending = f"-enrol-{box.courses['CHW-101']}-{learner}"
    case = next(one for one in box.project.cases.values() if (one.external_id or "").endswith(ending))
    box.project.edit_case(case.case_id, coach_feedback=text)
    return case.external_id or ""


def told(box: Sandbox, cmid: int, learner: int) -> str | None:
    """Return the feedback that Moodle holds."""
    row = box.site.marking.grades[box.site.activities.instance_of(cmid)].get((learner, 0))
    return row.comment if row else None


def test_an_assignment_that_is_not_there(terminal: Terminal) -> None:
    """Whoever slips in the number is told before a coach's text is lost; with the right one nothing is said."""
    cmid = declare(terminal.mappings, terminal.box)
    words = "no chosen course shows an assignment 9999, so no feedback for it reaches Moodle"
    assert words not in terminal.run("check").text
    terminal.edit("enrolment.yaml", f"assignment: {cmid}", "assignment: 9999")
    assert words in terminal.run("check").text
    ended = terminal.run("mappings", "check", "--live", "--json")
    (found,) = (one for one in ended.json["problems"] if words in one["sentence"])
    line = (terminal.mappings / "enrolment.yaml").read_text().splitlines()[found["line"] - 1]
    assert (0, "warning", "9999") == (ended.code, found["severity"], line[found["column"] - 1 :][:4])
    terminal.box.moodle.revoke("moodle/course:view")
    assert words not in terminal.run("check").text


def test_look_ask_send(terminal: Terminal) -> None:
    """Without a yes it counts and waits; a preview sends nothing; texts are on no screen."""
    box = terminal.box
    nothing = terminal.run("feedback", "preview")
    assert (2, True) == (nothing.code, "No mapping sends anything back" in nothing.text)
    cmid = declare(terminal.mappings, box)
    terminal.run("sync", "--yes")
    one, two = box.learners[:2]
    keys = [writes(box, learner, "Confidential words") for learner in (one, two)]
    looked = terminal.run("feedback", "preview", "--json")
    assert (0, {"would_publish": 2}) == (looked.code, looked.json["counts"])
    asked = terminal.run("feedback", "send", "--json")
    assert (4, {"enrolment": 2}, None) == (asked.code, asked.json["asked"], told(box, cmid, one))
    said = terminal.run("feedback", "send")
    assert "2 texts would go to Moodle now" in said.text
    sent = terminal.run("feedback", "send", "--yes", "--json")
    assert (0, {"published": 2}, set(keys)) == (
        sent.code,
        sent.json["counts"],
        {one["key"] for one in sent.json["texts"]},
    )
    assert "<p>Confidential words</p>" == told(box, cmid, one)
    assert "nothing new" in terminal.run("feedback", "send").text
    assert "Confidential" not in looked.text + asked.text + said.text + sent.text


def test_a_conflict_and_the_word_of_a_person(terminal: Terminal) -> None:
    """It is listed with what to do, shown under its key, and settled by naming the key."""
    box = terminal.box
    cmid = declare(terminal.mappings, box)
    terminal.run("sync", "--yes")
    learner = box.learners[0]
    row = box.site.marking.grade_row(box.site.activities.instance_of(cmid), learner, 0, box.site.now, 2)
    row.grade, row.comment = 50.0, "<p>A teacher's</p>"
    key = writes(box, learner, "A coach's")
    sent = terminal.run("feedback", "send", "--yes")
    assert (0, True) == (sent.code, "feedback_conflict" in sent.text and key in sent.text)
    listed = terminal.run("problems", "list", "--reason", "feedback_conflict", "--json").json["problems"]
    assert [key] == [one["key"] for one in listed]
    assert "--overwrite" in terminal.run("problems", "show", key).text
    wrong = terminal.run("feedback", "send", "--overwrite", "nobody")
    assert (2, "<p>A teacher's</p>") == (wrong.code, told(box, cmid, learner))
    assert 0 == terminal.run("feedback", "send", "--overwrite", key).code
    assert "<p>A coach&#x27;s</p>" == told(box, cmid, learner)


@marked
async def test_the_nightly_flow_where_nothing_goes_back(place: Place, prefect_folder: Path) -> None:
    """It is well, and asks neither system; who says yes to nothing is told so in red."""
    assert prefect_folder.is_dir()
    asked = place.sandbox.moodle.requests, sum(place.sandbox.commcare.requests.values())
    kind, name, message = await ended(feedback_back)
    assert ("COMPLETED", "Completed", True) == (kind, name, "No mapping sends anything back" in message)
    assert "Failed" == (await ended(feedback_back, approve=True))[1]
    assert asked == (place.sandbox.moodle.requests, sum(place.sandbox.commcare.requests.values()))


@marked
async def test_the_flow(place: Place, prefect_folder: Path) -> None:
    """It ends as the command does, and Prefect is told counts and keys only."""
    box = place.sandbox
    cmid = declare(Path(place.env["MAPPINGS_DIR"]), box)
    await place.approve()
    learner = box.learners[0]
    writes(box, learner, "QanaryFeedback")
    assert ("COMPLETED", "Waiting") == (await ended(feedback_back))[:2]
    kind, name, message = await ended(feedback_back, approve=True)
    assert ("COMPLETED", "Completed", True) == (kind, name, "1 published" in message)
    assert "<p>QanaryFeedback</p>" == told(box, cmid, learner)
    assert ([], {}) == (found_in(message), found_in_files(prefect_folder))


def test_check_and_setup_know_what_it_needs(terminal: Terminal) -> None:
    """A function that is missing is named by the check, and asked for by the list of the set-up."""
    before = terminal.run("setup", "moodle", "--json").text
    declare(terminal.mappings, terminal.box)
    terminal.box.moodle.remove_function("mod_assign_save_grades")
    ended = terminal.run("check")
    assert (1, True) == (ended.code, "the service lacks the function mod_assign_save_grades" in ended.text)
    after = terminal.run("setup", "moodle", "--json").text
    assert (False, True) == tuple("mod_assign_save_grades" in text for text in (before, after))
