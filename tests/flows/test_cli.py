"""The command as people use it: a first run, the next ones, a preview, what is printed where."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from flows.attended import run_approved, run_once
from flows.clock import SystemClock
from flows.endings import ending, go_ahead
from flows.errors import UsageError
from flows.open import open_store
from flows.settings import load_settings
from flows.sync import Options
from tests.flows.terminal import Ended, Terminal

ROOT = Path(__file__).parent.parent.parent
COMMAND = (sys.executable, "-m", "flows")


def start(terminal: Terminal, *words: str, **streams: int) -> subprocess.Popen[str]:
    """Start the command as a process of its own."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "80", **terminal.env}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **streams}
    return subprocess.Popen([*COMMAND, *words], env=env, text=True, **streams)  # noqa: S603


def finish(terminal: Terminal, process: subprocess.Popen[str], typed: str | None = None) -> Ended:
    """Wait for a process and look at what it printed as closely as at any other command."""
    out, err = process.communicate(typed, timeout=30)
    ended = Ended(process.returncode, out or "", err)
    terminal.watch(ended)
    return ended


def test_a_first_run_shows_its_plan_and_waits(terminal: Terminal) -> None:
    """Without --yes nothing is sent, and the exit code says that a person is waited for."""
    ended = terminal.run("sync")
    assert (4, 0) == (ended.code, terminal.cases)
    for line in ("create 12 'student' cases", "create 24 'enrolment' cases", "take 2 requests to CommCare"):
        assert line in ended.text


def test_the_plan_says_that_there_are_cases(terminal: Terminal) -> None:
    """Cases that are in CommCare already belong to the plan."""
    terminal.box.project.add_case("student", "Somebody")
    shown = terminal.run("sync").text
    assert "find 1 'student' case in CommCare already, and stop; see below" in shown
    assert "`moodle-commcare match` finds out" in shown.replace("python -m flows", "moodle-commcare")


def test_the_second_run_sends_nothing(terminal: Terminal) -> None:
    """Both runs are completed; counts and requests are told."""
    first, second = terminal.run("sync", "--yes"), terminal.run("sync")
    assert (0, 0) == (first.code, second.code)
    assert "3 courses, 15 requests to Moodle, 7 to CommCare (2 writes)" in first.text
    assert "3 courses, 15 requests to Moodle, 0 to CommCare," in second.text


def test_json_is_alone_on_standard_output(terminal: Terminal) -> None:
    """The object has the counts, and progress goes to standard error."""
    ended = terminal.run("sync", "--yes", "--json")
    found = ended.json
    assert ("completed", 12, 24, 2) == (
        found["state"],
        found["cases"]["student"]["created"],
        found["cases"]["enrolment"]["created"],
        found["requests"]["commcare"]["write"],
    )
    assert "Reading courses: 3 of 3" in ended.err


def test_json_of_a_first_run_holds_the_plan(terminal: Terminal) -> None:
    """A script can read what would be created."""
    ended = terminal.run("sync", "--json")
    assert (4, "waiting", {"student": 12, "enrolment": 24}) == (
        ended.code,
        ended.json["state"],
        ended.json["plan"]["creates"],
    )


def test_a_preview_sends_nothing(terminal: Terminal) -> None:
    """It counts what would be created, also for some courses only."""
    ended = terminal.run("preview", "--course", str(terminal.box.courses["CHW-201"]))
    assert (0, 0, True) == (ended.code, terminal.cases, "Preview, nothing was sent: completed" in ended.text)


def test_another_run_at_work_postpones(terminal: Terminal) -> None:
    """Exit code 3, nothing is read."""
    with open_store(load_settings(terminal.env, None)) as store:
        store.take_lease("somebody else", time.time(), 600.0)
    ended = terminal.run("sync", "--yes")
    assert (3, 0) == (ended.code, terminal.box.moodle.requests)
    assert "Another run is at work on the same books; this one is postponed." in ended.text


def test_mappings_check_names_what_there_is(terminal: Terminal) -> None:
    """The mappings that are on and off, their tests, and no need for any setting."""
    terminal.env = {"MAPPINGS_DIR": terminal.env["MAPPINGS_DIR"]}
    ended = terminal.run("mappings", "check")
    assert (0, True) == (
        ended.code,
        "2 mappings (enrolment, student; switched off: course, engagement, grade_item), " in ended.text,
    )


def test_mappings_check_finds_its_folder_in_the_settings_file(terminal: Terminal) -> None:
    """MAPPINGS_DIR may stand in .env."""
    Path(".env").write_text(f"MAPPINGS_DIR={terminal.env.pop('MAPPINGS_DIR')}\n", encoding="utf-8")
    assert 0 == terminal.run("mappings", "check").code


def test_mappings_check_runs_no_stranger_s_code(terminal: Terminal) -> None:
    """With --no-plugins the transforms of a project are not loaded, and what needs one is named."""
    folder = Path(terminal.env["MAPPINGS_DIR"])
    (folder / "transforms.py").write_text("raise SystemExit('this was run')\n", encoding="utf-8")
    terminal.edit("project.yaml", "language: 1\n", "language: 1\ntransforms_file: transforms.py\n")
    terminal.edit(
        "student.yaml", "{source: lastname, transform: [trim]", "{source: lastname, transform: [house_style]"
    )
    ran, left = terminal.run("mappings", "check"), terminal.run("mappings", "check", "--no-plugins")
    assert (1, 0) == (ran.code, left.code)
    assert "it stops here while it is loaded: this was run" in ran.out
    assert "'house_style' is not looked at, because the plug-ins were not loaded" in left.out


def test_mappings_check_says_where_the_mistake_is(terminal: Terminal) -> None:
    """File, line, column and remedy, on standard output and as JSON."""
    terminal.edit("student.yaml", "source: firstname", "source: fristname")
    ended, problem = (
        terminal.run("mappings", "check"),
        terminal.run("mappings", "check", "--json").json["problems"][0],
    )
    assert (1, True) == (ended.code, "1 mistake to put right" in ended.out)
    assert (31, 24, "did you mean 'firstname'?") == (problem["line"], problem["column"], problem["remedy"])


def test_mappings_check_tells_failed_tests_from_mistakes(terminal: Terminal) -> None:
    """A test that fails stops no run and is no mistake; the check is red until it is brought up to date."""
    line = "  id_number: {source: idnumber, transform: [trim], personal: true}\n"
    terminal.edit("student.yaml", line, "")
    ended, found = terminal.run("mappings", "check"), terminal.run("mappings", "check", "--json").json
    assert (1, True) == (ended.code, "No mistakes; 1 of 21 tests failed, which stops no run." in ended.text)
    assert "test var/mappings/student.yaml:83:9: this mapping has no property 'id_number'" in ended.text
    assert "`moodle-commcare mappings test --update` takes it out of this test too" in ended.text
    assert (False, 0, {"run": 21, "failed": 1}) == (found["ok"], found["mistakes"], found["tests"])
    terminal.run("mappings", "test", "--update", "--yes")
    assert 0 == terminal.run("mappings", "check").code


def test_mappings_check_passes_with_tests_of_a_mapping_that_is_off(terminal: Terminal) -> None:
    """They are told, and nothing has to be done before a run of what is on."""
    terminal.edit("course.yaml", "course_name: Community & Health", "course_name: Health")
    ended = terminal.run("mappings", "check")
    assert (0, True) == (ended.code, "21 tests, 1 failed: no mistakes." in ended.text), ended.text


def test_init_asks_the_site_and_says_what_comes_next(terminal: Terminal) -> None:
    """Answers typed one by one make a project that the check likes."""
    env, terminal.env = terminal.env, {}
    courses = ["2, 77", "2, 3"]  # the site has no course 77, and says so
    answers = [env["MOODLE_URL"], "", env["MOODLE_TOKEN"], env["COMMCARE_URL"], env["COMMCARE_DOMAIN"]]
    answers += [env["COMMCARE_USERNAME"], env["COMMCARE_API_KEY"], "demo", "Africa/Nairobi", "ke", *courses]
    answers += ["group", "Field coach", "y", "Field coaches"]
    terminal.box.site.courses[3]["visible"] = 0
    process = start(terminal, "init", "--env-file", "site.env", stdin=subprocess.PIPE)
    ended = finish(terminal, process, "\n".join(answers) + "\n")
    assert (0, True, True, True) == (
        ended.code,
        "course 2: CHW-101: Community health basics course 3:" in ended.text,
        "(hidden: read only when its id is chosen)" in ended.text,
        "Written: mappings/student.yaml" in ended.text and "check --env-file site.env" in ended.text,
    ), ended.text
    assert "The case-sharing group 'Field coach' is not in the project space." in ended.text
    assert 0 == terminal.run("check", "--env-file", "site.env").code


def test_init_with_the_set_for_students(terminal: Terminal) -> None:
    """`init --offline` begins with the mappings for students' own phones; without an owner they are right too."""
    env, terminal.env = terminal.env, {}
    answers = [env["MOODLE_URL"], "", env["MOODLE_TOKEN"], env["COMMCARE_URL"], env["COMMCARE_DOMAIN"]]
    answers += [env["COMMCARE_USERNAME"], env["COMMCARE_API_KEY"], "demo", "Africa/Nairobi", "ke", "2, 3", "none"]
    process = start(terminal, "init", "--offline", stdin=subprocess.PIPE)
    ended = finish(terminal, process, "\n".join(answers) + "\n")
    assert 0 == ended.code, ended.text
    names = {"project", "student", "enrolment", "grade_item", "courses.table"}
    assert names == {file.name.removesuffix(".yaml") for file in Path("mappings").glob("*.yaml")}
    assert Path("mappings/schema/table.schema.json").exists()
    assert 0 == terminal.run("mappings", "check").code


def test_init_goes_on_without_the_site(terminal: Terminal) -> None:
    """A site that does not answer is a sentence and a question, and nothing is written before the end."""
    answers = ["http://127.0.0.1:1", "", "a-token", "", "space", "me@example.org", "a-key", "n", "demo"]
    ended = terminal.run("init", typed="\n".join(answers) + "\n")
    assert "Moodle cannot be reached at http://127.0.0.1:1." in ended.text
    assert "Stopped before the last answer; nothing was written." in ended.text
    assert (130, False) == (ended.code, Path(".env").exists())


def test_what_an_error_of_ours_says_is_not_shown() -> None:
    """It may be about a person; the place is enough."""
    try:
        raise ValueError("Amina Otieno")
    except ValueError as error:
        text, code = ending(error)
    assert (1, True, False) == (code, "ValueError in test_cli.py, line" in text, "Amina" in text)


def test_a_no_is_an_object_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--json` a question that is answered with no ends in one object, as everything else does."""
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: False)
    with pytest.raises(typer.Exit):
        go_ahead("Sure?", "changed", as_json=True)
    assert {"state": "failed", "messages": ["Nothing was changed."]} == json.loads(capsys.readouterr().out)


def test_a_reader_that_goes_away_is_no_error(terminal: Terminal) -> None:
    """`moodle-commcare check | head -1` ends quietly."""
    read, write = os.pipe()
    os.close(read)
    process = start(terminal, "mappings", "check", stdout=write)
    os.close(write)
    ended = finish(terminal, process)
    assert (1, "") == (ended.code, ended.err)


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_stopped_run_gives_its_lease_back(terminal: Terminal, number: str, code: int) -> None:
    """Ctrl-C and SIGTERM end a run in good order, and the next one does the rest at once."""
    terminal.box.moodle.latency = lambda _: 0.3
    process = start(terminal, "sync", "--yes", "--json")
    while terminal.box.moodle.requests < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(getattr(signal, number))
    ended = finish(terminal, process)
    assert (code, "failed") == (ended.code, json.loads(ended.out)["state"])
    assert "Stopped. What was not finished is found again by the next run." in ended.text
    terminal.box.moodle.latency = None
    assert (0, 36) == (terminal.run("sync", "--yes").code, terminal.cases)


def test_at_a_terminal_the_plan_is_approved_with_a_word(terminal: Terminal) -> None:
    """The plan is shown, y sends it."""
    ours, theirs = pty.openpty()
    process = start(terminal, "sync", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown, answered = "", False
    while select.select([ours], [], [], 20)[0]:
        try:
            shown += os.read(ours, 4096).decode(errors="replace")
        except OSError:  # the other end is closed
            break
        if "Go ahead?" in shown and not answered:
            answered = bool(os.write(ours, b"y\n"))
    os.close(ours)
    assert (0, 36, True) == (process.wait(timeout=30), terminal.cases, "create 12 'student' cases" in shown)
    assert "Reading who is in the courses" in shown


class Late:
    """A clock by which an hour goes by whenever somebody asks for the time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        """Return an hour more."""
        self.seconds += 3600.0
        return self.seconds


def newcomers(terminal: Terminal) -> None:
    """Let twenty more learners into a course."""
    site = terminal.box.site
    for number in range(20):
        site.enrol(min(terminal.box.courses.values()), site.add_user(f"New{number}", "Comer"))


def edited(terminal: Terminal) -> None:
    """Let a mapping say something else."""
    terminal.edit("student.yaml", "  country: {source: country, personal: false}\n", "")


@pytest.mark.parametrize(
    ("meanwhile", "late", "cases"),
    [(None, False, 36), (None, True, 36), (newcomers, True, 0), (edited, False, 0), (edited, True, 0)],
)
def test_a_yes_is_about_what_was_shown(
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[Terminal], None] | None,
    late: bool,
    cases: int,
) -> None:
    """Somebody who says yes the next morning does not make whatever Moodle, and the mappings, have by then."""
    settings = load_settings(terminal.env, None)
    shown = run_once(settings, Options())
    monkeypatch.setattr("flows.attended.SystemClock", Late if late else SystemClock)

    def yes(_: str, **__: bool) -> bool:
        """Say yes, when something has happened."""
        if meanwhile:
            meanwhile(terminal)
        return True

    monkeypatch.setattr("flows.endings.typer.confirm", yes)
    result = run_approved(settings, Options(), shown)
    assert (cases, "completed" if cases else "waiting") == (terminal.cases, result.state)


def test_a_yes_to_a_plan_that_another_run_has_shown_otherwise(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question in the books is another one by then: nothing is sent, and the sentence says what to do."""
    settings = load_settings(terminal.env, None)
    shown = run_once(settings, Options())
    newcomers(terminal)
    assert 4 == terminal.run("sync").code
    monkeypatch.setattr("flows.endings.typer.confirm", lambda _, **__: True)
    with pytest.raises(UsageError, match="Another run has shown another plan since"):
        run_approved(settings, Options(), shown)
    assert 0 == terminal.cases
