"""Where things stand: read from the books alone, told on a terminal and to a script."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from flows import show_status as shown_on
from flows.settings import load_settings
from flows.show_status import show_status
from flows.status import AT_WORK, STOPPED, Status, read_status, status_of
from flows.status_json import status_json
from flows.words import ago, duration
from state import Store
from tests.flows.bench_world import golden
from tests.flows.status_world import DAY, HOUR, MINUTE, NOW, ask_with_condition, fill, made_status
from tests.flows.terminal import Terminal


@pytest.fixture
def store() -> Iterator[Store]:
    """Give new books in memory."""
    with Store.open("sqlite://", key=bytes(32)) as books:
        yield books


def printed(status: Status, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a terminal of 100 columns shows."""
    screen = io.StringIO()
    console = Console(file=screen, width=100, soft_wrap=True, highlight=False)
    monkeypatch.setattr(shown_on, "_console", lambda: console)
    show_status(status)
    return "\n".join(line.rstrip() for line in screen.getvalue().split("\n"))


# --- what is read -------------------------------------------------------------------------------------------


def test_fresh_and_stale_courses(store: Store) -> None:
    """The course read longest ago comes first, one never read before it; one that is over is not among them."""
    status = made_status(store)
    assert [(7, 0.0, 2), (8, 0.0, 0), (3, NOW - 5 * HOUR, 0), (2, NOW - 6 * MINUTE, 0)] == [
        (one.course, one.complete_at, one.failures) for one in status.chosen
    ]
    assert [5] == [one.course for one in status.courses if not one.chosen]
    assert NOW - 6 * MINUTE == status.people_read_at


def test_courses_of_books_from_before(store: Store) -> None:
    """Books that do not say which courses are chosen show all."""
    fill(store)
    store.put("courses_selected", "")
    assert {2, 3, 5, 7} == {one.course for one in read_status(store, None, NOW).chosen}


def test_a_run_that_never_finished(store: Store) -> None:
    """It is at work while it holds the lease, and was stopped otherwise."""
    assert STOPPED == made_status(store).runs[0].state
    store.take_lease("run-3", NOW, 600.0)
    status = read_status(store, None, NOW)
    assert (AT_WORK, None) == (status.runs[0].state, status.runs[0].seconds)


def test_what_a_run_sent(store: Store) -> None:
    """Records written, and those that were not; the plan of a first run sent nothing."""
    status = made_status(store)
    assert [(6, 4), (5, 4)] == [(run.sent, run.not_sent) for run in status.runs[1:]]
    counts = {"preview": True, "plan": {}, "cases": {"student": {"created": 5}}}
    store.finish_run("run-3", NOW, "waiting", counts)
    assert (0, "waiting") == (
        read_status(store, None, NOW).runs[0].sent,
        read_status(store, None, NOW).runs[0].state,
    )


def test_words_for_times() -> None:
    """The largest unit, whole; what is to come counts as now."""
    assert ["40 seconds", "1 minute", "3 hours", "2 days"] == [
        *map(duration, (40.9, 60.0, 3 * HOUR + 5, 2.9 * DAY))
    ]
    assert ["never", "just now", "5 minutes ago"] == [ago(0.0, NOW), ago(NOW + 9, NOW), ago(NOW - 5 * MINUTE, NOW)]


# --- what is shown --------------------------------------------------------------------------------------------


def test_on_a_terminal(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The golden text."""
    status = made_status(store)
    assert golden("status", printed(status, monkeypatch)) == printed(status, monkeypatch)


def test_questions_with_their_condition(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command stands below what has to be so first, the other answer below it, and all of it once."""
    ask_with_condition(store)
    status = read_status(store, None, NOW)
    text = " ".join(printed(status, monkeypatch).split())
    assert (
        "If it was deleted: → `moodle-commcare confirm-leavers 20 --count 3` or in Prefect `approve`: kind "
        "leavers, course 20, count 3 If it is only hidden: give the account's role "
        "'moodle/course:viewhiddencourses', or show it." in text
    )
    assert "If it was emptied: → `moodle-commcare confirm-blanks student city --count 2` or in Prefect" in text
    assert "kind blanks, mapping student, property city, count 2 If it is hidden: show it again (`" in text
    assert (1, 1) == (text.count("If it was deleted"), text.count("Nobody's profile shows city"))
    assert "- Something else." in text
    found = status_json(status)["needs"][0]
    assert ("If it was deleted", "If it is only hidden") == (found["if_so"], found["or_else"].partition(":")[0])


def test_many_courses_and_reasons(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables end somewhere, and say how much more there is."""
    fill(store)
    for course in range(100, 150):
        store.checkpoint(course, "run-1", NOW - HOUR, [1])
        store.set_problems("enrolment", course, [(f"k{course}", f"p{course}", "invalid_phone", "")], NOW)
    store.put("courses_selected", json.dumps([*range(100, 150)]))
    text = printed(read_status(store, None, NOW), monkeypatch)
    assert "... and 38 more, read later than these." in text
    assert "... and 41 reasons more: `moodle-commcare problems list` has them all." in text


def test_as_json(store: Store) -> None:
    """Everything, times in UTC, null for never; all of it is JSON."""
    found = json.loads(json.dumps(status_json(made_status(store))))
    assert "2026-11-18T11:06:40Z" == found["at"]
    need = found["needs"][0]
    assert ("leavers", 12, "approve") == (need["kind"], need["count"], need["deployment"])
    assert {"kind": "leavers", "course": 3, "count": 12} == need["form"]
    assert ("If that is right", "") == (need["if_so"], need["or_else"])
    assert {
        "course": 7,
        "complete_at": None,
        "age_seconds": None,
        "people": 0,
        "failures": 2,
        "chosen": True,
    } in found["courses"]
    assert {"student": {"in_commcare": 3, "left": 1}, "enrolment": {"in_commcare": 2, "again": 1}} == found[
        "cases"
    ]
    assert {"enrolment": {"rows": 1, "oldest_sent_at": "2026-11-18T10:51:40Z"}} == found["in_doubt"]
    written, doubt = "2026-11-18T09:06:40Z", "2026-11-18T10:56:40Z"
    assert {
        "moodle_courses": {"rows": 3, "missing": 1, "written_at": written}
        | {"in_doubt_since": None, "in_mappings": True},
        "places": {"rows": 0, "missing": 0, "written_at": None, "in_doubt_since": doubt, "in_mappings": True},
    } == found["lookup_tables"]
    assert [("invalid_phone", 2), ("poison", 1), ("owner_unresolved", 1)] == [
        (one["reason"], one["count"]) for one in found["problems"]
    ]
    assert {"sync": "2026-11-18T12:00:40Z", "audit": "2026-11-22T11:06:40Z"} == found["next_runs"]
    assert (["stopped", "degraded", "completed"], None) == (
        [run["state"] for run in found["runs"]],
        found["at_work"],
    )


# --- the command ----------------------------------------------------------------------------------------------


def test_before_the_first_run(terminal: Terminal) -> None:
    """Without books it says so, and begins none."""
    ended = terminal.run("status")
    assert (0, True) == (ended.code, "There are no books yet: no run was made here." in ended.text)
    assert not list(terminal.folder.glob("state.db"))
    assert terminal.run("status", "--json").json["books"] is None


def test_after_a_run(terminal: Terminal) -> None:
    """No request is made, and the books are as they were."""
    terminal.run("sync", "--yes")
    asked = terminal.box.moodle.requests, terminal.box.commcare.requests.copy()
    ended = terminal.run("status")
    assert 0 == ended.code
    assert "The last run was completed, just now: 36 records sent" in ended.text
    assert asked == (terminal.box.moodle.requests, terminal.box.commcare.requests)
    found = terminal.run("status", "--json").json
    assert {"student": {"in_commcare": 12}, "enrolment": {"in_commcare": 24}} == found["cases"]
    assert [0, 2, 3, 4] == [one["course"] for one in found["courses"] if one["chosen"]]
    assert {"moodle", "commcare", "project_space"} == found["about"].keys()


def test_who_is_withdrawn(terminal: Terminal) -> None:
    """Each case by its key, with nothing of its person; nobody before somebody is kept out."""
    assert ([], 0) == ((ended := terminal.run("status", "--withdrawn", "--json")).json["withdrawn"], ended.code)
    terminal.run("sync", "--yes")
    assert "No case is withdrawn." in terminal.run("status", "--withdrawn").text
    learner = terminal.box.learners[2]
    terminal.edit(
        "student.yaml", "any_of: [student]}", f"any_of: [student]}}\n  - {{source: id, is_not: {learner}}}"
    )
    terminal.run("sync")
    ended = terminal.run("status", "--withdrawn")
    assert (0, True) == (ended.code, f"demo-user-{learner} student · withdrawn 2" in ended.text), ended.text
    found = terminal.run("status", "--withdrawn", "--json").json["withdrawn"]
    assert {("student", 0), ("enrolment", 2)} <= {(one["mapping"], one["course"]) for one in found}
    assert {(learner, "withdrawn", True)} == {(one["user_id"], one["state"], one["done"]) for one in found}
    assert f"{len(found)} cases withdrawn." in ended.text
    ended = terminal.run("status", "--withdrawn", "--html", str(terminal.folder / "page.html"))
    assert (2, False) == (ended.code, (terminal.folder / "page.html").exists())


def test_wrong_mappings_before_the_first_run(terminal: Terminal) -> None:
    """They are what keeps it from being made."""
    terminal.edit("student.yaml", "source: users", "source: usrs")
    ended = terminal.run("status")
    assert (0, True) == (ended.code, "The mappings are not right, so no run can be made" in ended.text)
    assert terminal.run("status", "--json").json["mappings_right"] is False
    assert "moodle_commcare_mappings_right 0.0" in terminal.run("metrics").out


def test_wrong_mappings_do_not_hide_the_rest(terminal: Terminal) -> None:
    """Case types go by the mappings' names then; a person is needed, whatever came of the last run."""
    terminal.run("sync", "--yes")
    terminal.edit("student.yaml", "source: users", "source: usrs")
    ended = terminal.run("status")
    told = (
        "Needs a person - The mappings are not right, so no run can be made: `moodle-commcare mappings check` says"
    )
    assert (0, True, 1) == (ended.code, told in ended.text, ended.text.count("mappings are not right"))
    assert ("student" in ended.out, "Nothing." in ended.out) == (True, False)
    assert terminal.run("status", "--json").json["mappings_right"] is False
    assert "moodle_commcare_mappings_right 0.0" in terminal.run("metrics").out


def test_damaged_books(terminal: Terminal) -> None:
    """They are an error with the way out, not an empty status."""
    terminal.run("sync", "--yes")
    (terminal.folder / "state.db").write_bytes(b"no books" * 999)
    ended = terminal.run("status", "--json")
    assert (1, "failed") == (ended.code, ended.json["state"])
    assert "state restore" in ended.text


def test_intervals_are_told(terminal: Terminal) -> None:
    """A stream that is read once a day says when it is due."""
    terminal.edit("project.yaml", "country: KE", "intervals: {grades: 24}\ncountry: KE")
    terminal.run("sync", "--yes")
    (read,) = [one for one in terminal.run("status", "--json").json["reads"] if one["stream"] == "grades"]
    assert ("enrolment", 24.0) == (read["mapping"], read["every_hours"])
    assert read["due_at"] > read["read_at"]
    assert "grades are read again in 23 hours" in terminal.run("status").text


def test_a_daily_read_of_what_learners_have_done(terminal: Terminal) -> None:
    """It is told in a sentence of its own: engagement is no plural."""
    terminal.edit("engagement.yaml", "enabled: false", "enabled: true")
    terminal.run("sync", "--yes")
    line = " ".join(terminal.run("status").out.split())
    assert "engagement: what learners have done is read again in 23 hours (" in line
    assert "), every 24 hours; until then runs leave it as it is" in line


def test_schedule_of_this_folder(terminal: Terminal, tmp_path: Path) -> None:
    """The next run is that of prefect.yaml, in the project's time zone."""
    file = tmp_path / "prefect.yaml"
    file.write_text("deployments: [{name: sync, schedules: [{cron: '7 * * * *', timezone: UTC}]}]")
    status = status_of(load_settings(terminal.env, None), NOW, file)
    assert [("sync", NOW + 20.0)] == [(one.what, one.at) for one in status.next_runs]
